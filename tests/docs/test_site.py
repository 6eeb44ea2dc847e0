"""The site of the pages: the figure of the rooms, the API reference, links that lead out of docs/."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from sysmol.files import PACKAGE

CLONE = PACKAGE.parent


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, CLONE / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_figure_of_the_rooms_is_of_these_imports() -> None:
    rooms = script("docs/figures/rooms.py")
    same = rooms.OUT.read_text(encoding="utf-8") == rooms.draw()
    assert same, "the imports between rooms have changed: python docs/figures/rooms.py"


def test_arrows_that_follow_from_others_are_left_out() -> None:
    rooms = script("docs/figures/rooms.py")
    pairs = {("a", "b"), ("b", "c"), ("a", "c"), ("c", rooms.CORE)}
    assert rooms.necessary(pairs) == [("a", "b"), ("b", "c")]


def test_api_pages_name_every_module() -> None:
    pytest.importorskip("mkdocs", reason="the site needs the extra docs: pip install 'sysmol[docs]'")
    hooks = script("docs/site_hooks.py")
    assert {"sysmol.errors", "sysmol.files", "sysmol"} <= set(hooks.modules("core"))
    assert "sysmol.train.quantise.prepared" in hooks.modules("train")
    assert "sysmol.configs_gem5.launch" in hooks.modules("configs_gem5")
    assert "sysmol.configs_gem5.run_net" not in hooks.modules("configs_gem5")
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_symlink() and (path / "__init__.py").is_file()}
    assert rooms - {"cli"} <= hooks.ROOM_TITLES.keys()


def test_links_out_of_the_pages_become_paths() -> None:
    pytest.importorskip("mkdocs", reason="the site needs the extra docs: pip install 'sysmol[docs]'")
    hooks = script("docs/site_hooks.py")
    page = SimpleNamespace(file=SimpleNamespace(src_uri="results.md"))
    text = "[machine](../sysmol/machines/o3-n1.json), [`LICENSE`](../LICENSE), [page](isa.md), ![figure](../a.svg)"
    assert hooks.on_page_markdown(text, page) == (
        "machine (`sysmol/machines/o3-n1.json`), `LICENSE`, [page](isa.md), ![figure](../a.svg)"
    )


def site_of_now() -> Path | None:
    """What `make docs` has built since anything that it shows was written."""
    site = CLONE / "build" / "site"
    page = site / "index.html"
    sources = [CLONE / "mkdocs.yml", *(CLONE / "docs").rglob("*.*"), *PACKAGE.rglob("*.py")]
    sources += [path for room in PACKAGE.iterdir() if room.is_symlink() for path in room.resolve().rglob("*.py")]
    built = page.stat().st_mtime if page.is_file() else 0.0
    return site if all(path.stat().st_mtime < built for path in sources) else None


@pytest.mark.slow
def test_the_site_builds(tmp_path: Path) -> None:
    """Strictly: every page is in the menu, every link between pages and every name in the API reference is there."""
    pytest.importorskip("mkdocs", reason="the site needs the extra docs: pip install 'sysmol[docs]'")
    site = site_of_now()
    if site is None:
        site = tmp_path
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
        done = subprocess.run(command, cwd=CLONE, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert "find_compiler" in (site / "api" / "kernels_c" / "index.html").read_text(encoding="utf-8")
    assert "TABLE" in (site / "api" / "core" / "index.html").read_text(encoding="utf-8")
