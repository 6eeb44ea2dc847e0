"""SystemVerilog in Verilator, and netlists after synthesis, against the instruction table's meaning.

A million random vectors per instruction, as a stream of one instruction a cycle through all pipeline registers; every
pair of codes; injected faults. Skipped where the tools of the extra `rtl` are not installed.
"""

import numpy as np
import pytest

from sysmol.machine import PATTERN_SETS
from sysmol.rtl import liberty, measure, reference, sources, stimulus, synthesis, units, verilator
from sysmol.rtl.circuit import from_planes, to_planes
from sysmol.rtl.hardware import CUTS, INSTRUCTIONS, SECOND_PAGE

pytestmark = [pytest.mark.rtl, pytest.mark.slow]
needs_verilator = pytest.mark.skipif(bool(verilator.missing()), reason=verilator.missing())
needs_yosys = pytest.mark.skipif(bool(synthesis.missing()), reason=synthesis.missing())

VECTORS = 1_000_000
FAULTS = 200
BOTH = (*INSTRUCTIONS, *SECOND_PAGE)
OUTPUTS = {"legal": 1, "result": 128}


def delayed(register: np.ndarray, cycles: int, total: int) -> np.ndarray:
    """A stream of registers that comes ``cycles`` later, with zeros around it."""
    out = np.zeros((total, register.shape[1]), dtype=np.uint8)
    out[cycles : cycles + len(register)] = register
    return out


def wrong(model: verilator.Model, unit, batch: units.Batch, name: str) -> int:
    """Vectors of a batch whose result is wrong: operands follow their instruction, vd comes in the last stage."""
    decode = int("decode" in unit.cuts)
    latency = units.latency(unit.cuts, name)
    count = len(batch.vd)
    total = count + decode + latency
    streams = {key: np.full((count, 1), value, np.uint8) for key, value in batch.selectors.items()}
    streams = {key: delayed(stream, 0, total) for key, stream in streams.items()}
    streams |= {"vn": delayed(batch.vn, decode, total), "vm": delayed(batch.vm, decode, total)}
    streams["vd"] = delayed(batch.vd, decode + latency, total)
    out = model.run(streams)
    differs = (out["result"][decode + latency :] != batch.expected).any(axis=1)
    return int((differs | (out["legal"][:count, 0] != 1)).sum())


def none_wrong(name, batches, wrong_of) -> None:
    """All vectors of all batches are right; prints how many there were."""
    checked = 0
    for batch in batches:
        assert wrong_of(batch) == 0, batch.name
        checked += len(batch.vd)
    print(f"{name}: {checked} vectors, 0 differences")


def build(unit, folder, change=None) -> verilator.Model:
    """The unit in Verilator; ``change`` is a file, a text in it, and what stands there instead."""
    folder.mkdir(exist_ok=True)
    files = sources.write(unit, folder / "sv")
    if change is not None:
        name, old, new = change
        path = folder / "sv" / name
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
    return verilator.Model(files, "smol_unit", folder, {**units.selectors(unit), **units.REGISTERS}, OUTPUTS)


def wrong_with(unit, change, rng, folder) -> int:
    """Vectors of all instructions of a unit that a change of its source makes wrong."""
    model = build(unit, folder, change)
    return sum(
        wrong(model, unit, batch, name)
        for name in unit.instructions
        for batch in units.random_batches(unit, name, rng, 5_000)
    )


@pytest.fixture(scope="module")
def pipelined(hardware, tmp_path_factory):
    """The whole unit with all patterns and all pipeline registers, and its parameters."""
    unit = hardware(cuts=CUTS)
    return build(unit, tmp_path_factory.mktemp("unit")), unit


@needs_verilator
@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_rtl_of_every_instruction(pipelined, name, rng):
    model, unit = pipelined
    none_wrong(name, units.random_batches(unit, name, rng, VECTORS), lambda batch: wrong(model, unit, batch, name))


@needs_verilator
def test_rtl_of_every_pair_of_codes(pipelined):
    model, unit = pipelined
    for batch in units.pair_batches(unit):
        name = batch.name.split(".")[0]
        assert wrong(model, unit, batch, name) == 0, batch.name


@needs_verilator
@pytest.mark.parametrize("patterns", list(PATTERN_SETS))
def test_no_complaint_of_the_linter(hardware, patterns, tmp_path):
    assert verilator.lint(sources.write(hardware(patterns), tmp_path), "smol_unit") == ""


@pytest.fixture(scope="module")
def pipelined_second(hardware, tmp_path_factory):
    """The unit with both pages, all patterns, pieces and forms, and all pipeline registers, and its parameters."""
    unit = hardware(instructions=BOTH, cuts=CUTS)
    return build(unit, tmp_path_factory.mktemp("second")), unit


