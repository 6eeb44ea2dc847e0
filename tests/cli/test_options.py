"""Options mean the same in every command, and what had another name says so."""

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer.main

from sysmol.cli import app, tables
from sysmol.configs_gem5.request import Simulation
from sysmol.network import save
from sysmol.network.builder import random_network

Run = Callable[..., tuple[int, str, str]]
COMMANDS: dict[str, Any] = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
OWN_JSON = {"paths", "doctor", "machines"}
"""Their ``--json`` is an object of their own."""


def flags(command: str) -> dict[str, Any]:
    """Options of a command by every spelling."""
    return {text: each for each in COMMANDS[command].params for text in (*each.opts, *each.secondary_opts)}


@pytest.mark.parametrize("name", ["--out", "--jobs", "--machine"])
def test_short_options_stand_for_the_same_long_ones(name: str) -> None:
    short = {"--out": "-o", "--jobs": "-j", "--machine": "-m"}[name]
    having = [command for command in COMMANDS if name in flags(command)]
    assert len(having) > 3
    for command in COMMANDS:
        assert (short in flags(command)) == (command in having), command
        if command in having:
            assert flags(command)[short] is flags(command)[name], command


def test_there_are_no_other_short_options() -> None:
    found = {text for command in COMMANDS for text in flags(command) if re.fullmatch("-[a-z]", text)}
    assert found == {"-o", "-j", "-m"}


@pytest.mark.parametrize(
    ("option", "metavar"), [("--gem5", "PATH"), ("--patterns", "SET"), ("--seed", None), ("--threads", None)]
)
def test_an_option_has_one_meaning(option: str, metavar: str | None) -> None:
    found = [flags(command)[option] for command in COMMANDS if option in flags(command)]
    shown = [each for each in found if not each.hidden]
    assert len(shown) > 1
    assert {each.is_flag for each in shown} == {False}
    assert metavar is None or {each.metavar for each in shown} == {metavar}
    assert {each.is_flag for command in COMMANDS for o, each in flags(command).items() if o == "--no-gem5"} == {True}


def test_whoever_trains_chooses_device_and_threads() -> None:
    for command in ("demo", "train", "quantise", "experiments", "codesign"):
        assert {"--device", "--threads", "--seed"} <= flags(command).keys(), command


def test_whoever_prints_a_table_has_json() -> None:
    for module in (
        "chain",
        "costs",
        "facts",
        "hwcost",
        "interchange",
        "kernels",
        "quantisation",
        "results",
        "simulation",
        "training",
    ):
        source = (Path(tables.__file__).parent / f"{module}.py").read_text()
        for text in re.split(r"^@commands\.command", source, flags=re.MULTILINE)[1:]:
            body = text.split("\n\n\n")[0]
            name = re.search(r"\ndef (\w+)\(", body)
            assert name is not None
            prints = re.search(r"\bshow_(?!accuracy)\w+\(", body) is not None
            assert prints == ("AsJson" in body or "as_json" in body), name[1]
    assert all("--json" in flags(command) for command in OWN_JSON)


def test_run_has_every_field_of_a_simulation() -> None:
    wanted = {field.name for field in fields(Simulation)} - {"roi"} | {"no_roi", "gem5", "linux", "out"}
    assert wanted <= {parameter.name for parameter in COMMANDS["run"].params}


@pytest.mark.parametrize(
    ("words", "now"),
    [
        (["codesign", "--patterns", "4"], "--count 4"), (["compile", "x", "--variant", "y"], "--name y"),
        (["tune", "x", "--count", "3"], "--candidates 3"), (["strip", "a", "b"], "--out b"),
        (["demo", "--gem5"], "--no-gem5"), (["sweep", "x.toml", "--gem5", "--retry"], "--no-gem5"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)  # fmt: skip
def test_old_options_name_the_new_ones(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], now: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*words)
    assert (status, out, err.count("\n")) == (2, "", 1) and now in err, err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["codesign", "--isa", "x86"], "x86"), (["codesign", "--rounds", "0"], "rounds"),
        (["codesign", "--drop", "nan"], "drop"), (["codesign", "--count", "46"], "count"),
        (["codesign", "--gem5", "absent"], "absent"), (["train", "--seed", "-1"], "seed"),
        (["train", "--seed", str(2**64)], "seed"), (["train", "--device", "abacus"], "abacus"),
        (["verify-gem5", "--isa", "mips"], "mips"), (["verify-gem5", "--cpu", "z80"], "z80"),
        (["compile", "x", "--isa", "mips"], "mips"), (["compile", "x", "--mode", "dos"], "dos"),
        (["run", "x", "--patterns", "P3"], "P3"), (["run", "x", "--mode", "dos"], "dos"),
        (["patterns", "x", "--method", "guess"], "guess"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)  # fmt: skip
def test_wrong_values_are_one_line_before_any_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*words)
    assert (status, out, err.count("\n")) == (2, "", 1) and said in err, err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this PyTorch has a GPU")
def test_a_device_that_is_not_there_is_one_line(run: Run, tmp_path: Path) -> None:
    status, _, err = run("train", "--device", "cuda", "--out", tmp_path / "out")
    assert status == 2 and "choose cpu" in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_tables_as_json(run: Run, tmp_path: Path) -> None:
    net = random_network(3)
    net.metrics = {"accuracy_integer": 0.9833, "file_bytes": 1234}
    path = save(tmp_path / "tiny.network.safetensors", net)
    status, out, _ = run("info", path, "--json")
    found = json.loads(out)
    assert status == 0 and found["format"] == "sysmol-tables"
    shares = {row[0]: row[2] for row in found["tables"][1]["rows"]}
    assert shares["all"] == 1.0 and np.isclose(sum(shares.values()), 2.0)
    assert ["accuracy_integer", 0.9833] in found["tables"][2]["rows"]
    assert "98.33%" in run("info", path)[1]
    status, out, err = run("info", tmp_path / "absent", "--json")
    assert (status, out) == (2, "") and "absent" in err


def test_shares_are_percentages() -> None:
    assert [tables.show_value(tables.share(value)) for value in (1, 0.98333, 0.0, None)] == [
        "100.00%", "98.33%", "0.00%", "–",
    ]  # fmt: skip
    assert [tables.plain(value) for value in (np.float64(2.0), np.int64(3), float("nan"), tables.Share(1), True)] == [
        2, 3, None, 1.0, True,
    ]  # fmt: skip
