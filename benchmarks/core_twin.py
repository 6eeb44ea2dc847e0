"""Fit the twin of the core (:mod:`sysmol.analysis.costs.twin`) to what gem5 measured, and say how far it is from
networks and machines that it has not seen.

    python -m sysmol.benchmarks.core_twin [--out FILE]

The rows are those of results/kernels.csv; the C of every program is generated again for the sizes that it does not
hold, and rows whose estimate is another today are left out, since their code is another. Errors are those of layers
with at least 1% of their program's cycles, and of whole programs, by: all rows, as fitted; networks left out, one at
a time; the rows of results/latencies.csv on machines with other latencies of the SMOL units, of results/yflows.csv on
another core, and of results/encoders.csv, none of which the fit has seen. The built-in estimate stands beside.

The fit is by least squares on logarithms, robust, with priors: kinds lie near what kinds have in common, that near
their bounds, L2 overflows at its size, a line of memory takes what DDR4-2400 transfers it in and half as long again.
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import least_squares
from scipy.stats import kendalltau

from sysmol.analysis.costs.twin import Features, cycles, features
from sysmol.analysis.costs.twin_parameters import FILE, Memory, Parameters
from sysmol.benchmarks.measure import NAME, TOTAL, Job
from sysmol.benchmarks.networks import make_network
from sysmol.benchmarks.plan import encoder_jobs, kernel_jobs, latency_jobs
from sysmol.benchmarks.shapes import NetworkShape
from sysmol.benchmarks.tables import RESULTS
from sysmol.benchmarks.yflows import jobs as yflows_jobs
from sysmol.errors import SysmolError
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.machine import Machine, load_machine

MACHINE = "o3-n1"
SHARE = 0.01
"""Of a program's cycles that a layer has to have, to count."""
PRIOR = Memory(1.0, 15.0, 8.0, 50.0, 1.05, 0.05, 60.0, 1.5, 1.2, 1.5)
SPREAD = Memory(1.0, 5.0, 4.0, 30.0, 0.05, 0.03, 60.0, 0.5, 0.2, 0.3)
LEAST = Memory(0.0, 0.0, 0.0, 0.0, 0.3, 0.02, 0.0, 0.3, 0.5, 1.0)
MOST = Memory(60.0, 60.0, 60.0, 300.0, 1.6, 0.6, 400.0, 6.0, 3.0, 4.0)
KIND = np.array([[0.3, -0.3, 1.0], [0.3, 0.0, 1.0], [0.4, -1.5, 1.5]])
"""Of a, b and c of a kind: spread around what kinds have in common, and ends."""
COMMON = np.array([[0.0, 0.1, -0.2, 0.5], [0.1, 0.1, 0.0, 0.6]])
"""Of the a and b that kinds have in common: prior, spread, ends. Their c is 0."""
STEP = 1e-6
"""By which numbers are moved to see how errors change."""
DIGITS = 4
"""Significant digits of what is written."""
ERROR, ROBUST = 0.1, 1.5
"""Of logarithms of cycles, and the multiple of it from which errors count less."""
Floats = npt.NDArray[np.float64]
PRIOR_VALUES: Floats = np.array(astuple(PRIOR))


@dataclass
class Rows:
    """Measured layers with their features; ``share`` of their program's cycles."""

    table: pd.DataFrame
    features: Features

    @property
    def measured(self) -> Floats:
        """Cycles."""
        return self.table["cycles"].to_numpy(dtype=np.float64)

    @property
    def share(self) -> Floats:
        """Of each layer in its program."""
        return self.table["share"].to_numpy(dtype=np.float64)

    def take(self, chosen: npt.NDArray[np.bool_]) -> "Rows":
        """These rows."""
        return Rows(self.table[chosen].reset_index(drop=True), self.features.take(np.flatnonzero(chosen)))


