"""Micro-kernels: the multiply-accumulates of one register tile, by instruction.

A class names its style (:mod:`sysmol.styles`) and says through :meth:`MicroKernel.serves` for which inputs and targets
it can be used; where several classes share a style (``fma`` on both ISAs), the first that serves is taken.
"""

from sysmol.errors import SysmolError
from sysmol.isa import BY_NAME, EVERYTHING, Capabilities, mnemonic
from sysmol.kernels_c.micro.base import MicroKernel
from sysmol.kernels_c.micro.binary import ScalarCount, VectorCount
from sysmol.kernels_c.micro.lane import LaneDot, LaneFloat
from sysmol.kernels_c.micro.matrix import SmolMatrix, SmolMatrixHalf
from sysmol.kernels_c.micro.mmla import MatrixDot
from sysmol.kernels_c.micro.nibbles import SmolNibbles
from sysmol.kernels_c.micro.per_output import SdotTile, SmolMac
from sysmol.kernels_c.micro.rvv import RvvFloat, RvvInt8
from sysmol.kernels_c.micro.smol import SmolDot
from sysmol.kernels_c.micro.smol_run import SmolRun
from sysmol.kernels_c.micro.unpack import LaneUnpack, RvvUnpack
from sysmol.kernels_c.plan.layout import Place
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer
from sysmol.styles import STYLES as styles_table

_CLASSES: tuple[type[MicroKernel], ...] = (
    SmolNibbles,
    SmolMatrixHalf,
    SmolMatrix,
    SmolRun,
    SmolDot,
    LaneDot,
    RvvInt8,
    LaneFloat,
    RvvFloat,
    MatrixDot,
    LaneUnpack,
    RvvUnpack,
    VectorCount,
    ScalarCount,
    SmolMac,
    SdotTile,
)
STYLES = {name: tuple(kind for kind in _CLASSES if kind.style == name) for name in styles_table}
"""Classes by style; the order of the styles is the order of preference for a layer that names none."""


def missing(kind: type[MicroKernel], layer: Layer, source: Place, has: Capabilities) -> str:
    """A SMOL instruction that a class needs for a layer and the hardware lacks; empty where it has all."""
    for name, field6 in kind.words(layer, source):
        fn = BY_NAME[name].fns[0]
        if not has.executes(fn, field6):
            return mnemonic(fn, field6) if has.has(name) else name
    return ""


def styles(layer: Layer, source: Place, target: Target, has: Capabilities = EVERYTHING) -> list[str]:
    """The styles that can compute a convolution of ``source`` on hardware with these instructions, best first."""
    return [
        name
        for name, kinds in STYLES.items()
        if any(kind.serves(layer, source, target) and not missing(kind, layer, source, has) for kind in kinds)
    ]


def suited(layer: Layer, source: Place, target: Target, has: Capabilities = EVERYTHING) -> list[str]:
    """Those of the styles whose classes suit any epilogue; all where there are none."""
    known = styles(layer, source, target, has)
    return [name for name in known if micro_class(name, layer, source, target).suits(layer, source)] or known


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


__all__ = [
    "STYLES",
    "LaneDot",
    "MicroKernel",
    "RvvFloat",
    "RvvInt8",
    "SmolDot",
    "SmolMatrix",
    "SmolMatrixHalf",
    "SmolRun",
    "micro_class",
    "styles",
    "suited",
]
