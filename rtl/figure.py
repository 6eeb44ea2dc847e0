"""The figure of area over pattern sets, as SVG text: the same for the same cost table."""

from typing import Any
from xml.sax.saxutils import escape

from sysmol.hwcost import SETS, find

WIDTH, BAR, GAP, LEFT, TOP = 640, 20, 10, 190, 34
LOGIC, FLOPS, OTHER, OTHER_FLOPS = "#0072B2", "#56B4E9", "#999999", "#CCCCCC"
"""Okabe and Ito's colours, which stay apart for colour-blind readers."""


def bars(table: dict[str, Any]) -> list[tuple[str, float, float, bool]]:
    """Label, logic and flip-flop area of every bar, and whether it is of SMOL instructions."""
    chosen = [(f"vdot, vmac with {name}", ("array", name, 3), True) for name in SETS]
    chosen += [("vmul, vmla", ("mul", "", 2), True), ("vqpk", ("pack", "", 2), True)]
    chosen += [("all SMOL instructions, P45", ("unit", "P45", 3), True)]
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
