"""Sub-networks are parts of the whole, ordinary modules, exported with their bits; trainings resume exactly."""

import os
import random
from pathlib import Path

import pytest
import torch

from sysmol.errors import SysmolError
from sysmol.search.spaces import load_space
from sysmol.search.supernet.fake import round_activations, round_weights
from sysmol.search.supernet.families import build, largest, layer_bits
from sysmol.search.supernet.supernet import Supernet, corner
from sysmol.search.supernet.training import Schedule, points_of, train
from sysmol.train.frontend.policy import Policy
from sysmol.train.quantise.prepared import prepare

SEED = int(os.environ.get("SYSMOL_TEST_SEED", "20261130"))
SHORT = Schedule(whole=2, kernel=1, shape=2, bits=2, batch=16, random=1)


@pytest.fixture
def rng() -> random.Random:
    print(f"seed {SEED}")
    torch.manual_seed(SEED)
    return random.Random(SEED)


@pytest.mark.parametrize("name", ["resnet-digits", "resnet-cifar", "mobilenetv2-cifar"])
def test_every_network_is_a_part_of_the_largest(name: str, rng: random.Random):
    """By name and shape; what is extracted computes with the whole's numbers and nothing of the skeleton's."""
    space = load_space(name)
    net = Supernet(space, 3, 10)
    for point in (largest(space), space.random(rng), space.random(rng)):
        parts = net.parts(point)
        size = int(point["resolution"])
        images = torch.randn(4, 3, size, size)
        module = net.extract(point, images)
        for key, value in module.named_parameters():
            assert torch.equal(value, parts[key])
        with torch.no_grad():
            assert module(images).shape == (4, 10)
        convolutions = {key for key, each in module.named_modules() if isinstance(each, torch.nn.Conv2d)}
        assert convolutions - {"stem.0.0"} == set(layer_bits(space, point))


def test_corner():
    whole = torch.arange(2 * 3 * 5 * 5).reshape(2, 3, 5, 5)
    assert torch.equal(corner(whole, torch.Size([1, 2, 3, 3])), whole[:1, :2, 1:4, 1:4])


def test_training_a_part_trains_the_whole(rng: random.Random):
    """The part that a sub-network has, and no other weight."""
    space = load_space("resnet-digits")
    net = Supernet(space, 1, 10)
    smallest = space.decode([0] * len(space.genes))
    net.forward_point(smallest, torch.randn(4, 1, 8, 8)).sum().backward()
    gradient = net.whole.get_parameter("stages.0.0.conv1.0.weight").grad
    assert gradient is not None
    assert gradient[:8, :8].abs().sum() > 0 and gradient[8:].abs().sum() == 0
    assert net.whole.get_parameter("stages.0.1.conv1.0.weight").grad is None


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_rounding(bits: int, rng: random.Random):
    x = torch.randn(6, 4, 3, 3)
    weights = round_weights(x, bits)
    for channel in torch.round(weights, decimals=4):  # the straight-through sum leaves noise in the last bits
        steps = channel.unique().diff()
        assert len(channel.unique()) <= 1 << bits and (channel != 0).all()
        assert torch.allclose(steps / steps.min(), (steps / steps.min()).round(), atol=0.02)
    assert len(torch.round(round_activations(x.relu(), bits), decimals=4).unique()) <= 1 << bits


def test_phases(rng: random.Random):
    space = load_space("mobilenetv2-cifar")
    assert points_of(space, "whole", rng, 2) == [largest(space)]
    for point in points_of(space, "kernel", rng, 3):
        assert all(point[name] == value for name, value in largest(space).items() if not name.startswith("kernel"))
    assert len({space.key(point) for point in points_of(space, "bits", rng, 3)}) == 5
    assert [SHORT.phase(step) for step in range(SHORT.steps)] == ["whole"] * 2 + ["kernel"] + ["shape"] * 2 + [
        "bits"
    ] * 2


def test_a_training_goes_on(tmp_path: Path, rng: random.Random):
    """Stopped behind any step, it ends in the same weights; another training's file is refused."""
    space = load_space("resnet-digits")
    images, labels = torch.randn(32, 1, 8, 8), torch.randint(0, 10, (32,))
    whole = train(space, images, labels, 10, SHORT, SEED)

    class Stop(Exception):
        pass

    def stop(line: str) -> None:
        if "step 4" in line:
            raise Stop

    file = tmp_path / "supernet.pt"
    with pytest.raises(Stop):
        train(space, images, labels, 10, SHORT, SEED, file, say=stop, every=1)
    resumed = train(space, images, labels, 10, SHORT, SEED, file, every=1)
    for one, other in zip(whole.whole.parameters(), resumed.whole.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(SysmolError, match="of another training"):
        train(space, images, labels, 10, SHORT, SEED + 1, file)
    with pytest.raises(SysmolError, match="of another training"):
        train(space, images.flip(0), labels, 10, SHORT, SEED, file)
    torch.save(torch.load(file, weights_only=True) | {"weights": {}}, file)
    with pytest.raises(SysmolError, match="is no checkpoint"):
        train(space, images, labels, 10, SHORT, SEED, file)
    file.write_bytes(b"nothing")
    with pytest.raises(SysmolError, match="is no checkpoint"):
        train(space, images, labels, 10, SHORT, SEED, file)


def test_a_sub_network_is_prepared_with_its_bits(rng: random.Random):
    """An ordinary module for the package's own training; every layer gets the bits of its genes."""
    space = load_space("resnet-digits")
    point = space.random(rng)
    images = torch.randn(16, 1, 8, 8)
    module = Supernet(space, 1, 10).extract(point, images)
    bits = layer_bits(space, point)
    prepared = prepare(module, images, Policy(default=4, layers=dict(bits)), "P45")
    for unit in prepared.graph.convolutions:
        if unit.path in bits:
            assert prepared.bits[unit.name] == bits[unit.path]


def test_builds_are_different(rng: random.Random):
    space = load_space("resnet-digits")
    point = dict(largest(space))
    point["width2"] = 16
    small = build(space, space.canonical(point), 1, 10)
    sizes = [sum(p.numel() for p in each.parameters()) for each in (small, build(space, largest(space), 1, 10))]
    assert sizes[0] < sizes[1]
