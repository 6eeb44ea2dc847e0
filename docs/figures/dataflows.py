"""Draws the figures of docs/dataflows.md: ``python docs/figures/dataflows.py`` writes the SVG files beside itself.

Register counts are the generator's own, for a 3x3 convolution of stride 1 whose pixels are one vector.
"""

from collections.abc import Sequence
from pathlib import Path

from sysmol.files import atomic_write_text
from sysmol.kernels_c.plan.heuristic import LayerShape, yflows_schedules
from sysmol.schedule import REGISTERS, WORKING, Schedule

WIDTH, HEIGHT, CELL = 980, 330, 26
COLOURS = {"weights": "#f2a154", "inputs": "#7fbf7b", "outputs": "#6fa3d8", "": "#ffffff"}
SHAPE = LayerShape((3, 3), (1, 1), 56, 56, 1)

Cells = dict[tuple[int, int], str]


class Drawing:
    """Lines of one SVG file."""

    def __init__(self, title: str) -> None:
        self.lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="13">',
            f"<title>{title}</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
            '<path d="M0 0 L8 4 L0 8 z" fill="#444"/></marker></defs>',
        ]
        self.text(20, 26, title, size=16, weight="bold")

    def text(self, x: float, y: float, text: str, size: int = 13, weight: str = "normal", mono: bool = False) -> None:
        """One line of text; leading blanks are kept."""
        family = ' font-family="DejaVu Sans Mono, Menlo, monospace"' if mono else ""
        shown = text.replace("&", "&amp;").replace("<", "&lt;")
        self.lines.append(
            f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}"{family} xml:space="preserve" '
            f'fill="#222">{shown}</text>'
        )

    def box(
        self, x: float, y: float, width: float, height: float, fill: str, dash: bool = False, line: int = 1
    ) -> None:
        """A rectangle."""
        extra = ' stroke-dasharray="5 3"' if dash else ""
        self.lines.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{fill}" stroke="#444" '
            f'stroke-width="{line}"{extra}/>'
        )

    def arrow(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """An arrow."""
        self.lines.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#444" stroke-width="2" marker-end="url(#head)"/>'
        )

    def grid(
        self, x: float, y: float, rows: int, columns: int, cells: Cells, labels: dict[tuple[int, int], str]
    ) -> None:
        """A tensor's pixels; ``cells`` are those that registers hold."""
        for r in range(rows):
            for c in range(columns):
                self.box(x + c * CELL, y + r * CELL, CELL, CELL, COLOURS[cells.get((r, c), "")])
                if (r, c) in labels:
                    self.text(x + c * CELL + 5, y + r * CELL + 18, labels[r, c], 11)

    def registers(self, counts: Sequence[tuple[str, int, str]]) -> None:
        """The register file: ``(tensor, registers, meaning)``, the rest free."""
        self.text(20, 56, f"{REGISTERS} vector registers", weight="bold")
        kinds = [tensor for tensor, number, _ in counts for _ in range(number)]
        kinds += [""] * (REGISTERS - len(kinds))
        for index, kind in enumerate(kinds):
            self.box(20 + index % 8 * CELL, 66 + index // 8 * CELL, CELL, CELL, COLOURS[kind])
        y = 66 + 4 * CELL + 24
        for tensor, number, meaning in counts:
            self.box(20, y - 11, 14, 14, COLOURS[tensor])
            self.text(40, y, f"{number}  {meaning}", 12)
            y += 20
        free = REGISTERS - sum(number for _, number, _ in counts)
        if free:
            self.box(20, y - 11, 14, 14, COLOURS[""])
            self.text(40, y, f"{free}  free", 12)

    def code(self, lines: Sequence[str]) -> None:
        """The loop nest."""
        self.text(305, 56, "loop nest", weight="bold")
        for number, line in enumerate(lines):
            self.text(305, 82 + 20 * number, line, 12, mono=True)

    def save(self, name: str) -> None:
        """Write the file beside this script."""
        atomic_write_text(Path(__file__).parent / name, "\n".join([*self.lines, "</svg>"]) + "\n")


def block(rows: range, columns: range, kind: str) -> Cells:
    """Cells of one kind."""
    return {(r, c): kind for r in rows for c in columns}


def kernel(drawing: Drawing, held: int) -> None:
    """The kernel's weights, of which ``held`` are in registers."""
    drawing.text(870, 56, "weights")
    cells = {divmod(n, 3): "weights" for n in range(held)}
    drawing.grid(860, 66, 3, 3, cells, {})


def output_stationary(schedule: Schedule) -> None:
    """Anchor: one output."""
    d = Drawing(f"Output-stationary: {schedule}")
    d.registers(
        [
            ("outputs", 1, "the output that accumulates (anchor)"),
            ("weights", schedule.weights + 1, f"weights: {schedule.weights} kept, 1 passing"),
            ("inputs", schedule.inputs + 1, f"inputs: {schedule.inputs} kept, 1 passing"),
        ]
    )
    d.code(
        [
            "load all weights",
            "for each row of outputs:",
            "  load the first two columns of inputs",
            "  for each output:        # unrolled by 2",
            "    acc = 0",
            "    for the two kept columns:",
            "      acc += weight * kept input",
            "    for the new column:",
            "      load input into the register of",
            "        the column that is left behind",
            "      acc += weight * input",
            "    store the sum of acc",
        ]
    )
    d.text(640, 56, "inputs")
    kept = block(range(3), range(1, 3), "inputs")
    names = {(r, c): "ab"[c % 2] + str(r) for r in range(3) for c in (1, 2, 3)}
    d.grid(640, 66, 4, 7, kept, names)
    d.box(640 + CELL, 66, 3 * CELL, 3 * CELL, "none", line=3)
    d.arrow(640 + 4 * CELL + 6, 66 + 1.5 * CELL, 640 + 6 * CELL, 66 + 1.5 * CELL)
    kernel(d, schedule.weights)
    d.text(640, 226, "outputs")
    d.grid(640, 236, 2, 5, {(0, 1): "outputs"}, {})
    d.text(640, 306, "Column 3 goes where column 1 was (b): nothing is moved.", 11)
    d.save("dataflow-os.svg")


def weight_stationary(schedule: Schedule) -> None:
    """Anchor: one weight."""
    d = Drawing(f"Weight-stationary: {schedule}")
    d.registers(
        [
            ("weights", 1, "the weight that all pixels meet (anchor)"),
            ("outputs", schedule.outputs + 1, f"outputs: {schedule.outputs} kept, 1 passing"),
            ("inputs", 1, "an input that passes"),
        ]
    )
    d.code(
        [
            "clear all sums in memory",
            f"kept sums = 0            # {schedule.outputs} of them",
            "for each vector, kernel row, column:",
            "  load the weight",
            "  for each kept output:",
            "    kept sum += weight * input",
            "  for each other output:   # unrolled by 4",
            "    load its sum",
            "    sum += weight * input",
            "    store the sum",
            "store the kept sums",
        ]
    )
    d.text(640, 56, "inputs")
    d.grid(640, 66, 4, 7, {(1, 3): "inputs"}, {})
    d.arrow(640 + 4 * CELL, 66 + 1.5 * CELL, 640 + 6 * CELL, 66 + 1.5 * CELL)
    d.text(870, 56, "weights")
    d.grid(860, 66, 3, 3, {(1, 1): "weights"}, {})
    d.text(640, 206, "outputs: the first sums in registers")
    d.grid(640, 216, 3, 9, block(range(1), range(9), "outputs") | block(range(1, 2), range(3), "outputs"), {})
    d.text(640, 316, "An image has far more outputs than registers.", 11)
    d.save("dataflow-ws.svg")


def input_stationary(schedule: Schedule) -> None:
    """Anchor: one input."""
    d = Drawing(f"Input-stationary: {schedule}")
    d.registers(
        [
            ("inputs", 1, "the input that all taps meet (anchor)"),
            ("weights", schedule.weights + 1, f"weights: {schedule.weights} kept, 1 passing"),
            ("outputs", schedule.outputs + 1, f"outputs: {schedule.outputs} kept, 1 passing"),
        ]
    )
    d.code(
        [
            "clear all sums in memory",
            "load all weights",
            "for each row of inputs:",
            "  for each input:          # unrolled by 2",
            "    load it",
            "    finish the column of outputs that it",
            "      meets last; store those sums",
            "    load the sums of the new column into",
            "      the registers that this leaves",
            "    all 9 taps: sum += weight * input",
        ]
    )
    d.text(640, 56, "inputs")
    d.grid(640, 66, 4, 7, {(2, 3): "inputs"}, {})
    d.arrow(640 + 4 * CELL + 4, 66 + 2.5 * CELL, 640 + 6 * CELL, 66 + 2.5 * CELL)
    kernel(d, schedule.weights)
    d.text(640, 206, "outputs that this input meets")
    kept = block(range(3), range(2, 4), "outputs")
    names = {(r, c): "ab"[c % 2] + str(r) for r in range(3) for c in (1, 2, 3)}
    d.grid(640, 216, 3, 7, kept, names)
    d.box(640 + CELL, 216, 3 * CELL, 3 * CELL, "none", line=3)
    d.text(640, 316, "Column 1 is stored; column 3 takes its registers (b).", 11)
    d.save("dataflow-is.svg")


def register_tile(schedule: Schedule) -> None:
    """Several outputs at once."""
    d = Drawing(f"Register tile: {schedule}")
    d.registers(
        [
            ("outputs", schedule.accumulators, f"sums: {schedule.channels} channels x {schedule.pixels} pixels"),
            ("inputs", schedule.pixels, f"inputs of the {schedule.pixels} pixels"),
            ("weights", 1, "a weight register that passes"),
        ]
    )
    d.code(
        [
            "for each tile of output channels:",
            "  for each tile of pixels:",
            "    all sums = 0",
            "    for each kernel row:",
            "      for each tap and vector:",
            f"        load {schedule.pixels} inputs",
            f"        for each of {schedule.channels} channels:",
            "          load its weights",
            f"          {schedule.pixels} x vdot",
            "    requantise, pack, store",
            "",
            f"{schedule.channels * schedule.pixels} vdot for {schedule.channels + schedule.pixels} loads",
        ]
    )
    d.text(640, 56, "outputs")
    for depth in range(3, -1, -1):
        for c in range(schedule.columns):
            for r in range(schedule.rows):
                d.box(650 + c * CELL + 5 * depth, 90 + r * CELL - 5 * depth, CELL, CELL, COLOURS["outputs"])
    d.text(650, 90 + (schedule.rows + 1) * CELL, f"{schedule.rows} x {schedule.columns} pixels,", 11)
    d.text(650, 106 + (schedule.rows + 1) * CELL, "a lane of each register per channel", 11)
    d.text(790, 56, "inputs")
    for c in range(schedule.columns):
        for r in range(schedule.rows):
            d.box(790 + c * CELL, 80 + r * CELL, CELL, CELL, COLOURS["inputs"])
    d.text(640, 226, "weights, in reading order")
    for c in range(schedule.channels):
        d.box(640 + c * CELL, 236, CELL, CELL, COLOURS["weights"] if c == 2 else COLOURS[""], dash=c > 2)
    d.arrow(640 + 3 * CELL + 4, 236 + 1.5 * CELL, 640 + 7 * CELL, 236 + 1.5 * CELL)
    d.save("dataflow-tile.svg")


def main() -> None:
    """Draw all four."""
    chosen = yflows_schedules(SHAPE, "vmac")
    output_stationary(chosen["os-weights"])
    weight_stationary(chosen["ws-outputs"])
    input_stationary(chosen["is-weights"])
    register_tile(Schedule("os", 8, 2, 4, "vdot"))


if __name__ == "__main__":
    assert WORKING == 3  # the figures show one passing register of each tensor
    main()
