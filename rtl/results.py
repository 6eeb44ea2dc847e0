"""The committed cost table (:mod:`sysmol.hwcost`): which points it has, how it is made, and made again.

Making it goes on where it stopped; a row is what :func:`sysmol.rtl.measure.measure` gives."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import atomic_write_json
from sysmol.hwcost import BEST_SETS, BOTH_PAGES, FORMAT, MAIN_SCRIPT, SETS, VERSION, find, key, read
from sysmol.pattern import CHUNKS, pattern_id
from sysmol.rtl import liberty, measure, power, synthesis
from sysmol.rtl.hardware import FINGERPRINT
from sysmol.rtl.measure import DEPTHS, Point

COMPARED = ("P45", "P4", "P1")
"""Sets whose whole units are measured: P8's chunks can hold what P4's can."""
OTHER_DEPTHS = {"fast": 4, "small": 2}
"""Stages of the array, beside the three of every script, that decide its latency by the other scripts: more where three
miss sdot's clock, fewer where they leave much of it."""
SECOND = tuple(
    (*point, script)
    for script in (MAIN_SCRIPT, *(name for name in synthesis.SCRIPTS if name != MAIN_SCRIPT))
    for point in BOTH_PAGES.values()
)
"""Units with instructions of the second page at sdot's clock of two stages: unit, patterns, stages, script."""
SECOND_DEPTHS = (
    ("matrix", "P4", 4, MAIN_SCRIPT),
    ("matrix", "P45", 3, MAIN_SCRIPT),
    ("matrix", "P45", 1, MAIN_SCRIPT),
    ("taps", "", 1, MAIN_SCRIPT),
)
"""Fewer patterns, pieces and forms; and other depths of them, which decide latencies."""
WIRE = 0.0
"""fF of wire per driven pin: none, as in ABC's own view of a netlist. Place and route would add some."""
TOLERANCE = 0.03
"""Relative difference that other versions of the tools may make."""


def chunk_sets() -> dict[str, tuple[int, ...]]:
    """Pattern sets that differ in which precisions how many chunks can have, each with few patterns."""
    four = pattern_id(CHUNKS, 0, 0)
    sets: dict[str, tuple[int, ...]] = {}
    for count in (4, 8):
        sets[f"{count} chunks of 4, 2"] = (four, pattern_id(CHUNKS - count, count, 0))
        sets[f"{count} chunks of 4, 1"] = (four, pattern_id(CHUNKS - count, 0, count))
        both = (four, pattern_id(CHUNKS - count, count, 0), pattern_id(CHUNKS - count, 0, count))
        sets[f"{count} chunks of 4, 2, 1"] = both
    sets["2 chunks of 4, 2 and 2 of 4, 2, 1"] = (four, pattern_id(4, 4, 0), pattern_id(6, 0, 2))
    sets["8 chunks of 2"] = (pattern_id(0, CHUNKS, 0),)
    sets["8 chunks of 1"] = (pattern_id(0, 0, CHUNKS),)
    sets["8 chunks of 2, 1"] = (pattern_id(0, CHUNKS, 0), pattern_id(0, 0, CHUNKS))
    sets["4 chunks of 4 and 4 of 2"] = (pattern_id(4, 4, 0),)
    return sets


def plan() -> list[Point]:
    """Every point of the committed table, those that matter most first."""
    points = [Point(unit, "", stages, MAIN_SCRIPT) for unit in ("sdot", "smmla", "fma4") for stages in DEPTHS[unit]]
    sets = (*reversed(SETS), *BEST_SETS.values())
    points += [Point("array", patterns, stages, MAIN_SCRIPT) for stages in (3, 1, 2, 4) for patterns in sets]
    points += [Point(unit, "", stages, MAIN_SCRIPT) for unit in ("mul", "pack") for stages in DEPTHS[unit]]
    points += [Point("unit", patterns, 3, MAIN_SCRIPT) for patterns in COMPARED]
    for script in (name for name in synthesis.SCRIPTS if name != MAIN_SCRIPT):
        points += [Point("sdot", "", 2, script), Point("smmla", "", 2, script), Point("fma4", "", 3, script)]
        points += [Point("array", patterns, 3, script) for patterns in sets]
        points += [Point("mul", "", 2, script), Point("pack", "", 2, script), Point("unit", "P45", 3, script)]
    points += [Point("array", "P45", stages, script) for script, stages in OTHER_DEPTHS.items()]
    points += [Point(unit, "P45", 3, MAIN_SCRIPT) for unit in ("vdot", "vmac")]
    points += [Point(*key) for key in (*SECOND, *SECOND_DEPTHS)]
    for patterns in chunk_sets().values():
        points.append(Point("array", ",".join(map(str, sorted(patterns))), 1, MAIN_SCRIPT))
    return points


