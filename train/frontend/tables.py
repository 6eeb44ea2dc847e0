"""Functions of one variable that become tables of 64 entries (``lookup`` of the network file)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

TABLES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "hardswish": F.hardswish,
    "sigmoid": torch.sigmoid,
    "hardsigmoid": F.hardsigmoid,
    "tanh": torch.tanh,
}
"""By the name that units give them."""
WAYS: dict[str, tuple[Any, ...]] = {
    "gelu": (nn.GELU, F.gelu),
    "silu": (nn.SiLU, F.silu),
    "hardswish": (nn.Hardswish, F.hardswish),
    "sigmoid": (nn.Sigmoid, torch.sigmoid, F.sigmoid, "sigmoid"),
    "hardsigmoid": (nn.Hardsigmoid, F.hardsigmoid),
    "tanh": (nn.Tanh, torch.tanh, F.tanh, "tanh"),
}
"""How each may be written: modules, functions, methods by name."""


def name_of(called: Any, approximate: str = "none") -> str:
    """The name of the function that a node calls, or a module computes; ``approximate`` as GELU's option."""
    kinds = tuple(type(called).__mro__) if isinstance(called, nn.Module) else (called,)
    name = next(name for name, ways in WAYS.items() if any(kind in ways for kind in kinds))
    return "gelu_tanh" if name == "gelu" and approximate == "tanh" else name
