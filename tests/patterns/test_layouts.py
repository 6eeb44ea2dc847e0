"""The table of layouts against all covers there are: none is missing, none is anything else than its cover."""

import numpy as np
import pytest

from sysmol.machine import pattern_set
from sysmol.pattern import UNIFORM, pattern_id
from sysmol.patterns.layouts import GRAIN, fewest_vectors, layouts
from sysmol.patterns.slots import Cover, cover

SETS = {
    "P4": pattern_set("P4"), "P8": pattern_set("P8"), "P45": pattern_set("P45"),
    "one": [pattern_id(2, 4, 2)], "narrow": [UNIFORM[2], UNIFORM[1]], "odd": [pattern_id(4, 4, 0), pattern_id(1, 0, 7)],
}  # fmt: skip


ROUNDING = 1e-12
"""Relative difference of two sums of the same numbers in another order, and then some."""


def figures(found: Cover, scores: np.ndarray) -> tuple[float, int, float]:
    """Registers, bits and error of a cover."""
    return found.registers, int(found.precisions.sum()), float((4.0 ** (scores - found.precisions)).sum())


def worth_having(covers: set[tuple[float, int, float]], slack: float) -> dict[tuple[float, int], float]:
    """Least errors by registers and bits, without those that no less of anything comes with; an error that is larger
    by no more than ``slack``, in parts of it, counts as no larger."""
    least: dict[tuple[float, int], float] = {}
    for registers, bits, error in covers:
        least[registers, bits] = min(error, least.get((registers, bits), error))
    return {
        key: error
        for key, error in least.items()
        if not any(
            other != key and other[0] <= key[0] and other[1] <= key[1] and least[other] <= error * (1 + slack)
            for other in least
        )
    }


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("channels", [1, 16, 20, 33, 70])
def test_all_covers_worth_having(name: str, channels: int, seed: int) -> None:
    ids = SETS[name]
    scores = np.random.default_rng(seed).normal(2, 1, channels)
    order = np.argsort(-scores)
    widest = 2 if name == "narrow" else 4
    covers = set()
    for at2 in range(channels + 1):
        for at4 in range(at2 + 1 if widest == 4 else 1):
            asked = np.ones(channels, dtype=np.int64)
            asked[order[:at2]] = 2
            asked[order[:at4]] = 4
            covers.add(figures(cover(asked, ids, scores, False), scores))
    table = layouts(scores, ids)
    keys = list(zip(table.registers.tolist(), table.bits.tolist(), strict=True))
    listed = dict(zip(keys, table.error.tolist(), strict=True))
    assert len(listed) == len(keys)
    # Sums in another order decide ties otherwise: what is listed lies between both readings of a tie.
    certain, possible = worth_having(covers, ROUNDING), worth_having(covers, -ROUNDING)
    assert certain.keys() <= listed.keys() <= possible.keys()
    assert all(error == pytest.approx(possible[key], rel=ROUNDING) for key, error in listed.items())


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(("channels", "groups"), [(40, 1), (100, 1), (40, 2), (24, 3), (33, 11)])
def test_every_entry_is_its_cover(name: str, channels: int, groups: int, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(2, 1, channels)
    table = layouts(scores, SETS[name], groups)
    for entry in range(len(table.bits)):
        found = cover(table.requested(entry), SETS[name], scores, False, groups)
        assert np.array_equal(found.precisions, table.requested(entry))
        registers, bits, error = figures(found, scores)
        assert (registers, bits) == (table.registers[entry], table.bits[entry])
        assert error == pytest.approx(table.error[entry], rel=ROUNDING)


def test_many_channels_change_their_precisions_in_steps() -> None:
    channels = 2 * GRAIN + 7
    table = layouts(np.linspace(1, 4, channels), SETS["P4"])
    assert {0, channels} <= set(table.at2.tolist()) and len(set(table.at2.tolist())) <= GRAIN
    assert all(end % 3 == 0 or end == channels for end in [*table.at4, *table.at2])


def test_slots_hold_channels_of_their_own_precision_alone() -> None:
    """65 channels: (2,4,2) holds them with 4 and 2 bits among them; of 1 bit alone they take (0,0,8); one of 4 bits and
    64 of 1 bit take one vector of each."""
    counts = tuple(np.array(each) for each in ([8, 0, 1, 0], [32, 0, 0, 65], [25, 65, 64, 0]))
    assert fewest_vectors(counts, SETS["P4"]).tolist() == [1, 1, 2, 2]  # type: ignore[arg-type]
    assert np.isinf(fewest_vectors(counts, [UNIFORM[2]])[:3]).all()  # type: ignore[arg-type]
