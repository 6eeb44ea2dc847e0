"""Files from strangers, damaged or meant to harm: each is read or refused in one line; nothing in it is executed."""

import io
import json
import os
import random
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import campaign
import numpy as np
import pytest
import readers
import torch

from sysmol.analysis import runs
from sysmol.cli import run_command_line
from sysmol.configs_gem5.inputs import load_job
from sysmol.errors import SysmolError
from sysmol.files import sha256_file
from sysmol.machine import load_machine
from sysmol.network import load, save
from sysmol.network.builder import random_network
from sysmol.train.frontend.checkpoint import load_weights
from sysmol.train.frontend.data import load_npz
from sysmol.workbench.steps.check import verify_on_host
from sysmol.workbench.store import Store
from sysmol.workbench.view import View

INPUTS = int(os.environ.get("SYSMOL_FUZZ", "600"))
"""Of all readers together; ``make fuzz`` asks for more."""
BRANCHES = ["--branches"] if os.environ.get("SYSMOL_FUZZ_BRANCHES") else []
"""Whether the branches that inputs take are counted and printed."""


def test_damaged_files_are_read_or_refused(seed: int) -> None:
    """No other exception, no hang, at most 256 MiB more than before, nothing left behind, nothing executed."""
    whole = sum(reader.share for reader in readers.READERS.values())
    command = [sys.executable, str(Path(campaign.__file__)), *BRANCHES, str(round(INPUTS / whole)), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    results, modules = ([row for row in rows if kind in row] for kind in ("reader", "module"))
    assert [result["reader"] for result in results] == list(readers.READERS)
    inputs, behind = (sum(result[key] for result in results) for key in ("inputs", "behind"))
    assert inputs >= 0.9 * INPUTS and behind >= inputs / 2
    for row in rows:
        print(*(f"{key} {value}" for key, value in row.items() if key != "wrong"), sep=", ")
    print(f"{inputs} inputs, {behind} of them damaged behind a checksum or without one")
    if BRANCHES:
        took, branches = (sum(row[key] for row in modules) for key in ("took", "branches"))
        print(f"{took} of {branches} branches of the readers")
    wrong = [(result["reader"], each) for result in results for each in result["wrong"]]
    assert not wrong, f"{len(wrong)} of them, the first one: {wrong[0]}"
    assert max(result["mebibytes"] for result in results) <= campaign.MEMORY >> 20


def test_a_reader_that_checks_nothing_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_FIELDS", lambda value, where: None)
    result = campaign.run("run folder", 40, 1, tmp_path)
    assert any("Error" in each["what"] for each in result["wrong"])


# --- manifests: nothing runs or is read but what they describe ---------------------------------------------------


@pytest.fixture
def products(tmp_path: Path) -> Path:
    readers.make_products(tmp_path)
    return tmp_path


def change(path: Path, *keys: str, to: Any) -> None:
    whole = json.loads(path.read_text())
    inner = whole
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    path.write_text(json.dumps(whole))


def refused(call: Callable[[], object], match: str) -> None:
    with pytest.raises(SysmolError, match=match) as caught:
        call()
    assert str(caught.value).isprintable()


def verify(products: Path) -> Callable[[], None]:
    return lambda: verify_on_host(products / "bin/mixed.host.json", products / "check.json")


def marking(path: Path, marker: Path) -> None:
    """A program that leaves a marker, so that it shows whether it ran."""
    path.write_text(f"#!/bin/sh\ntouch {marker}\n")
    path.chmod(0o755)


def test_the_program_of_a_manifest_runs(products: Path) -> None:
    """Else what follows would prove nothing: the manifest's own program is executed, and gives other logits."""
    marker = products / "ran"
    marking(products / "bin/mixed.host", marker)
    change(products / "bin/mixed.host.json", "elf", "sha256", to=sha256_file(products / "bin/mixed.host"))
    refused(verify(products), "wrote no")
    assert marker.exists()


def test_a_swapped_program_does_not_run(products: Path) -> None:
    marker = products / "ran"
    marking(products / "bin/mixed.host", marker)
    refused(verify(products), "changed since")
    assert not marker.exists() and not (products / "check.json").exists()


@pytest.mark.parametrize("how", ("parent", "absolute", "link", "circle", "folder", "nothing"))
def test_a_program_outside_does_not_run(products: Path, how: str) -> None:
    marker, outside = products / "ran", products / "outside"
    marking(outside, marker)
    (products / "bin/link").symlink_to(outside)
    (products / "bin/circle").symlink_to("circle")
    names = {"parent": "../outside", "absolute": str(outside), "link": "link", "circle": "circle", "folder": ".",
             "nothing": ""}  # fmt: skip
    for isa in ("host", "arm"):
        facts = {"path": names[how], "sha256": sha256_file(outside)}
        change(products / f"bin/mixed.{isa}.json", "elf", to=facts)
    refused(verify(products), "no file of its folder|cannot read")
    refused(lambda: load_job(str(products / "bin/mixed.arm.json"), None, None), "no file of its folder|cannot read")
    assert not marker.exists()


def test_touch_is_no_program_of_a_network(products: Path) -> None:
    """``verify`` appends names of files to the command: touch would make them."""
    up = "/".join([".."] * len((products / "bin").parts))
    touch = f"{up}{shutil.which('touch')}"
    assert (products / "bin" / touch).is_file()
    facts = {"path": touch, "sha256": sha256_file(products / "bin" / touch)}
    change(products / "bin/mixed.host.json", "elf", to=facts)
    refused(verify(products), "no file of its folder")


@pytest.mark.parametrize("what", ("network", "layer"))
def test_names_are_not_compiled(tmp_path: Path, what: str) -> None:
    """A name that ends its comment and begins a function which runs before main."""
    marker = tmp_path / "ran"
    name = f'*/ __attribute__((constructor)) static void f(void) {{ __builtin_fopen("{marker}", "w"); }} /*'
    net = random_network(1)
    if what == "network":
        net.name = name
    else:
        net.layers[0].name = name
    save(tmp_path / "a.network.safetensors", net)
    out = str(tmp_path / "bin")
    words = ["compile", str(tmp_path / "a.network.safetensors"), "--isa", "host", "--out", out]
    assert run_command_line(words) == 0
    assert run_command_line(["verify", str(tmp_path / "bin/a.host.json")]) == 0
    assert not marker.exists()


@pytest.mark.parametrize("name", ("images", "logits"))
def test_samples_are_those_of_the_manifest(products: Path, name: str) -> None:
    manifest = products / "bin/mixed.arm.json"
    assert load_job(str(manifest), None, None).available == 2
    outside = products / f"mixed.{name}.bin"
    shutil.copy(products / f"bin/mixed.{name}.bin", outside)
    change(manifest, "reference", name, to=f"../{outside.name}")
    refused(lambda: load_job(str(manifest), None, None), "no file of its folder")
    change(manifest, "reference", name, to=outside.name)
    content = bytearray((products / f"bin/{outside.name}").read_bytes())
    content[0] ^= 1
    (products / f"bin/{outside.name}").write_bytes(content)
    refused(lambda: load_job(str(manifest), None, None), "SHA-256 differs")


def test_the_network_is_that_of_the_manifest(products: Path) -> None:
    """Its hash is compared before it is read."""
    (products / "mixed.network.safetensors").write_bytes(b"no network at all")
    refused(verify(products), "changed since")


@pytest.mark.parametrize("place", ("network", "elf"))
@pytest.mark.parametrize("path", ("/dev/zero", "../pipe"))
def test_what_has_no_end_is_not_read(products: Path, place: str, path: str) -> None:
    os.mkfifo(products / "pipe")
    change(products / "bin/mixed.host.json", place, "path", to=path)
    refused(verify(products), "it is no file|no file of its folder")
    (products / "pipe.json").symlink_to("pipe")
    refused(lambda: load_machine(products / "pipe.json"), "it is no file")


def test_the_page_shows_names_as_text(products: Path) -> None:
    evil = "<script>document.title='hostile'</script>"
    for manifest in (products / "bin").glob("*.json"):
        for key in ("name", "dataflow"):
            change(manifest, key, to=evil)
        change(manifest, "compiler", to={"command": evil, "version": evil})
    run = products / readers.RUN_JSON
    change(run, "name", to=evil)
    change(run, "gem5", to={"version": evil, "binary": evil})
    change(run, "machine", "description", to=evil)
    change(products / "checks/mixed-host.json", "what", to=evil)
    readers.read_page(products)


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [
        (readers.RUN_JSON, ("command",), [{}]),
        (readers.RUN_JSON, ("seed",), "one"),
        (readers.RUN_JSON, ("isa_fingerprint",), 1),
        ("bin/mixed.arm.json", ("reference",), {"images": "i", "logits": "l"}),
        ("bin/mixed.arm.json", ("compiler",), {}),
        ("bin/mixed.arm.json", ("dataflow",), None),
    ],
)
def test_what_a_page_says_of_a_run_is_checked(products: Path, name: str, keys: tuple[str, ...], value: Any) -> None:
    readers.read_page(products)
    change(products / name, *keys, to=value)
    refused(lambda: readers.read_page(products), keys[-1])


