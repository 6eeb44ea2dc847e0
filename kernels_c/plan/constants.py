"""Requantisation constants for what kernels really accumulate, and the names and text of constant arrays.

Kernels accumulate over every tap and every slot of a register, read SMOL codes ``u`` instead of ``g = 2u - t``
(``t = 2**p - 1``) where they add elements, and leave products of a depthwise layer unaligned. Each of these differs
from the accumulator of the network file by a factor or by a constant per channel and border class; both move into
``M``, ``B`` and ``R``. Arithmetic modulo ``2**32`` on both sides, and final sums proven to fit, make this exact.

In front of a high product nothing can move into B: there the file's accumulator is made first, of the kernel's, by a
factor and an addend of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sysmol.grid import PRODUCT_SHIFT, integer
from sysmol.network import (
    HIGH,
    RANGES,
    RESIDUAL_SHIFT,
    Array,
    Layer,
    Network,
    Output,
    Tensor,
    alignment,
    dense_weight,
    group_parts,
    layer_classes,
    upper_codes,
)
from sysmol.network.ranges import limits
from sysmol.packing import slot_precisions, unpack


@dataclass
class Physical:
    """Constants of one output in logical channel order: ``M [C]``, ``B [classes, C]`` (row-major over row and column
    classes), ``R [C]`` or None, ``hi [C]``.

    ``high``: what makes the first operand of a high product of the kernel's accumulator; None under low products.
    ``high_residual``: the same of the residual's elements.
    """

    M: Array | None
    B: Array
    R: Array | None
    hi: Array
    high: "Operand | None" = None
    high_residual: "Operand | None" = None

    @property
    def is_low(self) -> bool:
        """Whether there are low products alone."""
        return self.high is None and self.high_residual is None

    def doubled(self) -> "Physical":
        """Constants of twice the value, to be shifted by one more; of low products."""
        assert self.M is not None and self.is_low
        return Physical(2 * self.M, 2 * self.B, None if self.R is None else 2 * self.R, self.hi)


@dataclass
class Operand:
    """``factor[c] * x + addend[class, c]``, modulo ``2**32``: what a high product multiplies with M or R.

    ``factor [C]`` is None where it is 1, ``addend [classes, C]`` where it is 0.
    """

    factor: Array | None
    addend: Array | None


def _operand(factor: Array, addend: Array) -> Operand:
    return Operand(factor if (factor != 1).any() else None, addend if addend.any() else None)


def _top(tensor: Tensor) -> Array:
    """``t = 2**p - 1`` of every logical channel of a SMOL tensor."""
    return (1 << tensor.precisions) - 1


def _invalid_taps(net: Network, layer: Layer) -> Array:
    """bool ``[row classes, column classes, KH, KW]``: the taps outside the image."""
    (_, rows), (_, columns) = layer_classes(net, layer)
    height, width = layer.kernel
    row_ok = np.array([[lo <= k < hi for k in range(height)] for lo, hi in rows])
    column_ok = np.array([[lo <= k < hi for k in range(width)] for lo, hi in columns])
    return ~(row_ok[:, None, :, None] & column_ok[None, :, None, :])


class Held(NamedTuple):
    """What a kernel's accumulator holds instead of the file's: ``acc = factor * held - excess``.

    ``factor`` int64 ``[C]``, ``excess`` int64 ``[row classes, column classes, C]``.
    """

    factor: Array
    excess: Array


def held_codes(net: Network, layer: Layer) -> Held:
    """Sums of SMOL codes u over the taps inside the image: a value is ``2u - t``."""
    x = net.tensors[layer.input]
    valid = (~_invalid_taps(net, layer)).sum(axis=(2, 3))
    return Held(np.full(x.channels, 2), valid[..., None] * _top(x))


def held_products(net: Network, layer: Layer) -> Held:
    """Sums of a depthwise layer's unaligned SMOL products over all taps: code 0 under taps outside the image."""
    x = net.tensors[layer.input]
    border = np.einsum("rcyx,yxk->rck", _invalid_taps(net, layer), dense_weight(net, layer) * _top(x))
    return Held(1 << alignment(x), -border << alignment(x))


def held_registers(net: Network, layer: Layer, pixel_bytes: int, read: Array | None = None) -> Held:
    """Sums of a convolution's aligned SMOL products over all taps and slots of the ``pixel_bytes`` that it reads: code
    0 outside the image and in unused slots of activations, under the stored fillers of the weights.

    ``read``, bool ``[slots]``: those that it reads of a pixel, where these are fewer.
    """
    assert layer.weight is not None
    weight, outside = dense_weight(net, layer), _invalid_taps(net, layer)
    parts = [
        _convolution_excess(part, outside, weight[own], layer.weight[own], pixel_bytes, read)
        for part, own in group_parts(net, layer)
    ]
    return Held(np.ones(len(weight), dtype=np.int64), np.concatenate(parts, axis=-1))


