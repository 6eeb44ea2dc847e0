"""What ``run_net.py`` checks before gem5 simulates anything: manifest, executable, images, reference logits.

Standard library only, no gem5: the same checks run in gem5's embedded Python and in the host tests.
"""

import array
import math
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sysmol.errors import SysmolError
from sysmol.files import sha256_file
from sysmol.manifest import beside, load_runnable

ELF_MACHINES = {"arm": 183, "riscv": 243}
"""``e_machine`` of the ELF header: EM_AARCH64, EM_RISCV."""
PT_INTERP = 3


@dataclass(frozen=True)
class Job:
    """A checked manifest: absolute paths of what it names, and how many images may be run."""

    manifest: Path
    data: dict[str, Any]
    isa: str
    elf: Path
    images: Path
    logits: Path | None
    available: int

    @property
    def regions(self) -> int:
        """Regions of interest, and so blocks of statistics, per image."""
        return len(self.data["regions"])

    def check_mode(self, wanted: str | None) -> str:
        """The mode to run in: the wanted one, by default the one that the executable was linked for."""
        linked = self.data.get("mode", "se")
        mode = wanted or linked
        if (mode == "baremetal") != (linked == "baremetal"):
            raise SysmolError(
                f"{self.manifest} is of an executable for mode {linked}, not {mode}: "
                f"compile with --mode {'baremetal' if mode == 'baremetal' else 'se'}"
            )
        if mode == "linux" and self.isa != "arm":
            raise SysmolError(f"Linux is booted on AArch64 only: {self.manifest} is for {self.isa}")
        return mode

    def image_numbers(self, images: int, process: int) -> list[int]:
        """The images of one process: those that follow on the one before's, around the end of the file."""
        return [(process * images + i) % self.available for i in range(images)]

    @property
    def classes(self) -> int:
        return int(self.data["output"]["classes"])


def load_job(path: str, isa: str | None, images_file: str | None) -> Job:
    """Read and check a manifest. ``images_file`` replaces the manifest's images (and has no reference logits)."""
    manifest = Path(path).resolve()
    if not manifest.is_file():
        raise SysmolError(f"there is no manifest {path}: make one with 'make kernels' or 'sysmol compile'")
    data = load_runnable(manifest)
    found = data["isa"]
    if found not in ELF_MACHINES:
        raise SysmolError(
            f"{path} is of an executable for {found!r}, which gem5 does not simulate: compile for arm or riscv"
        )
    if isa is not None and isa != found:
        raise SysmolError(f"{path} is of an executable for {found}, not {isa}: drop --isa or compile for {isa}")
    elf = beside(manifest, data["elf"]["path"], None)
    check_elf(elf, found)
    if sha256_file(elf) != data["elf"]["sha256"]:
        raise SysmolError(f"{elf} is not the file that its manifest describes (SHA-256 differs): compile again")
    reference = data.get("reference") or {}
    if images_file is not None:
        images, logits = Path(images_file).resolve(), None
    elif reference:
        images, logits = (beside(manifest, reference[k], reference.get(f"{k}_sha256")) for k in ("images", "logits"))
    else:
        raise SysmolError(f"{path} names no images: give some with --images-file")
    available = file_size(images) // math.prod(data["input"]["shape"])
    if logits is not None and file_size(logits) < available * data["output"]["classes"] * 4:
        raise SysmolError(f"{logits} is shorter than {available} rows of logits: compile again")
    return Job(manifest, data, found, elf, images, logits, available)


def file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise SysmolError(f"cannot read {path}: {error.strerror}") from None


def check_elf(path: Path, isa: str) -> None:
    """Refuse what gem5 cannot run without a system: no ELF, another ISA, not 64-bit little-endian, not static."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SysmolError(f"cannot read the executable {path}: {error.strerror}; compile again") from None
    if len(content) < 64 or content[:4] != b"\x7fELF":
        raise SysmolError(f"{path} is no ELF executable: compile again")
    if content[4:6] != b"\x02\x01":
        raise SysmolError(f"{path} is no 64-bit little-endian ELF: compile for arm or riscv")
    (machine,) = struct.unpack_from("<H", content, 18)
    if machine != ELF_MACHINES[isa]:
        names = {number: name for name, number in ELF_MACHINES.items()} | {62: "x86-64"}
        raise SysmolError(
            f"{path} is an ELF for {names.get(machine, f'machine {machine}')}, not for {isa}: compile for {isa}"
        )
    table, size, count = struct.unpack_from("<Q", content, 32)[0], *struct.unpack_from("<HH", content, 54)
    places = (table + i * size for i in range(count))
    kinds = [struct.unpack_from("<I", content, place)[0] for place in places if place + 4 <= len(content)]
    if PT_INTERP in kinds:
        raise SysmolError(
            f"{path} is dynamically linked; gem5's system-call emulation wants a static one: link with -static"
        )


def read_numbers(path: Path, count: int, dtype: str) -> "array.array[Any]":
    """The first ``count`` little-endian 32-bit numbers of a file."""
    numbers = array.array("i" if dtype == "int32" else "f")
    try:
        content = path.read_bytes()[: 4 * count]
    except OSError as error:
        raise SysmolError(f"cannot read {path}: {error.strerror}") from None
    if len(content) != 4 * count:
        raise SysmolError(f"{path} holds {len(content) // 4} numbers where {count} are due")
    numbers.frombytes(content)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def count_mismatches(found: "array.array[Any]", expected: "array.array[Any]", tolerance: float) -> int:
    """Numbers that differ: exactly where ``tolerance`` is 0, else by more than ``tolerance`` of the largest number."""
    scale = max((abs(x) for x in expected), default=0.0)
    allowed = tolerance * scale
    return sum(
        1
        for a, b in zip(found, expected, strict=True)
        if (math.isnan(a) or abs(a - b) > allowed if allowed else a != b)
    )
