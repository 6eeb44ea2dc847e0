"""``depthwise``: a kernel by the input's format, and by its layout."""

from sysmol.kernels_c.nest.depthwise import Int8Depthwise, PlainDepthwise
from sysmol.kernels_c.nest.depthwise_smol import SmolDepthwise
from sysmol.kernels_c.nest.depthwise_taps import SmolTaps
from sysmol.kernels_c.nest.kernel import Kernel
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network

KINDS: dict[str, type[SmolDepthwise] | type[PlainDepthwise]] = {
    "smol": SmolDepthwise,
    "s8": Int8Depthwise,
    "f32": PlainDepthwise,
}


@generates("depthwise")
def by_format(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Kernel:
    """The kernel of the input's format; of planes that which reads them."""
    if places[layer.input].planes:
        return SmolTaps(net, layer, places, target, options)
    return KINDS[net.tensors[layer.input].format](net, layer, places, options)
