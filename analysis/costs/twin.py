"""Cycles of the layers of a compiled network on a core whose caches are not taken as warm.

    cycles = base e^a + b second + start + stalls

``base`` and ``second`` are the largest and the next bound of the instructions
(:func:`sysmol.analysis.costs.estimate.bounds`); ``a`` and ``b`` belong to what the layer does on an ISA (its kind).
Stalls are lines of memory times cycles per line. Every image passes through the whole network, so a line is found again
only where the level holds everything that is touched in between: the *footprint*, all weights, constants and code, and
twice the largest tensor. What is near comes from L2, the rest from memory; the share of the latter rises from 0 to 1
where the footprint passes the size of L2:

    far = 1 / (1 + exp(-(footprint / L2 - middle) / width))

======== ==============================================================================================================
lines    of
======== ==============================================================================================================
weights  the layer's weights, and :data:`CONSTANT_BYTES` of constants per output channel; dearer in depthwise layers,
         which read short pieces, and on RISC-V
tensors  what it reads and writes
code     its instructions, which nothing fetches ahead; only where they come from memory
======== ==============================================================================================================

``python -m sysmol.benchmarks.core_twin`` fits the numbers (``twin.json``) on results/kernels.csv and says how far they
are from networks and machines that were left out. Cycles per line of memory are those of the machine that was measured
and follow the clock of others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sysmol.analysis.costs.estimate import bounds
from sysmol.analysis.costs.protocol import LayerCost, NetworkCost, absent
from sysmol.analysis.costs.quantity import Kind, Quantity, add
from sysmol.analysis.costs.workload import Workload
from sysmol.errors import SysmolError
from sysmol.files import atomic_write_json, read_json
from sysmol.machine import Machine
from sysmol.network import Network
from sysmol.network.operations import operation
from sysmol.schedule import style_of
from sysmol.typed import entries, many, number, table, text, whole

FORMAT, VERSION = "sysmol-core-twin", 1
FILE = Path(__file__).with_suffix(".json")
CONSTANT_BYTES = 24
"""Of what an output channel's requantisation reads."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Memory:
    """Cycles per line of 64 bytes, ``near`` from L2 and ``far`` from memory; where the footprint passes L2; cycles of
    a layer's start; how much dearer lines of weights are in depthwise layers and on RISC-V."""

    weights_near: float
    weights_far: float
    tensors_near: float
    tensors_far: float
    middle: float
    width: float
    start: float
    depthwise: float
    riscv: float
    code_far: float


_ENDS = many(number(0), 2, 2)
_FIELDS = table(
    {
        "against": text,
        "rows": whole(1),
        "clock_ghz": number(0),
        "memory": table({each.name: number(0) for each in fields(Memory)}),
        "kinds": entries(many(number(-5, 5), 2, 2)),
        "layers": entries(_ENDS),
        "networks": entries(_ENDS),
    }
)


@dataclass(frozen=True)
class Parameters:
    """``kinds``: a and b by ISA and kind. ``layers``, ``networks``: by ISA, what was measured over what was predicted
    of networks that were left out, 19 of 20 (layers) or all of them (networks)."""

    against: str
    rows: int
    clock_ghz: float
    memory: Memory
    kinds: Mapping[str, Sequence[float]]
    layers: Mapping[str, Sequence[float]]
    networks: Mapping[str, Sequence[float]]

    @classmethod
    def load(cls, path: Path = FILE) -> Parameters:
        """:class:`~sysmol.errors.SysmolError` where the file is wrong."""
        data = read_json(path, FORMAT, VERSION, _FIELDS)
        memory = Memory(**{each.name: data["memory"][each.name] for each in fields(Memory)})
        return cls(**{each.name: data[each.name] for each in fields(cls) if each.name != "memory"}, memory=memory)

    def save(self, path: Path = FILE) -> Path:
        """Write what :meth:`load` reads."""
        return atomic_write_json(path, {"format": FORMAT, "version": VERSION, **asdict(self)})


_known = cache(Parameters.load)


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


def kind_of(isa: str, region: Mapping[str, Any], form: str) -> str:
    """ISA, and the style of a convolution, or another operation; of a depthwise layer with its input's format."""
    style = style_of(region["schedule"])
    if region["op"] == "depthwise":
        return f"{isa} depthwise {form}"
    return f"{isa} {region['op'] if style is None else style.name}"


