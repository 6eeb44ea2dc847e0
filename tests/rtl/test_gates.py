"""The unit as gates in NumPy against the instruction table's meaning: no tool is needed.

A million random vectors per instruction, every pair of codes under every pattern and part, every illegal word, and
injected faults, which must be found.
"""

import numpy as np
import pytest

from sysmol.machine import PATTERN_SETS
from sysmol.rtl import gates, stimulus, units
from sysmol.rtl.circuit import from_planes, to_planes
from sysmol.rtl.hardware import INSTRUCTIONS

VECTORS = 1_000_000
FAULTS = 60


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_a_million_random_vectors(name, hardware, rng):
    unit = hardware(instructions=(name,))
    circuit = gates.unit(unit)
    checked = 0
    for batch in units.random_batches(unit, name, rng, VECTORS):
        assert batch.wrong(circuit.evaluate(batch.planes())) == 0, batch.name
        checked += len(batch.vd)
    assert checked >= VECTORS


@pytest.mark.parametrize("name", ["vmac", "vmul"])
def test_every_pair_of_codes(name, hardware):
    unit = hardware(instructions=(name,))
    circuit = gates.unit(unit)
    for batch in units.pair_batches(unit):
        assert batch.wrong(circuit.evaluate(batch.planes())) == 0, batch.name


@pytest.mark.parametrize("patterns", [name for name in PATTERN_SETS if name != "P45"])
def test_pattern_sets(patterns, hardware, rng):
    unit = hardware(patterns)
    circuit = gates.unit(unit)
    for name in ("vmac", "vdot"):
        for batch in units.random_batches(unit, name, rng, 20_000):
            assert batch.wrong(circuit.evaluate(batch.planes())) == 0, batch.name


@pytest.mark.parametrize("patterns", list(PATTERN_SETS))
def test_exactly_the_words_of_the_unit_are_legal(patterns, hardware):
    unit = hardware(patterns)
    fn, field6 = np.divmod(np.arange(512), 64)
    registers = {name: to_planes(np.zeros((512, 16), np.uint8), 128) for name in units.REGISTERS}
    outputs = gates.unit(unit).evaluate({"fn": to_planes(fn, 3), "field6": to_planes(field6, 6), **registers})
    legal = from_planes(outputs["legal"], 512)[:, 0].astype(bool)
    known = set(units.words(unit))
    assert [(int(f), int(s)) in known for f, s in zip(fn, field6, strict=True)] == legal.tolist()


def test_injected_faults_are_found(hardware, rng):
    """Any inverted gate that an output depends on changes some result of a few hundred vectors of each word."""
    unit = hardware("P4")
    circuit = gates.unit(unit)
    batches = [
        units.smol_batch(fn, field6, *(stimulus.registers(rng, 384) for _ in range(3)))
        for fn, field6 in units.words(unit)
    ]
    planes = {name: np.concatenate([batch.planes()[name] for batch in batches], axis=1) for name in circuit.inputs}
    expected = np.concatenate([to_planes(batch.expected, 128) for batch in batches], axis=1)
    for fault in rng.choice(circuit.used_gates(), FAULTS, replace=False):
        outputs = circuit.evaluate(planes, fault=int(fault))
        assert (outputs["result"] != expected).any() or not outputs["legal"].all(), f"gate {fault} inverted: not found"
