"""Cycles of a vector by layer: the fixed part by hand, against generated code, and that sources are never mixed up."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sysmol.analysis.costs.estimate import bounds
from sysmol.analysis.costs.vectors import fixed_share, layer_costs, read_costs
from sysmol.errors import SysmolError
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.machine import load_machine
from sysmol.network import Network, load, save
from sysmol.network.builder import Builder

MACHINE = load_machine("o3-n1")  # 4-wide, two vector pipes that SMOL shares, two memory pipes


def region(op: str = "conv2d", schedule: str = "os-8x2x4-vdot", macs: int = 0, **mix: int) -> dict[str, Any]:
    """A region of a manifest."""
    kinds = dict.fromkeys(("smol", "vload", "vstore", "simd", "scalar", "branch"), 0)
    return {"op": op, "schedule": schedule, "macs": macs, "mix": kinds | {"chains": 16, "chain_len": 36} | mix}


def test_fixed_share_by_hand() -> None:
    # 64 channels in one vector: 9216 of the 9256 SMOL instructions multiply; with 2304 loads they are done per vector.
    layer = region(macs=589_824, smol=9256, vload=2624, simd=1752, scalar=1200, branch=200)
    assert fixed_share(layer, 64, [36], MACHINE) == pytest.approx(((40 + 1752) / 2) / ((9256 + 1752) / 2))
    # 64 channels of 2 bits, depthwise: four parts of 16 elements
    layer = region("depthwise", "", macs=9216, smol=576, simd=2112, vload=500)
    assert fixed_share(layer, 64, [36], MACHINE) == pytest.approx(2112 / (2112 + 576))
    assert fixed_share(region("maxpool", "", simd=100), 64, [36], MACHINE) == 1
    assert fixed_share(region(schedule="os-8x2x4-pop", macs=1000, simd=100), 64, [44], MACHINE) == 0


def network(bits: int) -> Network:
    """64 channels of ``bits`` bits through a dense, a 1x1 and a depthwise convolution."""
    b = Builder(np.random.default_rng(0), 8, 8, 3, f"bits{bits}")
    precisions = np.full(64, bits)
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, [precisions], 64)
    for op, kernel in (("conv2d", 3), ("depthwise", 3), ("conv2d", 1)):
        pad = kernel // 2
        (x,) = b.layer(op, x, [precisions], 64, (kernel, kernel), padding=(pad, pad, pad, pad))
    b.classifier(x)
    return b.finish()


@pytest.mark.parametrize("isa", ["arm", "riscv"])
def test_costs_foretell_what_another_vector_costs(isa: str) -> None:
    """The same layers generated for 64 channels of 2 bits (one vector) and of 4 bits (two)."""
    nets = {bits: network(bits) for bits in (2, 4)}
    made = {bits: generate(net, TARGETS[isa], "n", "a test").regions for bits, net in nets.items()}
    seen = set()
    for layer, one, two in zip(nets[2].layers, made[2], made[4], strict=True):
        if nets[2].tensors[layer.input].format != "smol" or layer.op not in ("conv2d", "depthwise"):
            continue
        first, second = asdict(one), asdict(two)
        cycles, more = (max(bounds(r, MACHINE).values()) for r in (first, second))
        foretold = (1 - fixed_share(first, 64, nets[2].tensors[layer.input].patterns, MACHINE)) * cycles
        if layer.op == "depthwise":  # sums are widened in other ways for other precisions; vectors differ in vmla only
            more = cycles + (second["mix"]["smol"] - first["mix"]["smol"]) / MACHINE.smol_count
        assert foretold == pytest.approx(more - cycles, rel=0.15), layer.name
        assert 0 < foretold < cycles
        seen.add((layer.op, layer.kernel))
    assert len(seen) >= 3


@pytest.fixture
def smol_layer(products: Path) -> str:
    """A convolution of the network ``mixed`` with a SMOL input."""
    net = load(products / "mixed.network.safetensors")
    return next(n.name for n in net.layers if n.op == "conv2d" and net.tensors[n.input].format == "smol")


def test_estimate_and_gem5_are_named(products: Path, smol_layer: str, tmp_path: Path) -> None:
    path = products / "bin" / "mixed.riscv.json"
    estimated = layer_costs(path, MACHINE)
    measured = layer_costs(path, MACHINE, products / "runs" / "mixed-riscv-o3")
    assert estimated.source == "estimate" and measured.source == "gem5 24.0.0.1 o3"
    regions = [r["name"] for r in json.loads(path.read_text())["regions"]]
    # the second image's cycles, which the fixture counts up by 100 a region
    assert [measured.layers[name].cycles for name in regions] == [
        3000 + 100 * (len(regions) + n) for n in range(len(regions))
    ]
    a, b = estimated.layers[smol_layer], measured.layers[smol_layer]
    assert a.cycles_per_vector is not None and b.cycles_per_vector is not None
    assert 0 < a.cycles_per_vector * a.vectors < a.cycles
    assert b.cycles_per_vector / b.cycles == pytest.approx(a.cycles_per_vector / a.cycles)
    assert smol_layer in estimated.per_vector and len(estimated.per_vector) < len(regions)
    assert measured.cycles == sum(layer.cycles for layer in measured.layers.values())
    assert read_costs(measured.write(tmp_path / "costs.json")) == measured


def test_what_does_not_belong_together_is_refused(products: Path, tmp_path: Path) -> None:
    path, run = products / "bin" / "mixed.riscv.json", products / "runs" / "mixed-riscv-o3"
    with pytest.raises(SysmolError, match="another executable"):
        layer_costs(products / "bin" / "w4.riscv.json", MACHINE, run)
    with pytest.raises(SysmolError, match="simulated the machine o3-n1"):
        layer_costs(path, load_machine("yflows"), run)
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(facts | {"cpu": "atomic"}))
    with pytest.raises(SysmolError, match="no cycles"):
        layer_costs(path, MACHINE, run)
    save(products / "mixed.network.safetensors", load(products / "w4.network.safetensors"))
    with pytest.raises(SysmolError, match="changed since"):
        layer_costs(path, MACHINE)
    bad = tmp_path / "costs.json"
    bad.write_text(json.dumps({"format": "sysmol-costs", "version": 1, "layers": {"a": {"cycles": 1}}}))
    with pytest.raises(SysmolError, match="no whole sysmol-costs file"):
        read_costs(bad)
