"""Networks of other tools: files of several formats as ordinary modules (docs/interchange.md)."""

from __future__ import annotations

from pathlib import Path

from sysmol.errors import SysmolError
from sysmol.train.frontend.readers.imported import Imported

SUFFIXES = (".tflite", ".onnx")


def read_model(path: str | Path) -> Imported:
    """The network of a file, by its suffix; :class:`SysmolError`, one line, where that is not possible."""
    suffix = Path(path).suffix.lower()
    if suffix == ".tflite":
        from sysmol.train.frontend.readers.tflite import read_tflite

        return read_tflite(path)
    if suffix == ".onnx":
        from sysmol.train.frontend.readers.onnx_graph import read_onnx

        return read_onnx(path)
    raise SysmolError(f"{path}: networks are read from files {', '.join(SUFFIXES)}")
