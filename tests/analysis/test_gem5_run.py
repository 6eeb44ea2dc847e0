"""Real run folders of gem5: what the tables say must agree with what the code generator counted."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sysmol.analysis.costs.estimate import estimate
from sysmol.analysis.products import collect
from sysmol.analysis.report import write_report
from sysmol.analysis.runs import load_run, smol_breakdown, totals
from sysmol.configs_gem5.launch import find_gem5, run_gem5, why_no_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.kernels_c.build import compile_network
from sysmol.machine import load_machine
from sysmol.manifest import load_manifest
from sysmol.network import save
from sysmol.network.builder import Builder
from sysmol.pattern import PATTERNS


def check_smol(layers: pd.DataFrame, parts: pd.DataFrame, regions: list[dict[str, Any]]) -> None:
    """What the plug-in counted against the code generator's exact counts, and its columns against each other."""
    counted = parts.groupby("index")["count"].sum().reindex(layers["index"], fill_value=0.0)
    assert counted.tolist() == [region["mix"]["smol"] for region in regions]
    for p, chunks in ((4, 0), (2, 1), (1, 2)):
        expected = [0.0] * len(regions)
        for row in parts.itertuples():
            if row.function in ("vmac", "vdot"):
                expected[row.index] += row.count * PATTERNS[int(row.selector[1:])][chunks] * 16 // p
            elif row.function in ("vmul", "vmla") and row.selector.startswith(f"b{p}"):
                expected[row.index] += row.count * (8 if p == 4 else 16)
        assert layers[f"smol_macs{p}"].tolist() == expected
    macs = layers[["smol_macs4", "smol_macs2", "smol_macs1"]].sum(axis=1)
    busy = layers["op"].isin(["conv2d", "linear"]) & (layers["smol"] > 0)
    assert busy.any() and (macs >= 0.9 * layers["macs"])[busy].all(), "border taps may be left out"
    share = layers["smol_slot_share"]
    assert share.isna().all() or (((share > 0) == (layers["smol"] > 0)).all() and share.max() <= 1)


@pytest.mark.gem5
@pytest.mark.parametrize("isa", ["arm", "riscv"])
def test_tables_of_real_runs(isa: str, tmp_path: Path) -> None:
    if find_gem5(isa) is None:
        pytest.skip(why_no_gem5(isa))
    builder = Builder(np.random.default_rng(11), 6, 6, 3, "tables")
    (x,) = builder.layer("rescale", "image", [[4, 1, 2]])
    (x,) = builder.layer("conv2d", x, [[4] * 20 + [1] * 20], 40, (3, 3), padding=(1, 1, 1, 1))
    (x,) = builder.layer("conv2d", x, [[2] * 9], 9, (3, 3))
    builder.classifier(x, classes=5)
    network = save(tmp_path / "mixed.network.safetensors", builder.finish(samples=3))
    path = compile_network(network, isa, tmp_path / "bin", variant="mixed")
    regions = load_manifest(path)["regions"]
    for cpu, images in (("atomic", 2), ("o3", 3)):
        folder = tmp_path / "runs" / f"mixed-{isa}-{cpu}"
        run = run_gem5(path, folder, Simulation(isa, cpu, images=images))
        assert run["logits_match"] is True
        layers = load_run(folder)
        assert layers["layer"].tolist() == [region["name"] for region in regions]
        assert layers["smol"].tolist() == [region["mix"]["smol"] for region in regions]
        check_smol(layers, smol_breakdown(folder), regions)
        assert (layers["insts"] > 0).all() and (layers["load"] > 0).all()
        kinds = layers[["smol", "simd", "load", "store", "vset", "scalar"]].sum(axis=1)
        assert (kinds >= layers["insts"]).all(), "micro-operations, at least one per instruction"
        assert layers["cycles"].isna().all() == (cpu == "atomic")
    assert (layers["cycles"] > 0).all() and (layers["cycles_cold"] >= layers["cycles"]).all()
    assert layers["ipc"].max() <= 4, "the core is four wide"
    # the estimate is a bound of the steady state, not a simulation: it must be near, and rarely above
    ratio = estimate(path, load_machine("o3-n1"))["cycles"].sum() / totals(layers)["cycles"].iloc[0]
    assert 0.4 < ratio < 1.1
    facts = write_report(collect(tmp_path, "o3-n1"), tmp_path, "test")
    assert facts["cycles_source"] == ["gem5 24.0.0.1 o3"] and facts["logits_agree"] is True
