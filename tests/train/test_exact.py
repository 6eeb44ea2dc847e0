"""Export: the integers of PyTorch and of the reference are the same, and they stand for the float network."""

import numpy as np
import pytest
import torch
from networks import MODULES, network

from sysmol.network import load, reference, save
from sysmol.train.frontend.data import to_real
from sysmol.train.frontend.policy import Policy
from sysmol.train.quantise import integer

POLICIES = {
    "mixed": "mixed",
    "w4": "w4",
    "w2": "w2",
    "w1": "w1",
    "int8": "int8",
    "fp32": "fp32",
    "all-smol": Policy(default="learned", edges="learned"),
    "all-1": Policy(default=1, edges=1),
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("policy", POLICIES)
def test_integers_equal_the_reference(name: str, policy: str, tmp_path, seed: int) -> None:
    net, _, images = network(name, POLICIES[policy], seed, "P45" if seed % 2 else "P4")
    path = save(tmp_path / "n.safetensors", net)
    loaded = load(path)
    some = images[:2].numpy()
    wanted = reference.evaluate(net, some)
    for version in (net, loaded):
        found = integer.evaluate(version, some)
        if net.is_float:
            assert np.allclose(found, wanted, rtol=1e-4, atol=1e-4)
        else:
            assert found.dtype == np.int32 and np.array_equal(found, wanted)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("policy", POLICIES)
def test_integers_follow_the_float_network(name: str, policy: str) -> None:
    """How close is a matter of statistics: a 1-bit code that falls to the other side moves by the whole range, and an
    untrained network has many near the boundary. So the seed is fixed; exactness has random seeds above."""
    net, prepared, images = network(name, POLICIES[policy], 5, "P45")
    with torch.no_grad():
        real = prepared(to_real(images)).numpy()
    logits = integer.evaluate(net, images.numpy()) * net.provenance.get("logit_scale", 1.0)
    if net.is_float:
        assert np.allclose(real, logits, atol=1e-3)
        return
    # Codes on a rounding boundary may fall to the other side: most logits agree closely, and all of them correlate.
    error = np.abs(real - logits) / (np.abs(real).max() + 1e-9)
    assert np.median(error) < 0.02, np.median(error)
    assert np.corrcoef(real.ravel(), logits.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("policy", ["mixed", "w4", "int8"])
def test_order_groups_share_their_slots(policy: str) -> None:
    net, _, _ = network("mixture", policy, 5)
    for layer in net.layers:
        tied = [layer.residual] if layer.residual else []
        tied += layer.targets
        tied += [layer.input] if layer.op in ("depthwise", "maxpool", "avgpool") else []
        slots = [net.tensors[t].slots for t in tied if net.tensors[t].format == "smol"]
        for other in slots[1:]:
            assert np.array_equal(np.argsort(slots[0]), np.argsort(other))


def test_border_classes_carry_the_offset() -> None:
    """A constant image through padded convolutions: border pixels differ by what padding leaves out."""
    net, prepared, _ = network("mixture", "w4", 11)
    stem = next(layer for layer in net.layers if layer.name == "conv1")
    assert stem.outputs[0].B.shape[0] == 3
    image = np.full((1, 9, 11, 3), 200, np.uint8)
    with torch.no_grad():
        real = prepared(to_real(image)).numpy()
    logits = integer.evaluate(net, image) * net.provenance["logit_scale"]
    assert np.abs(real - logits).max() < 0.1 * np.abs(real).max()


def test_policy_per_layer() -> None:
    net, _, _ = network("mixture", Policy(default=4, edges=8, layers={"conv3": 8, "shortcut": 8}), 2)
    formats = {layer.name: net.tensors[layer.input].format for layer in net.layers}
    assert formats["conv3"] == formats["shortcut"] == "s8" and formats["conv1"] == "smol"
