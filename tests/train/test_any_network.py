"""Networks random in everything the format knows (:func:`sysmol.network.builder.any_network`): PyTorch's integers, also
of what was saved and loaded, are the reference's. As C: tests/kernels_c/test_any_network.py."""

import os

import numpy as np
import pytest

from sysmol.network import load, reference, save
from sysmol.network.builder import any_network
from sysmol.train.quantise import integer

COUNT = int(os.environ.get("SYSMOL_TEST_NETWORKS", "30"))


WANTED = {"conv2d", "depthwise", "avgpool", "maxpool", "upsample", "rescale", "flatten", "dilated", "groups"}
MOST = 50 * COUNT
"""Networks within which every operation and every way to multiply must occur."""


def test_pytorch_and_the_file_give_the_reference_s_logits(tmp_path, seed):
    """COUNT networks, and more until each operation and way to multiply has occurred."""
    missing, products = set(WANTED), {("low", "low"), ("high", "low")}
    for number in range(MOST):
        if number >= COUNT and not missing | products:
            break
        net = any_network(seed + number)
        for found in (net, load(save(tmp_path / "a.safetensors", net))):
            logits = integer.evaluate(found, net.samples.images)
            assert np.array_equal(logits, net.samples.logits), f"network {seed + number}"
        missing -= {layer.op for layer in net.layers}
        missing -= {"dilated" for layer in net.layers if layer.dilation != (1, 1)}
        missing -= {"groups" for layer in net.layers if layer.groups > 1}
        products -= {(o.multiply, o.residual_multiply) for layer in net.layers for o in layer.outputs}
    assert not missing and not products


@pytest.mark.parametrize("fault", ["M", "B", "pre", "shift"])
def test_a_changed_constant_changes_logits(fault, seed):
    """In three of the first hundred networks: some outputs saturate, some channels meet weights that cancel."""
    changed = 0
    for number in range(100):
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
        if changed == 3:
            break
    assert changed == 3
