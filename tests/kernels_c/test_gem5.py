"""The programs as they are, SMOL words and regions included, in gem5."""

import json

import pytest
from kernel_networks import all_networks

from sysmol.analysis.runs import load_run
from sysmol.configs_gem5.launch import find_gem5, run_gem5, why_no_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.isas import ISAS
from sysmol.kernels_c.build import compile_network
from sysmol.network import save


@pytest.mark.gem5
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["random", "vectors", "depthwise", "narrow", "grouped"])
def test_logits_and_mix(name, isa, seed, tmp_path):
    """gem5 gives the reference's logits, and executes the SMOL instructions that the manifest counts."""
    if find_gem5(isa) is None:
        pytest.skip(why_no_gem5(isa))
    net = all_networks(seed)[name]()
    manifest = compile_network(save(tmp_path / "n.safetensors", net), isa, tmp_path)
    run_gem5(manifest, tmp_path / "run", Simulation(isa, "atomic"))
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["logits_match"] is True, f"SYSMOL_TEST_SEED={seed}"
    rows = load_run(tmp_path / "run")
    regions = json.loads(manifest.read_text())["regions"]
    assert rows["smol"].tolist() == [region["mix"]["smol"] for region in regions]
    counted = sum(region["mix"][kind] for region in regions for kind in ("smol", "vload", "simd", "scalar", "branch"))
    # Compilers merge and share operations, so the total is close, not equal.
    assert 0.6 < rows["insts"].sum() / counted < 1.4