def _convolution_excess(
    x: Tensor, outside: Array, weight: Array, packed: Array, pixel_bytes: int, read: Array | None
) -> Array:
    """The excess of :func:`held_registers` for the output channels of one group, ``x`` being its input channels."""
    aligned = weight << alignment(x)
    border = -np.einsum("rcyx,kyxi,i->rck", outside, aligned, _top(x), optimize=True)
    precisions = slot_precisions(x.patterns)
    unused = np.ones(len(precisions), dtype=bool)
    unused[x.slots] = False
    unused &= np.cumsum(precisions) <= 8 * pixel_bytes if read is None else read
    shift = np.array([PRODUCT_SHIFT[int(p)] for p in precisions[unused]], dtype=np.int64)
    top = (1 << precisions[unused]) - 1
    filler = integer(unpack(packed, x.patterns), precisions)[..., unused]
    result: Array = border - (filler * (top << shift)).sum(axis=(1, 2, 3))
    return result


def physical(net: Network, layer: Layer, out: Output, held: Held | None = None) -> Physical:
    """Constants with which a kernel gets the file's values from its own accumulators, ``held`` where they differ from
    the file's."""
    t = net.tensors[out.tensor]
    if t.format == "f32":
        return Physical(out.M, out.B.reshape(1, -1), None, np.full(t.channels, out.hi))
    assert out.M is not None
    m, b = out.M.astype(np.int64), out.B.astype(np.int64)
    r = None if out.R is None else out.R.astype(np.int64)
    high = high_residual = None
    if out.multiply == HIGH:
        high = _high_operand(t.channels, held, out.pre)
    elif held is not None:
        m, b = m * held.factor, b - m * held.excess
    if r is not None:
        residual = net.tensors[layer.residual]
        codes = residual.format == "smol"
        if out.residual_multiply == HIGH:
            left = RESIDUAL_SHIFT[residual.format]
            addend = -(_top(residual) << left) if codes else np.zeros(t.channels, dtype=np.int64)
            high_residual = _operand(np.full(t.channels, (2 if codes else 1) << left), addend[None])
        elif codes:
            b, r = b - r * _top(residual), 2 * r
    return Physical(m, b.reshape(-1, t.channels), r, np.asarray(upper_codes(t, out.hi)), high, high_residual)


def _high_operand(channels: int, held: Held | None, pre: int) -> Operand:
    """``acc << pre`` of what a kernel holds."""
    if held is None:
        return _operand(np.full(channels, 1 << pre), np.zeros((1, channels), dtype=np.int64))
    return _operand(held.factor << pre, -(held.excess.reshape(-1, channels) << pre))


def activation_limits(net: Network, name: str) -> tuple[int, int]:
    """Least and largest element that a tensor of plain integers can hold, with the 0 of its borders; float: (0, 0)."""
    if net.tensors[name].format not in RANGES:
        return 0, 0
    low, high = limits(net, name)
    return min(0, low), max(0, high)


def comment_text(text: str) -> str:
    """Text that stays inside a C comment, whatever names it holds."""
    return text.replace("*/", "* /").replace("/*", "/ *")


def identifier(name: str) -> str:
    """A layer's name as a C identifier that is no keyword."""
    return "layer_" + "".join(c if c.isascii() and c.isalnum() else "_" for c in name)


def wrap32(values: Array) -> Array:
    """Integers modulo ``2**32``, as int32."""
    return (values.astype(np.int64) & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


_DIGITS = np.array([list(f"0x{value:02x}, ".encode()) for value in range(256)], dtype=np.uint8)
"""Text of every byte in a constant array, uint8 ``[256, 6]``."""


def border_arrays(
    name: str, what: str, step: int, rows: Sequence[int], columns: Sequence[int], column_classes: int
) -> list[str]:
    """Text of the arrays ``NAME_row`` and ``NAME_column``, which find constants by the border classes of an output's
    row and column; those of a class take ``step`` bytes, row-major over row and column classes."""
    text = []
    for axis, index, factor in (("row", rows, column_classes), ("column", columns, 1)):
        values = ", ".join(str(v * factor * step) for v in index)
        text.append(
            f"/* Byte offset in {what} of the border class of every output {axis}. */\n"
            f"static const uint32_t {name}_{axis}[] = {{{values}}};\n"
        )
    return text


def array_text(name: str, data: Array, comment: str) -> str:
    """A constant array of bytes, 16 to a line (one register), aligned for whole-register loads."""
    raw = np.ascontiguousarray(data).view(np.uint8).reshape(-1) if data.size else np.zeros(0, np.uint8)
    padded = np.concatenate([raw, np.zeros(-len(raw) % 16, np.uint8)])
    text = np.full((len(padded) // 16, 4 + 16 * 6), ord(" "), dtype=np.uint8)
    text[:, 4:] = _DIGITS[padded].reshape(-1, 16 * 6)
    text[:, -1] = ord("\n")
    lines = text.tobytes().decode()[:-1]
    # A whole-register load of a machine with longer registers may read behind the last row.
    return "\n".join(
        [
            f"/* {comment_text(comment)} */",
            f"static const uint8_t {name}[{len(padded)} + SMOL_SLACK] __attribute__((aligned(64))) = {{",
            *([lines] if lines else []),
            "};",
            "",
        ]
    )