def rows_of(path: Path, jobs: Iterable[Job], machines: Iterable[str]) -> Rows:
    """Layers of a table of measurements on these machines whose code is today's."""
    table = pd.read_csv(path)
    table = table[(table["layer"] != TOTAL) & (table["status"] == "ok") & table["machine"].isin(set(machines))]
    known = {key: part for key, part in table.groupby(["network", "variant", "isa", "machine"])}
    parts, found = [], []
    for job in jobs:
        own = known.get((job.shape.name, job.variant.name, job.isa, job.machine))
        if own is None or not isinstance(job.shape, NetworkShape):
            continue
        net = make_network(job.shape, job.variant.network, job.seed, 1)
        program = generate(net, TARGETS[job.isa], f"{NAME}.{job.isa}", "a benchmark", job.options())
        machine = load_machine(job.machine)
        sizes = own.set_index("layer")["code_bytes"].to_dict()
        regions = [vars(each) | {"bytes_code": _number(sizes.get(each.name))} for each in program.regions]
        all_features = features(net, regions, job.isa, machine)
        places = {each["name"]: n for n, each in enumerate(regions)}
        kept = own[[name in places for name in own["layer"]]]
        rows = np.array([places[name] for name in kept["layer"]], dtype=np.int64)
        same = np.ceil(all_features.base[rows]) == kept["estimate"].to_numpy()
        if same.any():
            parts.append(all_features.take(rows[same]))
            found.append(kept.assign(share=kept["cycles"] / own["cycles"].sum())[same])
    if not parts:
        raise SysmolError(f"no row of {path} is of today's code on {', '.join(machines)}: measure again")
    return Rows(pd.concat(found, ignore_index=True), Features.join(parts))


def _number(value: Any) -> float:
    return 0.0 if value is None or value != value else float(value)


def rounded(value: float) -> float:
    """To :data:`DIGITS`."""
    return float(f"{value:.{DIGITS}g}")


def parameters_of(found: Floats, kinds: list[str], rows: int, machine: Machine) -> Parameters:
    """From the numbers of a fit; intervals are not known yet."""
    size = 3 * len(kinds)
    own = dict(zip(kinds, found[:size].reshape(3, -1).T.tolist(), strict=True))
    memory = Memory(*found[size : size + len(PRIOR_VALUES)].tolist())
    others = (float(found[-2]), float(found[-1]), 0.0)
    return Parameters("gem5", machine.name, rows, machine.clock_ghz, memory, own, others, {}, {})


def written(found: Parameters) -> Parameters:
    """With as many digits as mean something."""
    kinds = {kind: tuple(map(rounded, values)) for kind, values in found.kinds.items()}
    memory = Memory(*(rounded(value) for value in astuple(found.memory)))
    return replace(found, kinds=kinds, memory=memory, others=tuple(map(rounded, found.others)))


def fit(rows: Rows, machine: Machine) -> Parameters:
    """The parameters that come closest to these rows."""
    kinds, logs = sorted(set(rows.features.kind)), np.log(rows.measured)
    weights = np.sqrt(np.minimum(rows.share / SHARE, 1)) + 0.05
    count = len(kinds)
    prior = np.concatenate([PRIOR_VALUES, COMMON[:, 0]])
    spread = np.concatenate([astuple(SPREAD), COMMON[:, 1]])
    low, high = (
        np.concatenate([np.repeat(KIND[:, end], count), astuple(memory), COMMON[:, end + 1]])
        for end, memory in ((1, LEAST), (2, MOST))
    )

    def errors(found: Floats) -> Floats:
        predicted = cycles(rows.features, machine, parameters_of(found, kinds, len(logs), machine))
        off = (np.log(predicted) - logs) * weights / ERROR
        common = np.array([found[-2], found[-1], 0.0])
        own = (found[: 3 * count].reshape(3, -1) - common[:, None]) / KIND[:, :1]
        return np.concatenate([off, own.ravel(), (found[3 * count :] - prior) / spread])

    place = np.array([kinds.index(kind) for kind in rows.features.kind])

    def slopes(found: Floats) -> Floats:
        """The Jacobian of ``errors``. A row depends on the numbers of its own kind alone, so those of all kinds are
        moved at the same time."""
        here, size = errors(found), len(logs)
        result = np.zeros((len(here), len(found)))
        for letter in range(3):
            own = slice(letter * count, (letter + 1) * count)
            moved = found.copy()
            moved[own] += STEP
            off = (errors(moved)[:size] - here[:size]) / STEP
            result[np.arange(size), letter * count + place] = off
            result[size + np.arange(count) + letter * count, np.arange(count) + letter * count] = 1 / KIND[letter, 0]
        for column in range(3 * count, len(found)):
            moved = found.copy()
            moved[column] += STEP
            result[:, column] = (errors(moved) - here) / STEP
        return result

    start = np.concatenate([np.repeat([0.01, 0.01, 0.0], count), prior])
    inside = np.clip(start, low + 1e-6, high - 1e-6)
    result = least_squares(errors, inside, slopes, bounds=(low, high), loss="soft_l1", f_scale=ROBUST)
    return written(parameters_of(result.x, kinds, len(logs), machine))


