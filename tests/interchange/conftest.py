"""The generator's tests have networks of all layer kinds; they are used here, too."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="needs the extra onnx: pip install 'sysmol[onnx]'")
pytest.importorskip("onnxruntime", reason="needs the extra onnx: pip install 'sysmol[onnx]'")

sys.path.insert(0, str(Path(__file__).parents[1] / "kernels_c"))
