"""The compute-in-memory tile on a board: registers, DMA, clock. Imports m5."""

from collections.abc import Mapping
from typing import Any

import m5.objects as sim

from sysmol.errors import SysmolError
from sysmol.places import BUILD_GEM5

PAGE = 0x1000


def tile_ranges(tile: Mapping[str, Any] | None) -> list[Any]:
    """Addresses of the tile's registers, where there is one."""
    return [] if tile is None else [sim.AddrRange(int(tile["address"]), size=PAGE)]


def attach_tile(system: Any, tile: Mapping[str, Any]) -> None:
    """A tile with the parameters that a manifest has (docs/tile.md) on the system's bus.

    Its DMA passes a small cache, as devices' do on coherent buses of gem5: a write of a part of a line that a core
    holds changed has to get the line first. :class:`SysmolError` where this gem5 was built without the tile.
    """
    if not hasattr(sim, "SmolTile"):
        raise SysmolError(f"this gem5's plug-in is from before the tile: {BUILD_GEM5}")
    parameters = {name: int(value) for name, value in tile.items() if name not in ("clock_ghz", "address")}
    system.tile_clock = sim.SrcClockDomain(clock=f"{tile['clock_ghz']}GHz", voltage_domain=system.voltage_domain)
    system.tile = sim.SmolTile(
        pio_addr=int(tile["address"]), memory=system.mem_ranges, clk_domain=system.tile_clock, **parameters
    )
    system.tile.pio = system.membus.mem_side_ports
    system.tile_cache = sim.Cache(
        size="4KiB",
        assoc=4,
        tag_latency=1,
        data_latency=1,
        response_latency=1,
        mshrs=32,
        tgts_per_mshr=8,
        addr_ranges=system.mem_ranges,
    )
    system.tile_cache.cpu_side = system.tile.dma
    system.tile_cache.mem_side = system.membus.cpu_side_ports
