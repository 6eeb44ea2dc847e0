"""Tables of the cost file: areas, delays and energies; MACs per cycle and per area; ratios over the scripts."""

from collections.abc import Sequence
from typing import Any

from sysmol.hwcost import BEST_SETS, BOTH_PAGES, MAIN_SCRIPT, SETS, energy, find
from sysmol.isa.selectors import TAP_PRODUCTS
from sysmol.machine import load_machine, pattern_set
from sysmol.pattern import CHUNK_BITS, CHUNKS, PATTERNS, UNIFORM, chunk_precisions, pattern_name
from sysmol.rtl import latency, results
from sysmol.rtl.hardware import Hardware

MACS = {"sdot": 16, "smmla": 32, "fma4": 4}
"""Products per instruction of the units that the SMOL unit is compared with."""
BITS = (4, 2, 1)

Rows = list[list[str]]


def products(instruction: str, bits: int) -> int:
    """Products of a SMOL instruction whose registers hold elements of one precision."""
    if instruction in ("vmm.w", "vmm.h"):
        return 2 * CHUNKS * CHUNK_BITS // bits
    if instruction == "vdw":
        return TAP_PRODUCTS
    if instruction in ("vmac", "vdot"):
        return CHUNKS * CHUNK_BITS // bits
    return {4: 8, 2: 16, 1: 16}[bits]


def number(value: float | None, digits: int = 2) -> str:
    """A cell: a dash where there is no value."""
    return "–" if value is None else f"{value:,.{digits}f}"


def _of_row(row: dict[str, Any]) -> tuple[str, list[float | None]]:
    """Instruction that stands for a row's energy, and its energies with 4, 2 and 1 bits (or its only one)."""
    unit = row["unit"]
    if unit in MACS:
        return unit, [energy(row, unit, "")]
    instruction = {"mul": "vmla", "pack": "vqpk", "vmac": "vmac"}.get(unit, "vdot")
    patterns = ("(8,0,0)", "(0,8,0)", "(0,0,8)")
    selectors = patterns if instruction in ("vdot", "vmac") else tuple(f"{bits} bits" for bits in BITS)
    return instruction, [energy(row, instruction, selector) for selector in selectors]


def _mixed(row: dict[str, Any]) -> list[str]:
    """Energy of vdot under the pattern of several precisions that was simulated, and that pattern."""
    cases = [c for c in row.get("energy", []) if (c["instruction"], c["operands"]) == ("vdot", "uniform")]
    uniform = {pattern_name(n) for n in UNIFORM.values()}
    return [f"{number(c['pj'])} of {c['selector']}" for c in cases if c["selector"] not in uniform]


UNIT_NAMES = {
    "array": "vdot, vmac",
    "mul": "vmul, vmla",
    "pack": "vqpk",
    "unit": "all five instructions",
    "vdot": "vdot alone",
    "vmac": "vmac alone",
    "sdot": "sdot (int8)",
    "smmla": "smmla (int8)",
    "fma4": "fp32 FMA x4",
}


SECOND_NAMES = {
    "matrix": "vdot, vmac, vmm.w, vmm.h",
    "packs": "vqpk, vqpk.h, vqpk.s",
    "taps": "vdw",
    "unpack": "vunp.h",
    "whole": "all eleven instructions",
}


def second_page(table: dict[str, Any]) -> tuple[list[str], Rows]:
    """Units with instructions of the second page by the main script: areas, delays, energies of every instruction."""
    head = ["unit", "patterns", "stages", "logic, um2", "flip-flops, um2", "delay of each stage, ps"]
    head.append("pJ (4, 2, 1 bits)")
    cells = []
    for unit, patterns, stages, script in (*results.SECOND, *results.SECOND_DEPTHS):
        if script != MAIN_SCRIPT:
            continue
        row = find(table, unit, patterns, stages)
        spent: dict[str, list[str]] = {}
        for case in row.get("energy", []):
            spent.setdefault(case["instruction"], []).append(number(case["pj"]))
        cells.append(
            [
                SECOND_NAMES[unit],
                patterns,
                str(stages),
                number(row["logic_um2"], 1),
                number(row["flop_um2"], 1),
                " ".join(number(delay, 0) for delay in row["stage_ps"]),
                "; ".join(f"{name} {' / '.join(values)}" for name, values in spent.items()) or "–",
            ]
        )
    return head, cells


