"""Cycles per layer without a simulator: an estimate from the generated code's instruction mix and a machine.

The code generator counts, for every region, the instructions of one inference by kind (the manifest's ``mix``):
``smol, vload, vstore, simd, scalar, branch``, and for the accumulation that dominates it ``chains`` (independent
accumulators of a register tile) and ``chain_len`` (dependent operations that each of them takes per tile). A region
cannot be faster than any of these bounds, and the estimate is the largest:

=========  ===========================================================================================
issue      all instructions / the narrowest of decode, rename and commit
smol       SMOL instructions / units that take them
vector     SIMD instructions (and SMOL ones where they share the pipes) / pipes
memory     vector loads and stores / memory pipes
scalar     scalar instructions and branches / integer pipes
chain      accumulating operations / chains * latency of one / tiles in flight, where the reorder buffer holds
           ``rob / (instructions per tile)`` tiles, at least one
=========  ===========================================================================================

Caches are taken as warm, branches as predicted; start-up of loops is not modelled. Rows have the columns of
:mod:`analysis.stats` with source, cpu = ``estimate``, and ``limit``, the name of the bound that was largest.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analysis.stats import EVENTS, load_manifest, region_bytes
from sysmol.design import Machine
from sysmol.errors import SysmolError

SOURCE = "estimate"
FORMULA = (
    "the largest of six bounds computed from the generated code's instruction counts: issue width, SMOL units, vector "
    "pipes, memory pipes, integer pipes, and the latency of accumulation chains; warm caches, no mispredictions."
)
KINDS = ("smol", "vload", "vstore", "simd", "scalar", "branch")

# The class that stands for the vector pipes as a whole, and the one that accumulates where no SMOL instruction does.
_VECTOR, _SCALAR, _MEMORY = "SimdAlu", "IntAlu", "MemRead"


def bounds(mix: Mapping[str, float], machine: Machine) -> dict[str, float]:
    """The six lower bounds in cycles for one region's instruction counts."""
    counts = {kind: float(mix[kind]) for kind in KINDS}
    total = sum(counts.values())
    core = machine.core
    width = min(core.decode_width, core.rename_width, core.commit_width)
    vector = counts["simd"] + (counts["smol"] if machine.smol.share else 0.0)
    limits = {
        "issue": total / width,
        "smol": counts["smol"] / machine.smol_count,
        "vector": vector / machine.unit_count(_VECTOR),
        "memory": (counts["vload"] + counts["vstore"]) / machine.unit_count(_MEMORY),
        "scalar": (counts["scalar"] + counts["branch"]) / machine.unit_count(_SCALAR),
        "chain": 0.0,
    }
    chains, length = float(mix.get("chains", 0)), float(mix.get("chain_len", 0))
    operations = counts["smol"] or counts["simd"]
    if chains and length and operations:
        latency = machine.smol_latency("vdot") if counts["smol"] else machine.latency("SimdFloatMultAcc")
        tiles = max(operations / (chains * length), 1.0)
        in_flight = max(core.rob_entries / (total / tiles), 1.0)
        limits["chain"] = operations / chains * latency / in_flight
    return limits


def estimate(manifest_path: str | Path, machine: Machine) -> pd.DataFrame:
    """The table of one executable on a machine, a row per region; the columns of :func:`analysis.stats.load_run`."""
    path = Path(manifest_path)
    manifest = load_manifest(path)
    if manifest["isa"] not in ("arm", "riscv"):
        raise SysmolError(f"{path} is built for {manifest['isa']}, which has no machine: compile it for arm or riscv")
    unsupported = sorted(set(manifest["patterns"]) - set(machine.smol.patterns))
    if unsupported:
        raise SysmolError(
            f"{path} uses the patterns {unsupported}, which the machine {machine.name} does not support: "
            "train for its set, or choose another machine"
        )
    rows = []
    for index, region in enumerate(manifest["regions"]):
        mix = region["mix"]
        limits = bounds(mix, machine)
        limit = max(limits, key=lambda name: limits[name])
        cycles = max(math.ceil(limits[limit]), 1)
        instructions = sum(float(mix[kind]) for kind in KINDS)
        rows.append(
            {
                "run": f"{manifest['variant']}-{manifest['isa']}-{SOURCE}",
                "name": manifest["name"],
                "variant": manifest["variant"],
                "isa": manifest["isa"],
                "cpu": SOURCE,
                "machine": machine.name,
                "source": SOURCE,
                "index": index,
                "layer": region["name"],
                "op": region["op"],
                "images": 0,
                "cycles": float(cycles),
                "cycles_cold": math.nan,
                "insts": instructions,
                "smol": float(mix["smol"]),
                "simd": float(mix["simd"]),
                "load": float(mix["vload"]),
                "store": float(mix["vstore"]),
                "vset": 0.0,
                "scalar": float(mix["scalar"]) + float(mix["branch"]),
                "branch": float(mix["branch"]),
                **dict.fromkeys(EVENTS, math.nan),
                "ipc": instructions / cycles,
                "macs": int(region["macs"]),
                "macs_per_cycle": region["macs"] / cycles,
                "bytes": region_bytes(region),
                "limit": limit,
            }
        )
    return pd.DataFrame(rows)
