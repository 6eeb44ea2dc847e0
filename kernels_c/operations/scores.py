"""``scores``: keys stand where weights stand; queries run over them."""

from collections.abc import Sequence

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.nest.heads import LANES, Head, HeadsKernel, as_offsets, pixel_offsets, squares
from sysmol.kernels_c.nest.kernel import Kernel
from sysmol.kernels_c.nest.plain_heads import PlainScores
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.plan.constants import Held, array_text
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network
from sysmol.network.operations.heads import tokens


class Scores(HeadsKernel):
    """A row is a key as it lies in memory: nothing is packed."""

    def pack(self, em: Emitter, number: int, head: int, first: int, count: int) -> Sequence[str]:
        pixels = pixel_offsets(self.second)
        at = [pixels[c % self.per_head] + self.heads[head].first_byte for c in self.lane_channels(first, count)]
        return [array_text(f"{self.name}_at{number}", as_offsets(at), f"every lane's key of head {head}")]

    def row(self, number: int, head: int, per: int, group: int, lane: int) -> str:
        return f"second + m_get_s32({self.name}_at{number}, t * {LANES * per} + {LANES * group + lane})"


@generates("scores")
def scores(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Kernel:
    """Of SMOL tensors, whose unused slots hold code 0 on both sides; of bytes and floats."""
    queries = net.tensors[layer.input]
    if queries.format != "smol":
        return PlainScores(net, layer, places, target, options)
    heads = [Head(queries, layer.groups, h) for h in range(layer.groups)]
    known = [squares(head.precisions[head.unused]) for head in heads]
    excess = np.repeat(np.array(known, dtype=np.int64), tokens(net.tensors[layer.second]))
    return Scores(net, layer, places, options, Held(np.ones(len(excess), dtype=np.int64), excess[None, None]))
