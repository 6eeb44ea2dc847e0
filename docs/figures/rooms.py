"""Draws docs/figures/rooms.svg from the package's imports: ``python docs/figures/rooms.py`` writes it beside itself.

A box is a room, a row a layer of the import linter's contract. An arrow says that a room imports another; arrows that
a longer way along other arrows implies are left out, and so are those to the core, which every room imports.
"""

import tomllib
from pathlib import Path

import grimp
import networkx

from sysmol.files import PACKAGE, atomic_write_text

OUT = Path(__file__).parent / "rooms.svg"
WIDTH, ROW, BOX_HEIGHT, MARGIN = 980, 92, 40, 20
STAGGER = (0.62, 0.14, 0.5, 0.36, 0.78)
"""Where the box of a row that has one stands, as a share of the width: side by side, arrows pass between them."""
CORE = "sysmol"


def layers() -> list[list[str]]:
    """Rooms in the rows of the contract, the upper ones first; the core, which is the last row, as one box."""
    text = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = [[name.strip(" ()") for name in row.split("|")] for row in rows[:-1]]
    return [*([name for name in row if (PACKAGE / name).is_dir()] for row in rooms), [CORE]]


def imports(rooms: set[str]) -> set[tuple[str, str]]:
    """Pairs of rooms of which the first imports the second, imports inside functions counted."""
    graph = grimp.build_graph("sysmol", cache_dir=None)

    def room(module: str) -> str:
        name = [*module.split("."), CORE][1]
        return name if name in rooms else CORE

    pairs = {
        (room(module), room(other))
        for module in graph.modules
        for other in graph.find_modules_directly_imported_by(module)
        if module != "sysmol.__main__"
    }
    return {(first, second) for first, second in pairs if first != second}


def necessary(pairs: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Arrows that no longer way implies."""
    reduced = networkx.transitive_reduction(networkx.DiGraph(sorted(pairs)))
    return sorted((first, second) for first, second in reduced.edges if second != CORE)


def places(rows: list[list[str]]) -> dict[str, tuple[float, float, float]]:
    """Left side, top and width of every box."""
    found: dict[str, tuple[float, float, float]] = {}
    for number, row in enumerate(rows):
        top = MARGIN + number * ROW
        step = (WIDTH - 2 * MARGIN) / len(row)
        width = WIDTH - 2 * MARGIN if row == [CORE] else min(step - 24, 150)
        for place, name in enumerate(row):
            left = MARGIN + step * place + (step - width) / 2
            if len(row) == 1 and row != [CORE]:
                left = STAGGER[number % len(STAGGER)] * WIDTH - width / 2
            found[name] = (left, top, width)
    return found


def arrow(start: tuple[float, float, float], end: tuple[float, float, float], shift: float) -> str:
    """A curve from the lower side of a box to the upper side of another; shift sets arrows of one box apart."""
    x1, y1 = start[0] + start[2] / 2 + shift, start[1] + BOX_HEIGHT
    x2, y2 = end[0] + end[2] / 2 + shift, end[1] - 3
    bend = (y2 - y1) / 2
    path = f"M{x1:.1f} {y1:.1f} C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2:.1f}"
    return f'<path d="{path}" fill="none" stroke="#57606a" stroke-width="1.3" marker-end="url(#head)"/>'


def draw() -> str:
    """The figure as SVG text; equal imports give equal text."""
    rows = layers()
    rooms = {name for row in rows for name in row}
    boxes = places(rows)
    height = MARGIN * 2 + (len(rows) - 1) * ROW + BOX_HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="14">',
        "<title>Rooms of sysmol and what they import; all import the core</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#57606a"/></marker></defs>',
    ]
    pairs = necessary(imports(rooms))
    for first, second in pairs:
        siblings = sorted((other for start, other in pairs if start == first), key=lambda name: boxes[name][0])
        shift = 14.0 * (siblings.index(second) - (len(siblings) - 1) / 2)
        lines.append(arrow(boxes[first], boxes[second], shift))
    for name, (left, top, width) in boxes.items():
        fill = "#ddf4ff" if name == CORE else "#f6f8fa"
        label = "core: sysmol/, imported by every room" if name == CORE else name
        lines.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{BOX_HEIGHT}" rx="6" fill="{fill}" '
            'stroke="#57606a"/>'
        )
        lines.append(f'<text x="{left + width / 2:.1f}" y="{top + 25:.1f}" text-anchor="middle">{label}</text>')
    lines.append("</svg>")
    assert all(boxes[first][1] < boxes[second][1] for first, second in pairs), "an arrow points up"
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(atomic_write_text(OUT, draw()))
