"""The figures of docs/hardware-cost.md as SVG text, the same for the same figures: area of units and pattern sets, and
cycles over area."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from sysmol.hwcost import SETS, find

WIDTH, BAR, GAP, LEFT, TOP = 640, 20, 10, 190, 34
LOGIC, FLOPS, OTHER, OTHER_FLOPS, POINT = "#0072B2", "#56B4E9", "#999999", "#CCCCCC", "#D55E00"
"""Okabe and Ito's colours, which stay apart for colour-blind readers."""


def bars(table: dict[str, Any]) -> list[tuple[str, float, float, bool]]:
    """Label, logic and flip-flop area of every bar, and whether it is of SMOL instructions."""
    chosen = [(f"vdot, vmac with {name}", ("array", name, 3), True) for name in SETS]
    chosen += [("vmul, vmla", ("mul", "", 2), True), ("vqpk", ("pack", "", 2), True)]
    chosen += [("the first page, P45", ("unit", "P45", 3), True)]
    chosen += [
        ("with vmm.w, vmm.h, P45", ("matrix", "P45", 4), True),
        ("packing of both pages", ("packs", "", 2), True),
    ]
    chosen += [("vdw", ("taps", "", 2), True), ("vunp.h", ("unpack", "", 1), True)]
    chosen += [("both pages, P45", ("whole", "P45", 4), True)]
    chosen += [("sdot, int8", ("sdot", "", 2), False), ("smmla, int8", ("smmla", "", 2), False)]
    chosen += [("fp32 FMA x4", ("fma4", "", 3), False)]
    rows = [(label, find(table, *key), smol) for label, key, smol in chosen]
    return [(label, row["logic_um2"], row["flop_um2"], smol) for label, row, smol in rows]


def svg(table: dict[str, Any]) -> str:
    """Area of every unit: logic, and pipeline registers behind it."""
    drawn = bars(table)
    longest = max(logic + flops for _, logic, flops, _ in drawn)
    scale = (WIDTH - LEFT - 70) / longest
    height = TOP + len(drawn) * (BAR + GAP) + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="DejaVu Sans, Arial, '
        'sans-serif" font-size="12">',
        "<title>Area of the SMOL unit's blocks by pattern set, and of other units, in um2 of ASAP7</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="18">area in um² (ASAP7): logic, and lighter its pipeline registers</text>',
    ]
    for place, (label, logic, flops, smol) in enumerate(drawn):
        y = TOP + place * (BAR + GAP)
        wide, more = logic * scale, flops * scale
        dark, light = (LOGIC, FLOPS) if smol else (OTHER, OTHER_FLOPS)
        lines += [
            f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{wide:.1f}" height="{BAR}" fill="{dark}"/>',
            f'<rect x="{LEFT + wide:.1f}" y="{y}" width="{more:.1f}" height="{BAR}" fill="{light}"/>',
            f'<text x="{LEFT + wide + more + 6:.1f}" y="{y + 15}">{logic + flops:,.0f}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


FRONT_WIDTH, FRONT_HEIGHT, MARGIN = 640, 340, (60, 20, 30, 46)
"""Of the figure of cycles over area; margins left, right, top, bottom."""
LEAST_AREA, MOST_AREA, MOST_OVER = 340.0, 530.0, 0.55
"""um2 and cycles over P45's at the ends of the axes: what lies beyond is not drawn."""


def front_svg(rows: Sequence[Mapping[str, str]]) -> str:
    """Cycles over area of pattern sets: the best set of every area as a line of steps, other sets as points.
    ``rows``: those of ``results/pattern_area.csv``."""
    left, right, top, bottom = MARGIN

    def at(area: float, over: float) -> tuple[float, float]:
        x = left + (FRONT_WIDTH - left - right) * (area - LEAST_AREA) / (MOST_AREA - LEAST_AREA)
        return x, FRONT_HEIGHT - bottom - (FRONT_HEIGHT - top - bottom) * over / MOST_OVER

    points = [(row["kind"], row["name"], float(row["area_um2"]), float(row["over_p45"])) for row in rows]
    shown = [point for point in points if point[2] >= LEAST_AREA and point[3] <= MOST_OVER]
    front = [at(area, over) for kind, _, area, over in shown if kind == "front"]
    steps = [f"M{front[0][0]:.1f},{front[0][1]:.1f}", *(f"H{x:.1f}V{y:.1f}" for x, y in front[1:])]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {FRONT_WIDTH} {FRONT_HEIGHT}" '
        'font-family="DejaVu Sans, Arial, sans-serif" font-size="12">',
        "<title>Cycles over area of the array of vdot and vmac, by pattern set</title>",
        f'<rect width="{FRONT_WIDTH}" height="{FRONT_HEIGHT}" fill="white"/>',
        f'<text x="{left}" y="18">cycles over P45&#8217;s: the best set of every area, and other sets</text>',
    ]
    for area in range(350, 531, 30):
        x, y = at(area, 0)
        lines.append(f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{area}</text>')
    for percent in range(0, 51, 10):
        x, y = at(LEAST_AREA, percent / 100)
        lines.append(f'<text x="{x - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{percent}%</text>')
        lines.append(f'<path d="M{x:.1f},{y:.1f}H{FRONT_WIDTH - right}" stroke="{OTHER_FLOPS}" stroke-width="0.5"/>')
    lines += [
        f'<text x="{FRONT_WIDTH / 2:.0f}" y="{FRONT_HEIGHT - 8}" text-anchor="middle">array, um² of ASAP7 (sum of its '
        "chunks)</text>",
        f'<path d="{"".join(steps)}" fill="none" stroke="{LOGIC}" stroke-width="2"/>',
    ]
    for kind, name, size, over in shown:
        if kind in ("named", "number"):
            x, y = at(size, over)
            place = f'x="{x - 7:.1f}" y="{y - 6:.1f}" text-anchor="end"'
            lines.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{POINT}"/><text {place}>{escape(name)}</text>'
            )
    return "\n".join([*lines, "</svg>", ""])
