"""Which kernel computes an operation: the register of the code generator's back ends.

A function that makes the :class:`~sysmol.kernels_c.nest.kernel.Kernel` of a layer is registered under the operation's
name, with :func:`generates`, in a file of its own here.
"""

from collections.abc import Callable

from sysmol.errors import SysmolError
from sysmol.kernels_c.nest.kernel import Kernel
from sysmol.kernels_c.nest.tile import TileKernel
from sysmol.kernels_c.plan.layout import Place
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network, operation

Places = dict[str, Place]
Maker = Callable[[Network, Layer, Places, Target, Options], Kernel]

MAKERS: dict[str, Maker] = {}
"""Maker of a layer's kernel by the operation's name."""


def generates(name: str) -> Callable[[Maker], Maker]:
    """Decorator: the function makes the kernels of this operation from now on."""

    def register(maker: Maker) -> Maker:
        MAKERS[name] = maker
        return maker

    return register


def kernel(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Kernel:
    """The generator of one layer; :class:`SysmolError` where its operation has none."""
    if net.input in layer.inputs and not operation(layer).reads_image:
        raise SysmolError(f"layer {layer.name}: only a rescale layer reads the u8 image; put one in front of it")
    if layer.op not in MAKERS:
        raise SysmolError(f"layer {layer.name}: no code is generated for {layer.op}, only for {', '.join(MAKERS)}")
    if layer.name in options.on_tile:
        assert options.tile is not None
        return TileKernel(net, layer, places, options.tile)
    return MAKERS[layer.op](net, layer, places, target, options)
