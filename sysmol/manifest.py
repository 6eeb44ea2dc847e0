"""The manifest: the JSON file beside an executable that says what it holds, and for whom.

Standard library only: gem5's embedded Python imports this.
"""

from pathlib import Path
from typing import Any

from sysmol.files import read_json

FORMAT, VERSION = "sysmol-manifest", 1
HEADER = {"format": FORMAT, "version": VERSION}
"""The first two fields of every manifest."""


def load_manifest(path: str | Path) -> dict[str, Any]:
    """The manifest at ``path``; :class:`SysmolError` where it cannot be read or is of another format or version."""
    return read_json(path, FORMAT, VERSION)
