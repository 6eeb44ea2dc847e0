"""Layers that mix no channels by weights: format conversion (``rescale``) and pooling.

They read a block's elements into 32-bit lanes, add or compare them there, and hand them to the common epilogue. The
image, whose channels are too few for blocks, is converted along whole rows where its constants allow.
"""

from math import lcm

import numpy as np

from sysmol.errors import SysmolError
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import INT32_MAX, INT32_MIN, Epilogue, Tile, expand, plus, store, times
from sysmol.kernels_c.nest import parameters, tile_origin
from sysmol.kernels_c.plan.constants import activation_limits, array_text, identifier, physical, wrap32
from sysmol.kernels_c.plan.layout import Block, Place, segments
from sysmol.kernels_c.plan.options import Options
from sysmol.network import Layer, Network


class Elementwise:
    """``rescale`` and ``avgpool`` of tensors in blocks."""

    def __init__(self, net: Network, layer: Layer, places: dict[str, Place], options: Options) -> None:
        self.net = net
        self.layer = layer
        self.name = identifier(layer.name)
        self.source = places[layer.input]
        self.blocks = self.source.blocks
        output = net.tensors[layer.targets[0]]
        self.height, self.width = output.height, output.width
        self.natural = activation_limits(net, layer.input)[0] >= 0
        has_blocks = layer.outputs and self.blocks
        self.epilogue = Epilogue(net, layer, places, self.blocks, pack=options.pack) if has_blocks else None

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        assert self.epilogue is not None
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)})"):
            em.line("v_begin();")
            self.epilogue.begin(em)
            for first, count in segments(self.blocks):
                tile = Tile(first, 1, "t", count, ((0, 0),))
                with em.loop("t", count), em.loop("oy", self.height), em.loop("ox", self.width):
                    self.epilogue.tile_corner(em)
                    accumulators = self._gather(em, tile)
                    self.epilogue.emit(em, tile, [[accumulators]])
        em.line()
        return self.epilogue.arrays()

    def _gather(self, em: Emitter, tile: Tile) -> list[str]:
        block = self.blocks[tile.first]
        groups = range(len(block.groups))
        sy, sx = self.layer.stride
        top, left = self.layer.padding[:2]
        corner = plus(
            self.source.start((top, left)),
            times("oy", sy * self.source.row_bytes),
            times("ox", sx * self.source.pixel_bytes),
        )
        assert self.epilogue is not None
        em.line(f"const uint8_t *corner = in + {plus(corner, self.epilogue.block_at(self.source, tile, 0))};", scalar=4)
        if self.source.tensor.format == "smol":
            for g in groups:
                em.line(f"const vec s{g} = v_load({self.epilogue.shift_name(tile.first)} + {16 * g});")
        if self.layer.op == "rescale":
            expand(em, self.source, ["corner"], block, ["a"], self.natural)
            return [f"a{g}" for g in groups]
        for g in groups:
            em.line(f"vec a{g} = v_zero();")
        add = "v_fadd" if self.source.tensor.format == "f32" else "v_add"
        with em.loop("ky", self.layer.kernel[0]), em.loop("kx", self.layer.kernel[1]):
            step = plus(times("ky", self.source.row_bytes), times("kx", self.source.pixel_bytes))
            em.line(f"const uint8_t *at = corner + {step};", scalar=2)
            expand(em, self.source, ["at"], block, ["x"], self.natural)
            for g in groups:
                em.line(f"a{g} = {add}(a{g}, x{g});")
        return [f"a{g}" for g in groups]


