"""The tables of docs/interchange.md are the readers' own."""

import importlib.util

import pytest

from sysmol.files import PACKAGE

SCRIPT = PACKAGE.parent / "docs" / "support_tables.py"


def test_tables_of_what_is_understood():
    pytest.importorskip("tflite", reason="needs the extra onnx: pip install 'sysmol[onnx]'")
    spec = importlib.util.spec_from_file_location("support_tables", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = script.PAGE.read_text(encoding="utf-8")
    assert page == script.filled(page), "python docs/support_tables.py"
    assert "| DEPTHWISE_CONV_2D |" in page and "| GlobalAveragePool |" in page