def features(net: Network, regions: Sequence[Mapping[str, Any]], isa: str, machine: Machine) -> Features:
    """Of the regions of a manifest, which have the names of the network's layers; :class:`SysmolError` where one has
    none."""
    kinds, rows, by_name = [], [], {layer.name: layer for layer in net.layers}
    for region in regions:
        layer = by_name.get(region["name"])
        if layer is None:
            raise SysmolError(f"{net.name} has no layer {region['name']!r}: compile it again")
        limits = sorted(bounds(region, machine).values())
        kinds.append(kind_of(isa, region, net.tensors[layer.input].format))
        channels = net.tensors[layer.targets[0]].channels if operation(layer).has_weights else 0
        weights = region["bytes_weights"] + CONSTANT_BYTES * channels
        tensors = region["bytes_in"] + region["bytes_out"]
        own = (limits[-1], limits[-2], weights, tensors, region.get("bytes_code", 0), region["bytes_out"])
        rows.append((*own, float(layer.op == "depthwise")))
    base, second, weights_, tensors_, code, out, depthwise = np.array(rows, dtype=np.float64).T
    footprint = np.full(len(rows), (weights_ + code).sum() + 2 * out.max())
    riscv = np.full(len(rows), float(isa == "riscv"))
    return Features(kinds, base, second, weights_, tensors_, code, footprint, depthwise, riscv)


def stalls(f: Features, memory: Memory, machine: Machine, clock_ghz: float) -> Floats:
    """Cycles that layers wait for lines that L1 does not hold."""
    l1, l2 = 1024.0 * machine.l1d.size_kib, 1024.0 * machine.l2.size_kib
    far = 1 / (1 + np.exp(-np.clip((f.footprint / l2 - memory.middle) / memory.width, -50, 50)))
    near = np.clip(f.footprint / l1 - 1, 0, 1) * (1 - far)
    far = far * machine.clock_ghz / clock_ghz
    dearer = np.where(f.depthwise > 0, memory.depthwise, 1) * np.where(f.riscv > 0, memory.riscv, 1)
    line = machine.line_bytes
    weights = f.weights / line * dearer * (near * memory.weights_near + far * memory.weights_far)
    tensors = f.tensors / line * (near * memory.tensors_near + far * memory.tensors_far)
    return np.asarray(weights + tensors + f.code / line * far * memory.code_far)


def cycles(f: Features, machine: Machine, parameters: Parameters) -> Floats:
    """Predicted cycles of every row. Kinds that were not measured count as their bound."""
    own = np.array([parameters.kinds.get(kind, (0.0, 0.0)) for kind in f.kind]).reshape(-1, 2)
    core = f.base * np.exp(own[:, 0]) + own[:, 1] * f.second + parameters.memory.start
    return np.asarray(core + stalls(f, parameters.memory, machine, parameters.clock_ghz))


class CoreTwin:
    """The twin as a :class:`~sysmol.analysis.costs.protocol.CostModel`: cycles, nothing else."""

    name = "twin"
    kind = Kind.PREDICTION

    def __init__(self, parameters: Parameters | None = None) -> None:
        self.parameters = parameters or _known()

    def cost(self, workload: Workload, machine: Machine) -> NetworkCost:
        """Cycles of a compiled network's layers."""
        workload.check_runs_on(machine)
        net, manifest, isa = workload.network, workload.manifest, workload.isa
        found = cycles(features(net, manifest["regions"], isa, machine), machine, self.parameters)
        p = self.parameters
        source = f"twin of the core, against {p.against} on {p.rows} layers"
        low, high = p.layers[isa]
        layers = []
        for region, value in zip(manifest["regions"], found, strict=True):
            each = float(math.ceil(value))
            quantity = Quantity(each, low * each, high * each, absent("cycles").unit, self.kind, source)
            layers.append(LayerCost(region["name"], region["op"], quantity))
        together = add(layer.cycles for layer in layers)
        assert isinstance(together, Quantity)
        low, high = p.networks[isa]
        ends = low * together.value, high * together.value
        total = Quantity(together.value, *ends, together.unit, self.kind, source)
        facts = (manifest["name"], manifest["variant"], isa, machine.name)
        return NetworkCost(*facts, tuple(layers), whole_cycles=total)
