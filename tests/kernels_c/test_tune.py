"""The search for schedules, with a made-up simulator, and the file of chosen schedules."""

import json
from pathlib import Path

import numpy as np
import pytest

from sysmol.analysis.costs.estimate import bounds
from sysmol.cli import run_command_line
from sysmol.errors import SysmolError
from sysmol.kernels_c.build import compile_network
from sysmol.kernels_c.plan import schedule_file as store
from sysmol.kernels_c.plan.heuristic import CORE, Core, choose, core_of, step_work
from sysmol.kernels_c.plan.options import Options, parse_schedules, parse_styles
from sysmol.kernels_c.tune import search, spread
from sysmol.machine import load_machine
from sysmol.network import load, save
from sysmol.network.builder import Builder
from sysmol.schedule import Schedule

MACHINE = "o3-n1"


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    """Two convolutions of one shape and one of another."""
    b = Builder(np.random.default_rng(3), 6, 6, 3, "tuned")
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, [[4] * 64], 64)
    for _ in range(2):
        (x,) = b.layer("conv2d", x, [[4] * 64], 64, (3, 3), padding=(1, 1, 1, 1))
    b.classifier(x, 3)
    return save(tmp_path_factory.mktemp("tune") / "tuned.network.safetensors", b.finish(1))


def estimated(region) -> float:
    """The built-in estimate."""
    return max(bounds(region, load_machine(MACHINE)).values())


def simulator(favourite: str):
    """Measures 100 cycles where a layer has the schedule, else 200; and which schedules it saw."""
    seen: list[str] = []

    def measure(manifest: Path, folder: Path):
        regions = json.loads(manifest.read_text())["regions"]
        seen.extend(region["schedule"] for region in regions if region["name"] == "conv2d2")
        return {r["name"]: 100.0 if r["schedule"] == favourite else 200.0 for r in regions}, "a test"

    return measure, seen


def test_the_fastest_measured_schedule_wins(network, tmp_path):
    guesses = search(network, "host", MACHINE, tmp_path, estimated, None, say=lambda line: None)
    names = [str(c.schedule) for c in spread(next(r for r in guesses if "conv2d2" in r.layers).candidates, 3)]
    measure, seen = simulator(names[2])
    results = search(network, "host", MACHINE, tmp_path, estimated, measure, 3, say=lambda line: None)
    assert seen == names and len(set(names)) == 3
    own = next(result for result in results if "conv2d2" in result.layers)
    assert own.layers == ["conv2d2", "conv2d3"], "layers of one shape are searched once"
    assert own.best == seen[2] and own.heuristic == seen[0] and own.cycles(own.best) == 100
    path = store.write(tmp_path / "s.json", {store.key(r.facts): r.entry() for r in results})
    chosen = store.stored(path, load(network), "host", MACHINE)
    assert {str(chosen[name]) for name in own.layers} == {seen[2]}
    manifest = json.loads(compile_network(network, "host", tmp_path, options=Options(chosen)).read_text())
    assert [r["schedule"] for r in manifest["regions"] if r["name"] in own.layers] == [seen[2]] * 2
    assert store.stored(path, load(network), "arm", MACHINE) == {}, "another ISA has other schedules"
    with pytest.raises(SysmolError, match="no convolution"):
        compile_network(network, "host", tmp_path, options=Options({"nowhere": Schedule.parse("os-8x1x1-vdot")}))


def test_estimates_are_said_to_be_estimates(network, tmp_path):
    results = search(network, "arm", MACHINE, tmp_path, estimated, None, say=lambda line: None)
    for result in results:
        assert result.source == "estimate" and not result.measured
        assert result.cycles(result.best) <= result.cycles(result.heuristic)
        plain = [c.cycles for c in result.candidates[1:] if not (c.schedule.unroll or c.schedule.block)]
        assert plain == sorted(plain)


def test_entries_of_other_layers_stay(tmp_path):
    path = store.write(tmp_path / "s.json", {"a": {"schedule": "os-8x1x1-vdot"}})
    store.write(path, {"b": {"schedule": "os-8x1x2-vdot"}})
    store.write(path, {"a": {"schedule": "os-8x1x4-vdot"}})
    assert {k: e["schedule"] for k, e in store.read(path).items()} == {"a": "os-8x1x4-vdot", "b": "os-8x1x2-vdot"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON"),
        ('{"format": "other"}', "no sysmol-schedules file"),
        ('{"format": "sysmol-schedules", "version": 9}', "newer"),
        ('{"format": "sysmol-schedules", "version": 1, "entries": [1]}', "no table"),
    ],
)
def test_broken_files(text, reason, network, tmp_path):
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(SysmolError, match=reason):
        store.stored(path, load(network), "arm", MACHINE)
    with pytest.raises(SysmolError, match="sysmol tune"):
        store.stored(tmp_path / "none.json", load(network), "arm", MACHINE)


def test_words_of_the_command_line():
    assert parse_schedules(["a=os-8x1x1-vdot"]) == {"a": Schedule.parse("os-8x1x1-vdot")}
    assert parse_styles(["smol=vmac", "s8=sdot"]) == {"smol": "vmac", "s8": "sdot"}
    for bad in (["a"], ["=vmac"], ["smol="]):
        with pytest.raises(SysmolError, match="is not"):
            parse_styles(bad)


def test_command_line(network, tmp_path, capsys):
    out, file = str(tmp_path / "bin"), str(tmp_path / "s.json")
    assert run_command_line(["tune", str(network), "--isa", "riscv", "--no-gem5", "--out", file]) == 0
    assert "heuristic over best" in capsys.readouterr().out
    options = ["compile", str(network), "--isa", "riscv", "--out", out]
    assert run_command_line([*options, "--schedules", file, "--schedule", "conv2d3=os-16x1x1-vdot"]) == 0
    shown = capsys.readouterr().out
    assert "os-16x1x1-vdot" in shown and "total" in shown and "estimate" in shown
    regions = json.loads((tmp_path / "bin" / "tuned.riscv.json").read_text())["regions"]
    assert regions[3]["schedule"] == "os-16x1x1-vdot" and all(region["bytes_code"] > 0 for region in regions)
    for bad in (["--schedule", "conv2d3"], ["--schedule", "x=os-8x1x1-vdot"], ["--style", "smol=dot"]):
        assert run_command_line([*options, *bad]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_heuristic_knows_the_machine():
    """The default is o3-n1; where loads are dear, tiles load less."""
    assert core_of(load_machine(MACHINE)) == CORE
    cheap, dear = (choose(32, 32, 8, "vdot", core=Core(load, 1)) for load in (0.0, 8.0))
    assert step_work(dear.channels // 8, dear.pixels, Core(1, 0)) / (dear.channels * dear.pixels) <= step_work(
        cheap.channels // 8, cheap.pixels, Core(1, 0)
    ) / (cheap.channels * cheap.pixels)
    assert dear.channels + dear.pixels == 16, "eight loads each way for 64 multiply-accumulates are the fewest"
