"""The tables of docs/interchange.md and README.md are the readers' own."""

import importlib.util
from types import ModuleType

import pytest

from sysmol.files import PACKAGE

SCRIPT = PACKAGE.parent / "docs" / "support_tables.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    pytest.importorskip("tflite", reason="needs the extra onnx: pip install 'sysmol[onnx]'")
    spec = importlib.util.spec_from_file_location("support_tables", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_of_what_is_understood(script):
    for path in script.PAGES:
        page = path.read_text(encoding="utf-8")
        assert page == script.filled(page), "python docs/support_tables.py"
    page = script.PAGE.read_text(encoding="utf-8")
    assert all(f"<!-- table: {name} -->" in page for name in ("tflite", "onnx", "qonnx", "formats"))
    assert "| DEPTHWISE_CONV_2D |" in page and "| GlobalAveragePool |" in page
    assert "<!-- table: formats -->" in script.PAGES[2].read_text(encoding="utf-8")
