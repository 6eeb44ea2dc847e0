"""``python -m sysmol.benchmarks.plugin_cost MANIFEST... --base GEM5 --other GEM5``: two gem5 binaries on the same
executables.

Says whether both give the same instruction counts, ticks and logits, and how many instructions per second of host
processor time each simulates. Runs alternate (base other, other base, ...), so that a slow phase of the host meets both
alike. Two gains: of the fastest run of each (steadier on a host with other work, since disturbance only ever slows
down), and the median over the pairs. Processor time, not wall time: of the simulation itself, without its start.

``--count`` counts the host's instructions instead (valgrind's cachegrind; some fifty times slower, but exact whatever
else the host does): those of a run with more images less those of a run with one, per simulated instruction.

    python -m sysmol.benchmarks.plugin_cost build/demo/bin/int8.riscv.json --base ~/gem5-stock.opt --base-stock \\
        --other ~/gem5/build/SMOL/gem5.opt           # what the plug-in costs code without SMOL words
    python -m sysmol.benchmarks.plugin_cost build/demo/bin/*.riscv.json --base ~/gem5/build/SMOL/gem5.opt \\
        --other ~/gem5-patched/build/SMOL/gem5.opt   # what a patch gains
"""

import argparse
import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sysmol.configs_gem5.launch import run_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import atomic_write_json, sha256_file
from sysmol.manifest import load_manifest

FORMAT, VERSION = "sysmol-plugin-cost", 1


@dataclass(frozen=True)
class Side:
    """One of the two binaries. ``stock``: gem5's own decoder, for a gem5 without the plug-in."""

    gem5: Path
    stock: bool


@dataclass(frozen=True)
class Sample:
    """One run: what was simulated, and processor seconds of the simulation."""

    instructions: int
    ticks: int
    logits: str
    seconds: float

    @property
    def rate(self) -> float:
        """Simulated instructions per second of host processor time."""
        return self.instructions / self.seconds


def simulate(manifest: Path, side: Side, cpu: str, machine: str, images: int) -> Sample:
    """Run once in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="sysmol-cost-") as scratch:
        folder = Path(scratch) / "run"
        simulation = Simulation(cpu=cpu, machine=machine, images=images, roi=False, stock_decoder=side.stock)
        run = run_gem5(manifest, folder, simulation, gem5=side.gem5)
        logits = sha256_file(folder / "logits.bin")
        return Sample(int(run["sim_insts"]), int(run["sim_ticks"]), logits, float(run["host_cpu_seconds"]))


def compare(
    manifest: Path,
    base: Side,
    other: Side,
    cpu: str,
    machine: str,
    images: int,
    repeats: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Facts of one executable: equality, rates, gain of ``other`` over ``base`` in per cent (best, median, quartiles).

    Raises :class:`CheckFailed` where the two disagree on instructions, ticks or logits, or one with itself.
    """
    samples: dict[Side, list[Sample]] = {base: [], other: []}
    for number in range(repeats):
        for side in (base, other) if number % 2 == 0 else (other, base):
            samples[side].append(simulate(manifest, side, cpu, machine, images))
    facts = {(s.instructions, s.ticks, s.logits) for runs in samples.values() for s in runs}
    if len(facts) > 1:
        raise CheckFailed(f"{manifest.name}: instructions, ticks or logits differ between runs: {sorted(facts)}")
    (instructions, ticks, logits) = facts.pop()
    gains = [100 * (o.rate / b.rate - 1) for b, o in zip(samples[base], samples[other], strict=True)]
    quartiles = statistics.quantiles(gains, n=4) if len(gains) > 1 else [gains[0]] * 3
    rates = {name: [s.rate for s in samples[side]] for name, side in (("base", base), ("other", other))}
    best = 100 * (max(rates["other"]) / max(rates["base"]) - 1)
    say(
        f"{manifest.name} ({cpu}, {machine}): {instructions:,} instructions, {ticks:,} ticks, logits equal; "
        f"best {max(rates['base']):,.0f} -> {max(rates['other']):,.0f} instructions per second, {best:+.2f}%; "
        f"median of {repeats} pairs {quartiles[1]:+.2f}% (quartiles {quartiles[0]:+.2f}% {quartiles[2]:+.2f}%)"
    )
    return {
        "manifest": manifest.name,
        "elf_sha256": load_manifest(manifest)["elf"]["sha256"],
        "cpu": cpu,
        "machine": machine,
        "instructions": instructions,
        "ticks": ticks,
        "logits_sha256": logits,
        "rates_base": rates["base"],
        "rates_other": rates["other"],
        "gain_best_percent": best,
        "gain_percent": quartiles[1],
        "gain_quartiles": [quartiles[0], quartiles[2]],
    }


