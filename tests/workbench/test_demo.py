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
    assert facts["cycles_source"] == ["estimate"] and len(facts["cycles"]) == 8
    assert facts["logits_agree"] is True
    # the arbiter and the host executable, for every network; integers bit for bit
    assert len(facts["agreement"]) == 2 * len(VARIANTS)
    assert {row["variant"] for row in facts["agreement"] if row["tolerance"] == 0} == {"int8", "w4", "mixed"}
    page = (out / "report.html").read_text()
    assert "estimate" in page and "gem5 24" not in page
    for isa in ("arm", "riscv"):
        assert (out / "bin" / f"mixed.{isa}").read_bytes()[:4] == b"\x7fELF"

    capfd.readouterr()
    before = (out / "bin" / "mixed.arm").stat().st_mtime_ns
    assert demo(out) == 0
    said = capfd.readouterr().out
    assert said.count("unchanged, skipped") == 1 + 3 * len(VARIANTS) + 2 * len(VARIANTS)
    assert (out / "bin" / "mixed.arm").stat().st_mtime_ns == before

    # a network that changed under the demo is made again, and wrong logits are not accepted
    path = out / "mixed.network.safetensors"
    net = load(path)
    assert net.samples is not None
    net.samples.logits += 1

    def wrong_training(out_dir: Path, seed: int, **_: Any) -> None:
        fake_training(out_dir, seed)
        save(path, net)

    monkeypatch.setattr("sysmol.train.recipes.pipeline.run", wrong_training)
    path.unlink()
    assert demo(out) == 1
    err = capfd.readouterr().err
    assert err.startswith("sysmol: mixed: ") and "differ" in err and err.count("\n") == 1
