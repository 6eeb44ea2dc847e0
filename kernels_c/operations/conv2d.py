"""``conv2d``: a loop nest by schedule; one of its own for layers with groups or a dilation."""

from sysmol.kernels_c.nest import LoopNest, dataflow, grouped
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.plan.layout import is_tap_by_tap
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network


@generates("conv2d")
def loop_nest(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> LoopNest:
    """The loop nest that the options' schedule names, or that of the heuristic's."""
    if is_tap_by_tap(layer):
        return grouped(net, layer, places, target, options)
    return dataflow(options.schedules.get(layer.name))(net, layer, places, target, options)
