"""Layouts under limits: never exceeded, hardly wasted, with any scores; what tensors ask of the patterns."""

import itertools

import numpy as np
import pytest
import torch
from networks import random_images
from torch import nn

from sysmol.errors import SysmolError
from sysmol.pattern import UNIFORM, pattern_id, registers
from sysmol.patterns.demands import network_demands
from sysmol.patterns.slots import Cover, cover
from sysmol.train.frontend.data import to_real
from sysmol.train.frontend.models import build
from sysmol.train.quantise.allocate import (
    GAP,
    PRICE,
    allocate,
    learned_scores,
    least_limits,
    predicted_loss,
    random_scores,
    sensitivity,
    sensitivity_scores,
    stored_bits,
    uniform_cost,
    vector_cost,
)
from sysmol.train.quantise.export import export
from sysmol.train.quantise.modes import NOISE
from sysmol.train.quantise.prepared import Prepared, prepare
from sysmol.train.quantise.quantiser import nearest_precision


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
def test_a_size_is_met_and_used(noisy: Prepared, target: float, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Always met; used where nothing else is asked for. Where cycles count as well, fewer bits may be the better
    layout."""
    for scores in (learned_scores(noisy), random_scores(noisy, seed)):
        with monkeypatch.context() as free:
            free.setattr("sysmol.train.quantise.allocate.PRICE", 0.0)
            noisy.freeze(bits=target, scores=scores)
            assert target - 0.1 < stored_bits(noisy) <= target
        noisy.freeze(bits=target, scores=scores)
        assert stored_bits(noisy) <= target
        for name, domain in noisy.learned_domains().items():
            order = scores[name].argsort(descending=True)
            assert (domain.precisions[order].diff() <= 0).all(), "a channel got more bits than one with a higher score"


def two_domains(seed: int, patterns: str) -> Prepared:
    """A network in phase 1 with tensors of 20 and of 40 channels, their precisions anywhere between 1 and 5 bits."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(1, 20, 3), nn.ReLU(), nn.Conv2d(20, 40, 3), nn.ReLU(), nn.Conv2d(40, 8, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
    )  # fmt: skip
    prepared = prepare(module, torch.zeros(1, 1, 8, 8), "mixed", patterns)
    prepared.start_noise()
    with torch.no_grad():
        for domain in prepared.learned_domains().values():
            domain.s.copy_(torch.randn_like(domain.s) * 1.5 - 0.5)
    assert sorted(len(d.s) for d in prepared.learned_domains().values()) == [20, 40]
    return prepared


def every_cover(prepared: Prepared, name: str, score: torch.Tensor) -> list[Cover]:
    """Covers of all requests that give no channel more than one with a higher score."""
    order = score.argsort(descending=True).numpy()
    found = []
    for at4, at2 in itertools.combinations_with_replacement(range(len(order) + 1), 2):
        asked = np.ones(len(order), dtype=np.int64)
        asked[order[:at2]] = 2
        asked[order[:at4]] = 4
        found.append(cover(asked, prepared.supported, score.double().numpy(), False))
    return found


@pytest.mark.parametrize("patterns", ["P4", "P8"])
def test_no_layouts_within_the_limits_are_better(patterns: str, seed: int) -> None:
    """Against all pairs of covers of two tensors."""
    prepared = two_domains(seed, patterns)
    scores = learned_scores(prepared)
    weights, penalty, costs = prepared.domain_weights(), prepared.penalty_weights(), prepared.domain_costs()
    size, cost, losses = (np.zeros(()) for _ in range(3))
    for name, score in scores.items():
        covers = every_cover(prepared, name, score)
        p = score.double().numpy()
        size = np.add.outer(size, [weights[name] * c.precisions.sum() for c in covers])
        cost = np.add.outer(cost, [costs[name] * c.registers for c in covers])
        losses = np.add.outer(losses, [penalty[name] * (4.0 ** (p - c.precisions)).sum() for c in covers])
    parameters = sum(prepared.convolution(u.name).weight.numel() for u in prepared.graph.convolutions)
    edges = 8 * (parameters - sum(weights[name] * len(score) for name, score in scores.items()))
    for bits, share in ((3.0, None), (2.0, None), (None, 0.6), (None, 0.4), (2.6, 0.6), (2.2, 0.4)):
        limit = np.inf if share is None else share * uniform_cost(prepared)
        within = ((size + edges) / parameters <= (bits or np.inf)) & (cost <= limit)
        chosen = allocate(prepared, prepared.supported, scores, bits, None if share is None else limit)
        assert stored_bits(prepared, chosen) <= (bits or np.inf) and vector_cost(prepared, chosen) <= limit
        assert within.any()
        least = losses[within].min()
        objective = losses / least + PRICE * cost / uniform_cost(prepared)
        found = predicted_loss(prepared, scores, chosen) / least + PRICE * vector_cost(prepared, chosen) / uniform_cost(
            prepared
        )
        assert found == pytest.approx(objective[within].min(), rel=2 * GAP), (bits, share)