def host_instructions(manifest: Path, side: Side, cpu: str, machine: str, images: int) -> tuple[int, Sample]:
    """Instructions that the host executed for a whole run, gem5's start included."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise SysmolError("--count needs the program valgrind: install it, or leave --count out")
    with tempfile.TemporaryDirectory(prefix="sysmol-count-") as scratch:
        log, wrapper = Path(scratch) / "log", Path(scratch) / "gem5"
        options = f"--tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null --log-file={log}"
        # Python's random hashes would make gem5's start differ from run to run by some per cent.
        wrapper.write_text(f'#!/bin/sh\nPYTHONHASHSEED=0 exec {valgrind} {options} {side.gem5} "$@"\n')
        wrapper.chmod(0o755)
        sample = simulate(manifest, Side(wrapper, side.stock), cpu, machine, images)
        found = re.search(r"I\s+refs:\s+([\d,]+)", log.read_text())
    if found is None:
        raise SysmolError(f"valgrind counted nothing for {side.gem5}: run it by hand to see why")
    return int(found.group(1).replace(",", "")), sample


def count(
    manifest: Path, base: Side, other: Side, cpu: str, machine: str, images: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Host instructions per simulated instruction of both, the start cancelled out; errors as in :func:`compare`."""
    costs, seen = [], []
    for side in (base, other):
        (few, first), (many, last) = (host_instructions(manifest, side, cpu, machine, n) for n in (1, 1 + images))
        costs.append((many - few) / (last.instructions - first.instructions))
        seen.append([(s.instructions, s.ticks, s.logits) for s in (first, last)])
    if seen[0] != seen[1]:
        raise CheckFailed(f"{manifest.name}: instructions, ticks or logits differ: {seen}")
    change = 100 * (costs[1] / costs[0] - 1)
    say(
        f"{manifest.name} ({cpu}, {machine}): {costs[0]:,.1f} -> {costs[1]:,.1f} host instructions per simulated "
        f"instruction, {change:+.2f}%; instructions, ticks and logits equal"
    )
    return {
        "manifest": manifest.name,
        "elf_sha256": load_manifest(manifest)["elf"]["sha256"],
        "cpu": cpu,
        "machine": machine,
        "host_instructions_base": costs[0],
        "host_instructions_other": costs[1],
        "change_percent": change,
    }


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sysmol.benchmarks.plugin_cost", description=__doc__.split("\n")[0])
    parser.add_argument("manifests", nargs="+", type=Path, help="NAME.<isa>.json beside an executable")
    parser.add_argument("--base", required=True, type=Path, help="a gem5 binary")
    parser.add_argument("--base-stock", action="store_true", help="the base has no plug-in (or is to do without it)")
    parser.add_argument("--other", required=True, type=Path, help="the gem5 binary to compare with it")
    parser.add_argument("--cpu", choices=("o3", "minor", "timing", "atomic"), default="o3")
    parser.add_argument("--machine", default="o3-n1")
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5, help="pairs of runs (default 5)")
    parser.add_argument("--count", action="store_true", help="count host instructions with valgrind, once")
    parser.add_argument("--out", type=Path, help="write the facts as JSON")
    return parser.parse_args(arguments)


def say(line: str) -> None:
    print(line, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 the two gem5 disagree, 2 bad input."""
    options = parse_arguments(arguments)
    try:
        for binary in (options.base, options.other):
            if not binary.is_file():
                raise SysmolError(f"there is no gem5 binary {binary}")
        if options.repeats < 1:
            raise SysmolError(f"--repeats {options.repeats} is no positive number")
        base, other = Side(options.base.resolve(), options.base_stock), Side(options.other.resolve(), False)
        if base == other:
            raise SysmolError("--base and --other are one binary: name two, or add --base-stock")
        rows = []
        for manifest in options.manifests:
            how = (manifest, base, other, options.cpu, options.machine, options.images)
            rows.append(count(*how, say=say) if options.count else compare(*how, repeats=options.repeats, say=say))
        if options.out is not None:
            command = [
                "python",
                "-m",
                "sysmol.benchmarks.plugin_cost",
                *(sys.argv[1:] if arguments is None else arguments),
            ]
            sides = [
                {"name": side.gem5.name, "sha256": sha256_file(side.gem5), "stock_decoder": side.stock}
                for side in (base, other)
            ]
            facts = {"format": FORMAT, "version": VERSION, "command": command, "base": sides[0], "other": sides[1]}
            atomic_write_json(options.out, facts | {"rows": rows})
    except SysmolError as error:
        print(f"plugin_cost: {error}", file=sys.stderr)
        return 1 if isinstance(error, CheckFailed) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
