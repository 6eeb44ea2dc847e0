"""The cost table of the hardware: areas, delays and energies of units in silicon, as ``sysmol hwcost`` measures them.

Format ``sysmol-hwcost``, version 1: tools and their versions, the library's hash, the ABC scripts, the wire assumption,
and one row per point: a unit with a pattern set, a number of pipeline stages and a script (docs/hardware-cost.md).
:mod:`sysmol.rtl` makes it; estimates of area and energy read it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sysmol import isa
from sysmol.errors import SysmolError
from sysmol.files import PACKAGE, read_json
from sysmol.typed import entries, many, number, or_null, table, text, whole

FORMAT, VERSION = "sysmol-hwcost", 1
COMMITTED = PACKAGE / "rtl" / "results" / "asap7.json"
SETS = ("P1", "P4", "P8", "P45")
BEST_SETS = {
    "best in 380 um2": "7,8,9,11,12,13,16,17,18,22,23,24",
    "best in 420 um2": "4,5,7,8,9,11,12,13,14,16,17,18,19,20,22,23,24,25,26",
    "best in 470 um2": "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26",
}
"""Pattern sets that cost the fewest cycles under budgets of array area (``results/pattern_area.csv``): ids by name."""
BOTH_PAGES = {
    unit: (unit, patterns, stages)
    for unit, patterns, stages in (
        ("matrix", "P45", 4),
        ("packs", "", 2),
        ("taps", "", 2),
        ("unpack", "", 1),
        ("whole", "P45", 4),
    )
}
"""Points (unit, pattern set, stages) of hardware with the second page of instructions at the clock at which sdot has
two stages, by unit; ``whole`` has all instructions of both pages, the others are its blocks beside that of vmul."""
BOTH_BLOCKS = {
    "matrix": ("vdot", "vmac", "vmm.w", "vmm.h"),
    "packs": ("vqpk", "vqpk.h", "vqpk.s"),
    "taps": ("vdw",),
    "unpack": ("vunp.h",),
}
"""Instructions of these blocks."""
MAIN_SCRIPT = "balanced"
"""The ABC script that all points were made with; others where ratios are formed."""

Row = dict[str, Any]

_CASE = table({"instruction": text, "selector": text, "operands": text, "pj": number(0)})
_ROW = table(
    {
        **dict.fromkeys(("unit", "patterns", "script", "sources"), text),
        **dict.fromkeys(("logic_um2", "flop_um2", "leakage_uw"), number(0)),
        **dict.fromkeys(("gates", "flops"), whole()),
        "stages": whole(1, 64),
        "cuts": many(text),
        "decode_ps": or_null(number(0)),
        "stage_ps": many(number(0), 1),
    },
    {"energy": many(_CASE)},
)
_FIELDS = table(
    {
        "instructions": text,
        "tools": entries(text),
        "library": entries(text),
        "passes": many(text),
        "scripts": entries(many(text)),
        "delay_target_ps": number(0),
        "wire_ff_per_pin": number(0),
        "energy": entries(number(0)),
        "points": many(_ROW),
    }
)


def read(path: Path = COMMITTED) -> dict[str, Any]:
    """A cost table; :class:`SysmolError` where it cannot be read, or a field is missing or holds something else."""
    return read_json(path, FORMAT, VERSION, _FIELDS)


def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells points apart."""
    return row["unit"], row["patterns"], row["stages"], row["script"]


def find(table: Mapping[str, Any], unit: str, patterns: str, stages: int, script: str = MAIN_SCRIPT) -> Row:
    """Row of a point; :class:`SysmolError` where the table has it not."""
    for row in table["points"]:
        if key(row) == (unit, patterns, stages, script):
            found: Row = row
            return found
    raise SysmolError(f"the cost table has no point {unit} {patterns} {stages} {script}: measure it")


def needs_both_pages(instructions: Iterable[str]) -> bool:
    """Whether hardware for these SMOL instructions is the larger unit: any of them has words of the second page."""
    formats = {row.name: row.format for row in isa.TABLE}
    return any(formats.get(name) == "second" for name in instructions)


def energy(row: Mapping[str, Any], instruction: str, selector: str, operands: str = "uniform") -> float | None:
    """pJ of an instruction at a point; None where it was not simulated."""
    for case in row.get("energy", []):
        if (case["instruction"], case["selector"], case["operands"]) == (instruction, selector, operands):
            return float(case["pj"])
    return None
