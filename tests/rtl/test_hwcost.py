"""The cost table and what it is made of: the cell library, timing, energy, tables, and the command."""

import json

import numpy as np
import pytest

from sysmol import hwcost
from sysmol.errors import CheckFailed, SysmolError
from sysmol.rtl import liberty, measure, netlist, page, power, results, synthesis, tables, timing
from sysmol.rtl.hardware import Hardware

NAND, FLOP = "NAND2x1_ASAP7_75t_R", "DFFHQNx1_ASAP7_75t_R"


@pytest.fixture(scope="module")
def library():
    return liberty.load()


@pytest.fixture(scope="module")
def table():
    return hwcost.read()


def test_library(library):
    nand, flop = library.cells[NAND], library.cells[FLOP]
    assert len(library.cells) == 72 and library.voltage == 0.7
    assert nand.area == 0.08748 and nand.inputs == ("A", "B")
    assert [nand.evaluate(a, b) & 1 for a, b in ((0, 0), (0, 1), (1, 0), (1, 1))] == [1, 1, 1, 0]
    assert flop.is_flop and flop.inputs == ("D",) and flop.evaluate(0) & 1 == 1  # its output is inverted
    delay, _ = nand.arcs["Y"][0].tables["rise"]
    assert delay(10.0, 1.44) == pytest.approx(delay.values[1][1])  # a point of the table itself
    assert delay(10.0, 1.44) < delay(10.0, 2.0) < delay(10.0, 2.88)


def test_bad_libraries_are_refused(tmp_path):
    broken = tmp_path / "x.lib"
    broken.write_text("cell (X) { }")
    with pytest.raises(SysmolError, match="no cell library"):
        liberty.load(broken)
    with pytest.raises(SysmolError, match="cannot read"):
        liberty.load(tmp_path / "absent.lib")


def chain(library, length: int) -> netlist.Netlist:
    """A chain of NAND gates from input a, their other input b, to output y."""
    gates, net = [], 2
    for number in range(length):
        gates.append(netlist.Gate(library.cells[NAND], (net, 3), 10 + number))
        net = 10 + number
    return netlist.Netlist({"a": [2], "b": [3]}, {"y": [net]}, gates)


def test_delay_grows_with_the_chain(library):
    one, two, ten = (timing.analyse(chain(library, n), library).period for n in (1, 2, 10))
    assert timing.analyse(chain(library, 1), library).launch < one < two < ten
    assert timing.analyse(chain(library, 10), library, wire=1.0).period > ten


def planes(*bits: int) -> np.ndarray:
    return np.array([[(1 << 64) - 1 if bit else 0] for bit in bits], dtype=np.uint64)


def test_energy_counts_edges_and_glitches(library):
    circuit = chain(library, 8)
    found = timing.analyse(circuit, library)

    def energy(before, after):
        inputs = [{"a": planes(x), "b": planes(y)} for x, y in (before, after)]
        return power.simulate(circuit, library, found, *inputs, 64)

    idle, switching = energy((0, 1), (0, 1)), energy((0, 1), (1, 1))
    assert idle.useful == idle.glitches == 0 and idle.leakage > 0
    assert switching.useful > 0 and switching.glitches == 0  # every net changes once
    nand = library.cells[NAND]
    least = 8 * 0.5 * nand.capacitance["A"] * library.voltage**2 * 1e-3
    assert switching.useful > least * 0.9


def test_short_pulses_vanish_and_long_ones_stay():
    wave = np.zeros((40, 1), dtype=np.uint64)
    wave[5:8], wave[20:30] = 1, 1
    kept = power.without_pulses(wave, 4)
    assert kept[:20].sum() == 0 and (kept[20:30] == 1).all() and kept[30:].sum() == 0
    assert (power.without_pulses(1 - wave, 4) == 1 - kept).all()


