"""Convolutions of few bytes by weights of 4 bits, the first layers of networks: their input becomes two planes of codes
in the caller's memory (:mod:`sysmol.kernels_c.micro.nibbles`), then the register tiles of ``vmm.w`` read these.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.pack import MOST_SHIFT
from sysmol.kernels_c.epilogue.requantise import largest_sum, plus, times
from sysmol.kernels_c.micro import missing
from sysmol.kernels_c.micro.nibbles import CODES, TAPS, TOP, NibblePlanes, SmolNibbles, excess
from sysmol.kernels_c.nest.base import tile_origin
from sysmol.kernels_c.nest.kernel import Kernel
from sysmol.kernels_c.nest.output import OutputStationary
from sysmol.kernels_c.nest.parts import InParts
from sysmol.kernels_c.plan.constants import identifier, wrap32
from sysmol.kernels_c.plan.layout import Place, is_tap_by_tap
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import INT32_MAX, LOW, Layer, Network, Output

PIXELS = 2
"""Pixels that become codes at a time."""
SUMS = 4
"""Sums in a register."""
LOADED = 16
"""Bytes behind the planes that loads of whole registers may reach."""


class Split(Kernel):
    """A padded tensor of bytes as two planes."""

    def __init__(self, name: str, source: Place, planes: NibblePlanes) -> None:
        self.name, self.source, self.planes = name, source, planes

    def emit(self, em: Emitter) -> list[str]:
        t, pads = self.source.tensor, self.source.pads
        width = t.width + pads[1] + pads[3]
        head = f"SMOL_KERNEL {identifier(self.name)}(const uint8_t *in, uint8_t *restrict planes)"
        rows = t.height + pads[0] + pads[2]
        with em.block(head), em.loop("y", rows), em.loop("i", -(-width // PIXELS)):
            tile_origin(em, "x", "i", PIXELS, width)
            at = plus("in", times("y", self.source.row_bytes), times("x", self.source.pixel_bytes))
            to = plus("planes", times("y", self.planes.row_bytes), times("x", self.planes.pixel_bytes))
            em.line(f"uint8_t *high = {to};", scalar=1)
            em.line(f"m_nibbles({at}, {t.channels}, high, high + {self.planes.plane_bytes});", scalar=1)
        em.line()
        return []


class FromNibbles(InParts):
    """See the module."""

    def __init__(self, net: Network, layer: Layer, places: dict[str, Place], target: Target, options: Options) -> None:
        super().__init__(layer)
        source = places[layer.input]
        self.planes = _planes(source)
        self.add(f"{layer.name}.codes", Split(f"{layer.name}.codes", source, self.planes), "in", "scratch")
        whole = replace(layer, name=f"{layer.name}.products", outputs=[_doubled(net, layer, o) for o in layer.outputs])
        nest = OutputStationary(net, whole, {**places, layer.input: self.planes}, target, options)
        self.schedule = nest.schedule
        self.add(whole.name, nest, "scratch", *(f"out{number}" for number in range(len(layer.outputs))))

    @property
    def scratch(self) -> int:
        return 2 * self.planes.plane_bytes + LOADED

    @classmethod
    def serves(cls, net: Network, layer: Layer, places: dict[str, Place], target: Target, options: Options) -> bool:
        """Whether the layer's weights and constants allow it, and the hardware has the instructions."""
        source = places[layer.input]
        chosen = layer.name in options.schedules or "s8" in options.styles
        if source.tensor.format != "s8" or source.tensor.channels > CODES or not source.flat or chosen:
            return False
        if is_tap_by_tap(layer) or layer.residual or source.tensor.width + sum(source.pads[1::2]) < PIXELS:
            return False
        assert layer.weight is not None
        on_grid = bool((layer.weight % 2 != 0).all() and (np.abs(layer.weight.astype(np.int64)) <= TOP).all())
        if not on_grid or missing(SmolNibbles, layer, _planes(source), options.has):
            return False
        if not _pays(net, layer, source, target):
            return False
        return all(_can_double(net, layer, out) for out in layer.outputs)


def _planes(source: Place) -> NibblePlanes:
    return NibblePlanes(source.tensor, source.blocks, pads=source.pads)


def _pays(net: Network, layer: Layer, source: Place, target: Target) -> bool:
    """Whether the vector operations that it saves take twice as long as making the codes, with two vector operations
    and four others in a cycle: what comes first does not overlap with the products, and stems whose gain is smaller
    were measured to lose."""
    height, width = layer.kernel
    out, channels = net.tensors[layer.targets[0]], source.tensor.channels
    registers = out.height * out.width * -(-out.channels // SUMS)
    # Of four sums: a lane's dot products of four bytes, or products of eight lanes.
    others = height * (width * channels / 2 if target.scalar_operand else -(-width * channels // 4))
    own = 2 * height * -(-width // TAPS)
    pixels = source.plane_bytes / source.pixel_bytes
    return (others - own) * registers / 2 > 2 * pixels / PIXELS * target.costs["m_nibbles"]["scalar"] / 4


def _doublings(net: Network, out: Output) -> int:
    """By how many bits the kernel's constants are left of the file's: one, as its sums are twice the file's; two where
    codes are packed by instructions that shift by even numbers."""
    return 2 if net.tensors[out.tensor].format == "smol" and out.shift % 2 == 0 else 1


def _can_double(net: Network, layer: Layer, out: Output) -> bool:
    """Whether an output's values fit 32 bits then, and its format is one with a shift."""
    if net.tensors[out.tensor].format not in ("smol", "s8", "s16") or out.multiply != LOW or out.M is None:
        return False
    left = _doublings(net, out)
    return largest_sum(net, layer, out) << left <= INT32_MAX and out.shift + left <= MOST_SHIFT


def _doubled(net: Network, layer: Layer, out: Output) -> Output:
    """Constants for the kernel's sums."""
    left = _doublings(net, out)
    assert out.M is not None
    M = out.M.astype(np.int64) << left - 1
    B = (out.B.astype(np.int64) << left) - M * excess(layer, net.tensors[layer.input].channels)
    return replace(out, M=wrap32(M), B=wrap32(B), shift=out.shift + left)