@pytest.mark.parametrize("variant", ("../x", "/tmp/x", ".hidden", ""))
def test_no_name_leads_to_another_folder(products: Path, variant: str) -> None:
    """Run folders and checks are named by the variant."""
    change(products / "bin/mixed.host.json", "variant", to=variant)
    refused(verify(products), "no part of a file's name")


@pytest.mark.parametrize("listed", ('["../precious"]', '["inner/../../precious"]', "[1]", '{"a": 1}', "[" * 50_000))
def test_a_damaged_list_removes_nothing_elsewhere(tmp_path: Path, listed: str) -> None:
    """An output folder remembers what the run before put there, and takes it away."""
    out = tmp_path / "out"
    place = View(Store(out / "store"), out).listed
    (tmp_path / "precious").write_text("kept")
    (out / "inner").mkdir()
    (out / "old").write_text("goes")
    place.parent.mkdir()
    place.write_text(listed)
    View(Store(out / "store"), out).finish()
    assert (tmp_path / "precious").exists() and (tmp_path / "out/old").exists()
    place.write_text('["old"]')
    View(Store(out / "store"), out).finish()
    assert not (tmp_path / "out/old").exists()


# --- numbers and nesting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", (17_000, 1_000_000))
@pytest.mark.parametrize("name", ("manifest, verify", "machine", "sweep spec", "run folder", "schedules", "store"))
def test_deep_nesting(tmp_path: Path, name: str, depth: int) -> None:
    """17 kB of brackets were more than the parser takes."""
    reader = readers.READERS[name]
    reader.make(tmp_path)
    file = next(file for file, _ in reversed(reader.files) if file.endswith(".json"))
    text = (tmp_path / file).read_text()
    (tmp_path / file).write_text('{"deep": ' + "[" * depth + "]" * depth + ", " + text[1:])
    assert campaign.outcome(reader, tmp_path) == ("read" if name == "store" else "refused")


