"""The YFlows experiment with correct arithmetic: data flows of single layers on the authors' machine.

Every layer of the grid is measured in nine schedules (:func:`sysmol.kernels_c.plan.heuristic.yflows_schedules`):
output-, weight- and input-stationary, each basic and in two extended forms, and as the generator's own register tile
(``tile``). In all of them sums are added across lanes once per output, outputs are written and every output counts in
the logits that the run checks; the authors' kernels reduced inside the loop of the basic form only, added 8-bit
products in 8-bit lanes, and let the compiler drop outputs that nobody read.

Operands: ``int8`` with ``sdot``, ``binary`` with exclusive or and population count, and ``smol1``, the same 1-bit
layers with the SMOL instruction ``vmac``.
"""

from dataclasses import dataclass

from sysmol.benchmarks.measure import Job, Variant
from sysmol.benchmarks.shapes import NetworkShape, load_shapes
from sysmol.kernels_c.plan.heuristic import LayerShape, yflows_schedules

MACHINE = "yflows"
ISA = "arm"
TILE = "tile"
FLOWS = tuple(
    f"{anchor}-{kind}"
    for anchor, kinds in (
        ("os", "basic weights inputs"),
        ("is", "basic weights outputs"),
        ("ws", "basic outputs inputs"),
    )
    for kind in kinds.split()
)
"""Names of :func:`yflows_schedules`."""


@dataclass(frozen=True)
class Operands:
    """A kind of operands: its grid, its network variant, its multiply-accumulate."""

    name: str
    shapes: str
    network: str
    style: str


OPERANDS = (
    Operands("int8", "yflows_int8_small", "int8", "sdot"),
    Operands("binary", "yflows_binary_small", "w1", "pop"),
    Operands("smol1", "yflows_binary_small", "w1", "vmac"),
)
REGISTER_TILE = {"int8": "", "binary": "pop", "smol1": "vdot"}
"""Style of the generator's own tile, "" for the target's default."""


def schedules(shape: NetworkShape, style: str, flow: str) -> tuple[tuple[str, str], ...]:
    """Schedule of every layer of the grid, as (layer, name) pairs."""
    sizes = shape.sizes()
    result = []
    for layer in shape.layers:
        if layer.name in shape.probes:
            continue
        rows, columns, _ = sizes[layer.name]
        facts = LayerShape(layer.kernel, (layer.stride, layer.stride), rows, columns, 1)
        result.append((layer.name, str(yflows_schedules(facts, style)[flow])))
    return tuple(result)


def jobs() -> list[Job]:
    """One job per operands, data flow and size of image."""
    result = []
    for operands in OPERANDS:
        for shape in load_shapes(operands.shapes):
            for flow in FLOWS:
                chosen = schedules(shape, operands.style, flow)
                variant = Variant(f"{operands.name}-{flow}", operands.network, schedules=chosen)
                result.append(Job(shape, variant, ISA, MACHINE))
            style = REGISTER_TILE[operands.name]
            tile = Variant(f"{operands.name}-{TILE}", operands.network, styles=(("smol", style),) if style else ())
            result.append(Job(shape, tile, ISA, MACHINE))
    return result
