"""Layers mapped to tiles compute what the reference computes, whatever the tile."""

import os
import random
from dataclasses import replace

import numpy as np
import pytest

from sysmol.cim.descriptor import Fault, Kind, make
from sysmol.cim.layout import plain, plain_layouts, runs, write
from sysmol.cim.mapping import BLOB, Mapper, Program, Unmappable, check, map_layer
from sysmol.cim.model import Memory, TileModel
from sysmol.cim.tile import Tile
from sysmol.cim.timing import MemoryTiming, timeline
from sysmol.errors import SysmolError
from sysmol.network import Layer, Network
from sysmol.network.builder import Builder, any_network, random_precisions
from sysmol.network.reference import run

SEED = int(os.environ.get("SYSMOL_TEST_SEED", "20261130"))
NETWORKS = int(os.environ.get("SYSMOL_TEST_NETWORKS", "12"))


def random_tile(rng: random.Random) -> Tile:
    return Tile(
        arrays=rng.choice([1, 2, 4]),
        rows=rng.choice([16, 40, 128]),
        columns=rng.choice([16, 64, 128]),
        contexts=rng.choice([1, 2, 3]),
        scratch_bytes=rng.choice([4096, 16384]),
        accumulators=rng.choice([256, 2048]),
    )


def check_layer(net: Network, layer: Layer, tile: Tile, tensors: dict[str, np.ndarray]) -> Program:
    """The layer's outputs in memory are those of the reference, and pads and unused bits hold 0."""
    layouts = plain_layouts(net)
    program = map_layer(net, layer, tile, layouts)
    memory, bases = bytearray(64), {}
    for name in {*layer.reads, *layer.targets}:
        bases[name] = len(memory)
        read = name in layer.reads
        memory += write(layouts[name], tensors[name]) if read else bytes(layouts[name].bytes)
    bases[BLOB] = len(memory)
    memory += program.blob
    held = Memory(memory)
    outcome = TileModel(tile).run(program.placed(bases), held)
    assert (outcome.fault, outcome.done) == (Fault.NONE, len(program.descriptors))
    for name in layer.targets:
        found = held.read(bases[name], layouts[name].bytes)
        assert found == write(layouts[name], tensors[name]), f"{layer.name} ({layer.op}) -> {name} on {tile}"
    return program


WANTED = {("conv2d", "smol"), ("conv2d", "s8"), ("depthwise", "smol")}


def test_random_networks():
    """Convolutions in groups, uneven kernels and paddings, depthwise and linear layers, residuals, several outputs, low
    and high products. A layer that a small tile refuses, by name, the usual one computes."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    mapped = refused = number = 0
    ops: set[tuple[str, str]] = set()
    while number < NETWORKS or not ops >= WANTED:
        number += 1
        assert number <= 20 * NETWORKS, ops
        net = any_network(rng.randrange(1 << 30))
        tensors = run(net, net.samples.images[0])
        for layer in net.layers:
            tile = random_tile(rng)
            try:
                check(net, layer)
            except Unmappable as reason:
                assert layer.name in str(reason)
                continue
            try:
                program = check_layer(net, layer, tile, tensors)
            except Unmappable as reason:
                assert layer.name in str(reason)
                refused += 1
                tile = Tile()
                program = check_layer(net, layer, tile, tensors)
            ops.add((layer.op, net.tensors[layer.input].format))
            mapped += 1
            assert timeline(program.placed({name: 0 for name in (*net.tensors, BLOB)}), tile).cycles > 0
    print(f"{mapped} layers, {refused} of them on the usual tile alone")


def network(kernel: int, channels: int, size: int, outputs: int, mix: tuple[int, int, int]) -> Network:
    """One convolution with padding."""
    b = Builder(np.random.default_rng(SEED), size, size, 3)
    (x,) = b.layer("rescale", "image", [random_precisions(b.rng, 3, mix)])
    (x,) = b.layer("conv2d", x, [random_precisions(b.rng, channels, mix)], channels)
    pad = (kernel // 2,) * 4
    (x,) = b.layer("conv2d", x, [random_precisions(b.rng, outputs, mix)], outputs, (kernel, kernel), padding=pad)
    b.classifier(x)
    return b.finish()


@pytest.fixture(scope="module")
def net() -> Network:
    return network(3, 40, 8, 48, (1, 1, 1))


def test_a_layer_that_is_cut_three_ways(net: Network):
    """Several row tiles, column tiles and strips, and weights that do not all stay in the arrays."""
    tile = Tile(arrays=2, rows=64, columns=32, contexts=2, scratch_bytes=8192, accumulators=2048)
    program = check_layer(net, net.layers[2], tile, run(net, net.samples.images[0]))
    assert program.strips > 1 and program.pieces > 4 * 2
    loads = sum(d.kind == 2 for d in program.descriptors)
    assert loads > program.pieces


def test_weights_that_fit_are_loaded_once(net: Network):
    tile = Tile(arrays=4, rows=512, columns=256, contexts=2, scratch_bytes=8192, accumulators=1024)
    program = check_layer(net, net.layers[2], tile, run(net, net.samples.images[0]))
    assert program.strips > 1 and sum(d.kind == 2 for d in program.descriptors) == program.pieces


def test_no_unit_works_longer_than_the_list_takes(net: Network):
    """And a memory that answers late is waited for, whatever the order in which units ask for it."""
    small = Tile(arrays=2, rows=64, columns=32, scratch_bytes=8192, accumulators=2048, feed_bytes=4, fetch_bytes=4)
    program = map_layer(net, net.layers[2], small, plain_layouts(net))
    placed = program.placed({name: 0 for name in (*net.tensors, BLOB)})
    found = timeline(placed, small)
    for unit, busy in found.busy.items():
        assert busy <= found.cycles * (small.arrays if unit == "array" else 1)
    assert sum(found.busy.values()) > found.cycles * 0.5  # something is busy most of the time
    late = MemoryTiming(near_ns=1e6, far_ns=1e6)
    assert timeline(placed, small, late).cycles > 1e6 > found.cycles
    held = [(0, 1 << 32)]  # the core's caches have all of it
    assert timeline(placed, small, MemoryTiming(far_ns=1e6), held).cycles == timeline(placed, small, held=held).cycles


def test_memory_waits_for_refreshes_and_for_a_core_that_reads():
    """Loads of weights one after the other, longer than a refresh's interval: by hand, on a port that is never full."""
    tile = Tile(rows=64, columns=64, weight_bytes=64, clock_ghz=1.0)
    loads = [make(Kind.WEIGHTS, rows=1, row_bytes=64, memory=4096 * n) for n in range(400)]
    plain = MemoryTiming(hit_ns=0, near_ns=0, far_ns=50, line_ns=1, refresh_ns=0)
    least = timeline(loads, tile, plain).cycles
    assert 400 * 50 < least < 400 * 54
    refreshed = timeline(loads, tile, replace(plain, refresh_ns=350.0, refresh_every_ns=7800.0)).cycles - least
    assert 3 * 290 < refreshed < 3 * 352  # at 3.9, 11.7 and 19.5 us, as far as a load is asked for meanwhile
    busy = timeline(loads, tile, replace(plain, busy_ns=20.0, busy_after_ns=1000.0)).cycles - least
    assert 0.95 * 20 * 400 < busy < 1.01 * 20 * 400


