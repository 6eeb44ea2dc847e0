"""Cycles per layer without a simulator: an estimate from the generated code's instruction mix and a machine.

The code generator counts, for every region, the instructions of one inference by kind (the manifest's ``mix``):
``smol, vload, vstore, simd, scalar, branch``, and for the accumulation that dominates it ``chains`` (independent
accumulators of a register tile) and ``chain_len`` (dependent operations that each of them takes per tile). A region
cannot be faster than any of these bounds, and the estimate is the largest:

=========== =========================================================================================================
issue       all instructions / the narrowest of decode, rename and commit
vector      SIMD instructions (and SMOL ones where they share the pipes) / pipes
accumulate  accumulating operations / units that take them
memory      vector loads and stores / memory pipes
scalar      scalar instructions and branches / integer pipes
chain       accumulating operations / chains * latency of one / tiles in flight, where the reorder buffer holds
            ``rob / (instructions per tile)`` tiles, at least one
=========== =========================================================================================================

Accumulating operations are the SMOL instructions, or ``macs / lanes`` of the style that the region's schedule names.
Caches are taken as warm, branches as predicted; start-up of loops is not modelled. Rows have the columns of
:mod:`sysmol.analysis.runs` with source, cpu = ``estimate``, and ``limit``, the name of the bound that was largest.
``cycles_low`` and ``cycles_high`` hold what gem5's out-of-order core ``o3-n1`` gave for 19 of 20 layers of this ISA and
operation (:mod:`sysmol.analysis.costs.estimate_errors`, from ``python -m sysmol.benchmarks.estimate_errors``); on other
machines the interval is taken over from there.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sysmol.analysis.costs.estimate_errors import interval
from sysmol.analysis.costs.layers import network_cost
from sysmol.analysis.costs.protocol import NetworkCost
from sysmol.analysis.costs.quantity import Kind
from sysmol.analysis.costs.workload import Workload
from sysmol.analysis.runs import region_bytes, region_style
from sysmol.analysis.stats import EVENTS
from sysmol.machine import Machine
from sysmol.network.operations import operation
from sysmol.schedule import style_of

SOURCE = str(Kind.ESTIMATE)
FORMULA = (
    "the largest of six bounds computed from the generated code's instruction counts: issue width, vector pipes, units "
    "that accumulate, memory pipes, integer pipes, and the latency of accumulation chains; warm caches, no "
    "mispredictions."
)
KINDS = ("smol", "vload", "vstore", "simd", "scalar", "branch")

# The classes that stand for the vector, integer and memory pipes as a whole.
_VECTOR, _SCALAR, _MEMORY = "SimdAlu", "IntAlu", "MemRead"


def accumulation(region: Mapping[str, Any], machine: Machine) -> tuple[float, int, int]:
    """``(operations, units, latency)`` of the region's accumulating instructions; no operations where it has none."""
    smol = float(region["mix"]["smol"])
    style = style_of(region["schedule"])
    instruction = operation(region["op"]).accumulates_with if style is None else style.smol
    if instruction and smol:
        return smol, machine.smol_count, machine.smol_latency(instruction)
    if style is None or style.rate is None:  # what takes several kinds of instructions is in the bound ``vector``
        return 0.0, 1, 1
    op_class, lanes = style.rate
    return region["macs"] / lanes, machine.unit_count(op_class), machine.latency(op_class)


def bounds(region: Mapping[str, Any], machine: Machine) -> dict[str, float]:
    """The lower bounds in cycles for one region of a manifest."""
    mix = region["mix"]
    total = sum(float(mix[kind]) for kind in KINDS)
    core = machine.core
    operations, units, latency = accumulation(region, machine)
    vector = mix["simd"] + (mix["smol"] if machine.smol.share else 0)
    limits = {
        "issue": total / min(core.decode_width, core.rename_width, core.commit_width),
        "vector": vector / machine.unit_count(_VECTOR),
        "accumulate": operations / units,
        "memory": (mix["vload"] + mix["vstore"]) / machine.unit_count(_MEMORY),
        "scalar": (mix["scalar"] + mix["branch"]) / machine.unit_count(_SCALAR),
    }
    if operations and mix["chains"] and mix["chain_len"]:
        tiles = max(operations / (mix["chains"] * mix["chain_len"]), 1.0)
        in_flight = max(core.rob_entries / (total / tiles), 1.0)
        limits["chain"] = operations / mix["chains"] * latency / in_flight
    return limits


def estimate(manifest_path: str | Path, machine: Machine) -> pd.DataFrame:
    """The table of one executable on a machine, a row per region; the columns of
    :func:`sysmol.analysis.runs.load_run`. :class:`~sysmol.errors.SysmolError` where it does not run there.
    """
    return table_of(Workload.compiled(manifest_path), machine)


def table_of(workload: Workload, machine: Machine) -> pd.DataFrame:
    """As :func:`estimate`, of a workload."""
    workload.check_runs_on(machine)
    manifest = workload.manifest
    facts = {
        "run": f"{manifest['variant']}-{manifest['isa']}-{SOURCE}",
        "name": manifest["name"],
        "variant": manifest["variant"],
        "isa": manifest["isa"],
        "cpu": SOURCE,
        "machine": machine.name,
        "source": SOURCE,
        "kind": Kind.ESTIMATE,
    }
    regions = enumerate(manifest["regions"])
    return pd.DataFrame([facts | {"index": n} | _row(region, manifest["isa"], machine) for n, region in regions])


def _row(region: Mapping[str, Any], isa: str, machine: Machine) -> dict[str, Any]:
    """The figures of one region."""
    mix = region["mix"]
    limits = bounds(region, machine)
    limit = max(limits, key=lambda name: limits[name])
    cycles = max(math.ceil(limits[limit]), 1)
    low, high = interval(isa, region["op"])
    instructions = sum(float(mix[kind]) for kind in KINDS)
    return {
        "layer": region["name"],
        "op": region["op"],
        "style": region_style(region),
        "images": 0,
        "cycles": float(cycles),
        "cycles_low": low * cycles,
        "cycles_high": high * cycles,
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


class Estimate:
    """The built-in estimate as a :class:`~sysmol.analysis.costs.protocol.CostModel`: cycles, nothing else."""

    name = SOURCE
    kind = Kind.ESTIMATE

    def cost(self, workload: Workload, machine: Machine) -> NetworkCost:
        """Cycles of a compiled network's layers."""
        return network_cost(table_of(workload, machine))
