"""The whole chain once: train, export, generate, compile, verify, simulate or estimate, report (``sysmol demo``), or
all but the training for networks that are there already (``sysmol evaluate``).

Every stage is named by a hash of what goes into it (settings, sources, files). A stage whose hash and products are
unchanged is skipped, so a demo that was stopped goes on where it was, and a second one only writes the report anew.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from sysmol import environment
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import PACKAGE, atomic_write_json, content_key, make_folder, sha256_file
from sysmol.machine import load_machine
from sysmol.network import load

VARIANTS = ("fp32", "int8", "w4", "mixed")
ISAS = ("host", "arm", "riscv")
SIMULATED_ISAS = ("arm", "riscv")
GEM5_IMAGES = 20
O3_SECONDS = 240.0
# O3 was seen to simulate three times slower than Atomic; a little more than that sizes its share of the images.
O3_SLOWDOWN = 4.0
FORMAT_SOURCES = (
    "grid.py", "pattern.py", "packing.py", "network.py", "network_file.py",
)  # fmt: skip
"""What the meaning of a network file depends on."""
PROGRAM_SOURCES = ("kernels_c", "isa.py", *FORMAT_SOURCES)
"""What an executable depends on beside its network file."""
RUN_SOURCES = ("configs_gem5/run_net.py", "configs_gem5/system.py", "configs_gem5/inputs.py")
"""What a simulation depends on beside its executable, machine and gem5."""


def source_digest(*names: str) -> str:
    """SHA-256 over names and contents of the program's own sources: files, or all below a folder."""
    digest = hashlib.sha256()
    for name in names:
        for path in sorted([PACKAGE / name, *(PACKAGE / name).rglob("*")]):
            if path.suffix in (".py", ".c", ".h") and path.is_file():
                digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class Stages:
    """Runs stages under one folder, or skips those that stand; says so in one line each."""

    def __init__(self, folder: Path, say: Callable[[str], None]):
        self.folder = folder
        self.say = say

    def run(self, name: str, inputs: dict[str, Any], action: Callable[[], Iterable[Path]]) -> None:
        """Call ``action`` unless the last complete run had equal ``inputs`` and its products are unchanged.

        ``action`` returns the files that it made; their hashes are kept beside the inputs' in ``.stages/<name>.json``.
        """
        key = content_key(inputs)
        stamp = self.folder / ".stages" / f"{name}.json"
        if self._stands(stamp, key):
            self.say(f"{name}: unchanged, skipped")
            return
        self.say(f"{name} ...")
        stamp.unlink(missing_ok=True)
        start = time.monotonic()
        products = {os.path.relpath(path, self.folder): sha256_file(path) for path in action()}
        seconds = time.monotonic() - start
        atomic_write_json(stamp, {"key": key, "seconds": round(seconds, 1), "products": products})
        self.say(f"{name}: done in {seconds:.1f} s")

    def _stands(self, stamp: Path, key: str) -> bool:
        try:
            record = json.loads(stamp.read_text())
            return record["key"] == key and all(
                (self.folder / path).is_file() and sha256_file(self.folder / path) == digest
                for path, digest in record["products"].items()
            )
        except (OSError, ValueError, KeyError):
            return False


def compare(logits: np.ndarray, expected: np.ndarray, tolerance: float) -> tuple[int, float]:
    """``(logits that differ, largest difference)``. Bit for bit where ``tolerance`` is 0, else relative to an image's
    largest logit; a value that is no number differs."""
    difference = np.abs(logits.astype(np.float64) - expected.astype(np.float64))
    if tolerance:
        difference /= np.maximum(np.abs(expected.astype(np.float64)).max(axis=1, keepdims=True), 1e-30)
    return int((~(difference <= tolerance)).sum()), float(difference.max(initial=0.0))


