"""What docs/hardware-cost.md says in sentences follows from the committed table, as its tables do."""

import csv
from collections.abc import Iterable

import pytest

from sysmol import hwcost
from sysmol.hwcost import BEST_SETS, MAIN_SCRIPT, find
from sysmol.machine import load_machine
from sysmol.patterns.chunk_costs import fitted
from sysmol.rtl import latency
from sysmol.rtl.page import FRONT, PAGE

TABLE = hwcost.read()
UNIFORM = ("(8,0,0)", "(0,8,0)", "(0,0,8)")
FULL = ("P4", "P8", "P45")


def logic(patterns: str, stages: int, script: str = MAIN_SCRIPT) -> float:
    return float(find(TABLE, "array", patterns, stages, script)["logic_um2"])


def slowest(unit: str, patterns: str, stages: int, script: str = MAIN_SCRIPT) -> float:
    return float(max(find(TABLE, unit, patterns, stages, script)["stage_ps"]))


def energies(unit: str, patterns: str, stages: int, operands: str = "uniform") -> dict[tuple[str, str], dict]:
    cases = find(TABLE, unit, patterns, stages)["energy"]
    return {(c["instruction"], c["selector"]): c for c in cases if c["operands"] == operands}


def percents(values: Iterable[float]) -> list[str]:
    return [f"{100 * value:.0f}" for value in values]


def span(values: Iterable[float]) -> str:
    found = list(values)
    return " to ".join(percents((min(found), max(found))))


def claims() -> list[str]:
    """Fragments of sentences with their figures."""
    stages = (1, 2, 3, 4)
    over_p1 = [logic("P4", n) / logic("P1", n) - 1 for n in stages]
    others = percents(logic("P4", 3, script) / logic("P1", 3, script) - 1 for script in ("fast", "small"))
    grown = [logic("P45", n) / logic("P4", n) - 1 for n in stages]
    grown += [logic("P45", 3, script) / logic("P4", 3, script) - 1 for script in ("fast", "small")]
    clock = {script: slowest("sdot", "", 2, script) for script in TABLE["scripts"]}
    off = {
        script: [slowest("array", name, 3, script) / clock[script] - 1 for name in ("P4", "P45")] for script in clock
    }
    delays = [f"{slowest('array', name, 3):.0f}" for name in ("P4", "P45")]
    spent = [energies("array", name, 3)["vdot", chosen] for name in FULL for chosen in UNIFORM]
    bell = [energies("array", name, 3, "bell")["vdot", chosen] for name in FULL for chosen in UNIFORM]
    saved = [1 - less["pj"] / more["pj"] for less, more in zip(bell, spent, strict=True)]
    (sdot_bell,), (sdot,) = (energies("sdot", "", 2, each).values() for each in ("bell", "uniform"))
    whole, alone = (energies(unit, "P45", 3)["vdot", UNIFORM[0]]["pj"] for unit in ("unit", "array"))
    return [
        f"the array of P4 is {span(over_p1)}% larger than with 4 bits alone (three stages by the scripts `fast` and "
        f"`small`: {others[0]} and {others[1]}%)",
        f"grows by {span(grown)}% by every script",
        f"({delays[0]} and {delays[1]} ps with P4 and P45, against {clock[MAIN_SCRIPT]:.0f} ps",
        "By `fast` the array is {} and {}% slower than sdot".format(*percents(off["fast"])),
        "by `small` {} and {}% faster".format(*percents(-value for value in off["small"])),
        f"glitches are {span(case['glitches'] / case['pj'] for case in spent)}% of the energy",
        f"bell-shaped operands take {span(saved)}% less than uniform ones, and "
        f"{100 * (1 - sdot_bell['pj'] / sdot['pj']):.0f}% less in sdot",
        f"vdot takes {whole:.1f} pJ instead of {alone:.1f}",
        *budgets(),
        *ratios(),
        *second_page(),
    ]


