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

The device asks gem5's memory system; here :class:`MemoryTiming` stands for that. All transfers pass one queue, in the
order in which they are asked for, a line per cycle of the tile. Lines that the small cache before the bus holds answer
at once, others come from behind the bus one after the other.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sysmol.cim import checks
from sysmol.cim.descriptor import BYTES, Descriptor, Flag, Kind
from sysmol.cim.tile import Tile

UNITS = ("fetch", "weights", "array", "store")
CHUNK = 32
"""Descriptors that are read from memory at a time."""
LINE = 64
WAYS, SETS, MISSES = 4, 16, 32
"""Of the cache between the tile and the bus (configs_gem5/tile.py): 4 KiB, and lines that it asks for at a time."""


@dataclass(frozen=True)
class MemoryTiming:
    """Nanoseconds: of a line that the tile's cache holds, of one that a cache of the core holds (``near``), of one that
    comes from memory (``far``), between two of these, and of a line that is written. Memory answers nothing for
    ``refresh_ns`` once in ``refresh_every_ns``, for the first time after half of that, since no one knows when. Where
    the core reads memory meanwhile, a line takes up to ``busy_ns`` longer, all of it from ``busy_after_ns`` after the
    doorbell on.

    Refreshes are those of DDR4-2400; the others fit gem5 best on half of the measured layers (docs/tile.md)."""

    hit_ns: float = 2.0
    near_ns: float = 18.0
    far_ns: float = 41.0
    line_ns: float = 2.5
    write_ns: float = 5.0
    refresh_ns: float = 350.0
    refresh_every_ns: float = 7800.0
    busy_ns: float = 0.0
    busy_after_ns: float = 2500.0


CORE_READS = MemoryTiming(busy_ns=25.0)
"""Of a core that reads memory, a line after the other, while it waits for the tile."""


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


