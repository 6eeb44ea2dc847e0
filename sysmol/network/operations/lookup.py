"""Functions of one variable: GELU, SiLU, hardswish, sigmoid, tanh and others without a form of their own. Tables in
integers, in full precision the functions themselves."""

from collections.abc import Sequence

import numpy as np

from sysmol.network.model import RANGES, Array, Layer, Network, need
from sysmol.network.operations.base import Operation, register
from sysmol.network.operations.functions import FUNCTIONS
from sysmol.network.operations.layer_checks import check_plain_window
from sysmol.network.ranges import limits

ENTRIES = 64
"""Entries of a table."""


@register
class Lookup(Operation):
    """``acc[c] = table[x[c]]``: x are the bytes 0 to 63, which the layer before makes with its ordinary clamp.

    In ``f32`` networks ``acc[c] = function(x[c])``, of :data:`~sysmol.network.operations.functions.FUNCTIONS`.
    """

    name = "lookup"
    has_table = True

    def check(self, net: Network, layer: Layer) -> None:
        super().check(net, layer)
        check_plain_window(layer)
        where, x = f"layer {layer.name}", net.tensors[layer.input]
        if x.format == "f32":
            known = ", ".join(FUNCTIONS)
            need(layer.function in FUNCTIONS, f"{where}: there is no function {layer.function!r}, only {known}")
            need(not layer.table, f"{where}: a lookup of floats has a function, no table")
            return
        need(not layer.function, f"{where}: a lookup of integers has a table, no function")
        low, high = limits(net, layer.input)
        need(
            x.format == "s8" and low >= 0 and high < ENTRIES,
            f"{where} reads {x.name}, which is not s8 within 0..{ENTRIES - 1}",
        )
        need(len(layer.table) == ENTRIES, f"{where} has a table of {len(layer.table)} entries, not of {ENTRIES}")
        low, high = RANGES["s16"]
        need(low <= min(layer.table) and max(layer.table) <= high, f"{where}: an entry of its table exceeds 16 bits")

    def evaluate(self, net: Network, layer: Layer, x: Sequence[Array]) -> Array:
        if layer.function:
            return FUNCTIONS[layer.function](x[0])
        return np.array(layer.table, dtype=np.int64)[x[0]]

    def accumulator_bound(self, net: Network, layer: Layer) -> Array:
        return np.full(net.tensors[layer.input].channels, np.abs(layer.table).max(), dtype=np.int64)
