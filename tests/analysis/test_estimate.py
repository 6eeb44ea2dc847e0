"""The built-in cycle estimate: its bounds by hand, and that it never claims to be measured."""

import json
from pathlib import Path

import pytest

from analysis.estimate import bounds, estimate
from sysmol.design import load_machine
from sysmol.errors import SysmolError

MIX = {"smol": 6400, "vload": 1600, "vstore": 0, "simd": 0, "scalar": 0, "branch": 0, "chains": 16, "chain_len": 100}


def test_bounds_by_hand() -> None:
    machine = load_machine("o3-n1")  # 4-wide, two vector pipes that SMOL shares, two memory pipes
    limits = bounds(MIX, machine)
    assert limits["issue"] == 8000 / 4
    assert limits["smol"] == limits["vector"] == 6400 / 2
    assert limits["memory"] == 1600 / 2
    assert limits["scalar"] == 0
    # four tiles of 2000 instructions: the reorder buffer holds less than one, so chains run one tile at a time
    assert limits["chain"] == 6400 / 16 * machine.smol_latency("vdot")


def test_few_chains_make_latency_the_limit() -> None:
    limits = bounds(MIX | {"chains": 2, "chain_len": 800}, load_machine("o3-n1"))
    assert max(limits, key=lambda name: limits[name]) == "chain"


def test_short_tiles_overlap() -> None:
    machine = load_machine("o3-n1")
    long, short = (
        bounds(MIX | {"chains": 2, "chain_len": 800}, machine),
        bounds(MIX | {"chains": 2, "chain_len": 4}, machine),
    )
    assert short["chain"] < long["chain"]


def test_rows_say_estimate(products: Path) -> None:
    layers = estimate(products / "bin" / "mixed.riscv.json", load_machine("o3-n1"))
    assert set(layers["source"]) == set(layers["cpu"]) == {"estimate"}
    assert layers["cycles"].tolist() == [3350.0] * len(layers)
    assert set(layers["limit"]) == {"vector"}


def test_patterns_that_the_machine_lacks_are_refused(products: Path) -> None:
    path = products / "bin" / "mixed.riscv.json"
    assert json.loads(path.read_text())["patterns"]
    with pytest.raises(SysmolError, match="does not support"):
        estimate(path, load_machine("o3-n1").with_patterns((44,)))
