"""``flatten``: elements of an image into the channels of one pixel, one after the other.

The elements that a layer writes lie in the order of the layer that reads them, not in the image's, so they are moved
one by one; constants that all of them share stand in the code.
"""

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import high_scalar, plus, times
from sysmol.kernels_c.nest.kernel import Kernel, parameters
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.plan.constants import Operand, array_text, held_codes, identifier, physical, wrap32
from sysmol.kernels_c.plan.layout import Place
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import INT32_MAX, Array, Layer, Network


class Flatten(Kernel):
    """Element by element: ``at`` counts channels of the output, ``c`` those of a pixel of the input."""

    def __init__(self, net: Network, layer: Layer, places: Places) -> None:
        self.layer = layer
        self.name = identifier(layer.name)
        self.source = places[layer.input]
        self.targets = [places[name] for name in layer.targets]
        held = None
        if self.source.tensor.format == "smol":
            codes = held_codes(net, layer)
            held = codes._replace(
                factor=np.tile(codes.factor, layer.kernel[0] * layer.kernel[1]),
                excess=np.tile(self._tops(), layer.kernel[0] * layer.kernel[1])[None, None],
            )
        self.constants = [physical(net, layer, out, held) for out in layer.outputs]
        self.text: list[str] = []

    def _tops(self) -> Array:
        return (1 << self.source.tensor.precisions) - 1

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        t, source = self.source.tensor, self.source
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)})"):
            em.line("int at = 0;")
            with em.loop("y", t.height), em.loop("x", t.width):
                corner = plus(source.start(), times("y", source.row_bytes), times("x", source.pixel_bytes))
                em.line(f"const uint8_t *pixel = in + {corner};", scalar=3)
                with em.loop("c", t.channels):
                    place = self._entry("in_at", np.array(source.positions()), "c")
                    if t.format == "smol":
                        read = f"m_get_code(pixel, {place}, {self._entry('in_p', t.precisions, 'c')})"
                    else:
                        read = f"m_get_{t.format}(pixel, {place})"
                    kind = "float" if t.format == "f32" else "int32_t"
                    em.line(f"const {kind} value = {read};")
                    for number, target in enumerate(self.targets):
                        self._write(em, number, target)
                    em.line("at++;", scalar=1)
        em.line()
        return self.text

    def _write(self, em: Emitter, number: int, place: Place) -> None:
        out, constant, name = self.layer.outputs[number], self.constants[number], f"out{number}"
        to = plus(name, place.start())
        where = self._entry(f"{name}_at", np.array(place.positions()), "at")
        if place.tensor.format == "f32":
            with em.block():
                self._float(em, number, to, where)
            return
        assert constant.M is not None
        value, m = "value", self._entry(f"{name}_m", constant.M, "at")
        if constant.high is not None:
            value, m = self._high(constant.high, name, m), "1"
        b, hi = self._entry(f"{name}_b", constant.B[0], "at"), np.minimum(constant.hi, INT32_MAX)
        y = f"m_requantise({value}, {m}, {b}, 0, 0, {out.shift}, {int(out.lo)}, {self._entry(f'{name}_hi', hi, 'at')})"
        if place.tensor.format == "smol":
            em.line(f"m_put_code({to}, {where}, {self._entry(f'{name}_p', place.tensor.precisions, 'at')}, {y});")
        else:
            em.line(f"m_put_{place.tensor.format}({to}, {where}, {y});")

    def _float(self, em: Emitter, number: int, to: str, where: str) -> None:
        out, constant = self.layer.outputs[number], self.constants[number]
        m = np.ones(constant.B.shape[-1]) if constant.M is None else constant.M
        for key, values in (("m", m), ("b", constant.B[0])):
            self.text.append(
                array_text(f"{self.name}_out{number}_{key}", values.astype(np.float32), f"of {out.tensor}")
            )
        m_at, b_at = (f"m_get_f32({self.name}_out{number}_{key}, at)" for key in "mb")
        em.line(f"float y = (float)value * {m_at} + {b_at};", scalar=3)
        if np.isfinite(out.lo):
            em.line(f"y = y < {float(out.lo)!r}f ? {float(out.lo)!r}f : y;", scalar=1)
        if np.isfinite(out.hi):
            em.line(f"y = y > {float(out.hi)!r}f ? {float(out.hi)!r}f : y;", scalar=1)
        em.line(f"m_put_f32({to}, {where}, y);")

    def _high(self, operand: Operand, name: str, m: str) -> str:
        prefix = f"{self.name}_{name}_"
        addend = None if operand.addend is None else operand.addend[0]
        for key, values in (("f", operand.factor), ("k", addend)):
            if values is not None:
                self.text.append(array_text(f"{prefix}{key}", wrap32(values), "operands of high products"))
        return high_scalar(operand, "value", m, prefix, index="at")

    def _entry(self, name: str, values: Array, index: str) -> str:
        """C expression of an entry: a number that all have, a multiple of the index, or the entry of an array."""
        values = wrap32(values)
        step = int(values[1]) if len(values) > 1 else 0
        if (values == values[0]).all():
            return _literal(int(values[0]))
        if np.array_equal(values, np.arange(len(values)) * step):
            return times(index, step)
        self.text.append(array_text(f"{self.name}_{name}", values, f"{name} of every element"))
        return f"m_get_s32({self.name}_{name}, {index})"


def _literal(value: int) -> str:
    return str(value) if value > -(2**31) else "(-2147483647 - 1)"


@generates("flatten")
def flatten(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Flatten:
    """The same for every format and target."""
    return Flatten(net, layer, places)
