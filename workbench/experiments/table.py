"""Rows of training in a CSV file, and their networks beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_text

Row = dict[str, Any]

MEASURED = ("cycles_arm", "cycles_riscv", "simulator", "logits_verified_by")
"""Columns that training cannot know: cycles per image, what measured them, and who computed the same logits. They come
from the summary that ``sysmol evaluate`` leaves in a seed's folder (:mod:`sysmol.analysis.accuracy`)."""
COLUMNS = (
    "network", "dataset", "variant", "seed", "accuracy_fp32", "accuracy_float", "accuracy_integer", "test_images",
    "bits_per_parameter", "register_bits", "mean_smol_bits", "parameters", "file_bytes", "compression", "patterns",
    "epochs", "seconds", "source", "command", "date", "threads", "torch", "network_sha256", "network_file",
    *MEASURED,
)  # fmt: skip
"""Of ``results/training.csv``: a row per network, data set, variant and seed. Accuracies are shares of the test images.
``bits_per_parameter`` are the bits of all weights as a file stores them over their number, ``register_bits`` those that
registers hold, with what fills unused slots. ``compression`` is 4 bytes per parameter over ``file_bytes``, the whole
file without samples and provenance. ``epochs`` are those of all phases from the first weights on, ``seconds`` their
time. ``network_file`` lies in :data:`NETWORKS`, without samples; ``network_sha256`` is of the file with samples that
was measured. What does not exist for a row is empty."""
RENAMED_COLUMNS = {"agree": "logits_verified_by"}
"""Columns of older files: old name, new name."""
NEWER_COLUMNS = ("test_images", "network_file")
"""Columns that older files lack: empty there."""
IDENTITY = COLUMNS[:4]
NETWORKS = "networks"
"""Folder beside the CSV file."""
LARGE = 1 << 20
"""Bytes of a network file in full precision from which on it is left out."""


def read_table(path: str | Path) -> list[dict[str, str]]:
    """Rows of a CSV file of :func:`take`, old column names replaced; none where there is no such file."""
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            head = tuple(RENAMED_COLUMNS.get(name, name) for name in reader.fieldnames or ())
            reader.fieldnames = list(head)
            rows = list(reader)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise SysmolError(f"cannot read {path}: {error}") from None
    if head != tuple(name for name in COLUMNS if name in head or name not in NEWER_COLUMNS):
        raise SysmolError(f"{path} has other columns than training results: move it away, or name another file")
    return [dict.fromkeys(NEWER_COLUMNS, "") | row for row in rows]


def take(rows: Sequence[Row], path: str | Path) -> Path:
    """Put rows into a CSV file, in the place of those with the same network, data set, variant and seed."""
    table = {_identity(row): row for row in read_table(path)}
    table |= {_identity(row): row for row in rows}
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.values())
    return atomic_write_text(path, text.getvalue())


def _identity(row: Row) -> tuple[str, ...]:
    return tuple(str(row[column]) for column in IDENTITY)
