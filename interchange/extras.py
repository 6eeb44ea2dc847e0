"""Packages of the extra ``onnx``, which the core does without."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from sysmol.errors import SysmolError


def extra(package: str, purpose: str) -> ModuleType:
    """The package, imported. Raises :class:`SysmolError` that says how to get it where it is not installed."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else onnxruntime reports its use, and leaves /tmp/.ses
    try:
        return importlib.import_module(package)
    except ImportError:
        raise SysmolError(f"{purpose} needs the package {package}: pip install 'sysmol[onnx]'") from None
