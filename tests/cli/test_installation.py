"""`sysmol paths` and `sysmol doctor`: what they find, and what they say where a thing is missing."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from sysmol import isa
from sysmol.cli import diagnosis
from sysmol.configs_gem5.launch import find_gem5, why_no_gem5
from sysmol.places import PLACES

Run = Callable[..., tuple[int, str, str]]

INCLUDE = re.compile(r'^\s*#\s*include\s+"((?:gem5_ext/)?smol_[a-z0-9_]+\.(?:h|hh))"', re.MULTILINE)
FAKE_GEM5 = """#!/bin/sh
# SmolArmDecoder
echo '{{"version": "24.0.0.1", "compiled": "", "isas": ["arm"], "fingerprint": {fingerprint}}}' > "$4"
"""


def states(output: str) -> dict[str, str]:
    return {finding["part"]: finding["state"] for finding in json.loads(output)["findings"]}


def place_gem5(root: Path, fingerprint: str, text: str = FAKE_GEM5) -> Path:
    """A program at gem5's place that answers as gem5 does."""
    binary = root / "build" / "ALL" / "gem5.opt"
    binary.parent.mkdir(parents=True, exist_ok=True)
    binary.write_text(text.format(fingerprint=fingerprint))
    binary.chmod(0o755)
    return binary


def test_every_place_is_there(run: Run) -> None:
    status, out, _ = run("paths", "--json")
    assert status == 0
    listed = json.loads(out)
    assert listed.keys() == PLACES.keys()
    for name, path in listed.items():
        assert Path(path).exists()
        assert run("paths", name)[1] == path + "\n"


def test_unknown_place(run: Run) -> None:
    status, out, err = run("paths", "attic")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "attic" in err and "extras" in err


def test_the_plugin_finds_its_headers_beside_the_folder_for_extras() -> None:
    """As gem5's build resolves them: its own by the folder's name, the arithmetic by the path in SConscript."""
    extras = PLACES["extras"].path
    headers = [extras / name for name in re.findall(r"'(\.\./[^']*)'", (extras / "SConscript").read_text())]
    assert headers
    sources = [path for path in extras.iterdir() if path.suffix in (".cc", ".hh")]
    included = {name for path in sources for name in INCLUDE.findall(path.read_text())}
    assert {"gem5_ext/smol_decode.hh", "smol_arith.h"} <= included
    for name in included:
        assert any((folder / name).is_file() for folder in (extras.parent, *headers)), name


def test_doctor_of_a_machine_that_can_run_the_chain(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEM5_ROOT", str(tmp_path))
    monkeypatch.delenv("SYSMOL_DATA", raising=False)
    status, out, _ = run("doctor", "--json")
    found = states(out)
    assert status == 0
    assert found["Python"] == found["packages"] == found["compiler for host"] == found["compiler for riscv"] == "ok"
    assert found["gem5"] == found["data set mnist"] == "optional"
    assert {f"extra {name}" for name in metadata.metadata("sysmol").get_all("Provides-Extra") or []} <= found.keys()
    assert str(PLACES["extras"].path) in out and "SYSMOL_DATA" in out


def test_doctor_finds_data(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").touch()
    monkeypatch.setenv("SYSMOL_DATA", str(tmp_path))
    found = states(run("doctor", "--json")[1])
    assert (found["data set mnist"], found["data set cifar10"]) == ("ok", "optional")


def test_doctor_without_a_compiler(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSMOL_CC_RISCV", "no-such-cross-gcc")
    status, out, err = run("doctor")
    assert status == 1 and "compiler for riscv" in err
    assert any(
        line.startswith("missing  compiler for riscv: ") and "no-such-cross-gcc" in line for line in out.split("\n")
    )


def test_doctor_with_a_host_compiler_that_makes_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "cc"
    broken.write_text('#!/bin/sh\n[ "$1" = --version ] && echo cc 1 && exit 0\necho "error: no headers" >&2\nexit 1\n')
    broken.chmod(0o755)
    monkeypatch.setenv("SYSMOL_CC_HOST", str(broken))
    status, out, _ = run("doctor", "--json")
    assert status == 1 and states(out)["compiler for host"] == "missing" and "no headers" in out


def test_missing_and_outdated_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["no-such-package>=1", "numpy>=999", "typer", "other-missing; extra == 'more'", "pytest; extra == 'more'"]
    monkeypatch.setattr(metadata, "requires", lambda _: wanted)
    assert diagnosis.requirements() == {
        "no-such-package": "absent",
        "numpy": f"{metadata.version('numpy')}, not >=999",
    }
    assert diagnosis.requirements("more") == {"other-missing": "absent"}
    finding = diagnosis.packages()
    assert finding.state == "missing" and "pip install" in finding.fix


@pytest.mark.parametrize(
    ("fingerprint", "state", "said"),
    [
        (f'"{isa.FINGERPRINT}"', "ok", isa.FINGERPRINT),
        ('"0123456789abcdef"', "optional", "has instruction table 0123456789abcdef"),
        ("null", "optional", "lacks the plug-in"),
    ],
)
def test_doctor_asks_gem5_for_its_table(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fingerprint: str, state: str, said: str
) -> None:
    monkeypatch.setenv("GEM5_ROOT", str(tmp_path))
    binary = place_gem5(tmp_path, fingerprint)
    status, out, _ = run("doctor", "--json")
    assert status == 0 and states(out)["gem5"] == state
    assert str(binary) in out and "24.0.0.1" in out and said in out


def test_doctor_with_a_gem5_that_does_not_start(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEM5_ROOT", str(tmp_path))
    place_gem5(tmp_path, "", "#!/bin/sh\n# {fingerprint}\necho missing library >&2\nexit 127\n")
    status, out, _ = run("doctor", "--json")
    assert status == 0 and states(out)["gem5"] == "optional" and "missing library" in out


@pytest.mark.gem5
def test_doctor_with_the_gem5_at_hand(run: Run) -> None:
    if find_gem5() is None:
        pytest.skip(why_no_gem5())
    from sysmol.configs_gem5.binaries import all_binaries

    newest = next(binary for binary in all_binaries() if binary.isas)
    assert newest.version == "24.0.0.1" and re.fullmatch("[0-9a-f]{16}", newest.fingerprint)


@pytest.mark.parametrize("command", [[], ["compile"], ["doctor"]])
def test_short_help(run: Run, command: list[str]) -> None:
    status, out, _ = run(*command, "-h")
    assert status == 0 and "Usage: " in out


def test_a_shell_completes_commands_and_options() -> None:
    """What ``sysmol --install-completion`` puts into a shell's settings calls the program like this."""
    asks = {"_SYSMOL_COMPLETE": "complete_bash", "COMP_WORDS": "sysmol ver", "COMP_CWORD": "1"}
    program = [sys.executable, "-c", "import sys; sys.argv = ['sysmol']; from sysmol.cli import main; main()"]
    done = subprocess.run(program, env=os.environ | asks, capture_output=True, text=True)
    assert {"verify", "verify-gem5"} <= set(done.stdout.split())


def test_long_commands_say_how_long(run: Run) -> None:
    _, out, _ = run("demo", "--help")
    assert "ten minutes" in " ".join(out.split())
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert re.search(r"make demo.*minutes", readme, re.DOTALL) and re.search(r"make test.*minutes", readme, re.DOTALL)
