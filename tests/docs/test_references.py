"""Every link, path, module, name, command and option that a page names is there."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from sysmol.cli import app
from sysmol.renamed import table

from .pages import CLONE, HISTORY, anchors, blocks, commands, inline_code, links, pages

NOW = [page for page in pages() if page.name not in HISTORY]
ROOTS = {path.name for path in CLONE.iterdir() if path.is_dir() and not path.name.startswith(".")} - {"build"}
REMOTE = re.compile(r"^[a-z]+:")
PATH = re.compile(r"[\w.*{},-]+(?:/[\w.*{},-]+)+/?")
NAME = re.compile(r"sysmol(?:\.\w+)+")
PLACEHOLDERS = {"ROOM", "FOLDER", "NAME"}


def name_of(page: Path) -> str:
    return str(page.relative_to(CLONE))


def sub_commands() -> dict[str, Any]:
    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def options(command: Any) -> set[str]:
    """Of a command, or of all commands of a group."""
    own = [command, *getattr(command, "commands", {}).values()]
    parameters = [parameter for each in own for parameter in each.params]
    return {text for parameter in parameters for text in (*parameter.opts, *parameter.secondary_opts)}


def alternatives(pattern: str) -> list[str]:
    """A path with {a,b} spelt out."""
    found = re.search(r"\{([^{}]*)\}", pattern)
    if not found:
        return [pattern]
    rest = [pattern[: found.start()] + each + pattern[found.end() :] for each in found[1].split(",")]
    return [spelt for each in rest for spelt in alternatives(each)]


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether a relative link's file is there, and the heading that it names."""
    target, _, anchor = link.partition("#")
    path = (page.parent / target).resolve() if target else page
    return path.exists() and (not anchor or anchor in anchors(path))


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links(page: Path) -> None:
    assert [link for link in links(page) if not REMOTE.match(link) and not leads_somewhere(page, link)] == []


@pytest.mark.parametrize("page", NOW, ids=name_of)
def test_paths(page: Path) -> None:
    """Words of inline code that begin with one of the repository's folders; NAME in them stands for any name."""
    missing = []
    for word in (word.rstrip(",:") for code in inline_code(page) for word in code.split()):
        if PATH.fullmatch(word) and word.split("/")[0] in ROOTS:
            for path in alternatives(word):
                if not any(CLONE.glob(path.rstrip("/").replace("NAME", "*"))):
                    missing.append(path)
    assert missing == []


def resolves(name: str) -> bool:
    """Whether a dotted name is a module or what one holds."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        try:
            for part in parts[cut:]:
                found = getattr(found, part)
        except AttributeError:
            return False
        return True
    return False


@pytest.mark.parametrize("page", NOW, ids=name_of)
def test_python_names(page: Path) -> None:
    names = set(NAME.findall(page.read_text(encoding="utf-8")))
    kept = {name for name in names if name.endswith(".safetensors") or PLACEHOLDERS & set(name.split("."))}
    made = {block.title.removesuffix(".py").replace("/", ".") for block in blocks(page)} - {""}  # by the page's reader
    kept |= {name for name in names if any(name.startswith(module) for module in made)}
    assert [name for name in sorted(names - kept) if not resolves(name)] == []


@pytest.mark.parametrize("page", NOW, ids=name_of)
def test_commands(page: Path) -> None:
    """Sub-commands of sysmol and their options; modules, and options that their source names; targets of make."""
    known = sub_commands()
    targets = set(re.findall(r"^([a-z0-9-]+):", (CLONE / "Makefile").read_text(), re.MULTILINE))
    for words in commands(page):
        line = f"{name_of(page)}: {' '.join(words)}"
        given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        if words[0] == "sysmol" and len(words) > 1 and not words[1].startswith("-"):
            if words[1] in ("SUBCOMMAND", "..."):
                continue
            assert words[1] in known, line
            assert given <= options(known[words[1]]) | {"-h", "--help"}, line
        elif words[0] in ("python", "python3") and words[1:2] == ["-m"] and words[2].startswith("sysmol."):
            assert resolves(words[2]), line
            source = source_of(words[2])
            assert all(option in source for option in given - {"-m"}), line
        elif words[0] == "make":
            assert {word for word in words[1:] if re.fullmatch(r"[a-z0-9-]+", word)} - {"make"} <= targets, line
        elif any(word.endswith(("run_net.py", "boot_linux.py")) for word in words):
            script = next(word for word in words if word.endswith(".py"))
            source = (CLONE / "configs_gem5" / Path(script).name).read_text()
            assert all(f'"{option}"' in source for option in given), line


def test_the_changes_list_every_module_that_has_another_name() -> None:
    same = table() in (CLONE / "CHANGELOG.md").read_text(encoding="utf-8")
    assert same, "CHANGELOG.md lacks the table of modules that sysmol.renamed.table() gives"


def source_of(module: str) -> str:
    """Source of a module that is a command, and of the modules beside it where it is a package."""
    path = CLONE / "sysmol" / Path(*module.split(".")[1:])
    files = [path.with_suffix(".py")] if path.with_suffix(".py").is_file() else sorted(path.glob("*.py"))
    return "".join(file.read_text(encoding="utf-8") for file in files)


@pytest.mark.parametrize("page", ["docs/isa.md", "docs/training.md"])
def test_the_checks_look_at_something(page: str) -> None:
    """A page of each kind has what is looked for, so that the tests above cannot pass by finding nothing."""
    path = CLONE / page
    assert inline_code(path) and anchors(path)
    assert any(commands(each) for each in NOW)
    assert resolves("sysmol.files.PACKAGE") and not resolves("sysmol.files.NOTHING") and not resolves("sysmol.nothing")
