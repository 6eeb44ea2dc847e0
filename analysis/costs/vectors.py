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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sysmol.analysis.costs.estimate import SMOL_STYLES, bounds, estimate
from sysmol.analysis.stats import load_manifest, load_run, read_run
from sysmol.errors import SysmolError
from sysmol.files import atomic_write_json, read_json, sha256_file
from sysmol.machine import Machine
from sysmol.network import Network, load
from sysmol.pattern import PATTERNS, registers

FORMAT, VERSION = "sysmol-costs", 1


@dataclass(frozen=True)
class LayerCost:
    """Cycles of a layer per image, and of one of the ``vectors`` of a pixel of its input (None where it has none)."""

    cycles: float
    vectors: float
    cycles_per_vector: float | None


@dataclass(frozen=True)
class Costs:
    """Costs by layer name of the network file. ``source``: ``estimate``, or gem5's version and core model."""

    name: str
    variant: str
    isa: str
    machine: str
    source: str
    layers: dict[str, LayerCost]

    @property
    def cycles(self) -> float:
        """Of all layers, per image."""
        return sum(layer.cycles for layer in self.layers.values())

    @property
    def per_vector(self) -> dict[str, float]:
        """``cycles_per_vector`` of the layers that have one."""
        return {n: c.cycles_per_vector for n, c in self.layers.items() if c.cycles_per_vector is not None}

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
    data = read_json(path, FORMAT, VERSION)
    try:
        layers = {
            str(name): LayerCost(
                float(row["cycles"]),
                float(row["vectors"]),
                None if row["cycles_per_vector"] is None else float(row["cycles_per_vector"]),
            )
            for name, row in data["layers"].items()
        }
        name, variant, isa, machine, source = (
            str(data[key]) for key in ("name", "variant", "isa", "machine", "source")
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SysmolError(f"{path} lacks or garbles {error}: write it with `sysmol costs`") from None
    return Costs(name, variant, isa, machine, source, layers)


def layer_costs(manifest_path: str | Path, machine: Machine, run: str | Path | None = None) -> Costs:
    """Costs of an executable's layers on ``machine``, by the built-in estimate or by the gem5 run folder ``run``.

    :class:`SysmolError` where the manifest's network file is gone or changed, or the run is of another executable or
    machine, or of a core model without time.
    """
    path = Path(manifest_path)
    estimated = estimate(path, machine)
    manifest, net = load_manifest(path), _network_of(path)
    layers = estimated if run is None else _measured(Path(run), path, machine)
    costs = {}
    for region, cycles in zip(manifest["regions"], layers["cycles"], strict=True):
        layer = next(layer for layer in net.layers if layer.name == region["name"])
        x = net.tensors[layer.input]
        if x.format != "smol":
            costs[layer.name] = LayerCost(float(cycles), 0, None)
            continue
        vectors = registers(x.patterns, x.used_slots)
        share = fixed_share(region, x.channels, x.patterns, machine)
        costs[layer.name] = LayerCost(float(cycles), vectors, (1 - share) * float(cycles) / vectors)
    source = str(layers["source"].iloc[0])
    return Costs(manifest["name"], manifest["variant"], manifest["isa"], machine.name, source, costs)


def fixed_share(region: Mapping[str, Any], channels: int, patterns: Sequence[int], machine: Machine) -> float:
    """Share of a region's cycles, 0 to 1, that do not depend on how many vectors of ``patterns`` its input has."""
    mix, outputs_taps = region["mix"], region["macs"] / channels
    channels_of_tile, pixels, style = _tile(region["schedule"])
    if region["op"] == "depthwise":
        multiply, loads = min(mix["smol"], outputs_taps * sum(map(_parts, patterns))), 0.0
    elif region["op"] == "conv2d" and style in SMOL_STYLES:
        multiply = min(mix["smol"], outputs_taps * len(patterns))
        loads = min(mix["vload"], multiply * (channels_of_tile + pixels) / (channels_of_tile * pixels))
    else:  # without SMOL instructions a convolution does nothing but multiply, and pooling nothing of it
        return 0.0 if region["op"] == "conv2d" else 1.0
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


def _parts(pattern: int) -> float:
    """Depthwise multiply-accumulates of one vector: 8 elements of 4 bits, or 16 of fewer, at a time."""
    n4, n2, n1 = PATTERNS[pattern]
    return n4 / 2 + n2 / 2 + n1


def _tile(schedule: str) -> tuple[int, int, str]:
    """Output channels and pixels of a schedule's tile, and its style."""
    fields = schedule.split("-")
    if len(fields) < 3:
        return 1, 1, ""
    channels, rows, columns = (int(n) for n in fields[1].split("x"))
    return channels, rows * columns, fields[2]


def _network_of(path: Path) -> Network:
    facts = load_manifest(path)["network"]
    file = path.parent / facts["path"]
    if sha256_file(file) != facts["sha256"]:
        raise SysmolError(f"{file} changed since {path} was made: compile it again")
    return load(file)


def _measured(run: Path, path: Path, machine: Machine) -> Any:
    facts, _ = read_run(run)
    if facts["elf_sha256"] != load_manifest(path)["elf"]["sha256"]:
        raise SysmolError(f"{run} simulated another executable than {path}'s: name its own run, or simulate again")
    if facts["machine"]["name"] != machine.name:
        raise SysmolError(f"{run} simulated the machine {facts['machine']['name']}, not {machine.name}: name that one")
    layers = load_run(run)
    if layers["cycles"].isna().any():
        raise SysmolError(f"{run} has no cycles (core model {facts['cpu']}): simulate with --cpu o3, minor or timing")
    return layers
