"""What is trained for comparison alone: other activation grids, separate precisions of weights and activations."""

import pytest
import torch
from networks import random_images

from sysmol.errors import SysmolError
from sysmol.network import reference
from sysmol.train.frontend.data import to_real
from sysmol.train.frontend.models import build
from sysmol.train.quantise import integer
from sysmol.train.quantise.export import export
from sysmol.train.quantise.modes import CLAMP, OFFSET, SYMMETRIC
from sysmol.train.quantise.prepared import Prepared, prepare
from sysmol.train.quantise.untied import activation_bits, freeze, separate, weight_bits


def ready(seed: int, grid: str = OFFSET) -> tuple[Prepared, torch.Tensor]:
    torch.manual_seed(seed)
    images = random_images(seed, 16, (8, 8, 1))
    prepared = prepare(build("digits_net", 1, 10), to_real(images)[:1], "mixed", "P4", grid)
    prepared.calibrate(to_real(images))
    return prepared, images


def step(prepared: Prepared, images: torch.Tensor) -> None:
    prepared.train()
    loss = prepared(to_real(images)).square().mean() + prepared.size_penalty()
    loss.backward()


@pytest.mark.parametrize("grid", [SYMMETRIC, CLAMP])
def test_grids_without_offset(grid: str, seed: int) -> None:
    prepared, images = ready(seed, grid)
    prepared.start_noise()
    step(prepared, images)
    prepared.freeze(bits=2.5)
    prepared.calibrate(to_real(images))
    for key in prepared.keys:
        if key[2] == "smol":
            activation = prepared.activation(key)
            assert not activation.offset.any() and not activation.ratio.requires_grad
    step(prepared, images)
    prepared.eval()
    if grid == SYMMETRIC:
        with pytest.raises(SysmolError, match="comparison only"):
            export(prepared, "n", to_real(images))
    else:
        net = export(prepared, "n", to_real(images))
        some = images[:3].numpy()
        assert (integer.evaluate(net, some) == reference.evaluate(net, some)).all()


def test_a_symmetric_grid_sees_the_activation_function_a_clamping_one_does_not(seed: int) -> None:
    for grid, negative in ((SYMMETRIC, False), (CLAMP, True)):
        prepared, images = ready(seed, grid)
        prepared.freeze()
        prepared.calibrate(to_real(images))
        key = next(k for k in prepared.keys if k[2] == "smol" and k[1] == "relu")
        x = torch.linspace(-4, 4, 64).view(1, 1, 8, 8).expand(1, len(prepared.domain(key[0]).s), 8, 8)
        stored = prepared._round(
            x,
            next(v for v in [u.input for u in prepared.graph.units.values()] if v and (v.unit, v.act) == key[:2]),
            "smol",
        )
        scale = float(prepared.activation(key).scale.detach().max())
        # without the activation function the grid's lowest code is reached; with it codes start next to zero
        assert bool((stored < -0.6 * scale).any()) == negative


def test_separate_precisions(seed: int) -> None:
    prepared, images = ready(seed)
    separate(prepared)
    prepared.start_noise()
    step(prepared, images)
    domains = [d for d in prepared.weight_domains.values()]
    assert domains and all(d.s.grad is not None and bool(d.s.grad.any()) for d in domains)
    with torch.no_grad():
        for domain in [*domains, *prepared.learned_domains().values()]:
            domain.s.copy_(torch.randn_like(domain.s))
    freeze(prepared, 2.5)
    assert 2.3 < weight_bits(prepared) <= 2.5 and 2.3 < activation_bits(prepared) <= 2.5
    own = [
        prepared.weight_domains[u.name].precisions
        for u in prepared.graph.convolutions
        if u.name in prepared.weight_domains
    ]
    shared = [
        prepared.domain(u.input.unit).precisions
        for u in prepared.graph.convolutions
        if u.name in prepared.weight_domains
    ]
    assert any(not torch.equal(a, b) for a, b in zip(own, shared, strict=True))
    prepared.calibrate(to_real(images))
    step(prepared, images)
    with pytest.raises(SysmolError, match="comparison only"):
        export(prepared.eval(), "n", to_real(images))
    with pytest.raises(SysmolError, match="1 bits per parameter"):
        freeze(prepared, 1.0)
