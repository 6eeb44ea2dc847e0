"""Layers in parts, so that programs stay short: a function for every output instead of one that writes them all.

What normalises a concatenation anew in front of every reader gives its parts an output for each of them, and each
reader is a convolution for each part. In the generated functions, requantisation takes most of the text: a convolution
therefore leaves its sums in the caller's memory, by a function that all convolutions of its shape share
(:mod:`sysmol.kernels_c.shared`), and short functions go on from there. Other operations are computed again for each
output.
"""

from collections import Counter
from collections.abc import Hashable
from dataclasses import replace

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import Epilogue, Tile, expand, plus, times
from sysmol.kernels_c.epilogue.sums import Sums
from sysmol.kernels_c.nest.base import LoopNest
from sysmol.kernels_c.nest.elementwise import Elementwise
from sysmol.kernels_c.nest.kernel import Kernel
from sysmol.kernels_c.nest.nibbles import FromNibbles
from sysmol.kernels_c.nest.parts import InParts
from sysmol.kernels_c.operations import kernel
from sysmol.kernels_c.plan.constants import identifier
from sysmol.kernels_c.plan.layout import Block, Place
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network, Output, Tensor, operation

MOST = 4
"""Outputs that one function writes at most."""
MANY = 64
"""Convolutions of one shape from which on each is in two parts: no network without concatenations has so many."""

Places = dict[str, Place]


def kernels_of(net: Network, places: Places, target: Target, options: Options) -> list[Kernel]:
    """The generators of all layers."""
    count = Counter(_shape(net, layer) for layer in net.layers)
    return [_kernel(net, layer, count, places, target, options) for layer in net.layers]


def kernel_of(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Kernel:
    """The generator of one layer."""
    return _kernel(net, layer, Counter(_shape(net, layer) for layer in net.layers), places, target, options)


def _shape(net: Network, layer: Layer) -> Hashable:
    x = net.tensors[layer.input]
    window = (layer.kernel, layer.stride, layer.padding, layer.groups)
    return layer.op, window, x.shape, x.format, net.tensors[layer.targets[0]].shape


def _kernel(
    net: Network, layer: Layer, count: Counter[Hashable], places: Places, target: Target, options: Options
) -> Kernel:
    if layer.name in options.on_tile:
        return kernel(net, layer, places, target, options)
    kind = operation(layer)
    convolves = kind.has_weights and kind.mixes_channels
    if convolves and (len(layer.outputs) > MOST or count[_shape(net, layer)] >= MANY):
        return SumsFirst(net, layer, places, target, options)
    if convolves and FromNibbles.serves(net, layer, places, target, options):
        return FromNibbles(net, layer, places, target, options)
    if len(layer.outputs) > MOST:
        return OneByOne(net, layer, places, target, options)
    return kernel(net, layer, places, target, options)


class OneByOne(InParts):
    """Operations whose sums cost little: computed for each output."""

    def __init__(self, net: Network, layer: Layer, places: Places, target: Target, options: Options) -> None:
        super().__init__(layer)
        more = [name for name in ("second", "residual") if getattr(layer, name)]
        for number in range(len(layer.outputs)):
            part = self.single(number)
            self.add(part.name, kernel(net, part, places, target, options), "in", *more, f"out{number}")


class SumsFirst(InParts):
    """Convolutions: their sums, then the outputs."""

    def __init__(self, net: Network, layer: Layer, places: Places, target: Target, options: Options) -> None:
        super().__init__(layer)
        outputs = [places[name] for name in layer.targets]
        smol = [place for place in outputs if place.tensor.format == "smol"]
        nest, self.sums = _sums(net, layer, (smol or outputs)[0].blocks, places, target, options)
        self.schedule, self.own = nest.schedule, nest.scratch
        self.add(f"{layer.name}.sums", nest, "in", "scratch", *([f"scratch + {self.sums.bytes}"] if self.own else []))
        for number in range(len(layer.outputs)):
            part = self.single(number)
            more = ["residual"] if layer.residual else []
            own = FromSums(net, part, places, self.sums, options, nest)
            self.add(part.name, own, "scratch", *more, f"out{number}")

    @property
    def scratch(self) -> int:
        return self.sums.bytes + self.own


def _sums(
    net: Network, layer: Layer, blocks: tuple[Block, ...], places: Places, target: Target, options: Options
) -> tuple[LoopNest, Place]:
    """What computes a convolution's sums alone, and where it puts them."""
    first = net.tensors[layer.targets[0]]
    name = f"{layer.name}.sums"
    while name in net.tensors:
        name += "_"
    tensor = Tensor(name, *first.shape, "f32" if first.format == "f32" else "s32")
    place = Place(tensor, blocks)
    # Constants that nothing reads: the epilogue is another one.
    out = Output(name, np.zeros((1, 1, first.channels), np.int32), 0, 0, np.ones(first.channels, np.int32))
    whole = replace(layer, name=f"{layer.name}.sums", outputs=[out], residual="")
    chosen = {whole.name: options.schedules[layer.name]} if layer.name in options.schedules else {}
    extended = replace(net, tensors={**net.tensors, name: tensor})
    nest = kernel(extended, whole, {**places, name: place}, target, replace(options, schedules=chosen))
    assert isinstance(nest, LoopNest)
    nest.epilogue = Sums(nest.name, place)
    return nest, place


class FromSums(Elementwise):
    """One output of a convolution, from its sums, which ``nest`` computes."""

    def __init__(
        self, net: Network, layer: Layer, places: Places, sums: Place, options: Options, nest: LoopNest
    ) -> None:
        self.net, self.layer = net, layer
        self.name = identifier(layer.name)
        self.source, self.second = sums, None
        self.blocks = sums.blocks
        self.height, self.width = sums.tensor.height, sums.tensor.width
        self.epilogue = Epilogue(net, layer, places, self.blocks, pack=options.pack, held=nest.held())

    def _gather(self, em: Emitter, tile: Tile) -> list[str]:
        pixel = plus(times("oy", self.source.row_bytes), times("ox", self.source.pixel_bytes))
        em.line(f"const uint8_t *corner = in + {plus(pixel, self.epilogue.block_at(self.source, tile, 0))};", scalar=4)
        return self.gather(em, self.blocks[tile.first])

    def gather(self, em: Emitter, block: Block) -> list[str]:
        expand(em, self.source, ["corner"], block, ["a"])
        return [f"a{g}" for g in range(len(block.groups))]