def second_page_ratios(table: dict[str, Any]) -> tuple[list[str], Rows]:
    """Logic area of the units with the second page over that of other units, by each script."""
    scripts = sorted(table["scripts"])
    others = {"sdot": ("sdot", "", 2), "smmla": ("smmla", "", 2)}
    head = ["unit", *(f"over {UNIT_NAMES[name]}, {script}" for name in others for script in scripts)]
    head += [f"over sdot and smmla, {script}" for script in scripts]
    cells = []
    for unit, key in BOTH_PAGES.items():
        found = [SECOND_NAMES[unit]]
        for base in (["sdot"], ["smmla"], ["sdot", "smmla"]):
            for script in scripts:
                whole = sum(find(table, *others[name], script)["logic_um2"] for name in base)
                found.append(number(find(table, *key, script)["logic_um2"] / whole))
        cells.append(found)
    return head, cells


def second_latencies(table: dict[str, Any]) -> tuple[list[str], Rows]:
    """Cycles of the instructions in a unit with both pages, and those of the machine that has them."""
    machine = load_machine("o3-n1-matrix")
    names = list(latency.BOTH_UNITS)
    cells = []
    for cycles in (2, 3):
        found = {name: latency.latency_of_both(table, name, cycles) for name in names}
        cells.append([f"{cycles} cycles", *(f"{found[name]} ({machine.smol_latency(name)})" for name in names)])
    return ["sdot takes", *names], cells


def second_latencies_by_script(table: dict[str, Any]) -> tuple[list[str], Rows]:
    """Longest stage of the blocks of a unit with both pages over the clock of an sdot of two stages, by each script."""
    scripts = sorted(table["scripts"])
    cells = []
    for unit, key in BOTH_PAGES.items():
        slow = [
            max(find(table, *key, script)["stage_ps"]) / max(find(table, "sdot", "", 2, script)["stage_ps"])
            for script in scripts
        ]
        cells.append([SECOND_NAMES[unit], str(key[2]), *(number(ratio) for ratio in slow)])
    return ["unit", "stages", *scripts], cells


def costs(table: dict[str, Any], script: str = MAIN_SCRIPT) -> tuple[list[str], Rows]:
    """Every named point of one script: areas, delay of every stage, energy."""
    head = [
        "unit",
        "patterns",
        "stages",
        "logic, um2",
        "flip-flops, um2",
        "delay of each stage, ps",
        "pJ (4, 2, 1 bits; of a mixed pattern)",
    ]
    order = list(UNIT_NAMES)
    sets = {"": "", **{name: name for name in SETS}, **{key: name for name, key in BEST_SETS.items()}}
    places = list(sets)
    rows = [r for r in table["points"] if r["script"] == script and r["patterns"] in sets and r["unit"] in UNIT_NAMES]
    rows.sort(key=lambda r: (order.index(r["unit"]), places.index(r["patterns"]), r["stages"]))
    cells = []
    for row in rows:
        found = [number(value) for value in _of_row(row)[1] if value is not None]
        energies = "; ".join(filter(None, [" / ".join(found), *_mixed(row)]))
        cells.append(
            [
                UNIT_NAMES[row["unit"]],
                sets[row["patterns"]],
                str(row["stages"]),
                number(row["logic_um2"], 1),
                number(row["flop_um2"], 1),
                " ".join(number(delay, 0) for delay in row["stage_ps"]),
                energies or "–",
            ]
        )
    return head, cells


def ratios(table: dict[str, Any]) -> tuple[list[str], Rows]:
    """Logic area and energy relative to sdot's, by each script, at the stages that fit sdot's clock of two stages."""
    scripts = sorted(table["scripts"])
    head = ["logic area of sdot", *scripts, "energy of sdot", *scripts]
    choices = [("array", name, name, 3) for name in SETS]
    choices += [("array", name, key, 3) for name, key in BEST_SETS.items()]
    choices += [("mul", "", "", 2), ("pack", "", "", 2), ("unit", "P45", "P45", 3)]
    choices += [("smmla", "", "", 2), ("fma4", "", "", 3)]
    cells = []
    for unit, title, patterns, stages in choices:
        areas, joules = [], []
        for script in scripts:
            row, base = find(table, unit, patterns, stages, script), find(table, "sdot", "", 2, script)
            areas.append(number(row["logic_um2"] / base["logic_um2"]))
            mine, other = _widest(row)[1], energy(base, "sdot", "")
            joules.append(number(mine / other if mine is not None and other is not None else None))
        name = " ".join(part for part in (UNIT_NAMES[unit], title) if part)
        cells.append([name, *areas, _widest(find(table, unit, patterns, stages))[0], *joules])
    return head, cells


