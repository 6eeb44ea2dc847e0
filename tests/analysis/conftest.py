"""A folder as the demo leaves it, made small and by hand: networks from the builder, manifests, a run, checks."""

import json
from pathlib import Path
from typing import Any

import pytest

from sysmol.analysis.checks import write_check
from sysmol.files import sha256_file
from sysmol.machine import load_machine
from sysmol.network import Network, save
from sysmol.network.builder import random_network


def _manifest(net: Network, path: Path, variant: str, isa: str, macs: int) -> dict[str, Any]:
    region = {
        "op": "conv2d",
        "schedule": "os-8x2x4-vdot",
        "macs": macs,
        "bytes_weights": 1000,
        "bytes_in": 200,
        "bytes_out": 100,
    }
    mix = {"smol": 6400, "vload": 1600, "vstore": 10, "simd": 300, "scalar": 900, "branch": 100}
    names = [layer.name for layer in net.layers if layer.op == "conv2d"]
    return {
        "format": "sysmol-manifest",
        "version": 1,
        "name": net.name,
        "variant": variant,
        "isa": isa,
        "network": {"path": f"../{path.name}", "sha256": sha256_file(path), "metrics": net.metrics},
        "elf": {"path": f"{variant}.{isa}", "sha256": f"{variant}-{isa}", "machine": isa, "sizes": {}, "symbols": {}},
        "compiler": {"command": "cc", "version": "cc <1>"},
        "dataflow": "os-8x8-vdot",
        "patterns": list(net.patterns),
        "regions": [region | {"name": name, "mix": mix | {"chains": 16, "chain_len": 72}} for name in names],
        "reference": {"images": "i", "logits": "l", "count": 2, "tolerance": 0},
    }


def _stats(regions: int) -> str:
    block = """
---------- Begin Simulation Statistics ----------
simInsts 9000 # (Count)
system.cpu.numCycles {} # (Cycle)
system.cpu.commitStats0.numInsts 9000 # (Count)
system.cpu.commitStats0.committedInstType::SimdAes 6400 71.11% 71.11% # (Count)
system.cpu.commitStats0.committedInstType::MemRead 1600 17.78% 88.89% # (Count)
---------- End Simulation Statistics   ----------
"""
    return "".join(block.format(3000 + 100 * number) for number in range(2 * regions + 1))


@pytest.fixture
def products(tmp_path: Path) -> Path:
    """Two networks, their ARM and RISC-V manifests, one gem5 run of two images, two checks."""
    folder = tmp_path / "demo"
    (folder / "bin").mkdir(parents=True)
    for seed, variant in enumerate(("mixed", "w4")):
        net = random_network(seed)
        net.name, net.description = "tiny <net>", "made & by hand"
        net.metrics = {
            "accuracy_fp32": 0.99,
            "accuracy_float": 0.98,
            "accuracy_integer": 0.975,
            "bits_per_parameter": 2.5,
            "compression": 11.5,
        }
        path = save(folder / f"{variant}.network.safetensors", net)
        for isa in ("arm", "riscv"):
            manifest = _manifest(net, path, variant, isa, macs=64_000)
            (folder / "bin" / f"{variant}.{isa}.json").write_text(json.dumps(manifest))
    run = folder / "runs" / "mixed-riscv-o3"
    run.mkdir(parents=True)
    manifest_path = folder / "bin" / "mixed.riscv.json"
    manifest = json.loads(manifest_path.read_text())
    (run / "stats.txt").write_text(_stats(len(manifest["regions"])))
    facts = {
        "format": "sysmol-run",
        "version": 1,
        "isa": "riscv",
        "cpu": "o3",
        "machine": load_machine("o3-n1").to_json(),
        "patterns": manifest["patterns"],
        "manifest": {"path": "../../bin/mixed.riscv.json", "sha256": sha256_file(manifest_path)},
        "elf_sha256": manifest["elf"]["sha256"],
        "network_sha256": manifest["network"]["sha256"],
        "variant": "mixed",
        "name": "tiny <net>",
        "images": 2,
        "seed": 7,
        "gem5": {"version": "24.0.0.1", "binary": "gem5.opt"},
        "isa_fingerprint": "0123456789abcdef",
        "logits_match": True,
        "mismatches": 0,
        "command": ["run_net.py", "--net", "x.json"],
    }
    (run / "run.json").write_text(json.dumps(facts))
    for variant in ("mixed", "w4"):
        write_check(
            folder / "checks" / f"{variant}-host.json",
            what="generated C on the host",
            variant=variant,
            isa="host",
            images=2,
            mismatches=0,
            tolerance=0,
            worst=0.0,
            network_sha256=sha256_file(folder / f"{variant}.network.safetensors"),
        )
    return folder
