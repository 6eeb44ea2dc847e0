"""Scripts that gem5's own Python runs: nothing but m5, the standard library and the core lies in their imports."""

from pathlib import Path

import pytest

from sysmol.configs_gem5.binaries import SHOW_GEM5
from sysmol.configs_gem5.launch import BOOT_LINUX, RUN_NET
from sysmol.files import PACKAGE
from sysmol.workbench import closure

SCRIPTS = (RUN_NET, BOOT_LINUX, SHOW_GEM5)
ROOMS = {path.name for path in PACKAGE.iterdir() if path.is_symlink()} - {"configs_gem5"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_imports(script: Path) -> None:
    """gem5 embeds the system's Python, which knows no virtual environment."""
    found = closure.of_modules(f"sysmol.configs_gem5.{script.stem}")
    assert found.packages <= {"m5", "_m5"}
    reached = {path.relative_to(PACKAGE).parts[0] for path in found.files}
    assert "configs_gem5" in reached and not reached & ROOMS


def test_an_import_of_a_room_would_be_seen() -> None:
    found = closure.of_modules("sysmol.configs_gem5.run_net", "sysmol.analysis.runs")
    assert "pandas" in found.packages and "analysis" in {path.relative_to(PACKAGE).parts[0] for path in found.files}


def test_scripts_find_the_package() -> None:
    """Before the first import of it, by one line that is the same in all of them."""
    folder = PACKAGE / "configs_gem5"
    starts = {path for path in folder.glob("*.py") if "__m5_main__" in path.read_text()}
    assert starts <= set(SCRIPTS)
    lines = set()
    for path in starts:
        text = path.read_text().splitlines()
        (at,) = [i for i, line in enumerate(text) if line.startswith("sys.path.insert")]
        first = min(i for i, line in enumerate(text) if line.startswith(("from sysmol", "import sysmol")))
        assert at < first
        lines.add(text[at])
    assert len(lines) == 1