class _Memory:
    """The queue of transfers, the tile's cache, and what is behind the bus; times in cycles of the tile."""

    def __init__(self, tile: Tile, memory: MemoryTiming, held: Sequence[tuple[int, int]]) -> None:
        self.held = held
        ghz = tile.clock_ghz
        self.hit, self.near, self.far = memory.hit_ns * ghz, memory.near_ns * ghz, memory.far_ns * ghz
        self.line, self.write = memory.line_ns * ghz, memory.write_ns * ghz
        self.refresh, self.every = memory.refresh_ns * ghz, memory.refresh_every_ns * ghz
        self.busy, self.busy_after = memory.busy_ns * ghz, memory.busy_after_ns * ghz
        self.sets: list[OrderedDict[int, float]] = [OrderedDict() for _ in range(SETS)]
        self.queue = self.bus = 0.0
        self.open: deque[float] = deque()
        self.bytes = 0

    def end(self, start: float, address: int, size: int, writes: bool = False) -> float:
        """When a transfer that is asked for at ``start`` has ended; starts ascend from call to call."""
        self.bytes += size
        end = start
        for line in range(address // LINE, (address + size - 1) // LINE + 1):
            end = max(end, self._line(start, line, writes))
        return end

    def _line(self, start: float, line: int, writes: bool) -> float:
        sent = max(start, self.queue)
        held = self.sets[line % SETS]
        if line in held:
            held.move_to_end(line)
            arrived = max(held[line], sent + self.hit)
        else:
            while self.open and self.open[0] <= sent:
                self.open.popleft()
            if len(self.open) >= MISSES:
                sent = self.open.popleft()
            if writes:
                arrived = sent + self.write
            elif any(first <= line * LINE < last for first, last in self.held):
                self.bus = max(self.bus, sent) + self.line
                arrived = self.bus - self.line + self.near
            else:
                asked = self._refreshed(max(self.bus, sent))
                self.bus = asked + self.line
                arrived = asked + self.far + self.busy * min(start / self.busy_after, 1)
            self.open.append(arrived)
            held[line] = arrived
            if len(held) > WAYS:
                held.popitem(last=False)
        self.queue = sent + 1
        return arrived

    def _refreshed(self, time: float) -> float:
        """When memory that is asked at a time begins to answer."""
        into = (time + self.every / 2) % self.every
        return time + self.refresh - into if into < self.refresh else time


@dataclass(eq=False)
class _Operation:
    """A descriptor under way."""

    d: Descriptor
    unit: object
    reads: list[Region]
    writes: list[Region]
    started: bool = False

    def needs(self, other: _Operation) -> bool:
        """Whether this may not start before an earlier one is complete."""
        return (
            self.unit == other.unit
            or _overlap(self.writes, other.writes)
            or _overlap(self.reads, other.writes)
            or _overlap(self.writes, other.reads)
        )


class _Device:
    """The device: what happens next is an event, and events happen in the order of their times."""

    def __init__(
        self, descriptors: Sequence[Descriptor], tile: Tile, memory: MemoryTiming, held: Sequence[tuple[int, int]]
    ) -> None:
        self.list, self.tile, self.memory = descriptors, tile, _Memory(tile, memory, [*held, LIST_RANGE])
        self.found = Timeline()
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.made = 0
        self.now = 0.0
        self.asked = self.read = self.issued = 0
        self.reading = self.issuing = False
        self.under_way: list[_Operation] = []

    def run(self) -> Timeline:
        """From the doorbell to the end."""
        self.read_list()
        while self.events:
            self.now, _, event = heapq.heappop(self.events)
            event()
        self.found.cycles, self.found.bytes = self.now, self.memory.bytes
        return self.found

    def at(self, time: float, event: Callable[[], None]) -> None:
        self.made += 1
        heapq.heappush(self.events, (time, self.made, event))

    def read_list(self) -> None:
        """Ask for more of the list where there is room for it."""
        if self.reading or self.asked == len(self.list) or self.read - self.issued > CHUNK:
            return
        count = min(CHUNK, len(self.list) - self.asked)
        self.reading = True
        self.at(self.memory.end(self.now, LIST + BYTES * self.asked, BYTES * count), self.list_read)
        self.asked += count

    def list_read(self) -> None:
        self.reading, self.read = False, self.asked
        self.read_list()
        self.issue_soon()

    def issue_soon(self) -> None:
        if not self.issuing and self.issued < self.read:
            self.issuing = True
            self.at(-(-self.now // 1) + 1, self.issue)

    def issue(self) -> None:
        self.issuing = False
        if self.issued == self.read or len(self.under_way) >= self.tile.window:
            return
        d = self.list[self.issued]
        if d.has(Flag.FENCE) and self.under_way:
            return
        self.issued += 1
        unit: object = (d.kind, d["array"]) if d.kind == Kind.COMPUTE else d.kind
        self.under_way.append(_Operation(d, unit, *touched(d, self.tile)))
        self.read_list()
        self.start_ready()
        self.issue_soon()

    def start_ready(self) -> None:
        """Start every operation that waits for nothing."""
        for number, operation in enumerate(self.under_way):
            if not operation.started and not any(operation.needs(other) for other in self.under_way[:number]):
                operation.started = True
                self.start(operation)

    def start(self, operation: _Operation) -> None:
        d, tile, start = operation.d, self.tile, -(-self.now // 1)
        if d.kind == Kind.COMPUTE:
            return self.ends(operation, start + tile.start_cycles + d["height"] * d["width"] * pixel_cycles(d, tile), 0)
        if d.kind == Kind.STORE:
            return self.start_store(operation, start)
        size = d["rows"] * d["row_bytes"]
        if d.kind == Kind.FETCH:
            port, stride = -(-size // tile.fetch_bytes), d["memory_stride"]
            rows = [(d["memory"] + row * stride, d["row_bytes"]) for row in range(d["rows"])]
        else:
            port, rows = max(-(-size // tile.weight_bytes), d["rows"]), [(d["memory"], size)]
        end = max(self.memory.end(self.now, *row) for row in rows)
        self.ends(operation, max(start + port, end), port)
        return None

    def start_store(self, operation: _Operation, start: float) -> None:
        """Rows are written as they become ready."""
        d, tile = operation.d, self.tile
        row, size = d["width"] * -(-d["channels"] // tile.store_lanes), d["width"] * d["pixel_bytes"]
        begun, left = self.now, d["height"]
        port = start + tile.start_cycles + row + -(-size * left // tile.store_bytes)
        last = port

        def write(y: int) -> None:
            nonlocal left, last
            last = max(last, self.memory.end(self.now, d["memory"] + y * d["memory_stride"], size, writes=True))
            left -= 1
            if not left:
                self.ends(operation, last, 0, begun)

        for y in range(d["height"]):
            self.at(start + tile.start_cycles + (y + 1) * row, lambda y=y: write(y))  # type: ignore[misc]

    def ends(self, operation: _Operation, end: float, port: float, begun: float | None = None) -> None:
        """Note what an operation takes, and complete it then."""
        took = end - (self.now if begun is None else begun)
        self.found.busy[_UNIT[Kind(operation.d.kind)]] += took
        self.found.memory += max(took - port, 0) if port else 0

        def complete() -> None:
            self.under_way.remove(operation)
            self.start_ready()
            self.issue_soon()

        self.at(end, complete)


LIST = 1 << 62
"""Where the list stands: at no address of a descriptor."""
LIST_RANGE = (LIST, LIST << 1)
"""Held: the core has placed it."""


def timeline(
    descriptors: Sequence[Descriptor], tile: Tile, memory: MemoryTiming | None = None,
    held: Sequence[tuple[int, int]] = (),
) -> Timeline:  # fmt: skip
    """Of descriptors without faults. ``held``: from where to where the core's caches hold the memory."""
    return _Device(descriptors, tile, memory or MemoryTiming(), held).run()
