"""Comparing two gem5 binaries: what counts as equal, which gain is reported, bad input."""

import itertools
import json
from pathlib import Path

import pytest

from sysmol.benchmarks import plugin_cost
from sysmol.benchmarks.plugin_cost import Sample, Side, compare, count, main
from sysmol.errors import CheckFailed
from sysmol.files import atomic_write_json
from sysmol.manifest import HEADER

BASE, OTHER = Side(Path("a"), True), Side(Path("b"), False)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return atomic_write_json(
        tmp_path / "x.arm.json",
        HEADER
        | {
            "name": "x",
            "variant": "x",
            "isa": "arm",
            "network": {"path": "x.network.safetensors", "sha256": "n" * 64},
            "elf": {"path": "x.arm", "sha256": "e" * 64},
            "patterns": [],
            "regions": [],
        },
    )


def fake(monkeypatch: pytest.MonkeyPatch, seconds: dict[Side, list[float]], ticks: dict[Side, int]) -> list[Side]:
    """Runs that take these seconds in turn; returns the list of sides as they were run."""
    order: list[Side] = []
    turns = {side: itertools.cycle(values) for side, values in seconds.items()}

    def simulate(manifest: Path, side: Side, *_: object) -> Sample:
        order.append(side)
        return Sample(1000, ticks[side], "logits", next(turns[side]))

    monkeypatch.setattr(plugin_cost, "simulate", simulate)
    return order


def test_gain(monkeypatch: pytest.MonkeyPatch, manifest: Path) -> None:
    order = fake(monkeypatch, {BASE: [2.0, 4.0, 2.0], OTHER: [1.0, 4.0, 1.6]}, {BASE: 7, OTHER: 7})
    said: list[str] = []
    facts = compare(manifest, BASE, OTHER, "o3", "o3-n1", 1, 3, said.append)
    assert order == [BASE, OTHER, OTHER, BASE, BASE, OTHER], "runs must alternate"
    assert facts["gain_percent"] == pytest.approx(25) and facts["gain_best_percent"] == pytest.approx(100)
    assert len(said) == 1 and "+100.00%" in said[0] and "median of 3 pairs +25.00%" in said[0]


def test_disagreement(monkeypatch: pytest.MonkeyPatch, manifest: Path) -> None:
    fake(monkeypatch, {BASE: [1.0], OTHER: [1.0]}, {BASE: 7, OTHER: 8})
    with pytest.raises(CheckFailed, match="differ between runs"):
        compare(manifest, BASE, OTHER, "o3", "o3-n1", 1, 1, print)


def test_count(monkeypatch: pytest.MonkeyPatch, manifest: Path) -> None:
    """The start cancels out: 5000 host instructions of it on one side, 9000 on the other."""

    def host_instructions(_: Path, side: Side, cpu: str, machine: str, images: int) -> tuple[int, Sample]:
        start, each = (5000, 200) if side == BASE else (9000, 202)
        return start + each * 10 * images, Sample(10 * images, 3 * images, "logits", 0.0)

    monkeypatch.setattr(plugin_cost, "host_instructions", host_instructions)
    facts = count(manifest, BASE, OTHER, "o3", "o3-n1", 2, print)
    assert (facts["host_instructions_base"], facts["host_instructions_other"]) == (200, 202)
    assert facts["change_percent"] == pytest.approx(1)


def test_command_line(
    monkeypatch: pytest.MonkeyPatch, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    binary = tmp_path / "gem5.opt"
    assert main([str(manifest), "--base", str(binary), "--other", str(binary)]) == 2
    assert "there is no gem5 binary" in capsys.readouterr().err
    binary.write_bytes(b"gem5")
    assert main([str(manifest), "--base", str(binary), "--other", str(binary)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main([str(manifest), "--base", str(binary), "--base-stock", "--other", str(binary), "--repeats", "0"]) == 2
    sides = Side(binary, True), Side(binary, False)
    fake(monkeypatch, {side: [1.0] for side in sides}, dict.fromkeys(sides, 7))
    arguments = [str(manifest), "--base", str(binary), "--base-stock", "--other", str(binary)]
    assert main([*arguments, "--out", str(tmp_path / "cost.json")]) == 0
    facts = json.loads((tmp_path / "cost.json").read_text())
    assert facts["format"] == "sysmol-plugin-cost" and facts["rows"][0]["ticks"] == 7
