"""Steps ``check-host`` and ``check-reference``: who else computes the logits that a network file holds.

Product: ``checks/VARIANT-host.json`` or ``checks/VARIANT-reference.json`` (:mod:`sysmol.analysis.checks`).
"""

from pathlib import Path

import numpy as np

from sysmol.analysis.checks import write_check
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import sha256_file
from sysmol.kernels_c.build import run_host
from sysmol.manifest import load_manifest, network_of
from sysmol.network import load
from sysmol.network.reference import evaluate
from sysmol.workbench.key import Step, Task

HOST = Step("check-host", 1, f"{__name__}:run_on_host")
REFERENCE = Step("check-reference", 1, f"{__name__}:run_reference")
REFERENCE_IMAGES = 20


def on_host(manifest: Path) -> Task:
    """Run the host executable of a manifest on all the images of its network file."""
    facts = load_manifest(manifest)
    files = {name: manifest.parent / facts[name]["path"] for name in ("elf", "network")}
    return Task(HOST, options={"variant": facts["variant"]}, files={"manifest": manifest, **files})


def with_reference(network: Path, variant: str, tolerance: float) -> Task:
    """Evaluate a network file in NumPy."""
    options = {"variant": variant, "tolerance": tolerance, "images": REFERENCE_IMAGES}
    return Task(REFERENCE, options=options, files={"network": network})


def run_on_host(folder: Path, manifest: Path, elf: Path, network: Path, variant: str) -> None:
    """Fill ``folder``."""
    verify_on_host(manifest, folder / "checks" / f"{variant}-host.json")


def run_reference(folder: Path, network: Path, variant: str, tolerance: float, images: int) -> None:
    """Fill ``folder``."""
    verify_reference(network, folder / "checks" / f"{variant}-reference.json", variant, tolerance, images)


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
    manifest = load_manifest(manifest_path)
    samples = load(network_of(manifest_path, manifest)).samples
    if samples is None:
        raise SysmolError(
            f"{manifest['network']['path']} holds no sample images to verify with: export it with samples"
        )
    logits = run_host(manifest_path, samples.images, len(samples.images))
    if logits.shape != samples.logits.shape:
        raise SysmolError(f"{manifest_path} and its network file have other numbers of logits: compile it again")
    tolerance = (manifest.get("reference") or {}).get("tolerance", 0)
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
    """Evaluate a network file with :mod:`sysmol.network.reference` and compare with the logits stored in it."""
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
