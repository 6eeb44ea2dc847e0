"""Caches and memory."""

from dataclasses import dataclass
from typing import Any

from sysmol.machine.reader import Reader

LEVELS = ("l1i", "l1d", "l2")


@dataclass(frozen=True)
class Cache:
    """One level. ``latency``: cycles of tag and data access; ``mshrs``: misses in flight; gem5's prefetcher by name."""

    size_kib: int
    ways: int
    latency: int
    mshrs: int
    prefetcher: str = ""


@dataclass(frozen=True)
class Memory:
    """gem5's memory model by name, and its size in MiB."""

    model: str
    size_mib: int
    source: str
    note: str = ""


def read_caches(reader: Reader, data: Any) -> dict[str, Any]:
    """The field ``caches``, as fields of :class:`~sysmol.machine.machine.Machine`."""
    caches = reader.fields(data, "caches", {"line_bytes", *LEVELS, "source"}, {"note"})
    reader.cite(caches["source"], "caches")
    return {
        "line_bytes": reader.positive(caches["line_bytes"], "caches: line_bytes"),
        "cache_source": caches["source"],
        **{level: reader.record(Cache, caches[level], f"caches: {level}") for level in LEVELS},
    }


def read_memory(reader: Reader, data: Any) -> Memory:
    """The field ``memory``."""
    memory: Memory = reader.record(Memory, data, "memory")
    reader.cite(memory.source, "memory")
    return memory
