"""The whole chain once: train, export, generate, compile, verify, simulate or estimate, report (``sysmol demo``), or
all but the training for networks that are there already (``sysmol evaluate``).

The steps are the store's (:mod:`sysmol.workbench.store`, below ``OUT/store``): what it holds is not done again, so a
demo that was stopped goes on where it was. The products of this run are then put where people look for them, and those
of other runs in the same folder are taken away from there.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from sysmol.analysis.costs import calculated
from sysmol.errors import CheckFailed
from sysmol.files import make_folder
from sysmol.isas import ISAS, TARGETS
from sysmol.machine import load_machine
from sysmol.workbench import provenance
from sysmol.workbench.executor import open_executor, run_all
from sysmol.workbench.key import Task
from sysmol.workbench.steps import check, compile, simulate
from sysmol.workbench.store import Entry, Store
from sysmol.workbench.view import View

VARIANTS = ("fp32", "int8", "w4", "mixed")
O3_SECONDS = 240.0
# O3 was seen to simulate three times slower than Atomic; a little more than that sizes its share of the images.
O3_SLOWDOWN = 4.0


class Chain:
    """The steps over one output folder, with :mod:`sysmol.analysis.products`'s layout."""

    def __init__(
        self,
        out: Path,
        *,
        seed: int,
        machine: str,
        use_gem5: bool,
        images: int,
        gem5: Path | None = None,
        say: Callable[[str], None],
        jobs: int = 0,
        cluster: str = "",
    ):
        self.out = make_folder(out).resolve()
        self.seed, self.machine, self.use_gem5, self.images = seed, machine, use_gem5, images
        self.gem5 = gem5
        self.say = say
        self.jobs, self.cluster = jobs or os.cpu_count() or 1, cluster
        load_machine(machine)
        self.store = Store(self.out / "store")
        self.view = View(self.store, self.out)

    def network(self, variant: str) -> Path:
        """The network file of a variant."""
        return self.out / f"{variant}{compile.SUFFIX}"

    def make(self, tasks: Mapping[str, Task], executor: Executor, below: str = "") -> dict[str, Entry]:
        """Entries of tasks by their names, shown in ``below`` of the folder; the first failure is raised."""
        names = {task.key: name for name, task in tasks.items()}
        found = {}
        outcomes = run_all(self.store, list(tasks.values()), executor, lambda task: self.say(f"{names[task.key]} ..."))
        for task, outcome in outcomes:
            name = names[task.key]
            if isinstance(outcome, Exception):
                raise outcome
            self.say(f"{name}: {outcome.how}")
            found[name] = outcome
            self.view.show(outcome, Path(below.format(name=name)))
        return found

    def check_tools(self) -> None:
        """A missing compiler is better known before the training than after it."""
        from sysmol.kernels_c.targets import TARGETS as BY_NAME
        from sysmol.kernels_c.toolchain import find_compiler, first_build

        for isa in TARGETS:
            find_compiler(BY_NAME[isa], None)
        if note := first_build(TARGETS):
            self.say(note)

    def demo(self, preset: str, device: str = "auto") -> dict[str, Any]:
        """All steps, the training of the demo's networks first; returns the content of ``summary.json``."""
        from sysmol.workbench.steps import train

        self.check_tools()
        task = train.task("digits", "digits_net", preset, self.seed, VARIANTS, device)
        with self.store.alone(self.out):
            with open_executor(1, self.cluster) as executor:
                self.make({"train": task}, executor)
            return self._evaluate(VARIANTS)

    def evaluate(self, variants: Sequence[str]) -> dict[str, Any]:
        """All steps behind the training, for these networks of the folder."""
        self.check_tools()
        with self.store.alone(self.out):
            return self._evaluate(variants)

    def _evaluate(self, variants: Sequence[str]) -> dict[str, Any]:
        from sysmol.analysis.products import collect
        from sysmol.analysis.report import write_report

        with open_executor(self.jobs, self.cluster) as executor:
            programs = {
                f"compile-{variant}-{isa}": compile.task(self.network(variant), isa, variant)
                for variant in variants
                for isa in TARGETS
            }
            compiled = self.make(programs, executor)
            manifests = {
                (variant, isa): compile.manifest_of(compiled[f"compile-{variant}-{isa}"].folder, isa, variant)
                for variant in variants
                for isa in TARGETS
            }
            self.make(self._checks(variants, manifests), executor)
            self._simulations(variants, manifests, executor)
        self.view.finish()
        command = " ".join(["sysmol", *sys.argv[1:]])
        found = write_report(collect(self.out, self.machine, calculated.DEFAULT), self.out, command)
        provenance.write(self.out / "summary.json", self.view.inputs)
        return found

    def _checks(self, variants: Sequence[str], manifests: Mapping[tuple[str, str], Path]) -> dict[str, Task]:
        """The NumPy reference and the host executable must give the stored logits."""
        tasks = {}
        for variant in variants:
            host = manifests[variant, "host"]
            reference = json.loads(host.read_text())["reference"]
            tolerance = reference["tolerance"] if reference else 0
            tasks[f"verify-{variant}-reference"] = check.with_reference(self.network(variant), variant, tolerance)
            tasks[f"verify-{variant}-host"] = check.on_host(host)
        return tasks

    def _simulations(
        self, variants: Sequence[str], manifests: Mapping[tuple[str, str], Path], executor: Executor
    ) -> None:
        """Atomic, which judges the time, and then O3; logits must be the stored ones."""
        from sysmol.configs_gem5.launch import find_gem5, why_no_gem5

        simulators = {isa: (self.gem5 or find_gem5(isa)) if self.use_gem5 else None for isa in ISAS}
        for isa, gem5 in simulators.items():
            if gem5 is None:
                why = why_no_gem5(isa) if self.use_gem5 else "gem5 is not wanted"
                self.say(f"{isa}: cycles are calculated: {calculated.source_of(calculated.DEFAULT)}; {why}")
        pairs = {f"{variant}-{isa}": (variant, isa) for variant in variants for isa in ISAS if simulators[isa]}
        images = dict.fromkeys(pairs, self.images)
        for cpu in ("atomic", "o3"):
            tasks = {}
            for name, pair in pairs.items():
                gem5 = simulators[pair[1]]
                assert gem5 is not None
                tasks[f"{name}-{cpu}"] = simulate.task(
                    manifests[pair], gem5, self.machine, cpu, images=images[name], seed=self.seed
                )
            for name, entry in self.make(tasks, executor, "runs/{name}").items():
                run = json.loads(entry.path("run.json").read_text())
                if run["logits_match"] is not True:
                    raise CheckFailed(f"{name}: gem5's logits differ from the network file's; see {entry.folder}")
                if cpu == "atomic":
                    images[name.removesuffix("-atomic")] = self._o3_images(name, run)

    def _o3_images(self, name: str, run: Mapping[str, Any]) -> int:
        """How many images O3 gets, so that a run stays near four minutes: judged by the time that Atomic took."""
        each = O3_SLOWDOWN * float(run["host_seconds"]) / int(run["images"])
        images = max(2, min(self.images, int(O3_SECONDS / max(each, 1e-6))))
        if images < self.images:
            self.say(f"{name}: O3 gets {images} images instead of {self.images}, to keep it near four minutes")
        return images
