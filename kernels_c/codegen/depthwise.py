"""Depthwise convolutions: nothing is reduced over channels, so lanes are channels.

SMOL inputs use ``vmul``/``vmla``: one part of a vector at a time gives 8 lanes of 16 bits or 16 lanes of 8 bits, which
the epilogue widens to groups of 32-bit lanes by byte or half (even and odd elements, that is: the blocks here have
their own lane order). The proof that lanes do not overflow: 225 * 145, 9 * 14 and 1 * 127 are the most taps.
"""

import numpy as np

from kernels_c.codegen.constants import array_text, identifier
from kernels_c.codegen.emitter import Emitter
from kernels_c.codegen.epilogue import Epilogue, Tile, expand, lanes, plus, times
from kernels_c.codegen.layout import Block, Group, Place, segments, slot_channels
from kernels_c.codegen.nest import parameters, tile_origin
from kernels_c.codegen.targets import Target
from sysmol.errors import SysmolError
from sysmol.network import Array, Layer, Network
from sysmol.patterns import CHUNK_BITS, CHUNKS, REGISTER_BYTES, chunk_precisions

MOST_TAPS = {4: 32767 // 225, 2: 127 // 9, 1: 127}
"""Products of a precision that a lane (16, 8, 8 bits) can add up, whatever their values."""
LANE_BITS = {4: 16, 2: 8, 1: 8}
SELECTOR = {4: 0, 2: 1, 1: 2}
ACCUMULATORS = 16


def parts(source: Place) -> list[tuple[int, int, Block]]:
    """The parts in use of a SMOL tensor's vectors: ``(vector, part selector, block)``."""
    channels = slot_channels(source.tensor)
    result = []
    slot = 0
    for vector, number in enumerate(source.tensor.patterns):
        precisions = chunk_precisions(number)
        starts = np.cumsum([0] + [CHUNK_BITS // p for p in precisions])
        for p in (4, 2, 1):
            width = 1 if p == 1 else 2
            for k in range(CHUNKS // width):
                own = [c for c in range(k * width, (k + 1) * width) if precisions[c] == p]
                if not own:
                    continue
                per = CHUNK_BITS // p
                lane_channels, shifts = [], []
                for c in range(k * width, (k + 1) * width):
                    for e in range(per):
                        lane_channels.append(channels[slot + starts[c] + e] if c in own else -1)
                        shifts.append((c - own[0]) * CHUNK_BITS + p * e if c in own else 0)
                block = Block(
                    _interleave(lane_channels, p),
                    p,
                    vector * REGISTER_BYTES + 2 * own[0],
                    CHUNK_BITS * len(own),
                    _interleave(shifts, p),
                )
                if any(channel >= 0 for channel in lane_channels):
                    result.append((vector, SELECTOR[p] << 4 | k, block))
        slot += int(starts[-1])
    return result


def _interleave(values: list[int], precision: int) -> tuple[Group, ...]:
    """Groups of 32-bit lanes as :func:`widen` makes them: lane i of group b is element ``i * groups + b``."""
    groups = 32 // LANE_BITS[precision]
    result = []
    for b in range(groups):
        first, second, third, fourth = values[b::groups]
        result.append((first, second, third, fourth))
    return tuple(result)


def widen(name: str, precision: int) -> list[str]:
    """C expressions of a part accumulator's groups of 32-bit lanes."""
    bits = LANE_BITS[precision]
    return [f"v_sext{bits}({name}, {b})" for b in range(32 // bits)]


class SmolDepthwise:
    """Depthwise convolution of a SMOL tensor, vector by vector, a row of pixels at a time."""

    def __init__(self, net: Network, layer: Layer, places: dict[str, Place], target: Target) -> None:
        self.layer = layer
        self.name = identifier(layer.name)
        self.source = places[layer.input]
        self.parts = parts(self.source)
        self.epilogue = Epilogue(net, layer, places, [block for _, _, block in self.parts], packed_alike=False)
        output = net.tensors[layer.targets[0]]
        self.height, self.width = output.height, output.width
        self.chains = 0
        self.chain_length = layer.kernel[0] * layer.kernel[1]

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        assert self.layer.weight is not None
        height, width, vectors = self.layer.weight.shape[:3]
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)})"):
            em.line("v_begin();")
            self.epilogue.begin(em)
            for vector in range(vectors):
                own = [(index, part) for index, part in enumerate(self.parts) if part[0] == vector]
                for first in range(0, len(own), ACCUMULATORS):
                    self._vector(em, vector, own[first : first + ACCUMULATORS], height * width * REGISTER_BYTES)
        em.line()
        weights = np.ascontiguousarray(np.transpose(self.layer.weight, (2, 0, 1, 3)))
        return [array_text(f"{self.name}_w", weights, f"weights of {self.layer.name}"), *self.epilogue.arrays()]

    def _vector(self, em: Emitter, vector: int, own: list[tuple[int, tuple[int, int, Block]]], size: int) -> None:
        if not own:
            return
        columns = max(1, min(self.width, 4, ACCUMULATORS // len(own)))
        self.chains = max(self.chains, columns * len(own))
        em.comment(f"vector {vector}: {len(own)} parts of {columns} pixels at a time")
        with em.loop("oy", self.height), em.loop("tx", -(-self.width // columns)):
            tile_origin(em, "ox", "tx", columns, self.width)
            sy, sx = self.layer.stride
            corner = plus(
                self.source.start(self.layer.padding[:2]),
                vector * REGISTER_BYTES,
                times("oy", sy * self.source.row_bytes),
                times("ox", sx * self.source.pixel_bytes),
            )
            em.line(f"const uint8_t *corner = in + {corner};", scalar=3)
            em.line(f"const uint8_t *w = {plus(f'{self.name}_w', vector * size)};", scalar=1)
            self.epilogue.tile_corner(em)
            self._taps(em, own, columns)

    def _taps(self, em: Emitter, own: list[tuple[int, tuple[int, int, Block]]], columns: int) -> None:
        height, width = self.layer.kernel
        most = min(MOST_TAPS[block.precision] for _, (_, _, block) in own) // width
        if not most:
            raise SysmolError(f"layer {self.layer.name}: a depthwise kernel {width} wide overflows its lanes; split it")
        pixels = tuple((0, column) for column in range(columns))
        stages = [min(most, height - start) for start in range(0, height, most)]
        if len(stages) == 1:
            self._stage(em, own, columns, 0, height)
            for index, (_, _, block) in own:
                accumulators = [widen(f"u{index}_{p}", block.precision) for p in range(columns)]
                self.epilogue.emit(em, Tile(index, 1, "t", 1, pixels), [accumulators])
            return
        # More taps than a lane can add up: widen after every stage, into memory.
        em.line(f"uint8_t sums[{64 * columns * len(own)}];")

        def at(number: int, p: int, g: int) -> str:
            return f"sums + {64 * (number * columns + p) + 16 * g}"

        for stage, rows in enumerate(stages):
            with em.block():
                self._stage(em, own, columns, stage * most, rows)
                for number, (index, (_, _, block)) in enumerate(own):
                    for p in range(columns):
                        for g, text in enumerate(widen(f"u{index}_{p}", block.precision)):
                            total = f"v_add(v_load({at(number, p, g)}), {text})" if stage else text
                            em.line(f"v_store({at(number, p, g)}, {total});")
        for number, (index, (_, _, block)) in enumerate(own):
            loads = [[f"v_load({at(number, p, g)})" for g in range(len(block.groups))] for p in range(columns)]
            self.epilogue.emit(em, Tile(index, 1, "t", 1, pixels), [loads])

    def _stage(
        self, em: Emitter, own: list[tuple[int, tuple[int, int, Block]]], columns: int, first: int, rows: int
    ) -> None:
        """Clear the lanes and add up ``rows`` kernel rows from row ``first`` on."""
        for index, _ in own:
            for p in range(columns):
                em.line(f"vec u{index}_{p} = v_zero();")
        with em.loop("ky", rows):
            offset = plus(first * self.source.row_bytes, times("ky", self.source.row_bytes))
            em.line(f"const uint8_t *x = corner + {offset};", scalar=1)
            with em.loop("kx", self.layer.kernel[1]):
                self._tap(em, own, columns)

    def _tap(self, em: Emitter, own: list[tuple[int, tuple[int, int, Block]]], columns: int) -> None:
        step = self.layer.stride[1] * self.source.pixel_bytes
        em.line("const vec wt = v_load(w);")
        for p in range(columns):
            with em.block():
                em.line(f"const vec xp = v_load({plus('x', p * step)});")
                for index, (_, selector, _) in own:
                    em.line(f"v_vmla({selector}, u{index}_{p}, wt, xp);")
        em.line(f"x += {self.source.pixel_bytes};", scalar=1)
        em.line(f"w += {REGISTER_BYTES};", scalar=1)


class PlainDepthwise:
    """Depthwise convolution of float tensors: four channels to a register, a few pixels at a time."""

    COLUMNS = 4

    def __init__(self, net: Network, layer: Layer, places: dict[str, Place], target: Target) -> None:
        self.layer = layer
        self.name = identifier(layer.name)
        self.source = places[layer.input]
        self.blocks = self.source.blocks
        self.epilogue = Epilogue(net, layer, places, self.blocks)
        output = net.tensors[layer.targets[0]]
        self.height, self.width = output.height, output.width
        self.columns = min(self.width, self.COLUMNS)
        self.chains = 2 * self.columns
        self.chain_length = layer.kernel[0] * layer.kernel[1]

    # --- what the element type decides ---

    def weights(self, block: Block, taps: Array) -> Array:
        """Weights of a block from ``taps [KH * KW, C]``, in reading order, flat."""
        return lanes([block], taps).reshape(-1)

    def begin(self, em: Emitter, block: Block) -> None:
        """Clear the accumulators."""
        for g in range(len(block.groups)):
            for p in range(self.columns):
                em.line(f"vec a{g}_{p} = v_zero();")

    def tap(self, em: Emitter, block: Block, at: list[str]) -> None:
        """Multiply-accumulate one tap; ``at`` are the pixels' addresses."""
        groups = range(len(block.groups))
        for g in groups:
            em.line(f"const vec w{g} = v_load(w + {16 * g});")
        for p, address in enumerate(at):
            with em.block():
                expand(em, self.source, [address], block, ["e"])
                for g in groups:
                    em.line(f"a{g}_{p} = v_fmla(a{g}_{p}, e{g}, w{g});")

    def end(self, em: Emitter, block: Block) -> None:
        """Bring the accumulators into ``a<group>_<pixel>``."""

    # --- loop nest ---

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        assert self.layer.weight is not None
        height, width, channels = self.layer.weight.shape
        taps = self.layer.weight.reshape(height * width, channels)
        packed = [self.weights(block, taps) for block in self.blocks]
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)})"):
            em.line("v_begin();")
            self.epilogue.begin(em)
            start = 0
            for first, count in segments(self.blocks):
                size = packed[first].nbytes
                tile = Tile(first, 1, "t", count, tuple((0, column) for column in range(self.columns)))
                with em.loop("t", count), em.loop("oy", self.height), em.loop("tx", -(-self.width // self.columns)):
                    tile_origin(em, "ox", "tx", self.columns, self.width)
                    self._tile(em, tile, start, size)
                start += size * count
        em.line()
        weights = array_text(f"{self.name}_w", np.concatenate(packed), f"weights of {self.layer.name}")
        return [weights, *self.epilogue.arrays()]

    def _tile(self, em: Emitter, tile: Tile, start: int, size: int) -> None:
        block = self.blocks[tile.first]
        sy, sx = self.layer.stride
        corner = plus(
            self.source.start(self.layer.padding[:2]),
            times("oy", sy * self.source.row_bytes),
            times("ox", sx * self.source.pixel_bytes),
            self.epilogue.block_at(self.source, tile, 0),
        )
        em.line(f"const uint8_t *corner = in + {corner};", scalar=3)
        em.line(f"const uint8_t *w = {plus(f'{self.name}_w', start, times('t', size))};", scalar=1)
        self.epilogue.tile_corner(em)
        self.begin(em, block)
        with em.loop("ky", self.layer.kernel[0]):
            em.line(f"const uint8_t *x = corner + {times('ky', self.source.row_bytes)};", scalar=1)
            with em.loop("kx", self.layer.kernel[1]):
                self.tap(em, block, [plus("x", p * sx * self.source.pixel_bytes) for p in range(self.columns)])
                em.line(f"x += {self.source.pixel_bytes};", scalar=1)
                em.line(f"w += {size // (self.layer.kernel[0] * self.layer.kernel[1])};", scalar=1)
        self.end(em, block)
        accumulators = [[f"a{g}_{p}" for g in range(len(block.groups))] for p in range(self.columns)]
        self.epilogue.emit(em, tile, [accumulators])


class Int8Depthwise(PlainDepthwise):
    """Depthwise convolution of int8 tensors: eight channels widened to 16 bits, products added in 32."""

    def weights(self, block: Block, taps: Array) -> Array:
        own = lanes([block], taps.astype(np.int16)).reshape(len(taps), -1)
        return np.pad(own, ((0, 0), (0, 8 - own.shape[1]))).reshape(-1)

    def begin(self, em: Emitter, block: Block) -> None:
        em.line("v_begin16();")
        for p in range(self.columns):
            em.line(f"vecpair d{p} = v_zero_pair();")

    def tap(self, em: Emitter, block: Block, at: list[str]) -> None:
        em.line("const vec16 wt = v_load16(w);")
        for p, address in enumerate(at):
            em.line(f"v_wide_mla(d{p}, v_load_s8x8({address}), wt);")

    def end(self, em: Emitter, block: Block) -> None:
        em.line("v_begin();")
        for g in range(len(block.groups)):
            for p in range(self.columns):
                em.line(f"vec a{g}_{p} = {'v_high' if g else 'v_low'}(d{p});")
