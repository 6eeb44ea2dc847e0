"""Cycles of the layers of a compiled network on a core whose caches are not taken as warm.

    core = base e^a + b second
    cycles = (core^q + lines^q)^(1/q) + code + start

``base`` and ``second`` are the largest and the next bound of the instructions
(:func:`sysmol.analysis.costs.estimate.bounds`); ``a`` and ``b`` belong to what the layer does on an ISA (its kind).
``lines`` are the cycles that its lines of memory take. An out-of-order core computes while it waits: for q = 1 it would
do one after the other, for a large q the longer one alone counts. Every image passes through the whole network, so a
line is found again only where the level holds everything that is touched in between: the *footprint*, all weights,
constants and code, and twice the largest tensor. What is near comes from L2, the rest from memory; the share of the
latter rises from 0 to 1 where the footprint passes the size of L2:

    far = 1 / (1 + exp(-(footprint / L2 - middle) / width))

======== ==============================================================================================================
lines    of
======== ==============================================================================================================
weights  the layer's weights, and :data:`CONSTANT_BYTES` of constants per output channel. From memory they take e^c
         times as long in layers of a kind, by how far ahead its loads let the prefetchers look; on RISC-V and in
         depthwise layers, which read short pieces, all take longer
tensors  what it reads and writes; only where they come from memory
code     its instructions, which nothing fetches ahead and nothing hides; only where they come from memory
======== ==============================================================================================================

``python -m sysmol.benchmarks.core_twin`` fits the numbers (``twin.json``) on results/kernels.csv and says how far they
are from networks and machines that were left out. Cycles per line of memory are those of the machine that was measured
and follow the clock of others. Figures are predictions; :func:`notes` says where one is of something that the fit has
not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sysmol.analysis.costs.estimate import bounds
from sysmol.analysis.costs.estimate import table_of as estimated
from sysmol.analysis.costs.layers import network_cost
from sysmol.analysis.costs.protocol import NetworkCost
from sysmol.analysis.costs.quantity import Kind
from sysmol.analysis.costs.twin_parameters import Memory, Parameters, known
from sysmol.analysis.costs.workload import Workload
from sysmol.errors import SysmolError
from sysmol.machine import Machine, load_machine
from sysmol.network import Layer, Network
from sysmol.network.operations import operation
from sysmol.schedule import style_of

NAME, SOURCE = "twin", "twin (prediction)"
FORMULA = (
    "the bounds computed from the generated code's instruction counts, and the cycles that lines of weights, tensors "
    "and code take which the caches do not hold, with numbers fitted to gem5's cycles of other networks."
)
CONSTANT_BYTES = 24
"""Of what an output channel's requantisation reads."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """What the twin looks at, a row per layer; ``kind`` with its ISA, bytes, and the network's ``footprint``."""

    kind: Sequence[str]
    base: Floats
    second: Floats
    weights: Floats
    tensors: Floats
    code: Floats
    footprint: Floats
    depthwise: Floats
    riscv: Floats

    @classmethod
    def join(cls, parts: Iterable[Features]) -> Features:
        """Rows of several programs."""
        all_parts = list(parts)
        kinds = [kind for part in all_parts for kind in part.kind]
        numbers = [each.name for each in fields(cls) if each.name != "kind"]
        return cls(kinds, *(np.concatenate([getattr(part, name) for part in all_parts]) for name in numbers))

    def take(self, rows: npt.NDArray[Any]) -> Features:
        """These rows."""
        numbers = [each.name for each in fields(self) if each.name != "kind"]
        return Features([self.kind[n] for n in rows], *(getattr(self, name)[rows] for name in numbers))


def kind_of(net: Network, layer: Layer, isa: str, region: Mapping[str, Any]) -> str:
    """ISA, and the style of a convolution, or another operation; of a depthwise layer with its input's format, of a
    conversion with those of both ends."""
    style = style_of(region["schedule"])
    form = net.tensors[layer.input].format
    if region["op"] == "depthwise":
        return f"{isa} depthwise {form}"
    if region["op"] == "rescale":
        return f"{isa} rescale {form} to {', '.join(net.tensors[name].format for name in layer.targets)}"
    return f"{isa} {region['op'] if style is None else style.name}"


def _layers(net: Network, regions: Sequence[Mapping[str, Any]]) -> list[Layer]:
    """The layer of every region: those of a whole program are in the network's order, where names may have got a number
    behind them."""
    if [region["op"] for region in regions] == [layer.op for layer in net.layers]:
        return list(net.layers)
    by_name = {layer.name: layer for layer in net.layers}
    for region in regions:
        if region["name"] not in by_name:
            raise SysmolError(f"{net.name} has no layer {region['name']!r}: compile it again")
    return [by_name[region["name"]] for region in regions]


def features(
    net: Network, regions: Sequence[Mapping[str, Any]], isa: str, machine: Machine, footprint: float | None = None
) -> Features:
    """Of the regions of a manifest, which have the names of the network's layers; :class:`SysmolError` where one has
    none. ``footprint``: bytes of the whole network, where these are not all of its regions."""
    kinds, rows = [], []
    for region, layer in zip(regions, _layers(net, regions), strict=True):
        limits = sorted(bounds(region, machine).values())
        kinds.append(kind_of(net, layer, isa, region))
        channels = net.tensors[layer.targets[0]].channels if operation(layer).has_weights else 0
        weights = region["bytes_weights"] + CONSTANT_BYTES * channels
        tensors = region["bytes_in"] + region["bytes_out"]
        own = (limits[-1], limits[-2], weights, tensors, region.get("bytes_code", 0), region["bytes_out"])
        rows.append((*own, float(layer.op == "depthwise")))
    base, second, weights_, tensors_, code, out, depthwise = np.array(rows, dtype=np.float64).T
    touched = (weights_ + code).sum() + 2 * out.max() if footprint is None else footprint
    riscv = np.full(len(rows), float(isa == "riscv"))
    return Features(kinds, base, second, weights_, tensors_, code, np.full(len(rows), touched), depthwise, riscv)


def of_kinds(f: Features, parameters: Parameters) -> tuple[Floats, Floats, Floats]:
    """a, b and c of every row."""
    own = [parameters.kinds.get(kind, parameters.others) for kind in f.kind]
    a, b, c = np.array(own, dtype=np.float64).reshape(-1, 3).T
    return a, b, c


def far(f: Features, memory: Memory, machine: Machine) -> Floats:
    """Share of the lines that come from memory, 0 to 1."""
    over = (f.footprint / (1024.0 * machine.l2.size_kib) - memory.middle) / memory.width
    return np.asarray(1 / (1 + np.exp(-np.clip(over, -50, 50))))


def lines(f: Features, dearer: Floats, memory: Memory, machine: Machine, clock_ghz: float) -> Floats:
    """Cycles of the lines of weights and tensors that L1 does not hold. ``dearer``: e^c."""
    away = far(f, memory, machine)
    near = np.clip(f.footprint / (1024.0 * machine.l1d.size_kib) - 1, 0, 1) * (1 - away)
    dearer = dearer * np.where(f.depthwise > 0, memory.depthwise, 1) * np.where(f.riscv > 0, memory.riscv, 1)
    from_memory = f.weights * dearer * memory.weights_far + f.tensors * memory.tensors_far
    slower = machine.clock_ghz / clock_ghz
    return np.asarray((slower * away * from_memory + near * f.weights * memory.weights_near) / machine.line_bytes)


def cycles(f: Features, machine: Machine, parameters: Parameters) -> Floats:
    """Predicted cycles of every row."""
    p, memory = parameters, parameters.memory
    a, b, c = of_kinds(f, p)
    core = f.base * np.exp(a) + b * f.second
    waits = lines(f, np.exp(c), memory, machine, p.clock_ghz)
    q = memory.overlap
    code = f.code / machine.line_bytes * far(f, memory, machine) * machine.clock_ghz / p.clock_ghz * memory.code_far
    return np.asarray((core**q + waits**q) ** (1 / q) + code + memory.start)


def notes(kinds: Iterable[str], machine: Machine, parameters: Parameters | None = None) -> list[str]:
    """Lines on what the fit has not seen: a machine with another core, other caches or memory, and kinds of layers."""
    p = parameters or known()
    measured, found = load_machine(p.machine), []
    names = {"clock_ghz": "clock", "units": "set of units", "latencies": "set of latencies"}
    parts = ("clock_ghz", "core", "units", "latencies", "l1i", "l1d", "l2", "memory")
    other = [names.get(part, part) for part in parts if getattr(machine, part) != getattr(measured, part)]
    if other:
        which = ", ".join(other)
        found.append(f"the twin was fitted on {p.machine}; {machine.name} has another {which}: less certain")
    if unknown := sorted(set(kinds) - set(p.kinds)):
        found.append(f"the twin was fitted without layers like {', '.join(unknown)}: less certain")
    return found


def kinds_of(net: Network, regions: Sequence[Mapping[str, Any]], isa: str) -> set[str]:
    """The kinds of a program's layers."""
    return {kind_of(net, layer, isa, each) for each, layer in zip(regions, _layers(net, regions), strict=True)}


