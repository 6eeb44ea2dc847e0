"""One point of the cost table: a unit synthesised by a script, its area, stage delays, and energy per instruction."""

import hashlib
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sysmol import isa
from sysmol.errors import SysmolError
from sysmol.hwcost import BOTH_BLOCKS, BOTH_PAGES
from sysmol.machine import pattern_set
from sysmol.pattern import UNIFORM, pattern_name
from sysmol.rtl import operands, power, sources, synthesis, timing
from sysmol.rtl.hardware import ARRAY_INSTRUCTIONS, INSTRUCTIONS, SECOND_PAGE, Hardware
from sysmol.rtl.liberty import Library
from sysmol.rtl.netlist import Netlist

BLOCKS = {
    "array": ARRAY_INSTRUCTIONS,
    "vmac": ("vmac",),
    "vdot": ("vdot",),
    "mul": ("vmul", "vmla"),
    "pack": ("vqpk",),
    "unit": INSTRUCTIONS,
    **BOTH_BLOCKS,
    "whole": (*INSTRUCTIONS, *SECOND_PAGE),
}
"""Units of SMOL instructions by name."""

SECOND_UNITS = tuple(BOTH_PAGES)
"""Those with instructions of the second page."""

SECOND_CASES: dict[str, Callable[[int], int]] = {
    "piece": lambda p: next(n for n, piece in enumerate(isa.PIECES) if piece == isa.Piece((p,) * 4, 0)),
    "form": lambda p: next(n for n, form in enumerate(isa.FORMS) if form == isa.Form((p,) * 2, p)),
    **dict.fromkeys(("pack16", "pack32"), lambda p: {4: 0x04, 2: 0x14, 1: 0x24}[p]),
    **dict.fromkeys(("group", "taps"), lambda p: {4: 0x00, 2: 0x10, 1: 0x20}[p]),
}
"""Value of field6 that stands for codes of p bits in energies: uniform pieces, forms in their unit, a shift by 8."""

PLAIN_TOPS = {"sdot": ("sdot", 1), "smmla": ("smmla", 1), "fma4": ("fp32_fma", 4)}
"""Top module of each unit that the SMOL unit is compared with, and how many of it the unit has side by side."""

DEPTHS: dict[str, dict[int, tuple[str, ...]]] = {
    "array": {
        1: ("decode",),
        2: ("decode", "lane"),
        3: ("decode", "rows", "total"),
        4: ("decode", "chunk", "lane", "total"),
    },
    "mul": {1: ("decode",), 2: ("decode", "product")},
    "pack": {1: ("decode",), 2: ("decode", "code")},
    "unit": {3: ("decode", "rows", "total", "product", "code")},
    "unpack": {1: ("decode",)},
    "taps": {1: ("decode",), 2: ("decode", "taps"), 3: ("decode", "taps", "tap_sum")},
    "whole": {4: ("decode", "chunk", "lane", "total", "product", "code", "taps")},
    "sdot": {1: (), 2: ("ROWS",), 3: ("ROWS", "SUM")},
    "smmla": {1: (), 2: ("ROWS",), 3: ("ROWS", "SUM")},
    "fma4": {1: (), 2: ("PRODUCT",), 3: ("PRODUCT", "SUM")},
}
"""Pipeline cuts for each number of stages: those whose longest stage is shortest. The decoder's stage is the core's and
not counted; its registers are."""
DEPTHS["vmac"] = DEPTHS["vdot"] = DEPTHS["matrix"] = DEPTHS["array"]
DEPTHS["packs"] = DEPTHS["pack"]

ENERGY_VECTORS = 256
ENERGY_SEED = 20


@dataclass(frozen=True)
class Point:
    """What to measure: unit, pattern set (of the SMOL unit's blocks), number of stages, ABC script."""

    unit: str
    patterns: str
    stages: int
    script: str

    def __post_init__(self) -> None:
        if self.unit not in DEPTHS:
            raise SysmolError(f"there is no unit {self.unit!r}: there are {', '.join(DEPTHS)}")
        if self.stages not in DEPTHS[self.unit]:
            known = ", ".join(map(str, DEPTHS[self.unit]))
            raise SysmolError(f"{self.unit} has {known} stages, not {self.stages}")
        if self.script not in synthesis.SCRIPTS:
            raise SysmolError(f"there is no ABC script {self.script!r}: there are {', '.join(synthesis.SCRIPTS)}")

    @property
    def cuts(self) -> tuple[str, ...]:
        """Its pipeline cuts."""
        return DEPTHS[self.unit][self.stages]

    @property
    def is_smol(self) -> bool:
        """Whether it is of SMOL instructions."""
        return self.unit in BLOCKS

    @property
    def name(self) -> str:
        """One line."""
        return " ".join(part for part in (self.unit, self.patterns, f"{self.stages}-stage", self.script) if part)

    def hardware(self) -> Hardware:
        """The parameters of its sources; units without patterns ignore them."""
        if not self.is_smol:
            return Hardware(pattern_set("P1"))
        return Hardware(pattern_set(self.patterns or "P1"), BLOCKS[self.unit], self.cuts)