def verify_on_host(manifest_path: Path, check_path: Path) -> None:
    """Run a host executable on all the images of its network file and compare the logits.

    Writes ``check_path``; raises :class:`CheckFailed` where an image differs.
    """
    from sysmol.analysis.checks import write_check
    from sysmol.kernels_c.build import run_host
    from sysmol.manifest import load_manifest

    manifest = load_manifest(manifest_path)
    network = manifest_path.parent / manifest["network"]["path"]
    samples = load(network).samples
    if sha256_file(network) != manifest["network"]["sha256"]:
        raise SysmolError(f"{network} changed since {manifest_path} was made: compile it again")
    if samples is None:
        raise SysmolError(
            f"{manifest['network']['path']} holds no sample images to verify with: export it with samples"
        )
    logits = run_host(manifest_path, samples.images, len(samples.images))
    tolerance = manifest["reference"]["tolerance"]
    mismatches, worst = compare(logits, samples.logits, tolerance)
    write_check(
        check_path,
        what="generated C on the host",
        variant=manifest["variant"],
        isa=manifest["isa"],
        images=len(samples.images),
        mismatches=mismatches,
        tolerance=tolerance,
        worst=worst,
        network_sha256=manifest["network"]["sha256"],
        elf_sha256=manifest["elf"]["sha256"],
    )
    if mismatches:
        raise CheckFailed(
            f"{manifest['variant']} on {manifest['isa']}: {mismatches} of {samples.logits.size} logits differ from the "
            f"network file's (largest difference {worst:g})"
        )


def verify_reference(network_path: Path, check_path: Path, variant: str, tolerance: float, images: int = 20) -> None:
    """Evaluate a network file with :mod:`sysmol.network.reference` and compare with the logits that training stored in it."""
    from sysmol.analysis.checks import write_check
    from sysmol.network.reference import evaluate

    net = load(network_path)
    if net.samples is None:
        raise SysmolError(f"{network_path} holds no sample images to verify with: export it with samples")
    count = min(images, len(net.samples.images))
    mismatches, worst = compare(evaluate(net, net.samples.images[:count]), net.samples.logits[:count], tolerance)
    write_check(
        check_path,
        what="NumPy reference (sysmol.network.reference)",
        variant=variant,
        isa="none",
        images=count,
        mismatches=mismatches,
        tolerance=tolerance,
        worst=worst,
        network_sha256=sha256_file(network_path),
    )
    if mismatches:
        raise CheckFailed(
            f"{variant}: {mismatches} logits of {count} images differ between the NumPy reference and what training "
            f"stored (largest difference {worst:g})"
        )