def rate(
    net: Network, regions: Sequence[Mapping[str, Any]], isa: str, machine: Machine
) -> Callable[[Mapping[str, Any]], float]:
    """What gives the cycles of another region for a layer of the network; ``regions``: all of the network."""
    footprint = float(features(net, regions, isa, machine).footprint[0])

    def of(region: Mapping[str, Any]) -> float:
        return float(cycles(features(net, [region], isa, machine, footprint), machine, known())[0])

    return of


def table_of(workload: Workload, machine: Machine) -> pd.DataFrame:
    """The table of :func:`sysmol.analysis.costs.estimate.table_of` with the twin's cycles and their interval."""
    return _table(workload, machine, known())


def _table(workload: Workload, machine: Machine, p: Parameters) -> pd.DataFrame:
    found = estimated(workload, machine)
    isa = workload.isa
    value = np.ceil(cycles(features(workload.network, workload.manifest["regions"], isa, machine), machine, p))
    low, high = p.layers[isa]
    return found.assign(
        run=f"{workload.manifest['variant']}-{isa}-{Kind.PREDICTION}",
        cpu=str(Kind.PREDICTION),
        source=SOURCE,
        kind=Kind.PREDICTION,
        cycles=value,
        cycles_low=low * value,
        cycles_high=high * value,
        ipc=found["insts"] / value,
        macs_per_cycle=found["macs"] / value,
    )


class CoreTwin:
    """The twin as a :class:`~sysmol.analysis.costs.protocol.CostModel`: cycles, nothing else."""

    name = NAME
    kind = Kind.PREDICTION

    def __init__(self, parameters: Parameters | None = None) -> None:
        self.parameters = parameters or known()

    def cost(self, workload: Workload, machine: Machine) -> NetworkCost:
        """Cycles of a compiled network's layers."""
        return network_cost(_table(workload, machine, self.parameters))
