"""What a simulated program left in the run folder, checked. Standard library only, no gem5."""

import array
import itertools
from pathlib import Path

from sysmol.configs_gem5.inputs import Job, count_mismatches, read_numbers
from sysmol.errors import CheckFailed


def compare(job: Job, images: int, processes: int, outdir: Path) -> tuple[bool | None, int]:
    """Whether the logits are the reference's, and how many are not; ``None`` where there is no reference.

    Process k's logits are in ``logits.<k>.bin``, the first one's in ``logits.bin``.
    """
    count, dtype = images * job.classes, job.data["output"]["dtype"]
    reference = None if job.logits is None else read_numbers(job.logits, job.available * job.classes, dtype)
    mismatches = 0
    for process in range(processes):
        found = read_numbers(outdir / (f"logits.{process}.bin" if process else "logits.bin"), count, dtype)
        if reference is None:
            continue
        rows = [reference[n * job.classes : (n + 1) * job.classes] for n in job.image_numbers(images, process)]
        expected = array.array(reference.typecode, itertools.chain.from_iterable(rows))
        mismatches += count_mismatches(found, expected, float(job.data["reference"].get("tolerance", 0)))
    return (None if reference is None else mismatches == 0), mismatches


def check_blocks(outdir: Path, expected: int) -> None:
    """The program must have dumped statistics once per region and image."""
    with open(outdir / "stats.txt", encoding="utf-8") as stream:
        found = sum(line.startswith("---------- Begin Simulation Statistics") for line in stream)
    if found != expected:
        raise CheckFailed(f"{outdir}/stats.txt has {found} blocks where the manifest's regions make {expected}")
