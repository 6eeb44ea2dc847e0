"""The parameters of a tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sysmol.errors import SysmolError

ADDRESS = 0x2D000000
"""Where programs expect a tile's registers: nothing else of either simulated platform is there."""
LIMITS = {
    "arrays": (1, 64),
    "rows": (8, 4096),
    "columns": (8, 4096),
    "contexts": (1, 16),
    "scratch_bytes": (1024, 1 << 24),
    "accumulators": (64, 1 << 22),
    "fetch_bytes": (1, 256),
    "weight_bytes": (1, 256),
    "store_bytes": (1, 256),
    "feed_bytes": (1, 1024),
    "store_lanes": (1, 256),
    "start_cycles": (0, 1000),
    "window": (1, 256),
}
"""Least and greatest value of every whole number."""


@dataclass(frozen=True)
class Tile:
    """``arrays`` of ``rows`` x ``columns`` cells of one bit, each with ``contexts`` sets of weights.

    ``scratch_bytes`` hold activations and constants, ``accumulators`` are words of 32 bits. The ports move bytes per
    cycle: ``fetch_bytes`` into the scratchpad, ``weight_bytes`` into the arrays, ``store_bytes`` out, ``feed_bytes``
    from the scratchpad into each array. ``store_lanes`` channels are requantised per cycle. Every operation of an array
    and of the store unit takes ``start_cycles`` before its first result; at most ``window`` descriptors are under way.
    """

    arrays: int = 4
    rows: int = 128
    columns: int = 128
    contexts: int = 2
    scratch_bytes: int = 64 << 10
    accumulators: int = 8 << 10
    fetch_bytes: int = 16
    weight_bytes: int = 16
    store_bytes: int = 16
    feed_bytes: int = 16
    store_lanes: int = 8
    start_cycles: int = 8
    window: int = 16
    clock_ghz: float = 1.0

    def __post_init__(self) -> None:
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise SysmolError(f"tile: {name} is {value!r}, no whole number from {least} to {most}")
        if not 0 < self.clock_ghz <= 1000:
            raise SysmolError(f"tile: clock_ghz is {self.clock_ghz!r}, no number above 0 and up to 1000")

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> Tile:
        """From the values of a point of a space of tiles: its genes, fixed and derived values. :class:`SysmolError`
        where one is missing or wrong."""
        known = {field.name for field in fields(cls)}
        given = {name: value for name, value in values.items() if name in known}
        for name, source, factor in (("scratch_bytes", "scratch_kib", 1024), ("accumulators", "accumulator_kib", 256)):
            if source in values:
                given[name] = values[source] * factor
        return cls(**given)

    def facts(self) -> dict[str, Any]:
        """All parameters by name."""
        return asdict(self)