def test_netlists_with_foreign_cells_are_refused(library):
    text = json.dumps({"modules": {"m": {"cells": {"x": {"type": "$add"}}, "ports": {}, "netnames": {}}}})
    with pytest.raises(SysmolError, match="no cell of the library"):
        netlist.read(text, "m", library)


def test_committed_table_is_of_this_instruction_set_and_these_sources(table):
    assert table["library"]["sha256"] == liberty.load().sha256
    assert {hwcost.key(row) for row in table["points"]} == {
        (point.unit, point.patterns, point.stages, point.script) for point in results.plan()
    }
    for row in table["points"]:
        point = measure.Point(row["unit"], row["patterns"], row["stages"], row["script"])
        assert row["sources"] == measure.digest(point.hardware())[:16], f"{point.name}: measured with other sources"


def test_page_figure_and_sample_are_made_of_the_table():
    for path, text in page.files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run python -m sysmol.rtl.page"


def test_more_precisions_cost_more_and_more_patterns_hardly(table):
    one, four, all_of_them = (hwcost.find(table, "array", name, 1)["logic_um2"] for name in ("P1", "P4", "P45"))
    assert one < four <= all_of_them * 1.01
    assert all_of_them / four < 1.05 < four / one


def test_tables_have_every_unit(table):
    head, rows = tables.equal_area(table)
    assert len(rows) == 24 and all(len(row) == len(head) for row in rows)
    assert [row[2] for row in rows[:3]] == ["32", "64", "128"]
    assert {row[0]: row[2] for row in rows if row[1] == "1"} == {
        "vdot": "128", "vmac": "128", "vmul": "16", "vmla": "16", "vmm.w": "256", "vmm.h": "256", "vdw": "24",
    }  # fmt: skip
    for name, build in tables.TABLES.items():
        head, rows = build(table)
        assert rows and all(len(row) == len(head) for row in rows), name


@pytest.mark.parametrize(
    ("unit", "patterns", "stages", "script", "complaint"),
    [
        ("gpu", "", 1, "balanced", "there is no unit 'gpu'"),
        ("array", "P4", 9, "balanced", "1, 2, 3, 4 stages"),
        ("array", "P4", 1, "best", "no ABC script"),
    ],
)
def test_bad_points_are_refused(unit, patterns, stages, script, complaint):
    with pytest.raises(SysmolError, match=complaint):
        measure.Point(unit, patterns, stages, script)


def test_bad_hardware_is_refused():
    with pytest.raises(SysmolError, match="at least one pattern"):
        Hardware(())
    with pytest.raises(SysmolError, match="no pattern id"):
        Hardware((45,))
    with pytest.raises(SysmolError, match="no pipeline cut"):
        Hardware((0,), cuts=("middle",))


def test_command_without_tools(run, tmp_path):
    status, out, _ = run("hwcost")
    assert status == 0 and "smmla" in out and "equal area" in out
    status, out, _ = run("hwcost", "unit", "--patterns", "P4", "--stages", 3, "--rtl", tmp_path / "sv")
    assert status == 0 and (tmp_path / "sv" / "smol_unit.sv").exists()
    status, _, err = run("hwcost", "array", "--patterns", "P9")
    assert status == 2 and err.count("\n") == 1 and "P9" in err
    status, _, err = run("hwcost", "--again")
    assert status == 2 and "name the unit" in err


@pytest.mark.rtl
@pytest.mark.slow
@pytest.mark.skipif(bool(synthesis.missing()), reason=synthesis.missing())
def test_a_point_made_again_is_identical(table):
    assert "identical" in results.again(table, measure.Point("pack", "", 2, "balanced")) or table["tools"] != {
        "pyosys": synthesis.version()
    }
    changed = json.loads(json.dumps(table))
    hwcost.find(changed, "pack", "", 2)["logic_um2"] += 50
    with pytest.raises(CheckFailed):
        results.again(changed, measure.Point("pack", "", 2, "balanced"))
