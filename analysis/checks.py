"""Verifications: records of who computed the logits of how many images, and how many differ from the network file's."""

import math
from pathlib import Path
from typing import Any

from sysmol.files import atomic_write_json, read_json
from sysmol.typed import number, or_null, table, text, whole

CHECK_FORMAT, CHECK_VERSION = "sysmol-check", 1

_TEXTS = dict.fromkeys(("what", "variant", "isa", "network_sha256", "elf_sha256"), text)
_FIELDS = table(
    {
        **_TEXTS,
        "images": whole(),
        "mismatches": whole(),
        "tolerance": number(0),
        "worst": or_null(number(0)),
    }
)


def read_check(path: Path) -> dict[str, Any]:
    """The record of a verification; :class:`SysmolError` where it is none."""
    return read_json(path, CHECK_FORMAT, CHECK_VERSION, _FIELDS)


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

    ``tolerance`` is 0 (bit for bit) or relative; ``worst`` is the largest difference in the same terms (null
    where a logit is no number).
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
        "worst": worst if math.isfinite(worst) else None,
        "network_sha256": network_sha256,
        "elf_sha256": elf_sha256,
    }
    atomic_write_json(path, record)
