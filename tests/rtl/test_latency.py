"""Latencies from the cost table: in units of sdot, and of a core's own multiply-accumulate where there is no sdot."""

import copy
import itertools

import pytest

from sysmol import hwcost
from sysmol.errors import SysmolError
from sysmol.machine import load_machine
from sysmol.rtl import latency
from sysmol.rtl.hardware import INSTRUCTIONS, SECOND_PAGE


def test_machine_files_are_made_of_the_table() -> None:
    for path, text in latency.files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run python -m sysmol.rtl.latency"


def test_the_machines_say_so_and_differ_in_nothing_else() -> None:
    table = hwcost.read()
    for each in latency.calibrations():
        machine, like = load_machine(each.name), load_machine(each.like)
        assert {name: machine.smol_latency(name) for name in latency.UNITS} == each.latencies(table)
        assert (machine.core, machine.units, machine.latencies) == (like.core, like.units, like.latencies)
        assert machine.smol.share == like.smol.share
        assert all(machine.smol_latency(name) >= like.latency(latency.BASIC) for name in latency.UNITS)


def test_deeper_units_and_faster_clocks_take_more_cycles() -> None:
    table = hwcost.read()
    assert latency.depth_ratio(table, "sdot", "") == 1
    by_sdot = [{name: latency.latency(table, name, cycles, 1) for name in latency.UNITS} for cycles in (2, 3, 4, 6)]
    for slow, fast in itertools.pairwise(by_sdot):
        assert all(slow[name] <= fast[name] for name in slow)
    for found in by_sdot:
        assert found["vqpk"] <= found["vmla"] <= found["vdot"] == found["vmac"]
    assert by_sdot[0]["vdot"] == 3, "an array of three stages runs at the clock of an sdot of two"
    assert latency.latency(table, "vqpk", 2, 5) == 5


def test_a_slower_array_takes_another_stage() -> None:
    table = copy.deepcopy(hwcost.read())
    row = hwcost.find(table, "array", "P45", 3)
    row["stage_ps"] = [delay * 1.1 for delay in row["stage_ps"]]
    assert latency.latency(table, "vdot", 2, 1) == 4
    with pytest.raises(SysmolError, match="no unit"):
        latency.latency(table, "vfly", 2, 1)


def test_latencies_of_a_unit_with_both_pages() -> None:
    table = hwcost.read()
    slow, fast = (
        {name: latency.latency_of_both(table, name, cycles) for name in latency.BOTH_UNITS} for cycles in (2, 3)
    )
    assert set(latency.BOTH_UNITS) == set(INSTRUCTIONS) | set(SECOND_PAGE)
    assert all(slow[name] <= fast[name] for name in slow)
    array = {slow[name] for name in ("vdot", "vmac", "vmm.w", "vmm.h")}
    assert array == {latency.stages(table, "matrix", "P45", 2)}, "one array, one depth"
    assert slow["vunp.h"] <= slow["vqpk"] <= slow["vdot"]
