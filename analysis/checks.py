"""Verifications: records of who computed the logits of how many images, and how many differ from the network file's."""

from pathlib import Path

from sysmol.files import atomic_write_json

CHECK_FORMAT, CHECK_VERSION = "sysmol-check", 1


def write_check(
    path: Path,
    *,
    what: str,
    variant: str,
    isa: str,
    images: int,
    mismatches: int,
    tolerance: float,
    worst: float,
    network_sha256: str,
    elf_sha256: str = "",
) -> None:
    """Record a verification over ``images`` images: ``mismatches`` logits differ from the network file's.

    ``tolerance`` is 0 (bit for bit) or relative; ``worst`` is the largest difference in the same terms.
    """
    record = {
        "format": CHECK_FORMAT,
        "version": CHECK_VERSION,
        "what": what,
        "variant": variant,
        "isa": isa,
        "images": images,
        "mismatches": mismatches,
        "tolerance": tolerance,
        "worst": worst,
        "network_sha256": network_sha256,
        "elf_sha256": elf_sha256,
    }
    atomic_write_json(path, record)
