"""The manifest: the JSON file beside an executable that says what it holds, and for whom.

What it names is taken only where it is what the manifest describes: files that are executed or fed to an executable lie
in the manifest's own folder, and every file has the SHA-256 that stands there. Standard library only: gem5's embedded
Python imports this.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sysmol.errors import SysmolError
from sysmol.files import check_fields, check_file, read_json, sha256_file
from sysmol.typed import anything, entries, file_name, many, number, one_of, or_null, table, text, whole

FORMAT, VERSION = "sysmol-manifest", 1
HEADER = {"format": FORMAT, "version": VERSION}
"""The first two fields of every manifest."""

MIX = ("smol", "vload", "vstore", "simd", "scalar", "branch", "chains", "chain_len")
"""What a region's ``mix`` counts."""
FLOATS, INTEGERS = "float32", "int32"
"""Types of logits."""

_SIZES = ("macs", "bytes_weights", "bytes_in", "bytes_out")
_FIELDS = table(
    {
        "name": text,
        "variant": file_name,
        "isa": file_name,
        "network": table({"path": text, "sha256": text}, {"metrics": entries(anything)}),
        "elf": table({"path": text, "sha256": text}),
        "patterns": many(whole(0, 44)),
        "regions": many(table({"name": text}, {"op": text, "schedule": text, "bytes_code": whole()})),
    },
    {
        "mode": one_of("se", "baremetal"),
        "input": table({"shape": many(whole(1, 1 << 24), 3, 3)}),
        "output": table({"classes": whole(1, 1 << 24), "dtype": one_of(INTEGERS, FLOATS)}),
        "reference": or_null(
            table(
                {"images": text, "logits": text},
                {"tolerance": number(0, 1), "count": whole(1), "images_sha256": text, "logits_sha256": text},
            )
        ),
        "compiler": table({}, {"command": text, "version": text}),
        "dataflow": text,
        "tile": or_null(entries(number(0))),
    },
)
_COUNTED = table({"regions": many(table({"op": text, **dict.fromkeys(_SIZES, whole())}), 1)})
_MIXED = table({"regions": many(table({"schedule": text, "mix": table(dict.fromkeys(MIX, number(0)))}))})
_RUNNABLE = table({"input": anything, "output": anything})
_SHOWN = table(
    {
        "compiler": table({"command": text, "version": text}),
        "dataflow": text,
        "reference": or_null(table({"tolerance": anything})),
    }
)


def load_manifest(path: str | Path) -> dict[str, Any]:
    """The manifest at ``path``; :class:`SysmolError` where it cannot be read, is of another format or version, or a
    field is not what belongs there."""
    return read_json(path, FORMAT, VERSION, _FIELDS)


SETS_VTYPE = "-DSMOL_SET_ALWAYS"
"""What makes a RISC-V program right whose compiler sets vtype in the kernels: every operation sets its own."""


def measures_compiler(manifest: Mapping[str, Any]) -> bool:
    """Whether the cycles of a program say more of its compiler than of its kernels: every operation sets vtype, each
    of which gem5 v24.0 mispredicts. Ratios to such cycles mean nothing."""
    return SETS_VTYPE in manifest["compiler"]["command"]


def load_counted(path: str | Path, *, mix: bool = False) -> dict[str, Any]:
    """The manifest of a network, whose regions have operations, multiply-accumulates and bytes; with ``mix`` also
    their schedules and instructions."""
    found = load_manifest(path)
    for fields in (_COUNTED, _MIXED) if mix else (_COUNTED,):
        check_fields(path, FORMAT, found, fields)
    return found


def load_shown(path: str | Path) -> dict[str, Any]:
    """The manifest of a network's executable as reports show it: who compiled it how, what its logits are held to."""
    found = load_manifest(path)
    check_fields(path, FORMAT, found, _SHOWN)
    return found


def load_runnable(path: str | Path) -> dict[str, Any]:
    """The manifest of an executable that takes images and gives logits."""
    found = load_manifest(path)
    check_fields(path, FORMAT, found, _RUNNABLE)
    return found


def beside(manifest: str | Path, name: str, sha256: str | None) -> Path:
    """The file ``name`` of a manifest's own folder, absolute.

    Raises :class:`SysmolError` where it lies outside, by its name or as a symbolic link, is no file, or has another
    SHA-256 than ``sha256`` (None: manifests of earlier versions do not say it).
    """
    folder = Path(manifest).resolve().parent
    try:
        file = (folder / name).resolve()
    except (OSError, ValueError, RuntimeError):  # RuntimeError: a circle of links
        file = Path()
    if not name or not file.is_relative_to(folder) or file == folder:
        raise SysmolError(f"{manifest} names {name!a}, which is no file of its folder: compile again")
    _check_content(manifest, file, sha256)
    return file


def network_of(manifest: str | Path, facts: dict[str, Any]) -> Path:
    """The network file that a manifest describes, wherever it lies; :class:`SysmolError` where it is gone or is
    another one."""
    file = Path(manifest).parent / facts["network"]["path"]
    _check_content(manifest, file, facts["network"]["sha256"])
    return file


def _check_content(manifest: str | Path, file: Path, sha256: str | None) -> None:
    if sha256 is None:
        check_file(file)
    elif sha256_file(file) != sha256:
        raise SysmolError(f"{file} changed since {manifest} was made (its SHA-256 differs): compile it again")
