"""Rates of the three evaluations: measured on the same network, whose logits are compared."""

import numpy as np
import pytest

from sysmol.errors import CheckFailed
from sysmol.network.builder import random_network

pytest.importorskip("onnxruntime", reason="needs the extra onnx: pip install 'sysmol[onnx]'")


def test_rates(seed, monkeypatch):
    from sysmol.benchmarks import evaluation_rates

    net = random_network(seed)
    images = np.random.default_rng(seed).integers(0, 256, (16, *net.tensors[net.input].shape)).astype(np.uint8)
    found = evaluation_rates.rates(net, images, turns=1)
    assert len(found) == 3 and all(rate > 0 for rate in found.values())
    wrong = evaluation_rates.integer.evaluate
    monkeypatch.setattr(evaluation_rates.integer, "evaluate", lambda *given: wrong(*given) + 1)
    with pytest.raises(CheckFailed, match="PyTorch integers gives other logits"):
        evaluation_rates.rates(net, images, turns=1)
