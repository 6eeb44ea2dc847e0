"""Layers on tiles, drawn at random and measured in gem5, beside the closed form and the rules: results/tile.csv.

    python -m sysmol.benchmarks.tile_points [--pairs N] [--out FILE] [--isa arm|riscv] [--work FOLDER] [--again]

Five random networks meet five random tiles of a space, in bare-metal programs; in every second program the core reads
memory while it waits. What stands in the file already is not measured again without ``--again``; what is calculated is
that of today in all rows. The source is noted beside the file where all of its rows were measured at once.
"""

import argparse
import random
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sysmol.cim.estimate import estimate, shape_of
from sysmol.cim.layout import Layout
from sysmol.cim.mapping import BLOB, Program, Unmappable, map_layer
from sysmol.cim.tile import Tile
from sysmol.cim.timing import CORE_READS, MemoryTiming, timeline
from sysmol.configs_gem5.launch import find_gem5, run_gem5, why_no_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import PACKAGE, atomic_write_text, make_folder
from sysmol.kernels_c.build import compile_network
from sysmol.kernels_c.nest.tile import seen_by_tile
from sysmol.kernels_c.plan.layout import plan
from sysmol.kernels_c.plan.options import Options
from sysmol.network import Network, save
from sysmol.network.builder import Builder, random_precisions
from sysmol.network.operations import operation
from sysmol.search.spaces import load_space
from sysmol.workbench import provenance
from sysmol.workbench.key import Inputs
from sysmol.workbench.steps import compile, simulate

SEED = 20261130
SIDE = 5
"""Networks, and tiles."""
RESULTS = PACKAGE.parent / "results" / "tile.csv"
READS = 4 << 20
"""Bytes that the core reads while it waits: more than its caches hold."""
SPAN = 1 << 20
"""Bytes of address between two tensors of a calculation: more than one has."""
CYCLES = re.compile(r"^system\.tile\.cycles\s+(\S+)", re.M)