def all_at_once(action: Callable[..., None], arguments: Iterable[tuple[Any, ...]]) -> None:
    """Call ``action`` for every tuple of arguments, as many at a time as there are processors.

    The first failure is raised once the calls under way have ended; those not begun are dropped.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        jobs = [pool.submit(action, *values) for values in arguments]
        try:
            for job in jobs:
                job.result()
        finally:
            for job in jobs:
                job.cancel()


class Chain:
    """The stages over one output folder, with :mod:`sysmol.analysis.products`'s layout."""

    def __init__(
        self,
        out: Path,
        *,
        seed: int,
        machine: str,
        use_gem5: bool,
        images: int,
        say: Callable[[str], None],
    ):
        self.out = make_folder(out).resolve()
        self.seed, self.machine, self.use_gem5, self.images = seed, machine, use_gem5, images
        self.say = say
        self.design = load_machine(machine)
        self.stages = Stages(self.out, say)

    def network(self, variant: str) -> Path:
        """The network file of a variant."""
        return self.out / f"{variant}.network.safetensors"

    def manifest(self, variant: str, isa: str) -> Path:
        """The manifest of a variant's executable."""
        return self.out / "bin" / f"{variant}.{isa}.json"

    def check(self, name: str) -> Path:
        """A verification's record."""
        return self.out / "checks" / f"{name}.json"

    def train(self, preset: str) -> None:
        """Train and export all variants of the demo's network."""

        def action() -> list[Path]:
            from sysmol.train.recipes.pipeline import run

            run(
                dataset="digits",
                model="digits_net",
                out_dir=self.out,
                preset=preset,
                seed=self.seed,
            )
            return [self.network(variant) for variant in VARIANTS]

        self.stages.run(
            "train",
            {
                "preset": preset,
                "seed": self.seed,
                "sources": source_digest("train", "machine.py", "machine_parts.py", *FORMAT_SOURCES),
            },
            action,
        )

    def compile(self, variant: str, isa: str) -> None:
        """Generate C for one target and compile it."""

        def action() -> list[Path]:
            from sysmol.kernels_c.build import compile_network

            path = compile_network(self.network(variant), isa, self.out / "bin", variant=variant)
            record = json.loads(path.read_text())
            return [path, path.parent / record["elf"]["path"]]

        sources = source_digest(*PROGRAM_SOURCES)
        compilers = {name: environment.read(name) for name in environment.VARIABLES if "_CC_" in name}
        inputs = {"network": sha256_file(self.network(variant)), "sources": sources, "compilers": compilers}
        self.stages.run(f"compile-{variant}-{isa}", inputs, action)

    def verify(self, variant: str) -> None:
        """The NumPy reference and the host executable must give the stored logits."""
        host = self.manifest(variant, "host")

        def reference() -> list[Path]:
            tolerance = json.loads(host.read_text())["reference"]["tolerance"]
            verify_reference(self.network(variant), self.check(f"{variant}-reference"), variant, tolerance)
            return [self.check(f"{variant}-reference")]

        def executable() -> list[Path]:
            verify_on_host(host, self.check(f"{variant}-host"))
            return [self.check(f"{variant}-host")]

        inputs = {
            "network": sha256_file(self.network(variant)),
            "sources": source_digest("reference.py", *FORMAT_SOURCES),
        }
        self.stages.run(f"verify-{variant}-reference", inputs, reference)
        self.stages.run(f"verify-{variant}-host", {"manifest": sha256_file(host)}, executable)

    def simulate(self, gem5: Path, variant: str, isa: str, cpu: str, images: int) -> None:
        """One gem5 run; its logits must be the stored ones."""
        folder = self.out / "runs" / f"{variant}-{isa}-{cpu}"
        manifest = self.manifest(variant, isa)

        def action() -> list[Path]:
            from sysmol.configs_gem5.launch import run_gem5

            run = run_gem5(
                manifest, isa=isa, cpu=cpu, machine=self.machine, out=folder, images=images, gem5=gem5, seed=self.seed
            )
            if run["logits_match"] is not True:
                raise CheckFailed(
                    f"{variant} on {isa} {cpu}: gem5's logits differ from the network file's; see {folder}"
                )
            return [folder / "run.json", folder / "stats.txt", folder / "logits.bin"]

        inputs = {
            "elf": json.loads(manifest.read_text())["elf"]["sha256"],
            "sources": source_digest("configs_gem5", "machine.py", "machine_parts.py"),
            "gem5": [str(gem5), gem5.stat().st_size, gem5.stat().st_mtime_ns],
            "machine": self.design.to_json(),
            "images": images,
            "seed": self.seed,
        }
        self.stages.run(f"gem5-{variant}-{isa}-{cpu}", inputs, action)

    def o3_images(self, variant: str, isa: str) -> int:
        """How many images O3 gets, so that a run stays near four minutes: judged by the time that Atomic took."""
        run = json.loads((self.out / "runs" / f"{variant}-{isa}-atomic" / "run.json").read_text())
        each = O3_SLOWDOWN * float(run["host_seconds"]) / int(run["images"])
        return max(2, min(self.images, int(O3_SECONDS / max(each, 1e-6))))

    def simulate_both(self, gem5: Path, variant: str, isa: str) -> None:
        """Atomic, which judges the time, and then O3."""
        self.simulate(gem5, variant, isa, "atomic", self.images)
        images = self.o3_images(variant, isa)
        if images < self.images:
            self.say(f"gem5-{variant}-{isa}-o3: {images} images instead of {self.images}, to keep it near four minutes")
        self.simulate(gem5, variant, isa, "o3", images)

    def check_tools(self) -> None:
        """A missing compiler is better known before the training than after it."""
        from sysmol.kernels_c.targets import TARGETS
        from sysmol.kernels_c.toolchain import find_compiler

        for isa in ISAS:
            find_compiler(TARGETS[isa], None)

    def demo(self, preset: str) -> dict[str, Any]:
        """All stages, the training of the demo's networks first; returns the content of ``summary.json``."""
        self.check_tools()
        self.train(preset)
        return self.evaluate(VARIANTS)

    def evaluate(self, variants: Sequence[str]) -> dict[str, Any]:
        """All stages behind the training, for these networks of the folder."""
        from sysmol.analysis.products import collect
        from sysmol.analysis.report import write_report
        from sysmol.configs_gem5.launch import find_gem5, why_no_gem5

        self.check_tools()
        all_at_once(self.compile, [(variant, isa) for variant in variants for isa in ISAS])
        all_at_once(self.verify, [(variant,) for variant in variants])
        simulators = {isa: find_gem5(isa) if self.use_gem5 else None for isa in SIMULATED_ISAS}
        for isa, gem5 in simulators.items():
            if gem5 is None:
                why = why_no_gem5(isa) if self.use_gem5 else "gem5 is not wanted"
                self.say(f"{isa}: cycles come from the built-in estimate: {why}")
        found = [(gem5, variant, isa) for variant in variants for isa, gem5 in simulators.items() if gem5]
        all_at_once(self.simulate_both, found)
        command = " ".join(["sysmol", *sys.argv[1:]])
        return write_report(collect(self.out, self.machine), self.out, command)