def _widest(row: dict[str, Any]) -> tuple[str, float | None]:
    """What stands for a row's energy: its instruction with the widest elements, or where no pattern is of one precision
    with a mixed pattern; and that energy."""
    instruction, values = _of_row(row)
    if values[0] is not None:
        return f"{instruction}, widest elements", values[0]
    cases = [c for c in row.get("energy", []) if (c["instruction"], c["operands"]) == (instruction, "uniform")]
    return (f"{instruction} of {cases[0]['selector']}", float(cases[0]["pj"])) if cases else (instruction, None)


def equal_area(table: dict[str, Any], script: str = MAIN_SCRIPT) -> tuple[list[str], Rows]:
    """MACs per cycle, and per cycle and um2, of every instruction: by its own block's area, and by the whole unit's.

    Areas are logic and pipeline flip-flops; every unit starts one instruction a cycle.
    """
    head = [
        "instruction",
        "bits",
        "MACs per cycle",
        "um2",
        "MACs per cycle and 1,000 um2",
        "of the whole unit",
        "pJ per MAC",
    ]
    cells = []
    whole = _area(find(table, "unit", "P45", 3, script))
    for unit, patterns, stages, instructions in (
        ("array", "P45", 3, ("vdot", "vmac")),
        ("mul", "", 2, ("vmul", "vmla")),
    ):
        row = find(table, unit, patterns, stages, script)
        for instruction in instructions:
            for bits, pattern in zip(BITS, ("(8,0,0)", "(0,8,0)", "(0,0,8)"), strict=True):
                count = products(instruction, bits)
                joules = energy(row, instruction, pattern if unit == "array" else f"{bits} bits")
                cells.append(_line(instruction, str(bits), count, _area(row), whole, joules))
    both = _area(find(table, *BOTH_PAGES["whole"], script))
    for instruction, unit in (("vmm.w", "matrix"), ("vmm.h", "matrix"), ("vdw", "taps")):
        row = find(table, *BOTH_PAGES[unit], script)
        for bits in BITS:
            joules = energy(row, instruction, f"{bits} bits")
            cells.append(_line(instruction, str(bits), products(instruction, bits), _area(row), both, joules))
    for unit, stages, width in (("sdot", 2, "8"), ("smmla", 2, "8"), ("fma4", 3, "32")):
        row = find(table, unit, "", stages, script)
        cells.append(_line(unit, width, MACS[unit], _area(row), None, energy(row, unit, "")))
    return head, cells


def equal_area_ratios(table: dict[str, Any]) -> tuple[list[str], Rows]:
    """MACs per cycle and um2 of the SMOL instructions as multiples of those of other units, fewest and most of all
    scripts: by the instruction's own block, and by the whole unit with packing and depthwise instructions."""
    others = {name: (name, "", stages) for name, stages in (("sdot", 2), ("smmla", 2), ("fma4", 3))}
    head = ["instructions", "bits", f"own block over {UNIT_NAMES['sdot']}"]
    head += [f"whole unit over {UNIT_NAMES[name]}" for name in others]
    cells = []
    first, both = ("unit", "P45", 3), BOTH_PAGES["whole"]
    for block, instruction, unit in (
        (("array", "P45", 3), "vdot", first),
        (("mul", "", 2), "vmla", first),
        (BOTH_PAGES["matrix"], "vmm.w", both),
        (BOTH_PAGES["taps"], "vdw", both),
    ):
        for bits in BITS:

            def times(own: tuple[str, str, int], other: str, count: int = products(instruction, bits)) -> str:
                """How many times the MACs per area."""
                found = [
                    count / MACS[other] * _area(find(table, *others[other], script)) / _area(find(table, *own, script))
                    for script in table["scripts"]
                ]
                digits = 1 if min(found) >= 10 else 2
                return f"{number(min(found), digits)} to {number(max(found), digits)}"

            whole = [times(unit, other) for other in others]
            name = {"vmm.w": "vmm.w, vmm.h", "vdw": "vdw"}.get(instruction) or UNIT_NAMES[block[0]]
            cells.append([name, str(bits), times(block, "sdot"), *whole])
    return head, cells