def left_out(rows: Rows, machine: Machine) -> Floats:
    """Cycles of every row by a fit that had not seen its network."""
    found = np.zeros(len(rows.table))
    for network in rows.table["network"].unique():
        own = (rows.table["network"] == network).to_numpy()
        found[own] = cycles(rows.take(own).features, machine, fit(rows.take(~own), machine))
    return found


PROGRAM = ["network", "variant", "isa", "machine"]


def judged(rows: Rows, predicted: Floats) -> dict[str, float]:
    """Errors of layers and of programs: mean, weighted by cycles; Kendall's tau of the layers."""
    table = rows.table.assign(predicted=predicted)
    large = table[table["share"] >= SHARE]
    programs = table.groupby(PROGRAM)[["predicted", "cycles"]].sum()

    def of(part: pd.DataFrame) -> tuple[float, float]:
        off = (part["predicted"] - part["cycles"]).abs()
        return float((off / part["cycles"]).mean()), float(off.sum() / part["cycles"].sum())

    layer, program = of(large), of(programs)
    tau = float(kendalltau(large["predicted"], large["cycles"]).statistic)
    facts = {"layers": len(large), "mean": layer[0], "by cycles": layer[1], "tau": tau}
    return facts | {"programs": len(programs), "programs, mean": program[0], "programs, by cycles": program[1]}


def with_intervals(found: Parameters, rows: Rows, unseen: Floats) -> Parameters:
    """What was measured over what fits without the network predicted, by ISA: of layers that count 19 of 20."""
    table = rows.table.assign(predicted=unseen, ratio=rows.measured / unseen)
    large = table[table["share"] >= SHARE]
    layers, networks = {}, {}
    for isa, own in large.groupby("isa"):
        low, high = (float(each) for each in np.quantile(own["ratio"], [0.025, 0.975]))
        layers[str(isa)] = (round(min(low, 1.0), 3), round(max(high, 1.0), 3))
        sums = table[table["isa"] == isa].groupby(PROGRAM)[["predicted", "cycles"]].sum()
        ratios = sums["cycles"] / sums["predicted"]
        networks[str(isa)] = (round(min(float(ratios.min()), 1.0), 3), round(max(float(ratios.max()), 1.0), 3))
    return replace(found, layers=layers, networks=networks)


def compare(say: Callable[[str, dict[str, float]], None]) -> Parameters:
    """Fit, judge, and return the parameters with their intervals."""
    machine = load_machine(MACHINE)
    rows = rows_of(RESULTS / "kernels.csv", kernel_jobs(), [MACHINE])
    say("estimate, all rows", judged(rows, rows.table["estimate"].to_numpy(dtype=np.float64)))
    found, unseen = fit(rows, machine), left_out(rows, machine)
    say("twin, all rows, fitted on them", judged(rows, cycles(rows.features, machine, found)))
    say("twin, network left out", judged(rows, unseen))
    for network in rows.table["network"].unique():
        own = (rows.table["network"] == network).to_numpy()
        say(f"- {network} left out", judged(rows.take(own), unseen[own]))
    others = [("latencies", latency_jobs()), ("yflows", yflows_jobs()), ("encoders", encoder_jobs())]
    for name, jobs in others:
        for each in sorted({job.machine for job in jobs}):
            try:
                part = rows_of(RESULTS / f"{name}.csv", [job for job in jobs if job.machine == each], [each])
            except SysmolError:
                continue
            say(f"estimate, {name}, {each}", judged(part, part.table["estimate"].to_numpy(dtype=np.float64)))
            say(f"twin, {name}, {each}", judged(part, cycles(part.features, load_machine(each), found)))
    return with_intervals(found, rows, unseen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=FILE)
    arguments = parser.parse_args()

    def say(name: str, facts: dict[str, float]) -> None:
        layers = f"{facts['layers']} layers: {facts['mean']:.1%}, by cycles {facts['by cycles']:.1%}"
        programs = f"{facts['programs']} programs: {facts['programs, mean']:.1%}"
        more = f"by cycles {facts['programs, by cycles']:.1%}"
        print(f"{name:38} {layers}, tau {facts['tau']:.3f}; {programs}, {more}", flush=True)

    compare(say).save(arguments.out)


if __name__ == "__main__":
    main()
