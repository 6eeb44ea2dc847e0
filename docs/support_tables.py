"""Fills the tables of docs/interchange.md from the readers' own: ``python docs/support_tables.py``."""

import re
from pathlib import Path

from sysmol.files import atomic_write_text
from sysmol.train.frontend.readers import onnx_graph, tflite
from sysmol.train.frontend.readers.importer import markdown

PAGE = Path(__file__).parent / "interchange.md"
TABLES = {"tflite": tflite.OPERATORS, "onnx": onnx_graph.OPERATORS}


def filled(text: str) -> str:
    """The page with its tables as they must be."""
    for name, operators in TABLES.items():
        body = f"<!-- table: {name} -->\n{markdown(operators)}\n<!-- end -->"
        text = re.sub(rf"<!-- table: {name} -->.*?<!-- end -->", lambda _, body=body: body, text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    atomic_write_text(PAGE, filled(PAGE.read_text(encoding="utf-8")))