def test_names_that_stand_twice(tmp_path: Path) -> None:
    readers.make_machine(tmp_path)
    text = (tmp_path / "m.json").read_text()
    (tmp_path / "m.json").write_text('{"clock_ghz": 1, ' + text[1:])
    refused(lambda: load_machine(tmp_path / "m.json"), "'clock_ghz' stands twice")


def test_a_million_names_are_looked_at_once(tmp_path: Path) -> None:
    """Which of them stands twice took as many steps as the square of their number."""
    names = ", ".join(f'"{number}": 1' for number in range(300_000))
    (tmp_path / "m.json").write_text(f'{{{names}, "299999": 2}}')
    start = time.process_time()
    refused(lambda: load_machine(tmp_path / "m.json"), "'299999' stands twice")
    assert time.process_time() - start < 10


def test_a_pipe_is_no_network(tmp_path: Path) -> None:
    """Reading it would wait for somebody who writes."""
    os.mkfifo(tmp_path / readers.NETWORK)
    refused(lambda: load(tmp_path / readers.NETWORK), "it is no file")
    refused(lambda: load_weights(readers.module(), tmp_path / readers.NETWORK), "it is no file")


@pytest.mark.parametrize("value", ("NaN", "Infinity", "-1", "0", "1e999", "1" + "0" * 400, "true", '"3"'))
def test_a_clock_is_a_number(tmp_path: Path, value: str) -> None:
    readers.make_machine(tmp_path)
    change(tmp_path / "m.json", "clock_ghz", to="CLOCK")
    (tmp_path / "m.json").write_text((tmp_path / "m.json").read_text().replace('"CLOCK"', value))
    refused(lambda: load_machine(tmp_path / "m.json"), "clock_ghz")