def random_network(rng: random.Random) -> Network:
    """A chain of convolutions, depthwise ones and a linear layer, of uniform or mixed precisions."""
    size = rng.choice([8, 12, 16])
    b = Builder(np.random.default_rng(rng.randrange(1 << 30)), size, size, 3, "tile points")
    mix = rng.choice([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])

    def channels() -> int:
        return rng.choice([8, 16, 24, 32, 48, 64])

    count = channels()
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, [random_precisions(b.rng, count, mix)], count, (3, 3), padding=(1,) * 4)
    for _ in range(5):
        kernel = rng.choice([1, 3, 3, 5])
        window: dict[str, Any] = {"kernel": (kernel,) * 2, "padding": (kernel // 2,) * 4}
        window["stride"] = (rng.choice([1, 1, 2]),) * 2 if b.net.tensors[x].height > 4 else (1, 1)
        if rng.random() < 0.25:
            (x,) = b.layer("depthwise", x, [b.net.tensors[x].precisions], **window)
        else:
            count = channels()
            (x,) = b.layer("conv2d", x, [random_precisions(b.rng, count, mix)], count, **window)
    t = b.net.tensors[x]
    (x,) = b.layer("avgpool", x, ["s8"], kernel=(t.height, t.width))
    b.classifier(x)
    return b.finish(1)


@dataclass(frozen=True)
class Pair:
    """A network on a tile, each with its number."""

    number: int
    network: int
    tile: int


def pairs(count: int) -> list[Pair]:
    """So many, at most SIDE * SIDE: every number of a network meets every number of a tile once."""
    return [Pair(n, n % SIDE, (n + n // SIDE) % SIDE) for n in range(min(count, SIDE * SIDE))]


def network_of(pair: Pair) -> Network:
    """The same for the same number."""
    return random_network(random.Random(f"{SEED} network {pair.network}"))


def tile_of(pair: Pair, space: str) -> Tile:
    """The same for the same number."""
    tiles = load_space(space)
    return Tile.of_values(tiles.values(tiles.random(random.Random(f"{SEED} tile {pair.tile}"))))


def layouts_of(net: Network) -> dict[str, Layout]:
    """The tensors as compiled programs have them in memory."""
    return {name: seen_by_tile(place) for name, place in plan(net).items()}


def mapped(net: Network, tile: Tile) -> dict[str, Program]:
    """What a tile does for the layers that it can compute, by their names."""
    layouts, found = layouts_of(net), {}
    for layer in net.layers:
        try:
            if operation(layer).has_weights:
                found[layer.name] = map_layer(net, layer, tile, layouts)
        except Unmappable:
            continue
    return found


def calculated(net: Network, programs: Mapping[str, Program], tile: Tile, reads: int) -> list[dict[str, Any]]:
    """Shape, closed form and rules of every layer that is mapped; ``reads``: bytes that the core reads meanwhile."""
    layouts, memory = layouts_of(net), CORE_READS if reads else MemoryTiming()
    layers = [layer for layer in net.layers if layer.name in programs]
    shapes = [shape_of(net, layer, layouts) for layer in layers]
    closed = estimate(shapes, [tile] * len(shapes), memory)
    # Apart from one another, and not all at the beginning of the same set of the tile's cache.
    bases = {name: number * (SPAN + 192) for number, name in enumerate((*net.tensors, BLOB))}
    by_tile = {name for layer in layers for name in layer.targets}
    rows = []
    for layer, shape, cycles in zip(layers, shapes, closed, strict=True):
        program = programs[layer.name]
        held = [(bases[name], bases[name] + SPAN) for name in layer.reads if name not in by_tile]
        rules = timeline(program.placed(bases), tile, memory, held).cycles
        size = {"descriptors": len(program.descriptors)}
        rows.append({"layer": layer.name, "op": layer.op, **asdict(shape), **size, "closed": cycles, "rules": rules})
    return rows


def measured(
    net: Network, names: frozenset[str], tile: Tile, isa: str, reads: int, folder: Path
) -> tuple[list[float], Inputs]:
    """Cycles of the tile for every layer of these names, in gem5, and what they depend on."""
    gem5 = find_gem5(isa)
    if gem5 is None:
        raise SysmolError(why_no_gem5(isa))
    path = save(make_folder(folder) / "net.network.safetensors", net)
    options = Options(tile=tile, on_tile=names, tile_reads=reads)
    manifest = compile_network(path, isa, folder, "net", options=options, mode="baremetal")
    simulation = Simulation(isa, "timing", images=1)
    run_gem5(manifest, folder / "run", simulation, gem5=gem5, timeout=1200)
    blocks = [float(each) for each in CYCLES.findall((folder / "run" / "stats.txt").read_text())]
    tasks = (
        compile.task(path, isa, "net", options, "baremetal"),
        simulate.task(manifest, gem5, str(simulation.machine), "timing"),
    )
    found = [cycles for cycles, layer in zip(blocks, net.layers, strict=True) if layer.name in names]
    return found, provenance.merged([*(task.inputs for task in tasks), provenance.of_modules(__spec__.name)])


def measure(count: int, isa: str, out: Path, work: Path, space: str, again: bool) -> None:
    """Measure what is missing of so many tiles; the file is written after each."""
    rows: list[dict[Any, Any]] = pd.read_csv(out).to_dict("records") if out.is_file() and not again else []
    known = {(row["pair"], row["isa"], row["space"]): row["reads"] for row in rows}
    whole, inputs = not rows, list[Inputs]()
    for (number, _, of), reads in known.items():
        pair = next(each for each in pairs(SIDE * SIDE) if each.number == number)
        net, tile = network_of(pair), tile_of(pair, of)
        own = {row["layer"]: row for row in rows if row["pair"] == number}
        for today in calculated(net, mapped(net, tile), tile, reads):
            own[today["layer"]].update({name: today[name] for name in ("closed", "rules")})
    for pair in pairs(count):
        if (pair.number, isa, space) in known:
            continue
        net, tile = network_of(pair), tile_of(pair, space)
        programs, reads = mapped(net, tile), READS * (pair.number % 2)
        try:
            cycles, own_inputs = measured(
                net, frozenset(programs), tile, isa, reads, work / f"{space}-{pair.number}-{isa}"
            )
        except (CheckFailed, SysmolError) as error:
            print(f"pair {pair.number}: {error}", file=sys.stderr)
            whole = False
            continue
        inputs.append(own_inputs)
        facts = {"pair": pair.number, "network": pair.network, "tile": pair.tile, "isa": isa, "space": space}
        facts |= {"reads": reads, **tile.facts()}
        for row, found in zip(calculated(net, programs, tile, reads), cycles, strict=True):
            rows.append({**facts, **row, "gem5": found})
        write(out, rows)
        print(f"pair {pair.number}: {len(programs)} layers", flush=True)
    write(out, rows)
    if whole and inputs:
        provenance.write(out, inputs)


def write(out: Path, rows: list[dict[Any, Any]]) -> None:
    """The table, atomically."""
    atomic_write_text(out, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--pairs", type=int, default=SIDE * SIDE)
    parser.add_argument("--isa", choices=("arm", "riscv"), default="riscv")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, default=Path("build/tile"))
    parser.add_argument("--space", default="tile-4k")
    parser.add_argument("--again", action="store_true", help="measure what stands in the file, too")
    arguments = parser.parse_args()
    measure(arguments.pairs, arguments.isa, arguments.out, arguments.work, arguments.space, arguments.again)


if __name__ == "__main__":
    main()