def wants_energy(point: Point) -> bool:
    """Whether a point's energy is simulated: not where an array only shows what its chunks cost, nor of whole units
    with fewer patterns, whose arrays have it."""
    if point.unit in measure.SECOND_UNITS:
        return point.unit != "whole" and (point.unit, point.patterns, point.stages, point.script) in SECOND[:4]
    if point.unit == "array":
        return point.patterns in (*SETS, *BEST_SETS.values())
    return point.patterns in ("", "P45")


def empty() -> dict[str, Any]:
    """A table without rows, as these tools make it."""
    library = liberty.load()
    return {
        "format": FORMAT,
        "version": VERSION,
        "instructions": FINGERPRINT,
        "tools": {"pyosys": synthesis.version()},
        "library": {"name": library.name, "sha256": library.sha256},
        "passes": synthesis.PASSES.strip().splitlines(),
        "scripts": {name: (synthesis.ABC / f"{name}.abc").read_text().split("\n")[:-1] for name in synthesis.SCRIPTS},
        "delay_target_ps": synthesis.DELAY_TARGET,
        "wire_ff_per_pin": WIRE,
        "energy": {"vectors": measure.ENERGY_VECTORS, "seed": measure.ENERGY_SEED, "step_ps": power.STEP},
        "points": [],
    }


def make(path: Path, points: Sequence[Point], report: Callable[[str], None]) -> dict[str, Any]:
    """Measure the points that the file at ``path`` has not yet, or not with the energy they want, saving after each."""
    table = empty()
    if path.exists():
        old = read(path)
        if {name: old[name] for name in table if name != "points"} == {n: table[n] for n in table if n != "points"}:
            table = old
        else:
            raise SysmolError(f"{path} was made with other tools, library or settings: name another file")
    library = liberty.load()
    for point in points:
        known = {key(row): row for row in table["points"]}
        wanted = wants_energy(point)
        found = known.get((point.unit, point.patterns, point.stages, point.script))
        if found is not None and ("energy" in found or not wanted):
            continue
        row = measure.measure(point, library, WIRE, wanted)
        table["points"] = list((known | {key(row): row}).values())
        atomic_write_json(path, table)
        report(point.name)
    return table


def again(table: dict[str, Any], point: Point) -> str:
    """Measure a point of the table once more; :class:`CheckFailed` where it comes out otherwise.

    With the tools that the table names, everything must be identical; with others areas and delays within 3%.
    """
    old = find(table, point.unit, point.patterns, point.stages, point.script)
    new = measure.measure(point, liberty.load(), table["wire_ff_per_pin"], wants_energy(point))
    if empty()["tools"] == table["tools"]:
        different = [name for name in old if old[name] != new[name]]
        if different:
            raise CheckFailed(f"{point.name}: {', '.join(different)} came out otherwise with the same tools")
        return f"{point.name}: identical"
    pairs = list(_figures(old, new))
    worst = max(abs(b / a - 1) for a, b in pairs)
    if worst > TOLERANCE:
        raise CheckFailed(f"{point.name}: figures differ by up to {worst:.1%} from those with {table['tools']}")
    return f"{point.name}: within {worst:.1%} of the figures with {table['tools']}"


def _figures(old: dict[str, Any], new: dict[str, Any]) -> Iterable[tuple[float, float]]:
    yield old["logic_um2"] + old["flop_um2"], new["logic_um2"] + new["flop_um2"]
    yield max(old["stage_ps"]), max(new["stage_ps"])
