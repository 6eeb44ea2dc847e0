"""Precisions and registers, without PyTorch: which patterns hold a tensor's channels, and which ones hardware should
have."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Names that this module had when it held the 45 patterns: an import of one ends in a line that says its place."""
    from sysmol import pattern

    if not name.startswith("_") and hasattr(pattern, name):
        raise ImportError(f"sysmol.patterns.{name} is now sysmol.pattern.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