def test_messages_are_one_short_line() -> None:
    said = str(SysmolError("\x1b[2J" + "a\nb" + "x" * 100_000))
    assert said.isprintable() and said.startswith("\\x1b[2Ja\\nbx") and len(said) < 2100


# --- data and checkpoints -----------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> dict[str, np.ndarray]:
    readers.make_npz(tmp_path)
    with np.load(tmp_path / "d.npz") as found:
        return dict(found)


@pytest.mark.parametrize("dtype", (np.int32, np.uint64))
def test_a_label_of_300_million(tmp_path: Path, data: dict[str, np.ndarray], dtype: type) -> None:
    """It made as many names of classes: 11.5 GB."""
    del data["classes"]
    data["train_labels"] = np.full(12, 300_000_000, dtype)
    np.savez(tmp_path / "d.npz", **data)
    refused(lambda: load_npz(tmp_path / "d.npz"), "a label is 300000000")


def test_an_archive_that_unpacks_to_a_thousand_times_its_size(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (1 << 28, 1, 1)})
        with archive.open("train_images.npy", "w") as stream:
            stream.write(head.getvalue())
            for _ in range(256):
                stream.write(bytes(1 << 20))
    assert (tmp_path / "d.npz").stat().st_size < 1 << 20
    refused(lambda: load_npz(tmp_path / "d.npz"), "unpack to")


def test_a_header_that_claims_more_than_there_is(tmp_path: Path, data: dict[str, np.ndarray]) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in data.items():
            head = io.BytesIO()
            shape = (1 << 40, *array.shape[1:]) if name == "train_images" else array.shape
            form = {"descr": array.dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(head, form)
            archive.writestr(f"{name}.npy", head.getvalue() + array.tobytes())
    (tmp_path / "d.npz").write_bytes(content.getvalue())
    refused(lambda: load_npz(tmp_path / "d.npz"), "does not hold the")


def test_arrays_are_those_that_were_saved(tmp_path: Path, data: dict[str, np.ndarray]) -> None:
    data["train_images"] = np.asfortranarray(data["train_images"])
    np.savez_compressed(tmp_path / "d.npz", **data)
    found = load_npz(tmp_path / "d.npz")
    assert np.array_equal(found.train_images, data["train_images"])
    assert found.train_images.flags.writeable and found.classes == ("a", "b", "c")


def test_a_checkpoint_executes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as none, as a damaged one does."""
    monkeypatch.chdir(tmp_path)
    readers.make_checkpoint(tmp_path)
    torch.save({"format": readers.Runs(), "model": readers.Runs()}, tmp_path / "fp32.checkpoint.pt")
    torch.save(readers.Runs(), tmp_path / "fp32.phase.pt")
    readers.fit(tmp_path)
    readers.read_phase(tmp_path)
    assert not (tmp_path / "hostile-was-here").exists()


def test_a_checkpoint_that_does_not_fit_leaves_the_module_alone(tmp_path: Path) -> None:
    """The same weights come out as without it."""
    readers.make_checkpoint(tmp_path)
    path = tmp_path / "fp32.checkpoint.pt"
    whole = path.read_bytes()
    right = torch.load(io.BytesIO(whole), weights_only=True)["model"]
    rng = random.Random(5)
    for _ in range(10):
        path.write_bytes(readers.damage_pickle(rng, whole))
        readers.fit(tmp_path)
        after = torch.load(path, weights_only=True)["model"]
        assert all(torch.equal(after[name], right[name]) for name in right)
