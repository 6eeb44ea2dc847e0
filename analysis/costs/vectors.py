"""What a 128-bit vector of a layer's input costs in cycles: what the choice of patterns and the size penalty weigh.

A SMOL tensor's pixel has V vectors (part of one where it is narrow), and V is what patterns and learned precisions
change. A layer's cycles are taken as

    cycles = fixed + V * cycles_per_vector.

=================== ===================================================================================================
conv2d, depthwise   multiply-accumulates, the loads of their weights and activations, and the addresses and loops that
                    go with them are done for every vector; clearing accumulators, requantising, packing and storing are
                    done for every output, and fixed
maxpool             all is done channel by channel: a vector costs nothing
other inputs        8-bit and float tensors have no such vectors; their layers are in the total only
=================== ===================================================================================================

The fixed part is what :func:`sysmol.analysis.costs.estimate.bounds` gives for the instructions that are left without
the accumulation. Of the manifest's mix that is ``macs / C * V`` SMOL instructions (one for every output, tap and
vector) with (K + P) / (K P) loads each, for a tile of K channels and P pixels; in depthwise layers ``macs / C`` times
the vectors' parts, whose loads hardly count; and branches and scalar instructions in proportion, of the latter one per
load at most. gem5 counts whole layers; the same share of the measured cycles is then fixed. What the *producer* of a
tensor saves by packing fewer vectors is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sysmol.analysis.costs.estimate import SOURCE as ESTIMATE
from sysmol.analysis.costs.estimate import bounds
from sysmol.analysis.costs.models import every_cost
from sysmol.analysis.costs.protocol import NetworkCost
from sysmol.analysis.costs.quantity import Absent, Quantity
from sysmol.analysis.costs.workload import Workload
from sysmol.analysis.moved import moved_from
from sysmol.errors import SysmolError
from sysmol.files import atomic_write_json, read_json
from sysmol.machine import Machine
from sysmol.network.operations import operation
from sysmol.pattern import registers
from sysmol.schedule import Schedule, style_of
from sysmol.typed import entries, number, or_null, table, text

FORMAT, VERSION = "sysmol-costs", 1
_TEXTS = ("name", "variant", "isa", "machine", "source")
_FIGURES = {"cycles": number(0), "vectors": number(0), "cycles_per_vector": or_null(number(0))}
_FIELDS = table({**dict.fromkeys(_TEXTS, text), "layers": entries(table(_FIGURES))})


@dataclass(frozen=True)
class VectorCost:
    """Cycles of a layer per image, and of one of the ``vectors`` of a pixel of its input (None where it has none)."""

    cycles: float
    vectors: float
    cycles_per_vector: float | None


@dataclass(frozen=True)
class Costs:
    """Costs by layer name of the network file. ``source``: who calculated them, or gem5's version and core model.
    ``network``: cycles, energy and area by the cost protocol, where the costs were computed and not read."""

    name: str
    variant: str
    isa: str
    machine: str
    source: str
    layers: dict[str, VectorCost]
    network: NetworkCost | None = field(default=None, compare=False)

    @property
    def cycles(self) -> float:
        """Of all layers, per image."""
        return sum(layer.cycles for layer in self.layers.values())

    @property
    def per_vector(self) -> dict[str, float]:
        """``cycles_per_vector`` of the layers that have one."""
        return {n: c.cycles_per_vector for n, c in self.layers.items() if c.cycles_per_vector is not None}

    def weights(self, objective: str) -> dict[str, float]:
        """``per_vector`` in the unit of an objective, ``cycles`` or ``energy``: of a layer's energy the same share
        depends on vectors as of its cycles. :class:`SysmolError` where there is no energy, with the reason."""
        if objective == "cycles":
            return self.per_vector
        assert self.network is not None, "costs that were read have no energy"
        if isinstance(self.network.energy, Absent):
            raise SysmolError(f"no energy of {self.name} on {self.machine}: {self.network.energy.reason}")
        layers = self.network.layers
        energies = {layer.layer: layer.energy.value for layer in layers if isinstance(layer.energy, Quantity)}
        return {n: cost * energies[n] / self.layers[n].cycles for n, cost in self.per_vector.items()}

    def in_vectors(self, objective: str) -> float:
        """What of the objective depends on vectors, in all layers."""
        return sum(cost * self.layers[name].vectors for name, cost in self.weights(objective).items())

    def write(self, path: str | Path) -> Path:
        """Store as JSON, atomically."""
        layers = {
            name: {"cycles": cost.cycles, "vectors": cost.vectors, "cycles_per_vector": cost.cycles_per_vector}
            for name, cost in self.layers.items()
        }
        facts = {key: getattr(self, key) for key in ("name", "variant", "isa", "machine", "source")}
        return atomic_write_json(path, {"format": FORMAT, "version": VERSION, **facts, "layers": layers})


def read_costs(path: str | Path) -> Costs:
    """The inverse of :meth:`Costs.write`; :class:`SysmolError` where the file is bad."""
    data = read_json(path, FORMAT, VERSION, _FIELDS)
    layers = {name: VectorCost(**{key: row[key] for key in _FIGURES}) for name, row in data["layers"].items()}
    return Costs(**{key: data[key] for key in _TEXTS}, layers=layers)


def layer_costs(
    manifest_path: str | Path, machine: Machine, run: str | Path | None = None, by: str = ESTIMATE
) -> Costs:
    """Costs of an executable's layers on ``machine``, by the gem5 run folder ``run``, or as ``by`` calculates them
    (:mod:`sysmol.analysis.costs.calculated`).

    :class:`SysmolError` where the manifest's network file is gone or changed, or the run is of another executable or
    machine, or of a core model without time.
    """
    workload = Workload.compiled(manifest_path)
    workload.check_runs_on(machine)
    net, found = workload.network, every_cost(workload, machine, None if run is None else Path(run), by)
    inputs = {layer.name: net.tensors[layer.input] for layer in net.layers}
    costs = {}
    for region, cost in zip(workload.manifest["regions"], found.layers, strict=True):
        assert isinstance(cost.cycles, Quantity)  # both models give cycles or refuse
        cycles = cost.cycles.value
        if region["name"] not in inputs:
            raise SysmolError(f"{manifest_path} has a region {region['name']!r}, the network none: compile it again")
        x = inputs[region["name"]]
        if x.format != "smol":
            costs[cost.layer] = VectorCost(cycles, 0, None)
            continue
        vectors = registers(x.patterns, x.used_slots)
        share = fixed_share(region, x.channels, x.patterns, machine)
        costs[cost.layer] = VectorCost(cycles, vectors, (1 - share) * cycles / vectors)
    source = found.cycles.source if isinstance(found.cycles, Quantity) else ""
    return Costs(found.name, found.variant, found.isa, machine.name, source, costs, found)


def fixed_share(region: Mapping[str, Any], channels: int, patterns: Sequence[int], machine: Machine) -> float:
    """Share of a region's cycles, 0 to 1, that do not depend on how many vectors of ``patterns`` its input has."""
    mix, outputs_taps = region["mix"], region["macs"] / channels
    kind, style = operation(region["op"]), style_of(region["schedule"])
    if style is not None and not style.smol:  # without SMOL instructions a convolution does nothing but multiply
        return 0.0
    each = sum(map(kind.vector_multiplies, patterns))
    if not each:  # pooling: a vector costs nothing
        return 1.0
    multiply, loads = min(mix["smol"], outputs_taps * each), 0.0
    if style is not None:
        tile = Schedule.parse(region["schedule"])
        loads = min(mix["vload"], multiply * (tile.channels + tile.pixels) / (tile.channels * tile.pixels))
    done = (multiply + loads) / sum(mix[kind] for kind in ("smol", "vload", "vstore", "simd"))
    rest = {
        **mix,
        "smol": mix["smol"] - multiply,
        "vload": mix["vload"] - loads,
        "scalar": mix["scalar"] - min(mix["scalar"] * done, loads or multiply),
        "branch": mix["branch"] * (1 - done),
        "chains": 0,
    }
    return max(bounds({**region, "mix": rest}, machine).values()) / max(bounds(region, machine).values())


if not TYPE_CHECKING:  # type checkers would take every name for defined
    __getattr__ = moved_from(__name__)
