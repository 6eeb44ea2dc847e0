"""Networks random in everything the format knows (:func:`sysmol.network.builder.any_network`): PyTorch's integers, also
of what was saved and loaded, are the reference's. As C: tests/kernels_c/test_any_network.py."""

import os

import numpy as np
import pytest

from sysmol.network import load, reference, save
from sysmol.network.builder import any_network
from sysmol.train.quantise import integer

COUNT = int(os.environ.get("SYSMOL_TEST_NETWORKS", "30"))


def test_pytorch_and_the_file_give_the_reference_s_logits(tmp_path, seed):
    operations, products = set(), set()
    for number in range(COUNT):
        net = any_network(seed + number)
        for found in (net, load(save(tmp_path / "a.safetensors", net))):
            logits = integer.evaluate(found, net.samples.images)
            assert np.array_equal(logits, net.samples.logits), f"network {seed + number}"
        operations |= {layer.op for layer in net.layers}
        products |= {(o.multiply, o.residual_multiply) for layer in net.layers for o in layer.outputs}
        operations |= {"dilated" for layer in net.layers if layer.dilation != (1, 1)}
        operations |= {"groups" for layer in net.layers if layer.groups > 1}
    assert {"conv2d", "depthwise", "avgpool", "maxpool", "upsample", "rescale", "flatten"} <= operations
    assert {"dilated", "groups"} <= operations
    assert {("low", "low"), ("high", "low")} <= products


@pytest.mark.parametrize("fault", ["M", "B", "pre", "shift"])
def test_a_changed_constant_changes_logits(fault, seed):
    """In most networks: some outputs saturate, and some channels meet weights that cancel."""
    changed = 0
    for number in range(10):
        net = any_network(seed + number)
        for layer in net.layers:
            for out in layer.outputs:
                if fault in "MB":
                    setattr(out, fault, getattr(out, fault) // 2)
                elif fault == "shift":
                    out.shift = max(out.shift - 1, 0)
                else:
                    out.pre = max(out.pre - 1, 0)
        changed += not np.array_equal(reference.evaluate(net, net.samples.images), net.samples.logits)
    assert changed >= {"M": 7, "B": 7, "shift": 2, "pre": 1}[fault]