def build(point: Point, library: Library, folder: Path) -> tuple[Netlist, int, str]:
    """Netlist of a point, how many of it the unit has, and the SHA-256 of its sources."""
    hardware = point.hardware()
    files = sources.write(hardware, folder)
    top, copies = ("smol_unit", 1) if point.is_smol else PLAIN_TOPS[point.unit]
    parameters = {} if point.is_smol else {f"CUT_{cut}": 1 for cut in point.cuts}
    netlist = synthesis.synthesise(synthesis.Job(tuple(files), top, parameters), library, point.script, folder)
    return netlist, copies, digest(hardware)


def digest(hardware: Hardware) -> str:
    """SHA-256 of a unit's sources without their comments, 64 hexadecimal digits."""
    text = " ".join(re.sub(r"//.*", "", source) for source in sources.sources(hardware).values())
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()


def measure(point: Point, library: Library, wire: float = 0.0, energy: bool = True) -> dict[str, Any]:
    """A point's row: areas in um2, delays in ps, energies in pJ."""
    with tempfile.TemporaryDirectory() as name:
        netlist, copies, code = build(point, library, Path(name))
    result = timing.analyse(netlist, library, wire)
    logic, flops = netlist.area()
    row: dict[str, Any] = {
        "unit": point.unit,
        "patterns": point.patterns,
        "stages": point.stages,
        "cuts": list(point.cuts),
        "script": point.script,
        "sources": code[:16],
        "logic_um2": round(copies * logic, 2),
        "flop_um2": round(copies * flops, 2),
        "gates": copies * len(netlist.gates),
        "flops": copies * len(netlist.flops),
        "decode_ps": round(result.stages[0], 1) if point.is_smol else None,
        "stage_ps": [round(delay, 1) for delay in result.stages[point.is_smol :]],
        "leakage_uw": round(copies * netlist.leakage() * 1e-6, 4),
    }
    if energy:
        row["energy"] = energies(point, netlist, copies, library, result)
    return row


def energy_cases(point: Point) -> list[tuple[str, str, dict[str, int]]]:
    """Instruction, what its selector chooses, and the selector, of every energy that is measured."""
    if not point.is_smol:
        return [(point.unit, "", {})]
    hardware = point.hardware()
    cases = []
    for row in isa.TABLE:
        if not hardware.has(row.name):
            continue
        if point.unit in SECOND_UNITS and row.name == "vmac":
            continue  # vdot stands for both
        if row.format == "second":
            chosen_of = {p: SECOND_CASES[row.field6](p) for p in UNIFORM}
            cases += [(row.name, f"{p} bits", {"fn": row.fns[0], "field6": field6}) for p, field6 in chosen_of.items()]
        elif row.field6 == "pattern":
            chosen = [n for n in UNIFORM.values() if n in hardware.patterns]
            mixed = [n for n in hardware.patterns if n not in UNIFORM.values()]
            if point.unit not in SECOND_UNITS:
                chosen += mixed[len(mixed) // 2 :][:1]
            cases += [(row.name, pattern_name(n), {"fn": row.fns[0], "field6": n}) for n in chosen]
        elif row.field6 == "part":
            parts = ((4, 0x00), (2, 0x10), (1, 0x20))
            cases += [(row.name, f"{p} bits", {"fn": row.fns[0], "field6": field6}) for p, field6 in parts]
        else:
            cases += [
                (row.name, f"{p} bits", {"fn": row.fns[0], "field6": form << 4 | 4}) for form, p in enumerate((4, 2, 1))
            ]
    return cases


def energies(
    point: Point, netlist: Netlist, copies: int, library: Library, result: timing.Timing
) -> list[dict[str, Any]]:
    """pJ of every instruction of a point, by pattern and operands."""
    rows = []
    for instruction, chosen, selectors in energy_cases(point):
        for distribution in operands.DISTRIBUTIONS:
            if distribution != "uniform" and (instruction in ("vqpk", "vmac", "vmul") or point.unit in SECOND_UNITS):
                continue  # bell-shaped operands for one instruction of each block of the first page
            rng = np.random.default_rng(ENERGY_SEED)
            before, after = operands.pair_of(instruction, distribution, rng, ENERGY_VECTORS, selectors)
            if copies > 1:
                before, after = _one_lane(before), _one_lane(after)
            found = power.simulate(netlist, library, result, before, after, ENERGY_VECTORS)
            row: dict[str, Any] = {"instruction": instruction, "selector": chosen, "operands": distribution}
            row["pj"] = round(copies * found.total, 4)
            for part in ("useful", "glitches", "flops", "leakage"):
                row[part] = round(copies * getattr(found, part), 4)
            rows.append(row)
    return rows


def _one_lane(planes: Mapping[str, Any]) -> dict[str, Any]:
    """Operands of the first fp32 lane, under the names of its module: a * b + c."""
    return {"a": planes["vn"][:32], "b": planes["vm"][:32], "c": planes["vd"][:32]}


def describe(point: Point, library: Library) -> list[tuple[str, Any]]:
    """A point's figures by name, energies one by one."""
    row = measure(point, library)
    cases = row.pop("energy")
    named = [(" ".join(c[k] for k in ("instruction", "selector", "operands") if c[k]) + ", pJ", c["pj"]) for c in cases]
    return [*row.items(), *named]
