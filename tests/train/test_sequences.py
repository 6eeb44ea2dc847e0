"""Random networks with attention (:func:`sysmol.network.sequences.any_transformer`): PyTorch's integers, also of what
was saved and loaded, are the reference's. As C: tests/kernels_c/test_sequences.py."""

import os

import numpy as np

from sysmol.network import load, save
from sysmol.network.sequences import any_transformer
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
