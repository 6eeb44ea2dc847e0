"""Kernels with one accumulator register: output-, weight- and input-stationary loop nests in YFlows' form.

One accumulator's output channels are computed over all pixels at a time (an *accumulator unit*: one output channel, or
four with ``vdot`` and ``dot``). The anchored tensor has one register; what is left of the 32 registers may hold more
of the other two tensors (*auxiliary stationarity*). Sums live in the caller's memory until a block of output channels
is complete; then the epilogue runs over its pixels. Sums of one output per register stay four lanes wide in memory and
are added up once, at the end, in every data flow.

C variables: ``x0`` first tap of the first pixel, ``w`` the unit's weights ``[KH, KW, vectors, registers]``, ``acc`` its
sums in memory, ``u`` the unit, ``w<n>``, ``x<..>``, ``o<..>`` registers.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

import numpy as np

from sysmol.errors import SysmolError
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import Tile, plus, times
from sysmol.kernels_c.micro import MicroKernel
from sysmol.kernels_c.micro.step import STEPS, Step
from sysmol.kernels_c.nest.base import LoopNest, parameters, tile_origin
from sysmol.kernels_c.plan.constants import array_text
from sysmol.kernels_c.plan.heuristic import LayerShape, caps
from sysmol.kernels_c.plan.layout import Block, Place, segments
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network
from sysmol.pattern import REGISTER_BYTES
from sysmol.schedule import GROUP, Schedule

LARGEST_BODY = 2048
"""Multiply-accumulates that one straight piece of code may have."""
UNROLL = 4
"""Outputs per iteration of the innermost loop, where no rotation of registers asks for another number."""
COLUMNS = 4
"""Pixels that the epilogue handles together."""
LANE_BYTES = 4


@dataclass(frozen=True)
class Sums:
    """Partial sums of one unit in memory, in bytes: from pixel to pixel, from row to row, and border pixels around."""

    pitch: int
    width: int
    border: int = 0

    @property
    def row(self) -> int:
        """From a row of sums to the next."""
        return self.pitch * (self.width + 2 * self.border)

    def at(self, y: int, x: int) -> int:
        """Offset of an output from the first real one."""
        return y * self.row + x * self.pitch

    @property
    def corner(self) -> int:
        """Bytes of border in front of the first real output."""
        return self.border * (self.row + self.pitch)


class Single(LoopNest):
    """The outer shape of the three data flows: blocks of rows, blocks of channels, units, then the epilogue."""

    def __init__(self, net: Network, layer: Layer, places: dict[str, Place], target: Target, options: Options) -> None:
        super().__init__(net, layer, places, target, options)
        self.step = self._step(target)
        self.vectors = self.step.vectors
        self.rows = self.schedule.block or self.height
        self._legal()
        self.chains, self.chain_length = 1, layer.kernel[0] * layer.kernel[1] * self.vectors * self.step.registers

    def _step(self, target: Target) -> Step:
        style = self.schedule.style
        kind = STEPS.get(style)
        if kind is None or not kind.serves(self.layer, self.source, target):
            known = [name for name, step in STEPS.items() if step.serves(self.layer, self.source, target)]
            raise SysmolError(
                f"layer {self.layer.name}: {self.schedule} has no step {style!r} for a {self.source.tensor.format} "
                f"input on {target.name}; with one accumulator, choose from {', '.join(known) or 'no style'}"
            )
        if kind.channels != self.schedule.channels:
            raise SysmolError(
                f"layer {self.layer.name}: an accumulator of {style} holds {kind.channels} output channels; "
                f"write {self.anchor}-{kind.channels}x1x1-{style}"
            )
        return kind(self.layer, self.source)

    def _legal(self) -> None:
        s = self.schedule
        shape = LayerShape(self.layer.kernel, self.layer.stride, self.rows, self.width, self.vectors)
        most = caps(self.anchor, shape, self.step.registers)
        limits = {
            "weights": (s.weights, most.weights),
            "inputs": (s.inputs, most.inputs),
            "outputs": (s.outputs, most.outputs),
        }
        for name, (own, cap) in limits.items():
            if own > cap:
                raise SysmolError(f"layer {self.layer.name}: {s} holds {own} {name}; this layer has use for {cap}")
        if self.rows > self.height:
            raise SysmolError(f"layer {self.layer.name}: {s} blocks more rows than the {self.height} that there are")
        if self.body() > LARGEST_BODY:
            raise SysmolError(
                f"layer {self.layer.name}: {s} would be {self.body()} multiply-accumulates of straight code, more than "
                f"{LARGEST_BODY}; take fewer auxiliary registers or a register tile"
            )

    loops: tuple[str, ...]
    """The data flow's own loops, outermost first, as :meth:`describe` names them."""

    def describe(self) -> list[str]:
        s, registers = self.schedule, self.step.registers
        blocks = [f"block: {self.rows} rows"] if s.block else []
        nest = [*blocks, "t: blocks of channels", f"u: accumulators of {self.step.channels} channel(s)", *self.loops]
        anchor = {"os": "1 of sums", "ws": f"{registers} of weights", "is": "inputs"}[self.anchor]
        held = [("weights", s.weights), ("inputs", s.inputs), ("sums", s.outputs)]
        kept = ", ".join(f"{number} of {what}" for what, number in held if number) or "none"
        return [f"loops: {' > '.join(nest)}", f"stationary registers: {anchor} by the loops; kept beside them: {kept}"]

    def plan(self) -> Schedule:
        raise AssertionError("a single-accumulator kernel is always asked for by name")

    def tile(self, em: Emitter, micro: MicroKernel, tile: Tile) -> None:
        raise AssertionError("single-accumulator kernels have no micro-kernel")

    # --- what the data flows give ---

    @abstractmethod
    def body(self) -> int:
        """Multiply-accumulates of the largest straight piece of code."""

    @abstractmethod
    def flow(self, em: Emitter, sums: Sums) -> None:
        """All multiply-accumulates of one unit over the block of rows, into the sums at ``acc``."""

    def sums(self, pitch: int) -> Sums:
        """Geometry of a unit's partial sums."""
        return Sums(pitch, self.width)

    whole_in_registers = False
    """Whether a unit's sums are complete when they are first written (then they are written as one number)."""

    # --- sizes ---

    @property
    def wide(self) -> bool:
        """Whether sums are kept in memory four lanes to an output, beside the block's finished ones."""
        return self.step.channels == 1 and not self.whole_in_registers

    def _block_pitch(self, block: Block) -> int:
        return REGISTER_BYTES * len(block.groups)

    def _finished(self, block: Block) -> Sums:
        """Geometry of a block's finished sums, groups of four side by side."""
        return Sums(self._block_pitch(block), self.width, 0 if self.wide else self.sums(REGISTER_BYTES).border)

    @staticmethod
    def _bytes(sums: Sums, rows: int) -> int:
        return sums.row * (rows + 2 * sums.border)

    @property
    def scratch(self) -> int:
        """Bytes of the caller's memory that the kernel needs for sums."""
        finished = max(self._bytes(self._finished(block), self.rows) for block in self.blocks)
        return finished + (self._bytes(self.sums(REGISTER_BYTES), self.rows) if self.wide else 0)

    # --- C ---

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        assert self.layer.weight is not None
        packed = []
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)}, uint8_t *restrict sums)"):
            em.line("v_begin();")
            with em.loop("block", -(-self.height // self.rows)):
                tile_origin(em, "top", "block", self.rows, self.height)
                at = plus(
                    self.source.start(self.layer.padding[:2]),
                    times("top", self.layer.stride[0] * self.source.row_bytes),
                )
                em.line(f"const uint8_t *x0 = in + {at};", scalar=1)
                start = 0
                for first, count in segments(self.blocks, same_lanes=True):
                    units = self._units(self.blocks[first])
                    size = self._unit_bytes() * len(units)
                    with em.loop("t", count):
                        em.line(f"const uint8_t *w = {plus(f'{self.name}_w', start, times('t', size))};", scalar=2)
                        self._block(em, self.blocks[first], len(units))
                        self._finish(em, Tile(first, 1, "t", count, self.tile_pixels()))
                    start += size * count
        for block in self.blocks:
            for unit in self._units(block):
                part = self.step.pack(self.layer.weight, unit)
                packed.append(np.ascontiguousarray(part).view(np.uint8).reshape(-1))
        em.line()
        weights = array_text(f"{self.name}_w", np.concatenate(packed), f"weights of {self.layer.name}, unit by unit")
        return [weights, *self.epilogue.arrays()]

    def _units(self, block: Block) -> list[tuple[int, ...]]:
        """Output channels of a block's units; lanes without a channel are computed where one follows them."""
        if self.step.channels == GROUP:
            return list(block.groups)
        lanes = [channel for group in block.groups for channel in group]
        while lanes[-1] < 0:
            lanes.pop()
        return [(channel,) for channel in lanes]

    def _unit_bytes(self) -> int:
        height, width = self.layer.kernel
        return REGISTER_BYTES * height * width * self.vectors * self.step.registers

    def _block(self, em: Emitter, block: Block, units: int) -> None:
        finished = self._finished(block)
        lane = REGISTER_BYTES if self.step.channels == GROUP else LANE_BYTES
        if not self.wide and not self.whole_in_registers:
            self._clear(em, "sums", self._bytes(finished, self.rows))
        with em.loop("u", units):
            if self.wide:
                sums = self.sums(REGISTER_BYTES)
                base = self._bytes(finished, self.rows)
                self._clear(em, f"sums + {base}", self._bytes(sums, self.rows))
                em.line(f"uint8_t *const acc = sums + {base + sums.corner};", scalar=1)
                self.flow(em, sums)
                self._add_lanes(em, sums, finished)
            else:
                em.line(f"uint8_t *const acc = {plus('sums', finished.corner, times('u', lane))};", scalar=1)
                self.flow(em, self.sums(finished.pitch))
            em.line(f"w += {self._unit_bytes()};", scalar=1)

    @staticmethod
    def _clear(em: Emitter, at: str, size: int) -> None:
        count = size // REGISTER_BYTES
        per = max(n for n in (4, 2, 1) if count % n == 0)
        with em.block():
            em.line(f"uint8_t *clear = {at};", scalar=1)
            em.line("const vec none = v_zero();")
            with em.loop("i", count // per):
                for n in range(per):
                    em.line(f"v_store(clear + {REGISTER_BYTES * n}, none);")
                em.line(f"clear += {REGISTER_BYTES * per};", scalar=1)

    def _add_lanes(self, em: Emitter, sums: Sums, finished: Sums) -> None:
        """The unit's lanes become one number per output."""
        em.comment("sums of lanes")
        with em.loop("y", self.rows):
            em.line(f"const uint8_t *from = acc + {times('y', sums.row)};", scalar=2)
            em.line(f"uint8_t *to = {plus('sums', times('y', finished.row), times('u', LANE_BYTES))};", scalar=2)

            def add(k: int) -> None:
                partial = self.step.partial(f"v_load({plus('from', k * sums.pitch)})")
                em.line(f"m_store32({plus('to', k * finished.pitch)}, v_hsum({partial}, v_zero()));")

            self.columns(em, self.width, UNROLL, {"from": sums.pitch, "to": finished.pitch}, add)

    def tile_pixels(self) -> tuple[tuple[int, int], ...]:
        return tuple((0, column) for column in range(min(self.width, COLUMNS)))

    def _finish(self, em: Emitter, tile: Tile) -> None:
        """The epilogue of a block over its rows."""
        block = self.blocks[tile.first]
        finished = self._finished(block)
        em.comment("epilogue")
        with em.block():
            self.epilogue.begin(em)
            self._finish_rows(em, tile, block, finished)

    def _finish_rows(self, em: Emitter, tile: Tile, block: Block, finished: Sums) -> None:
        columns = len(tile.pixels)
        with em.loop("y", self.rows):
            em.line("const int oy = top + y;", scalar=1)
            with em.loop("tx", -(-self.width // columns)):
                tile_origin(em, "ox", "tx", columns, self.width)
                at = plus("sums", finished.corner, times("y", finished.row), times("ox", finished.pitch))
                em.line(f"const uint8_t *from = {at};", scalar=2)
                self.epilogue.tile_corner(em)
                accumulators = []
                for p in range(columns):
                    names = []
                    for g in range(len(block.groups)):
                        load = f"v_load({plus('from', p * finished.pitch + REGISTER_BYTES * g)})"
                        text = self.step.total(load) if self.step.channels == 1 else load
                        em.line(f"vec a{g}_{p} = {text};")
                        names.append(f"a{g}_{p}")
                    accumulators.append(names)
                self.epilogue.emit(em, tile, [accumulators])

    # --- helpers of the data flows ---

    def _opaque(self, em: Emitter, pointer: str, steps: int) -> None:
        """Keep the compiler from holding weights that the schedule leaves in memory."""
        if self.schedule.weights < steps * self.step.registers:
            em.line(f"m_opaque({pointer});")

    def weight_at(self, ky: int, kx: int, vector: int, register: int = 0) -> int:
        """Byte offset of a weight register in the unit's weights."""
        return REGISTER_BYTES * (
            ((ky * self.layer.kernel[1] + kx) * self.vectors + vector) * self.step.registers + register
        )

    def input_at(self, y: int, x: int, vector: int) -> int:
        """Byte offset of a register of activations from another, ``y`` input rows and ``x`` columns away."""
        return self.source.bytes_to(y, x) + REGISTER_BYTES * vector

    @staticmethod
    def columns(em: Emitter, count: int, unroll: int, steps: dict[str, int], body: Callable[[int], None]) -> None:
        """``count`` outputs, ``unroll`` to an iteration; ``body(k)`` writes the k-th of them.

        ``steps``: C pointers and the bytes that they move by at every output.
        """
        full, rest = divmod(count, unroll)
        if full:
            with em.loop("i", full):
                for k in range(unroll):
                    body(k)
                for pointer, step in steps.items():
                    em.line(f"{pointer} += {step * unroll};", scalar=1)
        for k in range(rest):
            body(k)


def period(shared: int, step: int) -> int:
    """Outputs after which cached columns are in the same registers again, ``step`` columns moving on at each."""
    return shared // gcd(shared, step) if shared else 1
