"""Fills the tables of what is understood, in docs/interchange.md, docs/training.md and README.md, from the code's own:
``python docs/support_tables.py``."""

from pathlib import Path

from sysmol.files import atomic_write_text
from sysmol.interchange import qonnx_in
from sysmol.interchange.onnx_out import EXACT_FLOAT
from sysmol.train.frontend import accepted
from sysmol.train.frontend.readers import limits, onnx_graph, tflite, tflite_integers
from sysmol.train.frontend.readers.importer import markdown

PAGE = Path(__file__).parent / "interchange.md"
PAGES = (PAGE, PAGE.parent / "training.md", PAGE.parents[1] / "README.md")


def power(number: int) -> str:
    """A power of two as such."""
    return f"2^{number.bit_length() - 1}"


def formats() -> str:
    """What is read and written, and where that ends."""
    sizes = f"tensors of {power(limits.ELEMENTS)} elements, {power(limits.WORK)} operations per image"
    computed = ", ".join(tflite_integers.OPTIONS)
    rows = (
        ("TensorFlow Lite, float32", "in", "a module", f"{len(tflite.OPERATORS)} operators; {sizes}"),
        ("TensorFlow Lite, int8", "in", "a network file with the same sums, or a module", f"{computed}; no dilation"),
        ("ONNX, float32", "in", "a module", f"{len(onnx_graph.OPERATORS)} operators; {sizes}"),
        ("QONNX", "in", "a network file, exact", "activations and weights of at most 8 bits, of at most 4 as codes; "
         f"sums up to {power(EXACT_FLOAT)}"),
        ("module, ONNX or TensorFlow Lite with images", "in", "a network file of 4 bits, mixed or 8, without training",
         "what a module may have"),
        ("ONNX", "out", "every network file, exact", "full precision to 10^-4"),
        ("QONNX", "out", "networks of 1, 2, 4 and 8 bits, exact", f"sums below {power(EXACT_FLOAT)}; one image"),
    )  # fmt: skip
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(["| format | | becomes, or is made of | limits |", "|---|---|---|---|", *lines])


TABLES = {
    "tflite": lambda: markdown(tflite.OPERATORS),
    "onnx": lambda: markdown(onnx_graph.OPERATORS),
    "qonnx": qonnx_in.markdown,
    "formats": formats,
    "layers": accepted.markdown,
}


def filled(text: str) -> str:
    """A page with its tables as they must be."""
    for name, table in TABLES.items():
        start = f"<!-- table: {name} -->"
        before, found, rest = text.partition(start)
        if found:
            text = f"{before}{start}\n{table()}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    return text


if __name__ == "__main__":
    for path in PAGES:
        atomic_write_text(path, filled(path.read_text(encoding="utf-8")))