def test_one_computation_takes_what_the_table_says():
    """Counted by hand: a 1 x 1 convolution of 32 channels of 4 bits, two strips of 2 pixels, no waiting for memory."""
    net = network(1, 32, 2, 8, (1, 0, 0))
    tile = Tile(arrays=1, rows=32, columns=32, start_cycles=5, feed_bytes=4, store_lanes=3)
    program = map_layer(net, net.layers[2], tile, plain_layouts(net))
    found = timeline(program.placed({name: 0 for name in (*net.tensors, BLOB)}), tile, MemoryTiming(0, 0, 0, 0, 0))
    assert [d.kind for d in program.descriptors].count(3) == 2
    assert found.busy["array"] == 2 * (5 + 2 * max(4, 16 // 4))
    assert found.busy["store"] == pytest.approx(2 * (5 + 2 * 3 + 32 // 16))  # then 2 pixels of 16 bytes


@pytest.mark.parametrize("op", ["rescale", "avgpool", "maxpool"])
def test_what_has_no_weights_is_refused(op: str):
    b = Builder(np.random.default_rng(SEED), 4, 4, 2)
    (x,) = b.layer("rescale", "image", ["s8"])
    b.layer(op, x, ["s8"] if op != "maxpool" else [])
    with pytest.raises(Unmappable, match=f"no {op}"):
        map_layer(b.net, b.net.layers[-1], Tile(), {})


def test_a_tile_that_is_too_small(net: Network):
    with pytest.raises(Unmappable, match="needs more than the scratchpad or the accumulators"):
        map_layer(net, net.layers[2], Tile(scratch_bytes=1024), plain_layouts(net))


def test_a_list_that_is_too_long(net: Network):
    tile = Tile(arrays=1, rows=8, columns=8)
    with pytest.raises(Unmappable, match="takes more than the 65,535 descriptors of a list"):
        Mapper(net, net.layers[2], tile, plain_layouts(net)).program((1, 1, 1))


def test_a_pixel_that_is_too_wide():
    b = Builder(np.random.default_rng(SEED), 1, 1, 1)
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, ["s8"], 70_000)
    b.layer("conv2d", x, ["s8"], 1)
    with pytest.raises(Unmappable, match="pixel_stride of a descriptor would be 70,000, which it has no room for"):
        map_layer(b.net, b.net.layers[-1], Tile(scratch_bytes=1 << 20), plain_layouts(b.net))


def test_runs_cover_the_channels_once(net: Network):
    for tensor in net.tensors.values():
        if tensor.format not in ("s8", "smol"):
            continue
        found = runs(plain(tensor), range(tensor.channels))
        channels = [channel for each in found for channel in each.channels if channel >= 0]
        assert sorted(channels) == list(range(tensor.channels))
        for each in found:
            for place, channel in enumerate(each.channels):
                if channel >= 0:
                    assert plain(tensor).positions[channel] == 8 * each.byte + place * each.bits


def test_parameters_are_checked():
    with pytest.raises(SysmolError, match="tile: rows is 0, no whole number from 8 to 4096"):
        Tile(rows=0)
    with pytest.raises(SysmolError, match="clock_ghz is 0"):
        Tile(clock_ghz=0)


def test_strips_cover_the_output(net: Network):
    mapper = Mapper(net, net.layers[2], Tile(), plain_layouts(net))
    for height, width in ((3, 5), (8, 8), (1, 1)):
        seen = np.zeros((8, 8), dtype=int)
        for s in mapper.strips(height, width):
            seen[s.y : s.y + s.height, s.x : s.x + s.width] += 1
        assert (seen == 1).all()