def second_page() -> list[str]:
    """Of units with both pages."""
    scripts = ("balanced", "fast", "small")

    def area(unit: str, patterns: str, stages: int, script: str = MAIN_SCRIPT) -> float:
        return float(find(TABLE, unit, patterns, stages, script)["logic_um2"])

    def later(unit: str, script: str) -> float:
        return slowest(unit, "P45", 4, script) / slowest("sdot", "", 2, script) - 1

    over = [f"{area('matrix', 'P45', 4, s) / area('smmla', '', 2, s):.2f}" for s in scripts]
    of_smmla = [area("whole", "P45", 4, s) / area("smmla", "", 2, s) for s in scripts]
    of_both = [area("whole", "P45", 4, s) / (area("sdot", "", 2, s) + area("smmla", "", 2, s)) for s in scripts]
    mine, smmla = energies("matrix", "P45", 4), energies("smmla", "", 2)["smmla", ""]["pj"]
    alone = energies("array", "P45", 4)["vdot", UNIFORM[0]]["pj"]
    slower, wholes = ([later(unit, s) for s in scripts] for unit in ("matrix", "whole"))
    return [
        f"({over[0]}, {over[1]} and {over[2]} of its logic)",
        f"{area('matrix', 'P45', 4) / area('array', 'P45', 4):.2f} times the logic of the array of vdot and vmac",
        f"the array grows by {100 * (area('matrix', 'P45', 4) / area('matrix', 'P4', 4) - 1):.1f}%",
        f"vmm.w takes {mine['vmm.w', '4 bits']['pj'] / 64:.3f} pJ per product of 4 bits, smmla {smmla / 32:.3f}",
        f"vdot takes {mine['vdot', UNIFORM[0]]['pj']:.2f} pJ in this array and {alone:.2f} in one of its own",
        f"{area('whole', 'P45', 4) / area('unit', 'P45', 3):.2f} times the logic of the first page's unit, "
        f"{min(of_smmla):.2f} to {max(of_smmla):.2f} times smmla's, and {min(of_both):.2f} to {max(of_both):.2f} times",
        "is {}% slower than sdot's clock, by `fast` {}% and by `small` {}%".format(*percents(slower)),
        f"the unit is {span(wholes)}% slower than that clock",
    ]


def ratios() -> list[str]:
    """How much other latencies move the ratios of measured cycles."""
    cycles: dict[tuple[str, str, str], float] = {}
    with (FRONT.parent / "latencies.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["layer"] == "total":
                cycles[row["variant"], row["isa"], row["machine"]] = float(row["cycles"])
    chosen, slower = (
        [100 * (1 - cycles[v, isa, "o3-n1"] / cycles[v, isa, name]) for v, isa, machine in cycles if machine == name]
        for name in ("o3-n1-chosen", "o3-n1-sdot3")
    )
    return [
        f"SMOL's ratios to the baselines are {min(chosen):.1f} to {max(chosen):.1f}% smaller than on `o3-n1`",
        f"they are {min(slower):.1f} to {max(slower):.1f}% smaller",
        f"moves the figures by at most {max(slower):.1f}%",
    ]


def test_the_other_script_s_latencies_are_those_of_a_slower_sdot() -> None:
    """The machine with an sdot of three cycles stands for what the script ``fast`` gives for two, too."""
    machine = load_machine("o3-n1-sdot3")
    for name, (unit, patterns) in latency.UNITS.items():
        found = latency.stages(TABLE, unit, patterns, 2, ["fast"])
        assert found is not None and max(found, machine.latency(latency.BASIC)) == machine.smol_latency(name)


def budgets() -> list[str]:
    """Of the sets under budgets of area: how far their sums are from what was synthesised."""
    with FRONT.open(encoding="utf-8", newline="") as stream:
        sums = {row["name"]: float(row["area_um2"]) for row in csv.DictReader(stream)}
    low = [100 * (1 - sums[name] / logic(key, 1)) for name, key in BEST_SETS.items()]
    over = sorted(100 * (logic(key, 1) / float(name.split()[2]) - 1) for name, key in BEST_SETS.items())
    worst = max(map(abs, fitted(TABLE).differences.values()))
    return [
        f"no array of the fit is more than {100 * worst:.1f}% from its sum",
        f"their sums are {min(low):.1f} to {max(low):.1f}% too low",
        f"two of the three sets take {over[1]:.1f} and {over[2]:.1f}% more than their budget",
    ]


@pytest.mark.parametrize("claim", claims())
def test_the_page_says_what_the_table_gives(claim: str) -> None:
    assert claim in " ".join(PAGE.read_text(encoding="utf-8").split())