@needs_verilator
@pytest.mark.parametrize("name", BOTH)
def test_rtl_of_both_pages(pipelined_second, name, rng):
    model, unit = pipelined_second
    none_wrong(name, units.random_batches(unit, name, rng, VECTORS), lambda batch: wrong(model, unit, batch, name))


@needs_verilator
def test_rtl_of_both_pages_and_every_pair_of_codes(pipelined_second):
    model, unit = pipelined_second
    for batch in units.pair_batches(unit):
        name = next(name for name in sorted(BOTH, key=len, reverse=True) if batch.name.startswith(f"{name}."))
        assert wrong(model, unit, batch, name) == 0, batch.name


@needs_verilator
@pytest.mark.parametrize("instructions", [BOTH, ("vmm.w",), ("vmm.h", "vdot"), ("vdw", "vqpk.h"), ("vunp.h",)])
@pytest.mark.parametrize("patterns", list(PATTERN_SETS))
def test_no_complaint_of_the_linter_about_the_second_page(hardware, patterns, instructions, tmp_path):
    unit = hardware(patterns, instructions=instructions)
    assert verilator.lint(sources.write(unit, tmp_path), "smol_unit") == ""


SECOND_CHANGES = [
    ("smol_array.sv", "& ~low_is_short_now", ""),
    ("smol_array.sv", "word[0] ? lower : upper", "word[0] ? upper : lower"),
    ("smol_addend.sv", "upper[BITS-1:6]}", "upper[BITS-2:5]}"),
    ("smol_code.sv", "(lanes[15] & above_lower[15] | upper_over)", "upper_over"),
    ("smol_enter.sv", "{entering[3:0], old[63:4]}", "{entering[3:0], 1'b0, old[63:5]}"),
    ("smol_unpack.sv", "group[0] ? two[7:4] : two[3:0]", "two[3:0]"),
    ("smol_octet.sv", "{2{~half[2*n+1]}}", "{2{half[2*n+1]}}"),
    ("smol_taps.sv", "choice[0] ? vn[127:32] : vn[95:0]", "vn[95:0]"),
]


@needs_verilator
@pytest.mark.parametrize("change", SECOND_CHANGES, ids=[f"{name} {new}" for name, _, new in SECOND_CHANGES])
def test_faults_in_the_source_of_the_second_page_are_found(hardware, change, rng, tmp_path):
    assert wrong_with(hardware("P4", instructions=BOTH, cuts=("decode",)), change, rng, tmp_path / "faulty") > 0


CHANGES = [
    ("full_adder.sv", "a & b | either & c", "a & b | either"),
    ("smol_pack.sv", "{from[28:0], 2'b0}", "{from[27:0], 3'b0}"),
    ("smol_mul.sv", "lower[8] & is4_1", "lower[8]"),
    ("smol_array.sv", "{2{lanes[i][BITS-1]}}", "{2{1'b0}}"),
]


@needs_verilator
@pytest.mark.parametrize("change", CHANGES, ids=[name for name, _, _ in CHANGES])
def test_faults_in_the_source_are_found(hardware, change, rng, tmp_path):
    assert wrong_with(hardware("P4", cuts=("decode",)), change, rng, tmp_path / "faulty") > 0


@needs_verilator
@pytest.mark.parametrize("name", list(units.PLAIN_CUTS))
def test_rtl_of_the_units_to_compare_with(hardware, name, rng, tmp_path):
    cuts = units.PLAIN_CUTS[name]
    files = sources.write(hardware("P1"), tmp_path / "sv")
    parameters = {f"CUT_{cut}": 1 for cut in cuts}
    model = verilator.Model(files, name, tmp_path, units.REGISTERS, {"result": 128}, parameters=parameters)
    late = 0 if name == "fma4" else len(cuts)
    for batch in units.plain_batches(name, rng, VECTORS):
        total = len(batch.vd) + len(cuts)
        streams = {"vn": delayed(batch.vn, 0, total), "vm": delayed(batch.vm, 0, total)}
        out = model.run(streams | {"vd": delayed(batch.vd, late, total)})
        assert (out["result"][len(cuts) :] == batch.expected).all()


def found_faults(netlist, unit, rng, vectors, faults) -> int:
    """How many of so many inverted gates of a netlist show, with so many vectors of each of its unit's words."""
    batches = [
        units.smol_batch(fn, field6, *(stimulus.registers(rng, vectors) for _ in range(3)))
        for fn, field6 in units.words(unit)
    ]
    names = {**units.selectors(unit), **units.REGISTERS}
    planes = {name: np.concatenate([batch.planes()[name] for batch in batches], axis=1) for name in names}
    expected = np.concatenate([to_planes(batch.expected, 128) for batch in batches], axis=1)
    found = 0
    for fault in rng.choice(len(netlist.gates), faults, replace=False):
        outputs = netlist.evaluate(planes, fault=int(fault))
        found += bool((outputs["result"] != expected).any() or not outputs["legal"].all())
    print(f"{found} of {faults} inverted gates found")
    return found


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """The whole unit's netlist after synthesis."""
    point = measure.Point("unit", "P45", 3, "balanced")
    return measure.build(point, liberty.load(), tmp_path_factory.mktemp("mapped"))[0]


