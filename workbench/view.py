"""An output folder as people see it: products of entries by their names, and nothing of another run among them."""

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path

from sysmol.files import atomic_write_json, read_text
from sysmol.typed import many, text
from sysmol.workbench.key import Inputs
from sysmol.workbench.store import Entry, Store, show


class View:
    """``folder`` with its store. :meth:`show` and :meth:`note` name what this run put there; :meth:`finish` takes away
    what runs before it named, finished or killed, and this one did not. Files that nobody named stay."""

    def __init__(self, store: Store, folder: Path, name: str = "folder") -> None:
        self.folder = folder
        self.listed = store.root / "shown" / f"{name}.json"
        self.names: set[str] = set()
        self.before = self._before()
        self.inputs: list[Inputs] = []
        """Of all entries that were shown."""

    def show(self, entry: Entry, below: Path = Path()) -> None:
        """Put an entry's products below the folder."""
        names = {product: (below / product).as_posix() for product in entry.record["products"]}
        self._name(names.values())
        show(self.folder, names, entry)
        self.inputs.append(entry.record["inputs"])

    def note(self, path: Path) -> Path:
        """Name a file that this run writes below the folder."""
        self._name([path.relative_to(self.folder).as_posix()])
        return path

    def _name(self, names: Iterable[str]) -> None:
        """On disk before the files are, so that the next run knows them if this one is killed."""
        self.names |= set(names)
        atomic_write_json(self.listed, sorted(self.names | self.before))

    def finish(self) -> None:
        """Take away what another run put here; the store keeps it."""
        for name in self.before - self.names:
            path = self.folder / name
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it holds something else
                path.parent.rmdir()
        atomic_write_json(self.listed, sorted(self.names))

    def _before(self) -> set[str]:
        """What another run named; nothing where its list is damaged, or names what lies outside of the folder."""
        try:
            found = json.loads(read_text(self.listed)) if self.listed.is_file() else []
            many(text)(found, "the list")
        except (ValueError, RecursionError):
            return set()
        folder = self.folder.resolve()
        return {name for name in found if name and (folder / name).parent.resolve().is_relative_to(folder)}