def _area(row: dict[str, Any]) -> float:
    return float(row["logic_um2"] + row["flop_um2"])


def _line(name: str, bits: str, count: int, area: float, whole: float | None, joules: float | None) -> list[str]:
    return [
        name,
        bits,
        str(count),
        number(area, 0),
        number(1000 * count / area, 1),
        number(1000 * count / whole, 1) if whole else "",
        number(joules / count if joules is not None else None, 3),
    ]


def chunk_costs(table: dict[str, Any]) -> tuple[list[str], Rows]:
    """What precisions cost: one-stage arrays whose pattern sets differ in what their chunks can hold."""
    base = find(table, "array", "P1", 1)["logic_um2"]
    head = ["patterns", "precisions of the chunks", "all patterns of such chunks", "logic, um2", "more than P1"]
    head.append("per chunk that has more")
    cells = [["P1", "8 chunks of 4", "1", number(base, 1), "", ""]]
    sets = [(", ".join(map(str, sorted(ids))), name, ids) for name, ids in results.chunk_sets().items()]
    sets += [(name, "8 chunks of 4, 2, 1", pattern_set(name)) for name in SETS[1:]]
    for title, name, ids in sets:
        key = title if title in SETS else ",".join(map(str, sorted(ids)))
        area = find(table, "array", key, 1)["logic_um2"]
        chunks = Hardware(ids).chunk_precisions()
        fits = [all(p in c for p, c in zip(chunk_precisions(n), chunks, strict=True)) for n in range(len(PATTERNS))]
        wider = sum(len(precisions) > 1 for precisions in chunks)
        per_chunk = number((area - base) / wider, 1) if wider else ""
        cells.append([title, name, str(sum(fits)), number(area, 1), number(area - base, 1), per_chunk])
    return head, cells


def latencies(table: dict[str, Any]) -> tuple[list[str], Rows]:
    """Cycles of every instruction that follow from the table, and beside them those of the machine as it stands."""
    names = list(latency.UNITS)
    cells = []
    for each in latency.calibrations():
        now, found = load_machine(each.like), each.latencies(table)
        pairs = [f"{found[name]} ({now.smol_latency(name)})" for name in names]
        cells.append([f"`{each.name}`", f"{each.cycles}, {each.unit}", *pairs])
    return ["machine", "cycles, and of what", *names], cells


def latencies_by_script(table: dict[str, Any]) -> tuple[list[str], Rows]:
    """Cycles of the blocks where sdot takes two, by the delays of each script, and by the shortest of all scripts."""
    blocks = [("array", "P45"), ("mul", ""), ("pack", "")]
    least = load_machine(latency.calibrations()[0].like).latency(latency.BASIC)
    cells = []
    scripts = sorted(table["scripts"])
    for title, chosen in [*((name, [name]) for name in scripts), ("each unit's fastest", scripts)]:
        clock = latency.slowest(table, ("sdot", "", 2), chosen)
        found = [latency.stages(table, unit, patterns, 2, chosen) for unit, patterns in blocks]
        cycles = [str(max(count, least)) if count else "–" for count in found]
        cells.append([title, number(clock, 0), *cycles])
    return ["script", "sdot's clock, ps", *(UNIT_NAMES[unit] for unit, _ in blocks)], cells


TABLES = {
    "costs": costs,
    "ratios": ratios,
    "equal area": equal_area,
    "equal area ratios": equal_area_ratios,
    "chunks": chunk_costs,
    "latencies": latencies,
    "latencies by script": latencies_by_script,
    "second page": second_page,
    "second page ratios": second_page_ratios,
    "second page latencies": second_latencies,
    "second page by script": second_latencies_by_script,
}


def markdown(head: Sequence[str], rows: Rows) -> str:
    """A table of a page."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
