"""The built-in cycle estimate: its bounds by hand, and that it never claims to be measured."""

import json
from pathlib import Path
from typing import Any

import pytest

from sysmol.analysis.costs.estimate import bounds, estimate
from sysmol.errors import SysmolError
from sysmol.machine import load_machine
from sysmol.styles import STYLES

MIX = {"smol": 6400, "vload": 1600, "vstore": 0, "simd": 0, "scalar": 0, "branch": 0, "chains": 16, "chain_len": 100}


def region(op: str = "conv2d", schedule: str = "os-8x2x4-vdot", macs: int = 0, **mix: int) -> dict[str, Any]:
    """A region of a manifest with :data:`MIX` changed by ``mix``."""
    return {"op": op, "schedule": schedule, "macs": macs, "mix": MIX | mix}


def largest(limits: dict[str, float]) -> str:
    """Name of the bound that decides."""
    return max(limits, key=lambda name: limits[name])


def test_bounds_by_hand() -> None:
    machine = load_machine("o3-n1")  # 4-wide, two vector pipes that SMOL shares, two memory pipes
    limits = bounds(region(), machine)
    assert limits["issue"] == 8000 / 4
    assert limits["accumulate"] == limits["vector"] == 6400 / 2
    assert limits["memory"] == 1600 / 2
    assert limits["scalar"] == 0
    # four tiles of 2000 instructions: the reorder buffer holds less than one, so chains run one tile at a time
    assert limits["chain"] == 6400 / 16 * machine.smol_latency("vdot")


def test_few_chains_make_latency_the_limit() -> None:
    machine = load_machine("o3-n1")
    long, short = bounds(region(chains=2, chain_len=800), machine), bounds(region(chains=2, chain_len=4), machine)
    assert largest(long) == "chain"
    assert short["chain"] < long["chain"], "short tiles overlap in the reorder buffer"


def test_styles_without_smol_instructions() -> None:
    machine = load_machine("o3-n1")
    for style in (style for style in STYLES.values() if style.rate is not None):
        limits = bounds(region(schedule=f"os-8x1x2-{style.name}", macs=8000, smol=0), machine)
        assert limits["accumulate"] == 8000 / style.rate.macs / machine.unit_count(style.rate.op_class)
    assert bounds(region(op="avgpool", schedule="", smol=0, simd=640), machine)["accumulate"] == 0


def test_every_style_of_the_generator_is_known() -> None:
    """A style uses a SMOL instruction or has a rate; where its kernels run on both ISAs, one kind of instruction has
    one rate."""
    from sysmol.kernels_c.micro import STYLES as GENERATED
    from sysmol.kernels_c.nest import depthwise_taps

    assert list(GENERATED) == list(STYLES)
    without_tiles = [name for name, kinds in GENERATED.items() if not kinds]
    assert without_tiles == [depthwise_taps.STYLE], "depthwise layers by vdw have no register tile"
    for style in STYLES.values():
        assert bool(style.smol) != bool(style.rates)
        assert style.several or len(set(style.rates.values())) <= 1


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
