"""Networks of all layer kinds come from the generator's tests, damaged files from those of training's readers."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="needs the extra onnx: pip install 'sysmol[onnx]'")
pytest.importorskip("onnxruntime", reason="needs the extra onnx: pip install 'sysmol[onnx]'")

for folder in ("kernels_c", "train", "interchange"):
    sys.path.append(str(Path(__file__).parents[1] / folder))
