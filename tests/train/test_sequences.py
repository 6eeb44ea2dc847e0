"""Random networks with attention (:func:`sysmol.network.sequences.any_transformer`): PyTorch's integers, also of what
was saved and loaded, are the reference's. As C: tests/kernels_c/test_sequences.py."""

import os

import numpy as np

from sysmol.network import load, save
from sysmol.network.sequences import any_transformer, plain_transformer
from sysmol.train.quantise import integer

COUNT = int(os.environ.get("SYSMOL_TEST_NETWORKS", "10"))
OPERATIONS = {"scores", "softmax", "attend", "lookup", "layernorm", "rmsnorm", "gate", "slice", "join", "pad"}


def test_pytorch_and_the_file_give_the_reference_s_logits(tmp_path, seed):
    found, heads, tokens = set(), set(), set()
    for number in range(COUNT):
        net = any_transformer(seed + number)
        for each in (net, load(save(tmp_path / "a.safetensors", net))):
            logits = integer.evaluate(each, net.samples.images)
            assert np.array_equal(logits, net.samples.logits), f"network {seed + number}"
        found |= {layer.op for layer in net.layers}
        heads |= {layer.groups for layer in net.layers if layer.op == "scores"}
        tokens |= {
            net.tensors[layer.second].height * net.tensors[layer.second].width for layer in net.layers if layer.second
        }
    assert found >= OPERATIONS and len(heads) > 1 and len(tokens) > 2


def test_bytes_and_floats(tmp_path, seed):
    """The baselines: 8 bits to the integer, full precision to the last bits."""
    for number in range(COUNT):
        for form in ("s8", "f32"):
            net = plain_transformer(seed + number, form)
            for each in (net, load(save(tmp_path / "a.safetensors", net))):
                logits, wanted = integer.evaluate(each, net.samples.images), net.samples.logits
                near = 1e-5 * np.abs(wanted).max() if form == "f32" else 0
                assert np.abs(logits.astype(np.float64) - wanted).max() <= near, f"network {seed + number}, {form}"