@needs_yosys
@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_netlist_of_every_instruction(mapped, hardware, name, rng):
    batches = units.random_batches(hardware(), name, rng, VECTORS)
    none_wrong(name, batches, lambda batch: batch.wrong(mapped.evaluate(batch.planes())))


@needs_yosys
def test_netlist_of_every_pair_of_codes(mapped, hardware):
    for batch in units.pair_batches(hardware()):
        assert batch.wrong(mapped.evaluate(batch.planes())) == 0, batch.name


@needs_yosys
def test_faults_in_a_netlist_are_found(mapped, hardware, rng):
    assert found_faults(mapped, hardware(), rng, 192, FAULTS) >= 0.99 * FAULTS  # some mapped gates are redundant


SECOND_BLOCKS = {"matrix": 4, "packs": 2, "unpack": 1, "taps": 2, "mul": 2}
"""Blocks of the unit with both pages, by name, and their stages: together they have all its instructions."""


@pytest.fixture(scope="module")
def mapped_second(tmp_path_factory):
    """Netlists of the blocks of a unit with both pages."""
    folder = tmp_path_factory.mktemp("mapped")
    points = {name: measure.Point(name, "P45", stages, "balanced") for name, stages in SECOND_BLOCKS.items()}
    return {name: (point, measure.build(point, liberty.load(), folder)[0]) for name, point in points.items()}


@needs_yosys
@pytest.mark.parametrize("name", [*SECOND_PAGE, "vmac", "vdot", "vqpk"])
def test_netlists_of_the_second_page(mapped_second, name, rng):
    point, netlist = next(each for each in mapped_second.values() if name in measure.BLOCKS[each[0].unit])
    batches = units.random_batches(point.hardware(), name, rng, VECTORS)
    none_wrong(name, batches, lambda batch: batch.wrong(netlist.evaluate(batch.planes())))


@needs_yosys
@pytest.mark.parametrize("block", ["matrix", "packs", "unpack", "taps"])
def test_faults_in_netlists_of_the_second_page_are_found(mapped_second, block, rng):
    point, netlist = mapped_second[block]
    few = FAULTS // 4
    assert found_faults(netlist, point.hardware(), rng, 320, few) >= 0.9 * few  # some mapped gates are redundant


@needs_yosys
@pytest.mark.parametrize("script", [script for script in synthesis.SCRIPTS if script != "balanced"])
def test_netlists_of_the_second_page_by_other_scripts(script, rng, tmp_path):
    point = measure.Point("whole", "P4", 4, script)
    netlist, _, _ = measure.build(point, liberty.load(), tmp_path)
    for name in BOTH:
        for batch in units.random_batches(point.hardware(), name, rng, 20_000):
            assert batch.wrong(netlist.evaluate(batch.planes())) == 0, batch.name


@needs_yosys
@pytest.mark.parametrize("script", synthesis.SCRIPTS)
@pytest.mark.parametrize(("unit", "stages"), [("sdot", 2), ("smmla", 2), ("fma4", 3)])
def test_netlists_of_the_units_to_compare_with(unit, stages, script, rng, tmp_path):
    netlist, copies, _ = measure.build(measure.Point(unit, "", stages, script), liberty.load(), tmp_path)
    vectors = VECTORS if script == "balanced" else VECTORS // 10
    for batch in units.plain_batches(unit, rng, vectors):
        planes = batch.planes()
        if copies > 1:  # one fp32 lane
            planes = {"a": planes["vn"][:32], "b": planes["vm"][:32], "c": planes["vd"][:32]}
        found = from_planes(netlist.evaluate(planes)["result"], len(batch.vd))
        assert (found == batch.expected[:, : found.shape[1]]).all()


@needs_yosys
@pytest.mark.parametrize("script", synthesis.SCRIPTS)
def test_netlists_of_other_scripts_and_pattern_sets(hardware, script, rng, tmp_path):
    netlist, _, _ = measure.build(measure.Point("array", "P4", 4, script), liberty.load(), tmp_path)
    unit = hardware("P4", instructions=("vmac", "vdot"))
    for name in unit.instructions:
        for batch in units.random_batches(unit, name, rng, 100_000):
            assert batch.wrong(netlist.evaluate(batch.planes())) == 0, batch.name


def test_reference_knows_every_unit():
    assert set(reference.PLAIN) == set(units.PLAIN_CUTS)
