"""The store: what a key holds, entries that are whole or absent, failures, kills, two processes at once."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sysmol import environment
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import PACKAGE, sha256_file
from sysmol.workbench import closure
from sysmol.workbench.key import Step, Task, differences
from sysmol.workbench.store import HOST, RECORD, Store, records, show

CLONE = PACKAGE.parent
HERE = Path(__file__).parent


def step(name: str = "write", **changes: Any) -> Step:
    """A step of :mod:`example_steps`."""
    return Step(name, 1, f"example_steps:{name}", **changes)


@pytest.fixture(autouse=True)
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps of these tests can be imported, and their closure is their own file."""
    monkeypatch.syspath_prepend(str(HERE))
    of_modules = closure.of_modules

    def of(*modules: str) -> closure.Closure:
        return closure.of_file(HERE / "example_steps.py") if modules[0] == "example_steps" else of_modules(*modules)

    monkeypatch.setattr(closure, "of_modules", of)


def test_computed_once_with_a_record_of_everything(tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    source.write_text("hello")
    task = Task(step(), {"text": "x", "seed": 3}, {"source": source}, given={"note": tmp_path / "note"})
    made = Store(tmp_path / "store").make(task, "a command")
    assert made.path("product").read_text() == "hello x 3" and not made.known
    record = made.record
    assert record["key"] == task.key and record["products"] == {"product": sha256_file(made.path("product"))}
    assert record["inputs"]["files"] == {"source": sha256_file(source)}
    assert record["inputs"]["options"] == {"text": "x", "seed": 3}
    assert record["command"] == "a command" and record["host"] == HOST and record["pid"] == os.getpid()
    assert re.fullmatch(r"[0-9a-f]{40}\+?", record["commit"]) and record["seconds"] >= 0 and record["date"]
    again = Store(tmp_path / "store").make(
        Task(step(), {"seed": 3, "text": "x"}, {"source": source}, given={"note": 1})
    )
    assert again.known and again.record == record
    assert [each["key"] for each in records(tmp_path / "store")] == [task.key]
    assert not list((tmp_path / "store" / "unfinished").iterdir())


def test_every_kind_of_input_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("source", "header.h", "tool", "user.py", "beside.py"):
        (tmp_path / name).write_text("1\n" if name != "user.py" else "def f():\n    import beside\n")

    def inputs(**changes: Any) -> Any:
        facts: dict[str, Any] = {
            "options": {"seed": 0}, "files": {"source": tmp_path / "source"}, "tools": {"tool": tmp_path / "tool"},
            "reads": (tmp_path / "header.h",), "variables": ("SYSMOL_CC_ARM",), "packages": ("numpy",),
            "code": (tmp_path / "user.py",),
        }  # fmt: skip
        return Task(step(), **facts | changes).inputs

    first = inputs()
    for name, changed in (
        ("source", "files: source"), ("header.h", "files: header.h"), ("tool", "tools: tool"),
        ("beside.py", "files: beside.py"), ("user.py", "files: user.py"),
    ):  # fmt: skip
        before = (tmp_path / name).read_text()
        (tmp_path / name).write_text(before + "# more\n")
        assert differences(first, inputs()) == [changed]
        (tmp_path / name).write_text(before)
        assert differences(first, inputs()) == []
    monkeypatch.setenv("SYSMOL_CC_ARM", "another compiler")
    assert differences(first, inputs()) == ["variables: SYSMOL_CC_ARM"]
    monkeypatch.delenv("SYSMOL_CC_ARM")
    assert differences(first, inputs(options={"seed": 1})) == ["options: seed"]
    monkeypatch.setattr(closure, "_versions_of", lambda name: ((name, "0.0"),))
    assert differences(first, inputs()) == ["packages: numpy"]


def test_a_damaged_product_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("hello")
    task, store = Task(step(), {"text": "", "seed": 0}, {"source": tmp_path / "source"}), Store(tmp_path / "store")
    product = store.make(task).path("product")
    product.write_text("other")
    assert store.find(task) is None and not store.make(task).known
    assert product.read_text() == "hello  0"
    (product.parent / RECORD).write_text("{")
    assert store.find(task) is None


def test_a_failure_is_recorded_and_tried_again(tmp_path: Path) -> None:
    task, store = Task(step("fail", keeps_failures=True), {"kind": "check"}), Store(tmp_path / "store")
    with pytest.raises(CheckFailed, match="not equal"):
        store.make(task)
    assert store.find(task) is None
    failure = store.failure(task)
    assert failure is not None and failure.record["error"] == {"kind": "CheckFailed", "text": "not equal"}
    assert failure.path("log").read_text() == "so far"
    with pytest.raises(CheckFailed):  # of other steps nothing stays
        Store(tmp_path / "other").make(Task(step("fail"), {"kind": "check"}))
    assert not [path for path in (tmp_path / "other").rglob("*") if path.is_file()]
    with pytest.raises(ValueError):  # no failure of ours: nothing is kept
        store.make(Task(step("fail"), {"kind": "bug"}))
    assert len(list((tmp_path / "store" / "failed").iterdir())) == 1
    assert not list((tmp_path / "store" / "unfinished").iterdir())


def test_variables_that_a_step_reads_are_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.make(Task(step("read"), {"name": "SYSMOL_CC_ARM"}, variables=("SYSMOL_CC_ARM",)))
    store.make(Task(step("read"), {"name": "SYSMOL_DATA"}))  # a place: its files count
    with pytest.raises(AssertionError, match="SYSMOL_CC_HOST"):
        store.make(Task(step("read"), {"name": "SYSMOL_CC_HOST"}))
    with pytest.raises(KeyError):
        environment.read("HOME")


def test_unfinished_work_is_its_hosts_own(tmp_path: Path) -> None:
    folder = tmp_path / "unfinished"
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    for name in (f"{HOST}.{process.pid}.a", f"{HOST}.{os.getpid()}.b", f"elsewhere.{process.pid}.c"):
        (folder / name).mkdir(parents=True)
    Store(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [f"{HOST}.{os.getpid()}.b", f"elsewhere.{process.pid}.c"]
    )


def make(root: Path, log: Path, seconds: float, name: str = "slow") -> None:
    sys.path.insert(0, str(HERE))
    own = closure.of_file(HERE / "example_steps.py")
    closure.of_modules = lambda *_: own  # type: ignore[assignment]
    Store(root).make(Task(step(name, resumes=() if name == "count" else None), given={"log": log, "seconds": seconds}))


def test_two_processes_compute_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=make, args=(tmp_path / "store", tmp_path / "log", 0.5)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert (tmp_path / "log").read_text() == "started\n"


def test_a_killed_step_goes_on_from_its_unfinished_work(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=make, args=(tmp_path / "store", tmp_path / "log", 60, "count"))
    process.start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "log").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert len(list((tmp_path / "store" / "unfinished").iterdir())) == 1
    assert not list((tmp_path / "store").glob("count/*"))
    make(tmp_path / "store", tmp_path / "log", 0, "count")
    assert (tmp_path / "log").read_text() == "1\n2\n"  # the first part was not done again
    assert not list((tmp_path / "store" / "unfinished").iterdir()) and not list(
        (tmp_path / "store" / "resume").iterdir()
    )


