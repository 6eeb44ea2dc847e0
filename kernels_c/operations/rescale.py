"""``rescale``: elements into other formats.

Tensors in blocks go through the common epilogue. The image, whose channels are too few for blocks, is converted along
whole rows where its constants allow.
"""

from math import lcm

import numpy as np

from sysmol.errors import SysmolError
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import clamp_float, expand, high_scalar, plus, times
from sysmol.kernels_c.nest import tile_origin
from sysmol.kernels_c.nest.elementwise import Elementwise
from sysmol.kernels_c.nest.kernel import Kernel, parameters
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.plan.constants import array_text, identifier, physical, wrap32
from sysmol.kernels_c.plan.layout import Block
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import INT32_MAX, INT32_MIN, Layer, Network


class Rescale(Elementwise):
    """Elements as they are, for the epilogue."""

    def gather(self, em: Emitter, block: Block) -> list[str]:
        expand(em, self.source, ["corner"], block, ["a"], self.natural)
        return [f"a{g}" for g in range(len(block.groups))]


class ImageRescale(Kernel):
    """``rescale`` of the image: along whole rows where input and output are dense, else element by element."""

    SIDE_BY_SIDE = 24
    """Most elements of a row that are converted side by side."""

    def __init__(self, net: Network, layer: Layer, places: Places) -> None:
        self.net, self.layer = net, layer
        self.name = identifier(layer.name)
        self.source = places[layer.input]
        output = net.tensors[layer.targets[0]]
        self.height, self.width = output.height, output.width
        t = self.source.tensor
        if layer.residual:
            raise SysmolError(
                f"layer {layer.name}: a conversion of the image cannot add a residual; use a layer of its own"
            )
        self.constants = [physical(net, layer, out) for out in layer.outputs]
        self.places = [places[name] for name in layer.targets]
        self.period = lcm(t.channels, 4)
        self.by_pixels = self.period > self.SIDE_BY_SIDE and t.channels >= 4
        self.by_rows = all(place.flat for place in self.places) and (
            self.by_pixels or t.width * t.channels >= self.period
        )

    def emit(self, em: Emitter) -> list[str]:
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)})"):
            em.line("v_begin();")
            em.line("const vec zero = v_zero();")
            em.line("(void)zero;")
            with em.loop("oy", self.height):
                if self.by_rows:
                    self._row(em)
                else:
                    self._elements(em)
        em.line()
        return self._row_arrays() if self.by_rows else self._element_arrays()

    def _row_arrays(self) -> list[str]:
        text = []
        for i, constant in enumerate(self.constants):
            real = self.net.is_float
            high = None if constant.high is None else constant.high.factor
            for key, values in (("m", constant.M), ("b", constant.B[0]), ("f", high)):
                if values is not None:
                    repeated = np.tile(values, self.period // len(values))
                    data = repeated.astype(np.float32) if real else wrap32(repeated)
                    text.append(
                        array_text(f"{self.name}_out{i}_{key}", data, "one entry per element of a row's period")
                    )
        return text

    def _row(self, em: Emitter) -> None:
        """Four elements to a register, a few registers side by side.

        The channels come round after ``period`` elements; where those are too many, one pixel after the other.
        """
        t = self.source.tensor
        length = t.width * t.channels
        if self.by_pixels:
            step = min(self.SIDE_BY_SIDE, t.channels // 4 * 4)
            with em.loop("ox", t.width), em.loop("i", -(-t.channels // step)):
                tile_origin(em, "first", "i", step, t.channels)
                em.line(f"const int e = {plus(times('ox', t.channels), 'first')};", scalar=2)
                self._side_by_side(em, range(step // 4))
            return
        step = self.period * max(1, min(self.SIDE_BY_SIDE // self.period, length // self.period))
        with em.loop("i", -(-length // step)):
            text = f"i * {step}" if length % step == 0 else f"m_min(i * {step}, {length - step})"
            em.line(f"const int e = {text};", scalar=1)
            self._side_by_side(em, range(step // 4))

    def _side_by_side(self, em: Emitter, parts: range) -> None:
        """Elements from ``e`` on, four to a part."""
        length = self.source.tensor.width * self.source.tensor.channels
        for part in parts:
            em.line(f"const vec x{part} = v_load_u8(in + {plus(times('oy', length), 'e', 4 * part)});", scalar=1)
        for i in range(len(self.places)):
            with em.block():
                self._convert(em, i, parts)

    def _convert(self, em: Emitter, i: int, parts: range) -> None:
        """One output of ``x<part>``, step by step for all parts."""
        out, constant, place, name = self.layer.outputs[i], self.constants[i], self.places[i], f"{self.name}_out{i}"
        real = place.tensor.format == "f32"
        for part in parts:
            first = "first * 4" if self.by_pixels else ""
            at = plus(first, 4 * (4 * part % self.period))
            m, b, f = (f"v_load({name}_{key} + {at})" for key in "mbf")
            x = f"v_to_float(x{part})" if real else f"x{part}"
            if constant.high is not None:
                x = x if constant.high.factor is None else f"v_mul({x}, {f})"
                x = f"v_mulh({x}, v_load_high({name}_m + {at}))"
            elif constant.M is not None:
                x = f"v_fmul({x}, {m})" if real else f"v_mul({x}, {m})"
            em.line(f"vec y{part} = {'v_fadd' if real else 'v_add'}({x}, {b});")
        steps = []
        if real:
            if np.isfinite(out.lo):
                steps.append(f"v_fat_least({{y}}, {float(out.lo)!r}f)")
            if np.isfinite(out.hi):
                steps.append(f"v_fat_most({{y}}, {float(out.hi)!r}f)")
        else:
            if out.shift:
                steps.append(f"v_sra({{y}}, {out.shift})")
            if out.lo > INT32_MIN:
                steps.append(f"v_at_least({{y}}, {int(out.lo)})")
            if out.hi < INT32_MAX:
                steps.append(f"v_at_most({{y}}, {int(out.hi)})")
        for text in steps:
            for part in parts:
                em.line(f"y{part} = {text.format(y=f'y{part}')};")
        size = 4 if real else 1
        for part in parts:
            row = plus(place.start(), times("oy", place.row_bytes), times("e", size), 4 * size * part)
            em.line(f"v_store(out{i} + {row}, y{part});" if real else f"v_store_s8(out{i} + {row}, y{part}, zero);")

    def _element_arrays(self) -> list[str]:
        text = []
        for i, constant in enumerate(self.constants):
            name, place = f"{self.name}_out{i}", self.places[i]
            real = self.net.is_float
            m = np.ones(len(constant.hi)) if constant.M is None else constant.M
            text.append(
                array_text(f"{name}_m", m.astype(np.float32) if real else wrap32(m), f"M of {place.tensor.name}")
            )
            if constant.high is not None and constant.high.factor is not None:
                text.append(array_text(f"{name}_f", wrap32(constant.high.factor), "factors of pixels"))
            b = constant.B[0]
            text.append(
                array_text(f"{name}_b", b.astype(np.float32) if real else wrap32(b), f"B of {place.tensor.name}")
            )
            hi = np.minimum(constant.hi, INT32_MAX) if not real else np.zeros(len(b))
            text.append(array_text(f"{name}_hi", hi.astype(np.int32), "upper clamps"))
            text.append(array_text(f"{name}_at", np.array(place.positions(), dtype=np.int32), "places of channels"))
            if place.tensor.format == "smol":
                text.append(array_text(f"{name}_p", place.tensor.precisions.astype(np.int32), "precisions"))
        return text

    def _elements(self, em: Emitter) -> None:
        t = self.source.tensor
        with em.loop("ox", self.width):
            pixel = plus(times("oy", self.source.row_bytes), times("ox", self.source.pixel_bytes))
            with em.loop("c", t.channels):
                em.line(f"const int32_t x = m_get_u8(in + {pixel}, c);", scalar=3)
                for i, out in enumerate(self.layer.outputs):
                    name, place = f"{self.name}_out{i}", self.places[i]
                    to = plus(f"out{i}", place.start(), times("oy", place.row_bytes), times("ox", place.pixel_bytes))
                    at = f"m_get_s32({name}_at, c)"
                    if place.tensor.format == "f32":
                        y = f"(float)x * m_get_f32({name}_m, c) + m_get_f32({name}_b, c)"
                        em.line(f"float y{i} = {y};", scalar=3)
                        clamp_float(em, f"y{i}", out)
                        em.line(f"m_put_f32({to}, {at}, y{i});")
                        continue
                    x, m, high = "x", f"m_get_s32({name}_m, c)", self.constants[i].high
                    if high is not None:
                        x, m = high_scalar(high, x, m, f"{name}_", index="c"), "1"
                    em.line(
                        f"const int32_t y{i} = m_requantise({x}, {m}, m_get_s32({name}_b, c), 0, 0, "
                        f"{out.shift}, {int(out.lo)}, m_get_s32({name}_hi, c));"
                    )
                    if place.tensor.format == "smol":
                        em.line(f"m_put_code({to}, {at}, m_get_s32({name}_p, c), y{i});")
                    else:
                        em.line(f"m_put_{place.tensor.format}({to}, {at}, y{i});")


@generates("rescale")
def rescale(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Kernel:
    """By rows for the image, by blocks for everything else."""
    if layer.input == net.input:
        return ImageRescale(net, layer, places)
    return Rescale(net, layer, places, options)
