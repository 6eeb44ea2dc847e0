"""Which tensors lie in planes, and which depthwise layers thus take ``vdw``, three taps of a row for eight channels.

A plane holds 32 bits of every pixel. Four neighbouring pixels are then one load, and one instruction multiplies three
of them with a kernel row; words that hold codes of several precisions are read once for each. Only kernels of ``vdw``
read planes, and convolutions alone write them, so a tensor lies in planes where all its readers and its writer agree.
"""

import numpy as np

from sysmol.isa import BY_NAME
from sysmol.kernels_c.plan.lanes16 import LANE_MOST, PRECISION_FIELD
from sysmol.kernels_c.plan.layout import PLANE_BYTES, Block, smol_blocks
from sysmol.kernels_c.plan.options import Options
from sysmol.network import Array, Layer, Network, Tensor, dense_weight
from sysmol.pattern import CHUNK_BITS

LANES = 8
"""Channels of one ``vdw``."""
WORD_TAPS = 3
"""Taps of one ``vdw``."""
STYLES = ("", "vmm", "vmmh")
"""Choices of a style for SMOL inputs under which depthwise layers take ``vdw``."""
VDW = BY_NAME["vdw"].fns[0]


def part_of(block: Block) -> int | None:
    """Which eight codes of its word a block (of a pixel, not of planes) has; None where they are not eight in a row
    from such a place on."""
    bits = LANES * block.precision
    at = 8 * (block.offset % PLANE_BYTES)
    regular = all(s == tuple(block.precision * (4 * g + i) for i in range(4)) for g, s in enumerate(block.shifts))
    fits = block.bits == bits or (block.precision == 4 and block.bits == CHUNK_BITS)
    return at // bits if regular and fits and at % bits == 0 else None


def selectors(x: Tensor) -> set[int] | None:
    """field6 of the words that a tensor's channels take; None where some cannot be read like that."""
    parts = {(block.precision, part_of(block)) for block in smol_blocks(x)}
    if any(part is None for _, part in parts):
        return None
    return {PRECISION_FIELD[p] | (part or 0) << 2 | first for p, part in parts for first in range(2)}


def tap_groups(layer: Layer) -> int:
    """``vdw`` for a kernel row; the last may have fewer than three taps, the others then meet code 0."""
    return -(-layer.kernel[1] // WORD_TAPS)


def row_fillers(layer: Layer) -> int:
    """Taps of a kernel row that are none: code 0 times code 0."""
    return WORD_TAPS * tap_groups(layer) - layer.kernel[1]


def products_reach(net: Network, layer: Layer) -> Array:
    """Bound on the sums of a depthwise layer's products, as they are and over all taps, int64 ``[C]``."""
    x = net.tensors[layer.input]
    weight = np.abs(dense_weight(net, layer).astype(np.int64))
    return np.asarray(weight.sum(axis=(0, 1)) * ((1 << x.precisions) - 1))


def fillers(net: Network, layer: Layer) -> Array:
    """What the fillers of all rows add to those sums, int64 ``[C]``."""
    x = net.tensors[layer.input]
    return np.asarray(layer.kernel[0] * row_fillers(layer) * ((1 << x.precisions.astype(np.int64)) - 1) ** 2)


def takes_vdw(net: Network, layer: Layer, options: Options) -> bool:
    """Whether a layer is a depthwise convolution that ``vdw`` can compute on this hardware."""
    x = net.tensors[layer.input]
    if layer.op != "depthwise" or x.format != "smol" or layer.dilation[1] != 1 or layer.name in options.on_tile:
        return False
    if options.styles.get("smol", "") not in STYLES or layer.kernel[1] == 1:
        return False
    words = selectors(x)
    if words is None or not all(options.has.executes(VDW, word) for word in words):
        return False
    return bool((products_reach(net, layer) + fillers(net, layer)).max() <= LANE_MOST)


def reads_halves(options: Options) -> bool:
    """Whether kernels read half a register of a pixel's codes, or less, by instructions that such codes fill."""
    return options.has.has("vmm.w") and options.styles.get("smol", "") in STYLES


def in_planes(net: Network, options: Options) -> set[str]:
    """Names of the tensors that lie in planes."""
    readers: dict[str, list[Layer]] = {}
    for layer in net.layers:
        for name in layer.reads:
            readers.setdefault(name, []).append(layer)
    result = set()
    for layer in net.layers:
        if layer.op != "conv2d" or len(layer.targets) > 1 or layer.residual or layer.name in options.on_tile:
            continue
        (name,) = layer.targets
        own = readers.get(name, [])
        alone = all(name not in (reader.residual, reader.second) for reader in own)
        if own and name != net.output and alone and all(takes_vdw(net, reader, options) for reader in own):
            result.add(name)
    return result
