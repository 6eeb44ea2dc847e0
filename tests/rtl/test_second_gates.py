"""Units with instructions of the second page as gates in NumPy against the instruction table's meaning."""

import numpy as np
import pytest

from sysmol import isa
from sysmol.errors import SysmolError
from sysmol.isa.selectors import known
from sysmol.machine import PATTERN_SETS
from sysmol.rtl import gates, stimulus, units
from sysmol.rtl.circuit import from_planes, to_planes
from sysmol.rtl.hardware import INSTRUCTIONS, MATRIX_INSTRUCTIONS, PACK_INSTRUCTIONS, SECOND_PAGE, Hardware

VECTORS, FEW = 1_000_000, 20_000
FAULTS = 10
BOTH = (*INSTRUCTIONS, *SECOND_PAGE)


def check(unit: Hardware, name: str, rng: np.random.Generator, vectors: int) -> int:
    """Vectors of one instruction that were checked."""
    circuit, checked = gates.unit(unit), 0
    for batch in units.random_batches(unit, name, rng, vectors):
        assert batch.wrong(circuit.evaluate(batch.planes())) == 0, batch.name
        checked += len(batch.vd)
    assert checked >= vectors
    return checked


@pytest.mark.parametrize("name", SECOND_PAGE)
def test_random_vectors(name, hardware, rng):
    check(hardware(instructions=(name,)), name, rng, 10 * FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", SECOND_PAGE)
def test_a_million_random_vectors(name, hardware, rng):
    assert check(hardware(instructions=(name,)), name, rng, VECTORS) >= VECTORS


@pytest.mark.parametrize("name", ["vmm.w", "vmm.h", "vdw"])
def test_every_pair_of_codes(name, hardware):
    """65,536 vectors with every pair of codes in every byte: of P4's pieces the uniform and one mixed, of its forms
    those of the own unit, every row of taps."""
    unit = hardware("P4", instructions=(name,), pieces=(0, 3, 10, 14, 34), forms=(0, 4, 9))
    circuit = gates.unit(unit)
    for batch in units.pair_batches(unit):
        assert batch.wrong(circuit.evaluate(batch.planes())) == 0, batch.name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vmac", "vdot", "vmm.w", "vmm.h"])
def test_every_pair_of_codes_in_an_array_of_both_pages(name, hardware):
    unit = hardware(instructions=("vmac", "vdot", *MATRIX_INSTRUCTIONS))
    circuit = gates.unit(unit)
    vn, vm = stimulus.code_pairs()
    for fn, field6 in units.words(unit, name):
        batch = units.smol_batch(fn, field6, np.zeros_like(vn), vn, vm)
        assert batch.wrong(circuit.evaluate(batch.planes())) == 0, batch.name


@pytest.mark.parametrize("name", ["vqpk", "vqpk.h", "vqpk.s"])
def test_packing_of_every_lane_of_16_bits(name, hardware):
    """All 65,536 numbers of 16 bits as both halves of every lane of 32 bits, under every way to pack."""
    number = np.arange(1 << 16, dtype=np.uint32)
    vn = np.stack([(number * k & 0xFFFF) << 16 | number for k in (1, 3, 5, 7)], axis=1).astype("<u4").view(np.uint8)
    vm = np.roll(vn, 4, axis=1)
    unit = hardware(instructions=PACK_INSTRUCTIONS)
    circuit = gates.unit(unit)
    every = units.words(unit, name)
    for fn, field6 in every[:: 1 if len(every) < 8 else 8]:
        batch = units.smol_batch(fn, field6, vm[::-1], vn, vm)
        assert batch.wrong(circuit.evaluate(batch.planes())) == 0, batch.name


@pytest.mark.parametrize("patterns", [name for name in PATTERN_SETS if name != "P45"])
def test_arrays_of_both_pages_by_pattern_set(patterns, hardware, rng):
    unit = hardware(patterns, instructions=("vmac", "vdot", *MATRIX_INSTRUCTIONS))
    circuit = gates.unit(unit)
    for name in unit.instructions:
        for batch in units.random_batches(unit, name, rng, 4_000):
            assert batch.wrong(circuit.evaluate(batch.planes())) == 0, batch.name


@pytest.mark.parametrize(
    ("instructions", "options"),
    [
        (("vmm.w",), {"pieces": (25, 34)}),
        (("vmm.h", "vqpk"), {"forms": (10, 26)}),
        (("vdot", "vdw"), {}),
        (("vmla", "vunp.h"), {}),
    ],
)
def test_parts_of_the_second_page(instructions, options, hardware, rng):
    """Units with few instructions, pieces and forms: chunks that are always empty, an array of the first page's."""
    unit = hardware("P4", instructions=instructions, **options)
    for name in instructions:
        check(unit, name, rng, 2_000)


@pytest.mark.parametrize("patterns", list(PATTERN_SETS))
def test_exactly_the_words_of_the_unit_are_legal(patterns, hardware):
    unit = hardware(patterns, instructions=BOTH)
    fn, field6 = np.divmod(np.arange(1024), 64)
    registers = {name: to_planes(np.zeros((1024, 16), np.uint8), 128) for name in units.REGISTERS}
    outputs = gates.unit(unit).evaluate({"fn": to_planes(fn, 4), "field6": to_planes(field6, 6), **registers})
    legal = from_planes(outputs["legal"], 1024)[:, 0].astype(bool)
    words = set(units.words(unit))
    assert [(int(f), int(s)) in words for f, s in zip(fn, field6, strict=True)] == legal.tolist()


@pytest.mark.parametrize("name", SECOND_PAGE)
def test_injected_faults_are_found(name, hardware, rng):
    """Any inverted gate that an output depends on changes some result of a few hundred vectors of each word. All
    numbers with one bit set are among them: no other ones tell a clamp that misses a bit."""
    unit = hardware("P4", instructions=(name,))
    circuit = gates.unit(unit)
    powers = np.uint32(1) << np.arange(32, dtype=np.uint32)
    ones = np.tile(np.concatenate([powers, 0 * powers])[:, None], 4).astype("<u4").view(np.uint8)
    vectors = -(-6144 // len(units.words(unit)) // 64) * 64 + 64
    batches = [
        units.smol_batch(fn, field6, *(np.concatenate([stimulus.registers(rng, vectors), ones]) for _ in range(3)))
        for fn, field6 in units.words(unit)
    ]
    planes = {key: np.concatenate([batch.planes()[key] for batch in batches], axis=1) for key in circuit.inputs}
    expected = np.concatenate([to_planes(batch.expected, 128) for batch in batches], axis=1)
    for fault in rng.choice(circuit.used_gates(), FAULTS, replace=False):
        outputs = circuit.evaluate(planes, fault=int(fault))
        assert (outputs["result"] != expected).any() or not outputs["legal"].all(), f"gate {fault} inverted: not found"


def test_pieces_and_forms_follow_from_patterns(hardware):
    """P4's halves are uniform, or (2,2,0) and (0,2,2); all patterns have all pieces and forms."""
    four, every = hardware("P4", instructions=BOTH), hardware(instructions=BOTH)
    assert [isa.PIECES[n].chunks for n in four.values("piece")[:5]] == [
        (4, 4, 4, 4), (4, 4, 2, 2), (2, 2, 2, 2), (2, 2, 1, 1), (1, 1, 1, 1),
    ]  # fmt: skip
    assert {known(isa.form(n))[0].chunks for n in four.values("form")} == {(4, 4), (2, 2), (1, 1), (4,), (2,), (1,)}
    for selector in ("piece", "form"):
        assert every.values(selector) == isa.SELECTORS[selector].legal


def test_bad_pieces_and_forms_are_refused(hardware):
    with pytest.raises(SysmolError, match="is no piece pattern"):
        hardware(pieces=(38,))
    with pytest.raises(SysmolError, match="is no form selector"):
        hardware(forms=(32,))
    with pytest.raises(SysmolError, match="at least one piece"):
        hardware(pieces=())
