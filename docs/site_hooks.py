"""What MkDocs does beside its own: an API page per room, and links that leave docs/ as names of files."""

import posixpath
import re
from typing import Any

from mkdocs.structure.files import File, Files

from sysmol.files import PACKAGE

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)#]+)(?:#[^)]*)?\)")
ROOM_TITLES = {
    "core": "Core",
    "patterns": "Patterns and registers",
    "interchange": "Other formats",
    "train": "Training",
    "kernels_c": "Code generator",
    "configs_gem5": "Simulation",
    "isa_patches": "Edits in gem5's tree",
    "verify": "Verification",
    "analysis": "Analysis",
    "workbench": "Workbench",
    "search": "Search",
    "rtl": "Hardware",
    "cim": "Compute in memory",
    "benchmarks": "Benchmarks",
}
"""Pages of the API reference in their order. The command line is described by its own help."""
INSIDE_GEM5 = ("run_net", "boot_linux", "show_gem5", "__main__")
"""Scripts, which are described by their own help."""


def modules(room: str) -> list[str]:
    """Dotted names of a room's modules; the core's are those of the package that lie in no room."""
    folder = PACKAGE if room == "core" else PACKAGE / room
    found = []
    for path in sorted(folder.resolve().rglob("*.py")):
        parts = path.relative_to(folder.resolve()).with_suffix("").parts
        if path.stem in INSIDE_GEM5:
            continue
        names = parts[:-1] if parts[-1] == "__init__" else parts
        found.append(".".join(("sysmol", *(() if room == "core" else (room,)), *names)))
    return found


def api_page(room: str) -> str:
    """Markdown of a room's page: a directive per module."""
    directives = "\n\n".join(f"::: {name}" for name in modules(room))
    return f"# {ROOM_TITLES[room]}\n\n{directives}\n"


def on_files(files: Files, config: Any) -> Files:
    """Add the API pages and name them in the menu."""
    rooms = [room for room in ROOM_TITLES if room == "core" or (PACKAGE / room).is_dir()]
    for room in rooms:
        files.append(File.generated(config, f"api/{room}.md", content=api_page(room)))
    if config.nav is not None:
        config.nav.append({"API": [{ROOM_TITLES[room]: f"api/{room}.md"} for room in rooms]})
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The site holds the pages alone: a link to another file of the repository becomes its text and its path."""

    def named(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.file.src_uri), link[2]))
        return f"{link[1]} (`{path}`)" if link[1].strip("`") != path else f"`{path}`"

    return LINK.sub(named, markdown)
