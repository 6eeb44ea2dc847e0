"""When a tile does what: the simulated device's rules on a list of descriptors, in cycles of the tile.

One unit fetches, one loads weights, each array computes, one unit stores; a unit has one descriptor at a time. A
descriptor is issued a cycle after the one before it at the earliest, and only while fewer than ``window`` are under
way; one with a fence when none is. It starts when its unit is free and no earlier descriptor under way touches what it
changes, or changes what it touches: parts of the scratchpad, of the accumulators, contexts. Memory is not watched;
fences are for that.

======== ==============================================================================================================
unit     cycles
======== ==============================================================================================================
fetch    the larger of bytes / ``fetch_bytes`` and what the memory takes
weights  the largest of bytes / ``weight_bytes``, one per row, and what the memory takes
array    ``start_cycles`` + pixels * the larger of bits and ``ceil(fed bytes of a pixel / feed_bytes)``
store    ``start_cycles`` + pixels * ``ceil(channels / store_lanes)``; each row goes to the memory when it is ready,
         all of them through ``store_bytes``
======== ==============================================================================================================

The device asks gem5's memory system. Here every transfer takes its turn on a bus of so many bytes per cycle, and ends a
latency later.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sysmol.cim import checks
from sysmol.cim.descriptor import BYTES, Descriptor, Flag, Kind
from sysmol.cim.tile import Tile

UNITS = ("fetch", "weights", "array", "store")
CHUNK = 32
"""Descriptors that are read from memory at a time."""


@dataclass(frozen=True)
class MemoryTiming:
    """What a transfer finds: ``latency_ns`` until its first bytes are there, ``bytes_per_ns`` on the bus. The defaults
    are round figures, not fitted to any machine: gem5's caches answer sooner."""

    latency_ns: float = 60.0
    bytes_per_ns: float = 16.0


@dataclass
class Timeline:
    """``cycles`` from the doorbell to the end of the last descriptor; cycles that units were ``busy``, of all arrays
    together; ``memory`` of these that the fetch and weight units waited for memory beyond what their ports take; bytes
    moved."""

    cycles: float = 0.0
    busy: dict[str, float] = field(default_factory=lambda: dict.fromkeys(UNITS, 0.0))
    memory: float = 0.0
    bytes: int = 0


_UNIT = {Kind.FETCH: "fetch", Kind.WEIGHTS: "weights", Kind.COMPUTE: "array", Kind.STORE: "store"}

Region = tuple[str, int, int]
"""What is touched: a place, and from where to where."""


def touched(d: Descriptor, tile: Tile) -> tuple[list[Region], list[Region]]:
    """What a descriptor reads, and what it changes."""
    if d.kind == Kind.FETCH:
        return [], [("scratch", *checks.written_by_fetch(d))]
    if d.kind == Kind.STORE:
        reads = [("accumulators", *checks.read_by_store(d)), ("scratch", *checks.constants_range(d))]
        return [*reads, *([("scratch", *checks.residual_range(d))] if d.has(Flag.RESIDUAL) else [])], []
    context = d["array"] * tile.contexts + d["context"]
    held: Region = ("contexts", context, context + 1)
    if d.kind == Kind.WEIGHTS:
        return [], [held]
    return [held, ("scratch", *checks.read_by_compute(d))], [("accumulators", *checks.written_by_compute(d))]


def _overlap(one: Iterable[Region], other: Iterable[Region]) -> bool:
    return any(a[0] == b[0] and a[1] < b[2] and b[1] < a[2] for a in one for b in other)


def pixel_cycles(d: Descriptor, tile: Tile) -> int:
    """Cycles between two pixels of a computation."""
    fed = -(-d["taps"] * d["elements"] * d["bits"] // 8)
    return max(d["bits"], -(-fed // tile.feed_bytes))


class _Bus:
    """Transfers, one after the other."""

    def __init__(self, tile: Tile, memory: MemoryTiming) -> None:
        self.latency = memory.latency_ns * tile.clock_ghz
        self.rate = memory.bytes_per_ns / tile.clock_ghz
        self.free = 0.0
        self.bytes = 0

    def end(self, start: float, size: int) -> float:
        """When a transfer that is asked for at ``start`` has ended."""
        self.free = max(start, self.free) + size / self.rate
        self.bytes += size
        return self.free + self.latency


def timeline(descriptors: Sequence[Descriptor], tile: Tile, memory: MemoryTiming | None = None) -> Timeline:
    """Of descriptors without faults."""
    bus, found = _Bus(tile, memory or MemoryTiming()), Timeline()
    free: dict[object, float] = {}
    under_way: list[float] = []
    active: list[tuple[float, list[Region], list[Region]]] = []
    issue = last = 0.0
    for number, d in enumerate(descriptors):
        if number % CHUNK == 0:
            # Chunks after the first are asked for while the one before is executed.
            ready = bus.end(issue, BYTES * min(CHUNK, len(descriptors) - number))
            issue = ready if number == 0 else max(issue, ready - bus.latency)
        issue += 1
        while under_way and (under_way[0] <= issue or len(under_way) >= tile.window):
            issue = max(issue, heapq.heappop(under_way))
        if d.has(Flag.FENCE):
            issue = max(issue, last)
        unit: object = (d.kind, d["array"]) if d.kind == Kind.COMPUTE else d.kind
        reads, writes = touched(d, tile)
        active = [each for each in active if each[0] > issue]
        start = max(issue, free.get(unit, 0.0))
        for end, other_reads, other_writes in active:
            if end > start and (
                _overlap(writes, other_writes) or _overlap(reads, other_writes) or _overlap(writes, other_reads)
            ):
                start = end
        end = _end(d, tile, bus, start, found)
        found.busy[_UNIT[Kind(d.kind)]] += end - start
        free[unit] = end
        heapq.heappush(under_way, end)
        active.append((end, reads, writes))
        last = max(last, end)
    found.cycles, found.bytes = last, bus.bytes
    return found


def _end(d: Descriptor, tile: Tile, bus: _Bus, start: float, found: Timeline) -> float:
    """When a descriptor that starts then has ended."""
    if d.kind == Kind.COMPUTE:
        return start + tile.start_cycles + d["height"] * d["width"] * pixel_cycles(d, tile)
    if d.kind == Kind.STORE:
        row, size = d["width"] * -(-d["channels"] // tile.store_lanes), d["width"] * d["pixel_bytes"]
        end = start
        for y in range(d["height"]):
            end = max(end, bus.end(start + tile.start_cycles + (y + 1) * row, size))
        return max(end, start + tile.start_cycles + row + -(-size * d["height"] // tile.store_bytes))
    size = d["rows"] * d["row_bytes"]
    port = -(-size // tile.fetch_bytes) if d.kind == Kind.FETCH else max(-(-size // tile.weight_bytes), d["rows"])
    end = max(start + port, bus.end(start, size))
    found.memory += end - start - port
    return end