def test_one_process_has_a_folder_alone_until_it_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from sysmol.workbench.store import Store\n"
        "with Store(sys.argv[1]).alone(Path()): print('mine', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "mine\n"
        with pytest.raises(SysmolError, match="another sysmol is writing"), Store(tmp_path).alone(tmp_path):
            pass
        process.kill()
    with Store(tmp_path).alone(tmp_path):
        assert Store(tmp_path).claim("other") is not None


def test_products_are_shown_where_people_look(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("hello")
    made = Store(tmp_path / "store").make(Task(step(), {"text": "", "seed": 0}, {"source": tmp_path / "source"}))
    show(tmp_path / "view", {"product": "bin/name"}, made)
    shown = tmp_path / "view" / "bin" / "name"
    assert shown.read_text() == "hello  0"
    shown.write_bytes(b"edited in place")
    found = Store(tmp_path / "store").make(Task(step(), {"text": "", "seed": 0}, {"source": tmp_path / "source"}))
    assert not found.known  # the store saw it
    show(tmp_path / "view", {"product": "bin/name"}, found)
    assert shown.read_text() == "hello  0" and len(list(shown.parent.iterdir())) == 1


# --- closures --------------------------------------------------------------------------------------------------------


def names(*modules: str) -> set[str]:
    return {path.relative_to(PACKAGE).as_posix() for path in closure.of_modules(*modules).files}


def test_the_closure_of_code_counts_lazy_imports_and_packages() -> None:
    run = names("sysmol.configs_gem5.run_net", "sysmol.configs_gem5.launch")
    wanted = {"machine/machine.py", "machine/parts.py", "errors.py", "__init__.py", "configs_gem5/__init__.py"}
    assert wanted | {f"configs_gem5/{name}.py" for name in ("simulation", "fullsystem", "system", "inputs")} <= run
    for name in run:
        assert not name.startswith(("cli/", "docs/", "tests/", "analysis/", "train/")), name
    whole = closure.of_modules("sysmol.train.recipes.pipeline")
    assert {"torch", "numpy", "sklearn", "PIL"} <= whole.packages and "os" not in whole.packages
    assert "train/frontend/user_files.py" in names("sysmol.train.recipes.pipeline")
    found = closure.versions(whole.packages)
    assert {"torch", "numpy", "scikit-learn", "pillow", "python"} <= set(found)


def test_the_closure_of_a_users_file(tmp_path: Path) -> None:
    for name, text in {
        "nets.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import checked\nfrom parts import block\n",
        "parts/__init__.py": "",
        "parts/block.py": "from . import deep\nfrom .deep import x\nimport numpy",
        "parts/deep.py": "def f():\n    import lazy\n",
        "lazy.py": "",
        "checked.py": "",
        "unrelated.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = closure.of_file(tmp_path / "nets.py")
    assert {path.relative_to(tmp_path).as_posix() for path in found.files} == {
        "nets.py", "parts/__init__.py", "parts/block.py", "parts/deep.py", "lazy.py"
    }  # fmt: skip
    assert found.packages == {"numpy"}


def test_nobody_reads_variables_behind_the_stores_back() -> None:
    """One function reads the variables that results depend on."""
    read = re.compile(r"environ(\.get)?[\[(]|getenv|environ\b")
    named = re.compile("|".join(environment.VARIABLES))
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_symlink()} - {"docs", "gem5_ext"}
    files = [path for room in rooms for path in (CLONE / room).rglob("*.py")] + list(PACKAGE.glob("*.py"))
    assert len(files) > 100
    for path in files:
        for line in path.read_text(encoding="utf-8").splitlines() if path.name != "environment.py" else []:
            assert not (read.search(line) and (named.search(line) or "SYSMOL" in line)), f"{path}: {line.strip()}"


def test_records_are_json_that_people_can_read(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("hello")
    made = Store(tmp_path / "store").make(Task(step(), {"text": "", "seed": 0}, {"source": tmp_path / "source"}))
    text = (made.folder / RECORD).read_text()
    assert json.loads(text)["format"] == "sysmol-result" and '\n "key": ' in text


def test_a_newer_record_is_not_taken_for_ours(tmp_path: Path) -> None:
    task, store = Task(step("fail"), {"kind": "none"}), Store(tmp_path)
    made = store.make(task)
    record = json.loads((made.folder / RECORD).read_text())
    (made.folder / RECORD).write_text(json.dumps(record | {"version": 99}))
    assert store.find(task) is None


def test_a_store_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SysmolError, match="cannot create the folder"):
        Store(tmp_path / "file")
