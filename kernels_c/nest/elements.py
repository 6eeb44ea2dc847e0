"""Layers that move elements one by one, where tensors differ in the order of their channels: requantised in plain C,
each by the constants of its output channel; constants that all of them share stand in the code.
"""

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import clamp_float, high_scalar, plus, times
from sysmol.kernels_c.nest.kernel import Kernel
from sysmol.kernels_c.plan.constants import Held, Operand, array_text, identifier, physical, wrap32
from sysmol.kernels_c.plan.layout import Place
from sysmol.network import INT32_MAX, Array, Layer, Network


class Elements(Kernel):
    """``at`` counts channels of the outputs; ``held`` is what an element as it is read holds of each."""

    def __init__(self, net: Network, layer: Layer, places: dict[str, Place], held: Held | None) -> None:
        self.layer = layer
        self.name = identifier(layer.name)
        self.source = places[layer.input]
        self.residual = places[layer.residual] if layer.residual else None
        self.targets = [places[name] for name in layer.targets]
        self.constants = [physical(net, layer, out, held) for out in layer.outputs]
        self.text: list[str] = []

    def read(self, place: Place, pixel: str, index: str, prefix: str, first: int = 0, count: int = 0) -> str:
        """C expression of an element: of channel ``first + index``, which runs over ``count`` (or all) channels."""
        own = slice(first, first + (count or place.tensor.channels))
        at = self.entry(f"{prefix}_at", np.array(place.positions())[own], index)
        if place.tensor.format != "smol":
            return f"m_get_{place.tensor.format}({pixel}, {at})"
        return f"m_get_code({pixel}, {at}, {self.entry(f'{prefix}_p', place.tensor.precisions[own], index)})"

    def declare(self, em: Emitter, text: str) -> None:
        """``value``: the element that is read."""
        kind = "float" if self.source.tensor.format == "f32" else "int32_t"
        em.line(f"const {kind} value = {text};")

    def write(self, em: Emitter, pixel: str = "") -> None:
        """Requantise ``value`` and store it as channel ``at`` of all outputs; ``pixel``: C expression of the bytes from
        a tensor's first pixel, with ``{row}`` and ``{pixel}`` for the steps of its rows and pixels."""
        r = "0"
        if self.residual is not None:
            place = self.residual
            there = pixel.format(row=place.row_bytes, pixel=place.pixel_bytes)
            r = self.read(place, plus("residual", place.start(), there), "at", "r")
        for number, place in enumerate(self.targets):
            self._write(em, number, place, pixel.format(row=place.row_bytes, pixel=place.pixel_bytes), r)

    def _write(self, em: Emitter, number: int, place: Place, pixel: str, r: str) -> None:
        out, constant, name = self.layer.outputs[number], self.constants[number], f"out{number}"
        to = plus(name, place.start(), pixel)
        where = self.entry(f"{name}_at", np.array(place.positions()), "at")
        if place.tensor.format == "f32":
            with em.block():
                self._float(em, number, to, where, r)
            return
        assert constant.M is not None
        value, m = "value", self.entry(f"{name}_m", constant.M, "at")
        rm = "0" if constant.R is None else self.entry(f"{name}_r", constant.R, "at")
        if constant.high is not None:
            value, m = self._high(constant.high, f"{name}_", "value", m), "1"
        if constant.high_residual is not None:
            r, rm = self._high(constant.high_residual, f"{name}_r", r, rm), "1"
        b, hi = self.entry(f"{name}_b", constant.B[0], "at"), np.minimum(constant.hi, INT32_MAX)
        limits = f"{int(out.lo)}, {self.entry(f'{name}_hi', hi, 'at')}"
        y = f"m_requantise({value}, {m}, {b}, {r}, {rm}, {out.shift}, {limits})"
        if place.tensor.format == "smol":
            em.line(f"m_put_code({to}, {where}, {self.entry(f'{name}_p', place.tensor.precisions, 'at')}, {y});")
        else:
            em.line(f"m_put_{place.tensor.format}({to}, {where}, {y});")

    def _float(self, em: Emitter, number: int, to: str, where: str, r: str) -> None:
        out, constant = self.layer.outputs[number], self.constants[number]
        m = np.ones(constant.B.shape[-1]) if constant.M is None else constant.M
        for key, values in (("m", m), ("b", constant.B[0])):
            self._array(f"out{number}_{key}", values.astype(np.float32), f"of {out.tensor}")
        m_at, b_at = (f"m_get_f32({self.name}_out{number}_{key}, at)" for key in "mb")
        rest = "" if r == "0" else f" + {r}"
        em.line(f"float y = (float)value * {m_at} + {b_at}{rest};", scalar=3)
        clamp_float(em, "y", out)
        em.line(f"m_put_f32({to}, {where}, y);")

    def _high(self, operand: Operand, prefix: str, x: str, m: str) -> str:
        addend = None if operand.addend is None else operand.addend[0]
        for key, values in (("f", operand.factor), ("k", addend)):
            if values is not None:
                self._array(f"{prefix}{key}", wrap32(values), "operands of high products")
        return high_scalar(operand, x, m, f"{self.name}_{prefix}", index="at")

    def entry(self, name: str, values: Array, index: str) -> str:
        """C expression of an entry: a number that all have, a multiple of the index, or the entry of an array."""
        values = wrap32(values)
        step = int(values[1]) if len(values) > 1 else 0
        if (values == values[0]).all():
            return _literal(int(values[0]))
        if np.array_equal(values, np.arange(len(values)) * step):
            return times(index, step)
        self._array(name, values, f"{name} of every element")
        return f"m_get_s32({self.name}_{name}, {index})"

    def _array(self, name: str, values: Array, comment: str) -> None:
        text = array_text(f"{self.name}_{name}", values, comment)
        if text not in self.text:
            self.text.append(text)


def _literal(value: int) -> str:
    return str(value) if value > -(2**31) else "(-2147483647 - 1)"
