"""Micro-kernels: the multiply-accumulates of one register tile, by instruction.

A class registers under its style's name in :data:`STYLES` and says through :meth:`MicroKernel.serves` for which
inputs and targets it can be used; where several classes share a name (``fma`` on both ISAs), the first that serves is
taken.
"""

from kernels_c.codegen.layout import Place
from kernels_c.codegen.micro.base import MicroKernel
from kernels_c.codegen.micro.binary import ScalarCount, VectorCount
from kernels_c.codegen.micro.lane import LaneDot, LaneFloat
from kernels_c.codegen.micro.mmla import MatrixDot
from kernels_c.codegen.micro.per_output import SdotTile, SmolMac
from kernels_c.codegen.micro.rvv import RvvFloat, RvvInt8
from kernels_c.codegen.micro.smol import SmolDot
from kernels_c.codegen.micro.smol_run import SmolRun
from kernels_c.codegen.micro.unpack import LaneUnpack, RvvUnpack
from kernels_c.codegen.targets import Target
from sysmol.errors import SysmolError
from sysmol.network import Layer

STYLES: dict[str, tuple[type[MicroKernel], ...]] = {
    "run": (SmolRun,),
    "vdot": (SmolDot,),
    "dot": (LaneDot,),
    "mac": (RvvInt8,),
    "fma": (LaneFloat, RvvFloat),
    "mmla": (MatrixDot,),
    "unpack": (LaneUnpack, RvvUnpack),
    "pop": (VectorCount, ScalarCount),
    "vmac": (SmolMac,),
    "sdot": (SdotTile,),
}
"""Classes by style; the order of the styles is the order of preference for a layer that names none."""


def styles(layer: Layer, source: Place, target: Target) -> list[str]:
    """The styles that can compute a convolution of ``source``, best first."""
    return [name for name, kinds in STYLES.items() if any(kind.serves(layer, source, target) for kind in kinds)]


def micro_class(style: str, layer: Layer, source: Place, target: Target) -> type[MicroKernel]:
    """The class of a style for this layer; :class:`SysmolError` where it has none."""
    for kind in STYLES.get(style, ()):
        if kind.serves(layer, source, target):
            return kind
    known = ", ".join(styles(layer, source, target))
    raise SysmolError(
        f"layer {layer.name}: style {style!r} does not serve a {source.tensor.format} input on {target.name}; "
        f"choose from {known}"
    )


__all__ = ["STYLES", "LaneDot", "MicroKernel", "RvvFloat", "RvvInt8", "SmolDot", "SmolRun", "micro_class", "styles"]