def test_cycles_that_hardly_help_are_saved_without_a_limit_of_theirs() -> None:
    """One channel of 20 that would gain from 4 bits does not fill a register with pixels that fit into half of one."""
    prepared = two_domains(0, "P4")
    scores = {name: torch.full((len(d.s),), 2.0) for name, d in prepared.learned_domains().items()}
    narrow = next(name for name, score in scores.items() if len(score) == 20)
    scores[narrow][0] = 2.6
    asked = {name: cover(nearest_precision(score).numpy(), prepared.supported) for name, score in scores.items()}
    bits = stored_bits(prepared, asked) + 0.1
    chosen = allocate(prepared, prepared.supported, scores, bits)
    assert chosen[narrow].registers == 0.5 and set(chosen[narrow].precisions) == {2}
    scores[narrow][0] = 6.0
    chosen = allocate(prepared, prepared.supported, scores, bits)
    assert chosen[narrow].registers == 1 and chosen[narrow].precisions[0] == 4


def test_a_bit_for_all_scores_changes_no_layout_within_limits(noisy: Prepared) -> None:
    scores = learned_scores(noisy)
    first = allocate(noisy, noisy.supported, scores, 2.0)
    second = allocate(noisy, noisy.supported, {name: score + 1.5 for name, score in scores.items()}, 2.0)
    assert all(np.array_equal(first[name].precisions, second[name].precisions) for name in scores)


def test_the_least_limits_can_be_met_together(noisy: Prepared) -> None:
    for patterns in (noisy.supported, [pattern_id(2, 4, 2)], [UNIFORM[2], pattern_id(1, 2, 5)]):
        bits, cost = least_limits(noisy, patterns)
        found = allocate(noisy, patterns, learned_scores(noisy), bits, cost)
        assert stored_bits(noisy, found) == pytest.approx(bits) and vector_cost(noisy, found) == pytest.approx(cost)
        with pytest.raises(SysmolError, match=r"cannot be reached|cannot be met together"):
            allocate(noisy, patterns, learned_scores(noisy), bits * 0.999, cost)


def test_patterns_without_wide_chunks(noisy: Prepared) -> None:
    noisy.freeze(bits=3.0, patterns=[UNIFORM[2], UNIFORM[1]])
    assert all((domain.precisions <= 2).all() for domain in noisy.learned_domains().values())


def test_a_cost_is_met(noisy: Prepared) -> None:
    noisy.freeze()
    limit = 0.7 * vector_cost(noisy)
    noisy.freeze(cost=limit)
    assert 0.5 * limit < vector_cost(noisy) <= limit
    layer = next(u for u in noisy.graph.convolutions if noisy.input_format(u) == "smol")
    noisy.costs = {layer.name: 100.0}
    assert sum(noisy.domain_costs().values()) == 100.0 == sum(noisy.penalty_weights().values())
    assert vector_cost(noisy, {}) == 0
    noisy.costs = {"none of its layers": 1.0}
    noisy.freeze(bits=2.0, cost=0.0)  # nothing costs anything
    assert stored_bits(noisy) <= 2.0


def test_costs_are_the_instructions_of_the_exported_network(noisy: Prepared) -> None:
    """What training takes for a register's cost is what the choice of patterns reads off the network file."""
    noisy.freeze()
    costs = noisy.domain_costs()
    found = network_demands(export(noisy.eval(), "n", to_real(random_images(0, 4, (8, 8, 1)))))
    parts = {name: registers(d.patterns, len(d.s)) for name, d in noisy.learned_domains().items()}
    expected = [costs[name] * (part if part < 1 else 1) for name, part in parts.items()]
    assert sorted(demand.cycles for demand in found) == pytest.approx(sorted(expected))


def test_limits_out_of_reach_say_the_least(noisy: Prepared) -> None:
    with pytest.raises(SysmolError, match=r"stores 1\.0"):
        noisy.freeze(bits=1.0)
    with pytest.raises(SysmolError, match=r"the least are \d+\.\d%"):
        noisy.freeze(cost=1.0)


def test_sensitivity_scores_follow_the_law_of_rounding() -> None:
    """Losses a * 4**-p have the slopes a * ln 4 * 4**-4 at 4 bits; at its score a bit is worth as much in every
    channel."""
    losses = {"a": torch.tensor([1.0, 4.0, 64.0]), "b": torch.tensor([16.0, -2.0])}
    weights = {"a": 9.0, "b": 18.0}
    scores = sensitivity_scores({name: a * np.log(4) * 4.0**-4 for name, a in losses.items()}, weights)
    worth = torch.cat([a * 4.0 ** -scores[name] / weights[name] for name, a in losses.items()])
    assert worth[:4].numpy() == pytest.approx(float(worth[0]))
    assert scores["b"][1] == scores["a"].min() < scores["b"][0]


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
