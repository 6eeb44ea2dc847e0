"""Fills the tables of docs/interchange.md from the readers' own: ``python docs/support_tables.py``."""

from pathlib import Path

from sysmol.files import atomic_write_text
from sysmol.train.frontend.readers import onnx_graph, tflite
from sysmol.train.frontend.readers.importer import markdown

PAGE = Path(__file__).parent / "interchange.md"
TABLES = {"tflite": tflite.OPERATORS, "onnx": onnx_graph.OPERATORS}


def filled(text: str) -> str:
    """The page with its tables as they must be."""
    for name, operators in TABLES.items():
        start = f"<!-- table: {name} -->"
        before, _, rest = text.partition(start)
        text = f"{before}{start}\n{markdown(operators)}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    return text


if __name__ == "__main__":
    atomic_write_text(PAGE, filled(PAGE.read_text(encoding="utf-8")))