class MaxPool(Elementwise):
    """Elementwise maximum. Codes compare as their values do; taps outside the image repeat a tap inside it."""

    def emit(self, em: Emitter) -> list[str]:
        place = self.target_place
        layer, source = self.layer, self.source
        text = []
        offsets = ", ".join(str(b.offset) for b in self.blocks)
        text.append(f"static const uint16_t {self.name}_at[] = {{{offsets}}};\n")
        real = source.tensor.format == "f32"
        with em.block(f"SMOL_KERNEL {self.name}({parameters(layer)})"):
            em.line("v_begin();")
            em.line("const vec zero = v_zero();")
            em.line("(void)zero;")
            for first, count in segments(self.blocks):
                block = self.blocks[first]
                groups = range(len(block.groups))
                if self.source.tensor.format == "smol":
                    name = f"{self.name}_shift{first}"
                    shifts = np.array(block.shifts, dtype=np.int32)
                    text.append(array_text(name, shifts, "left shift of every lane's code in its memory word"))
                    for g in groups:
                        em.line(f"const vec shift{first}_{g} = v_load({name} + {16 * g});")
                with em.loop("t", count), em.loop("oy", self.height), em.loop("ox", self.width):
                    if self.source.tensor.format == "smol":
                        for g in groups:
                            em.line(f"const vec s{g} = shift{first}_{g};")
                        em.line(f"const int at = {self.name}_at[{plus('t', first)}];", scalar=1)
                    else:
                        step = source.block_base(first + 1) - source.block_base(first) if count > 1 else 0
                        em.line(f"const int at = {plus(source.block_base(first), times('t', step))};", scalar=1)
                    self._window(em, real, block, groups)
                    target = plus(place.start(), times("oy", place.row_bytes), times("ox", place.pixel_bytes), "at")
                    store(em, place, [f"out0 + {target}"], block, [[f"a{g}" for g in groups]])
        em.line()
        return text

    def __init__(self, net: Network, layer: Layer, places: dict[str, Place], options: Options) -> None:
        super().__init__(net, layer, places, options)
        self.target_place = places[layer.output]

    def _window(self, em: Emitter, real: bool, block: Block, groups: range) -> None:
        sy, sx = self.layer.stride
        top, left = self.layer.padding[:2]
        t, source = self.source.tensor, self.source
        highest = {"rows": t.height - 1, "columns": t.width - 1}
        start = plus(source.start(), "at")
        em.line(f"const int fy = m_max(oy * {sy} - {top}, 0), fx = m_max(ox * {sx} - {left}, 0);", scalar=2)
        corner = plus(start, times("fy", source.row_bytes), times("fx", source.pixel_bytes))
        em.line(f"const uint8_t *first = in + {corner};", scalar=4)
        expand(em, source, ["first"], block, ["f"])
        for g in groups:
            em.line(f"vec a{g} = {'v_fmax' if real else 'v_max'}(f{g}, f{g});")
        with em.loop("ky", self.layer.kernel[0]), em.loop("kx", self.layer.kernel[1]):
            em.line(f"const int y = m_min(m_max(oy * {sy} - {top} + ky, 0), {highest['rows']});", scalar=3)
            em.line(f"const int x = m_min(m_max(ox * {sx} - {left} + kx, 0), {highest['columns']});", scalar=3)
            where = plus(start, times("y", source.row_bytes), times("x", source.pixel_bytes))
            em.line(f"const uint8_t *tap = in + {where};", scalar=4)
            expand(em, source, ["tap"], block, ["e"])
            for g in groups:
                em.line(f"a{g} = {'v_fmax' if real else 'v_max'}(a{g}, e{g});")


class ImageRescale(Elementwise):
    """``rescale`` of the image: along whole rows where input and output are dense, else element by element."""

    SIDE_BY_SIDE = 24
    """Most elements of a row that are converted side by side."""

    def __init__(self, net: Network, layer: Layer, places: dict[str, Place], options: Options) -> None:
        super().__init__(net, layer, places, options)
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
            for key, values in (("m", constant.M), ("b", constant.B[0])):
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
            m, b = (f"v_load({name}_{key} + {plus(first, 4 * (4 * part % self.period))})" for key in "mb")
            x = f"v_to_float(x{part})" if real else f"x{part}"
            if constant.M is not None:
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
                        if np.isfinite(out.lo):
                            em.line(f"y{i} = y{i} < {float(out.lo)!r}f ? {float(out.lo)!r}f : y{i};", scalar=1)
                        if np.isfinite(out.hi):
                            em.line(f"y{i} = y{i} > {float(out.hi)!r}f ? {float(out.hi)!r}f : y{i};", scalar=1)
                        em.line(f"m_put_f32({to}, {at}, y{i});")
                        continue
                    em.line(
                        f"const int32_t y{i} = m_requantise(x, m_get_s32({name}_m, c), m_get_s32({name}_b, c), 0, 0, "
                        f"{out.shift}, {int(out.lo)}, m_get_s32({name}_hi, c));"
                    )
                    if place.tensor.format == "smol":
                        em.line(f"m_put_code({to}, {at}, m_get_s32({name}_p, c), y{i});")
                    else:
                        em.line(f"m_put_{place.tensor.format}({to}, {at}, y{i});")
