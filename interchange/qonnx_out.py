"""A network file as QONNX: what tools of that format read the bits of weights and activations from.

Weights and what convolutions read are real numbers of the grid behind a ``Quant`` node, or behind a ``BipolarQuant``
node where they have one bit; a tensor of several precisions is split by them and put together again. The grid of p bits
is ``Quant`` with scale ``2**(2 - p)`` and zero point -1/2: its integers q stand for ``(q + 1/2) * 2**(2 - p)``, the odd
multiples of ``2**(1 - p)``. Requantisation stays in the integer operators of :mod:`sysmol.interchange.onnx_out`, so
that the nodes change no number, and logits are those of the reference bit for bit.

Not every network can be written: sums must stay below 2**24, where float32 holds them exactly.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_bytes
from sysmol.grid import ACC_UNIT
from sysmol.interchange.onnx_out import EXACT_FLOAT, Writer, onnx, windows
from sysmol.network import Array, Layer, Network, Tensor, accumulator_bound

DOMAIN = "qonnx.custom_op.general"
BYTE = 8
"""Bits of tensors that are no SMOL tensors."""


def write(path: str | Path, net: Network) -> Path:
    """Write a network as a QONNX model of one image, atomically."""
    return atomic_write_bytes(path, to_qonnx(net).SerializeToString(deterministic=True))


def to_qonnx(net: Network) -> onnx.ModelProto:
    """A valid network as a QONNX model for one image.

    Raises :class:`SysmolError` where the model would not be exact.
    """
    if net.is_float:
        raise SysmolError(f"{net.name} is a full-precision network, which has no grid: write it with --onnx")
    return QuantWriter(net).model()


class QuantWriter(Writer):
    """Convolutions read tensors in a fourth form, ``real``."""

    images = 1
    domains: ClassVar[dict[str, int]] = {DOMAIN: 1}

    def convolution(self, layer: Layer, weight: Array, groups: int) -> str:
        if int(accumulator_bound(self.net, layer).max()) >= EXACT_FLOAT:
            raise SysmolError(f"layer {layer.name} has sums that QONNX's floats do not hold exactly: write --onnx")
        x, nodes = self.net.tensors[layer.input], self.nodes
        bits = bits_of(x)
        # Aligned weights count in units of 2**-6 together with whole g of the input.
        unit = np.ones(x.channels) if x.format != "smol" else ACC_UNIT * np.exp2(bits - 1.0)
        parts = []
        for group, own in enumerate(np.split(np.arange(len(weight)), groups)):
            read = np.split(np.arange(x.channels), groups)[group]
            name = f"{layer.name}.weight" + (f".group{group}" if groups > 1 else "")
            real = weight[own] * unit[read].reshape(1, -1, 1, 1)
            constant = nodes.constant(name, real, np.float32)
            parts.append(self.quantised(constant, bits[read], 1, f"{name}.grid", x.format))
        grid = parts[0] if groups == 1 else nodes.node("Concat", parts, f"{layer.name}.weight.grid", axis=0)
        options = windows(layer) | {"group": groups}
        acc = nodes.node("Conv", [self.real(layer.input), grid], f"{layer.name}.conv", **options)
        if x.format == "smol":
            steps = nodes.constant("steps_per_unit", 1 / ACC_UNIT, np.float32)
            acc = nodes.node("Mul", [acc, steps], f"{layer.name}.steps")
        return nodes.cast(acc, "int32", f"{layer.name}.acc")

    def real(self, tensor: str) -> str:
        """Name of a tensor's values as real numbers of its grid."""
        if (tensor, "real") not in self.forms:
            t, name = self.net.tensors[tensor], self.form(tensor, "float32")
            if t.format == "smol":
                step = self.nodes.constant(f"{tensor}.step", np.exp2(1.0 - t.precisions).reshape(-1, 1, 1), np.float32)
                name = self.nodes.node("Mul", [name, step], f"{tensor}.real")
            self.forms[tensor, "real"] = self.quantised(name, bits_of(t), 1, f"{tensor}.grid", t.format)
        return self.forms[tensor, "real"]

    def quantised(self, x: str, bits: Array, axis: int, name: str, form: str) -> str:
        """``x`` behind ``Quant`` nodes, one for each of the ``bits`` that its entries along the axis have."""
        found = sorted({int(p) for p in bits}, reverse=True)
        if len(found) == 1:
            return self._quant(x, found[0], name, form)
        parts, order = [], []
        for p in found:
            own = np.flatnonzero(bits == p)
            order.append(own)
            index = self.nodes.constant(f"{name}.channels{p}", own, np.int64)
            some = self.nodes.node("Gather", [x, index], f"{name}.of{p}", axis=axis)
            parts.append(self._quant(some, p, f"{name}.bits{p}", form))
        whole = self.nodes.node("Concat", parts, f"{name}.by_bits", axis=axis)
        back = self.nodes.constant(f"{name}.order", np.argsort(np.concatenate(order)), np.int64)
        return self.nodes.node("Gather", [whole, back], name, axis=axis)

    def _quant(self, x: str, bits: int, name: str, form: str) -> str:
        nodes = self.nodes
        if bits == 1:
            scale = nodes.constant("bipolar_scale", 1, np.float32)
            return nodes.node("BipolarQuant", [x, scale], name, DOMAIN)
        smol = form == "smol"
        scale = nodes.constant(f"scale_{form}{bits}", 2.0 ** (2 - bits) if smol else 1, np.float32)
        zero = nodes.constant(f"zero_point_{'smol' if smol else 'byte'}", -0.5 if smol else 0, np.float32)
        width = nodes.constant(f"bits_{bits}", bits, np.float32)
        options = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
        return nodes.node("Quant", [x, scale, zero, width], name, DOMAIN, **options)


def bits_of(t: Tensor) -> Array:
    """Bits of every channel of what a convolution reads, int64 ``[channels]``."""
    return t.precisions if t.format == "smol" else np.full(t.channels, BYTE)
