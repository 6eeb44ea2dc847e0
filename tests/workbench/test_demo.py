"""The demo's stages end to end, on networks that no training had to make; gem5 left out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sysmol.cli import run_command_line
from sysmol.network import load, save
from sysmol.network.builder import Builder, Format
from sysmol.workbench.demo import VARIANTS
from sysmol.workbench.store import Store

FORMATS: dict[str, Format] = {"fp32": "f32", "int8": "s8", "w4": [4] * 5, "mixed": [4, 1, 2, 1, 1]}


def fake_training(out_dir: Path, seed: int, **_: Any) -> None:
    """Writes what training writes: four small networks with metrics and samples."""
    for variant, form in FORMATS.items():
        builder = Builder(np.random.default_rng(seed), 4, 4, 2, f"tiny-{variant}")
        (x,) = builder.layer("rescale", "image", ["f32" if variant == "fp32" else "s8"])
        (x,) = builder.layer("conv2d", x, [form], 5, (3, 3), padding=(1, 1, 1, 1))
        builder.classifier(x, classes=3)
        net = builder.finish(samples=4)
        net.metrics = {"accuracy_fp32": 0.5, "accuracy_float": 0.5, "accuracy_integer": 0.25, "bits_per_parameter": 3.0}
        save(out_dir / f"{variant}.network.safetensors", net)


def demo(out: Path) -> int:
    """Run the demo without gem5."""
    return run_command_line(["demo", "--quick", "--no-gem5", "--out", str(out)])


@pytest.mark.slow
def test_chain_without_gem5_and_its_second_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sysmol.train.recipes.pipeline.run", fake_training)
    out = tmp_path / "demo"
    assert demo(out) == 0, capfd.readouterr().err
    facts = json.loads((out / "summary.json").read_text())
    assert facts["accuracy"] == {"fp32": 0.5, "float": 0.5, "integer": 0.25}
    assert facts["cycles_source"] == ["twin (prediction)"] and len(facts["cycles"]) == 8
    assert facts["logits_agree"] is True
    # the arbiter and the host executable, for every network; integers bit for bit
    assert len(facts["agreement"]) == 2 * len(VARIANTS)
    assert {row["variant"] for row in facts["agreement"] if row["tolerance"] == 0} == {"int8", "w4", "mixed"}
    page = (out / "report.html").read_text()
    assert "prediction, not simulated" in page and "gem5 24" not in page
    for isa in ("arm", "riscv"):
        assert (out / "bin" / f"mixed.{isa}").read_bytes()[:4] == b"\x7fELF"

    capfd.readouterr()
    before = (out / "bin" / "mixed.arm").stat().st_mtime_ns
    assert demo(out) == 0
    said = capfd.readouterr().out
    assert said.count("unchanged, skipped") == 1 + 3 * len(VARIANTS) + 2 * len(VARIANTS)
    assert (out / "bin" / "mixed.arm").stat().st_mtime_ns == before

    # a network that was changed under the demo is put back from the store
    path = out / "mixed.network.safetensors"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(b"something else")
    assert demo(out) == 0 and path.read_bytes() == content


@pytest.mark.slow
def test_what_another_network_left_is_taken_away(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def evaluate(seed: int) -> str:
        """All steps for one network; what was said."""
        fake_training(tmp_path, seed)
        for variant in ("fp32", "int8", "mixed"):
            (tmp_path / f"{variant}.network.safetensors").unlink()
        assert run_command_line(["evaluate", str(tmp_path), "--no-gem5"]) == 0
        return capfd.readouterr().out

    assert "compile-w4-arm: done in" in evaluate(0)
    path = tmp_path / "w4.network.safetensors"
    content, names = path.read_bytes(), {name for name in listing(tmp_path) if not name.startswith("store/")}
    (tmp_path / "runs" / "by-hand").mkdir(parents=True)
    (tmp_path / "runs" / "by-hand" / "note").write_text("mine")
    evaluate(1)
    assert path.read_bytes() != content
    assert {name for name in listing(tmp_path) if not name.startswith("store/")} - names == {"runs/by-hand/note"}
    assert "done in" not in evaluate(0)  # the store kept it

    # wrong logits are not accepted
    net = load(path)
    assert net.samples is not None
    net.samples.logits += 1
    save(path, net)
    assert run_command_line(["evaluate", str(tmp_path), "--no-gem5"]) == 1
    err = capfd.readouterr().err
    assert err.startswith("sysmol: w4") and "differ" in err and err.count("\n") == 1


def listing(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_two_at_once_in_one_folder_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Store(tmp_path / "store").alone(tmp_path):
        assert demo(tmp_path) == 2
    assert "another sysmol is writing into" in capfd.readouterr().err
