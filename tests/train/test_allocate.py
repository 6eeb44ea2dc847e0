"""Layouts under limits: never exceeded, hardly wasted, with any scores; what tensors ask of the patterns."""

import numpy as np
import pytest
import torch
from networks import random_images

from sysmol.errors import SysmolError
from sysmol.patterns import UNIFORM
from train.allocate import (
    Allocation,
    largest_shift,
    learned_scores,
    random_scores,
    ranked_scores,
    sensitivity,
    stored_bits,
    vector_cost,
)
from train.data import to_real
from train.models import build
from train.modes import NOISE
from train.prepared import Prepared, prepare


@pytest.fixture
def noisy(seed: int) -> Prepared:
    """The digits network in phase 1, its precisions anywhere between 1 and 5 bits."""
    torch.manual_seed(seed)
    images = to_real(random_images(seed, 16, (8, 8, 1)))
    prepared = prepare(build("digits_net", 1, 10), images[:1], "mixed", "P8")
    prepared.calibrate(images)
    prepared.start_noise()
    with torch.no_grad():
        for domain in prepared.learned_domains().values():
            domain.s.copy_(torch.randn_like(domain.s) * 1.5 - 0.5)
    return prepared


@pytest.mark.parametrize("target", [3.0, 2.0, 1.5])
def test_a_size_is_met_and_used(noisy: Prepared, target: float, seed: int) -> None:
    for scores in (learned_scores(noisy), random_scores(noisy, seed)):
        noisy.freeze(bits=target, scores=scores)
        assert target - 0.1 < stored_bits(noisy) <= target
        for name, domain in noisy.learned_domains().items():
            order = scores[name].argsort(descending=True)
            assert (domain.precisions[order].diff() <= 0).all(), "a channel got more bits than one with a higher score"


def test_what_a_size_leaves_fills_no_further_registers(noisy: Prepared) -> None:
    for target in (2.5, 2.0, 1.5):
        allocation = Allocation(noisy, noisy.supported, learned_scores(noisy))
        found = allocation.solve(bits=target)
        shift = largest_shift(lambda x, a=allocation: a.fits(a.least(x)))
        assert shift is not None
        least = allocation.least(shift)
        assert all(found[name].registers <= least[name].registers for name in found)
        assert target >= stored_bits(noisy, found) >= stored_bits(noisy, least)


def test_patterns_without_wide_chunks(noisy: Prepared) -> None:
    noisy.freeze(bits=3.0, patterns=[UNIFORM[2], UNIFORM[1]])
    assert all((domain.precisions <= 2).all() for domain in noisy.learned_domains().values())


def test_a_cost_is_met(noisy: Prepared) -> None:
    noisy.freeze()
    free = {n: len(d.patterns) for n, d in noisy.learned_domains().items()}
    costs = noisy.domain_costs()
    limit = 0.7 * sum(costs[n] * v for n, v in free.items())
    noisy.freeze(cost=limit)
    assert sum(costs[n] * len(d.patterns) for n, d in noisy.learned_domains().items()) <= limit
    layer = next(u for u in noisy.graph.convolutions if noisy.input_format(u) == "smol")
    noisy.costs = {layer.name: 100.0}
    assert sum(noisy.domain_costs().values()) == 100.0
    assert vector_cost(noisy, {}) == 0


def test_limits_out_of_reach_say_the_least(noisy: Prepared) -> None:
    with pytest.raises(SysmolError, match=r"stores 1\.0"):
        noisy.freeze(bits=1.0)
    with pytest.raises(SysmolError, match="the least is"):
        noisy.freeze(cost=1.0)


def test_ranked_scores_keep_the_order(noisy: Prepared) -> None:
    values = {name: torch.randn(len(d.s)) for name, d in noisy.learned_domains().items()}
    ranked = ranked_scores(values)
    flat, ranks = torch.cat(list(values.values())), torch.cat(list(ranked.values()))
    assert torch.equal(flat.argsort(), ranks.argsort())
    assert float(ranks.min()) == 1 and float(ranks.max()) == 4


def test_sensitivity_is_the_slope_of_the_loss(noisy: Prepared, seed: int) -> None:
    """Against finite differences under the very same noise."""
    images, labels = to_real(random_images(seed, 16, (8, 8, 1))), torch.arange(16) % 10
    name, domain = next(iter(noisy.learned_domains().items()))
    assert noisy.mode == NOISE
    torch.manual_seed(seed)
    found = sensitivity(noisy, images, labels, batch=16)[name]

    def loss(shift: float) -> float:
        saved = domain.s.detach().clone()
        with torch.no_grad():
            domain.s.add_(shift)
            torch.manual_seed(seed)
            noisy.eval()
            value = float(torch.nn.functional.cross_entropy(noisy(images).double(), labels))
            domain.s.copy_(saved)
        return value

    step = 1e-3
    slope = (loss(step) - loss(-step)) / (2 * step)
    # d p / d s differs from channel to channel: back to the slope along s
    per_bit = -torch.sigmoid(-domain.s.detach()) / np.log(2)
    assert float((-found * per_bit).sum()) == pytest.approx(slope, rel=0.1, abs=0.02)


def test_demands_count_channels_and_weigh_readers(noisy: Prepared) -> None:
    gains = {name: torch.full((len(d.s),), 0.5) for name, d in noisy.learned_domains().items()}
    for demand in noisy.demands(gains=gains):
        domain = noisy.learned_domains()[demand.name]
        assert sum(demand.counts) == len(domain.s)
        assert demand.cycles == noisy.domain_costs()[demand.name] > 0
        assert demand.gains == (
            1.0 if demand.counts[1] else 0,
            1.5 if demand.counts[2] else 0,
            0.5 if demand.counts[2] else 0,
        )
