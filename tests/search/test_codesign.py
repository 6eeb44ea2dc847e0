"""The co-design loop on the digits: rounds, limits, figures that repeat; killed at any time, it goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pandas as pd
import pytest
import torch

from sysmol.analysis.costs.area import unit_area
from sysmol.errors import SysmolError
from sysmol.pattern import PATTERNS
from sysmol.patterns.area_budget import closed_sets
from sysmol.patterns.selection import Demand
from sysmol.search.codesign.descent import STEP, Descent, Limits
from sysmol.search.codesign.loop import Loop, Row, choose_within, hold_out, training
from sysmol.search.codesign.page import write
from sysmol.search.codesign.settings import Settings
from sysmol.train.frontend.data import load
from sysmol.train.recipes.pipeline import schedule_of

# Sums depend on the number of threads, and the figures of two processes are compared.
torch.set_num_threads(1)

QUICK = Settings(rounds=2, noise_epochs=1, tune_epochs=1, preset="quick", use_gem5=False, drop=60.0)


def first_rows(folder: Path, count: int) -> list[Row]:
    rows = Loop(folder, QUICK, lambda line: None, quiet=True).rows()
    return [next(rows) for _ in range(count)]


def test_nothing_is_decided_on_what_was_trained_or_tested() -> None:
    data = load("digits")
    training, held = hold_out(data, 0.1, seed=3)
    assert len(training.train_images) + len(held.test_images) == len(data.train_images)
    known = {image.tobytes() for image in training.train_images}
    distinct = [image for image in held.test_images if image.tobytes() not in known]
    assert len(distinct) > 0.9 * len(held.test_images)
    assert training.test_images is data.test_images


@pytest.mark.slow
def test_rounds_and_their_page(tmp_path: Path) -> None:
    rows = first_rows(tmp_path, 5)
    uniform, fp32, int8, first, second = rows
    assert fp32.file_bytes > int8.file_bytes > uniform.file_bytes and fp32.cycles > int8.cycles > uniform.cycles
    assert not fp32.improved and not int8.improved
    assert (uniform.design, first.design, second.design) == ("P1", "P4", "P4")
    assert first.cycles < uniform.cycles and first.file_bytes < uniform.file_bytes
    # With so much accuracy to lose every limit is kept, and the next is smaller.
    assert first.kept and first.improved
    assert uniform.reached is None and first.source == "twin (prediction)"
    assert first.reached is not None and 0 < first.reached < 1 and first.cycles / uniform.cycles < 1
    assert second.limits.share < first.limits.share or second.file_bytes < first.file_bytes
    assert second.improved == second.better_than(first)
    used = json.loads((tmp_path / "bin" / "round-1.arm.json").read_text())["patterns"]
    assert set(used) <= set(first.patterns) and len(first.patterns) <= 4
    frame = write(tmp_path, QUICK, rows, finished=True)
    assert frame["front"].any()
    assert pd.read_csv(tmp_path / "rounds.csv")["name"].tolist() == ["w4", "fp32", "int8", "round-1", "round-2"]
    page = (tmp_path / "codesign.html").read_text()
    assert "round-2" in page and "<script" not in page and page.count("data:image/svg+xml") == 2


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_figures(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests_codesign import QUICK, Loop\n"
        "for row in Loop(Path(sys.argv[1]), QUICK, print, quiet=True).rows(): print(row.name, flush=True)"
    )
    module = tmp_path / "tests_codesign.py"
    module.write_text(Path(__file__).read_text())
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", script, str(killed)], env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not list(killed.glob("store/resume/*/round-1-noise.checkpoint.pt")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert first_rows(killed, 4) == first_rows(tmp_path / "whole", 4)


@pytest.mark.slow
def test_energy_and_area_instead_of_cycles_and_number(tmp_path: Path) -> None:
    """Rounds as ever: limits of energy, patterns that fit the area, both in every row and on the page."""
    settings = replace(QUICK, objective="energy", area=900.0)
    rows = []
    for row in Loop(tmp_path, settings, lambda line: None, quiet=True).rows():
        rows.append(row)
        if row.name == "round-2":
            break
    uniform, full, int8, first, second = rows
    assert full.area == int8.area == 0 and int8.energy and full.energy > int8.energy
    assert (first.design, second.design) == ("900 um2", "900 um2") and "w4's energy" in str(first.limits)
    for row in rows:
        assert row.energy and row.energy_low and row.energy_high and row.energy_low < row.energy < row.energy_high
        assert row.area == pytest.approx(unit_area(row.patterns).value)
    assert first.area is not None and second.area is not None and max(first.area, second.area) <= 900
    assert first.energy < uniform.energy and first.improved
    assert {first.patterns, second.patterns} <= set(closed_sets()), "all that the chunks can hold come along"
    write(tmp_path, settings, rows, finished=True)
    page = (tmp_path / "codesign.html").read_text()
    assert "Accuracy, energy and size" in page and " uJ" in page and "area, um2" in page


def test_limits_fall_and_come_back() -> None:
    search = Descent(0.75, 1.0)
    search.tell(True, 0.7)  # a layout may need less than its limit
    assert search.go_on(least=0.2) and search.value == pytest.approx(STEP * 0.7)
    search.tell(False, 0.5)
    assert search.go_on(least=0.2) and search.value == pytest.approx((0.7 + STEP * 0.7) / 2)
    search.tell(True, search.value)
    search.lost = search.kept - 0.02
    assert not search.go_on(least=0.2) and search.value == search.kept
    search = Descent(0.75, 1.0)
    search.tell(True, 0.3)
    assert search.go_on(least=0.29) and search.value == 0.29
    search.tell(True, 0.29)
    assert not search.go_on(least=0.29)


def test_the_line_of_a_round_says_when_its_limit_was_missed() -> None:
    said: list[str] = []
    loop = object.__new__(Loop)  # without the data and the compilers of a run
    loop.say = said.append
    limits = Limits(0.75)
    row = Row("round-1", "P4", (0,), limits, 0.9, 0.9, 0.9, 2.0, 1000, 1000.0, "gem5", True, True, reached=0.81)
    loop._tell(row)
    loop._tell(replace(row, reached=0.76))
    assert said == [
        "round-1: accuracy kept at 75% of w4's cycles, a limit that gem5 finds missed (81% of w4's cycles); "
        "improves on all before",
        "round-1: accuracy kept at 75% of w4's cycles; improves on all before",
    ]


def test_better_is_fewer_cycles_or_bytes_at_kept_accuracy() -> None:
    row = Row("a", "P4", (0,), Limits(1.0), 0.9, 0.9, 0.9, 2.0, 1000, 1000.0, "estimate", True, False)
    fields = row.__dict__
    assert row.better_than(None) and not row.better_than(row)
    assert Row(**fields | {"cycles": 900.0, "file_bytes": 2000}).better_than(row)
    assert Row(**fields | {"file_bytes": 900, "cycles": 1010.0}).better_than(row)
    assert not Row(**fields | {"file_bytes": 900, "cycles": 1100.0}).better_than(row)
    assert not Row(**fields | {"cycles": 900.0, "kept": False}).better_than(row)
    large = Row(**fields | {"cycles": 900.0, "within": False})
    assert not large.better_than(row) and not large.better_than(None)
    thrifty = Row(**fields | {"cycles": 1100.0, "energy": 5.0})
    assert thrifty.better_than(Row(**fields | {"energy": 6.0}), "energy") and not thrifty.better_than(row)


def test_objectives_that_cannot_be_met_are_refused_before_training(tmp_path: Path) -> None:
    for settings, complaint in (
        (replace(QUICK, objective="energy", machine="o3-a72"), "no constants for the energy of o3-a72"),
        (replace(QUICK, area=100.0), "no SMOL unit has 100 um2"),
    ):
        with pytest.raises(SysmolError, match=complaint):
            Loop(tmp_path, settings, lambda line: None, quiet=True)
    with pytest.raises(SysmolError, match="no objective 'joy'"):
        Settings(objective="joy")
    assert (
        str(Limits(0.5, 1.5, "energy")) == "50% of w4's energy, 1.50 bits" and str(Limits(1.0, of="energy")) == "none"
    )


def test_a_limit_of_bits_gets_a_pattern_that_can_meet_it() -> None:
    """60 channels of 2 bits and 4 of 1 bit in one vector of 2 bits: the fewest cycles, and too many bits."""
    demands = [Demand("a", (0, 60, 4), 10.0), Demand("b", (32, 0, 0), 10.0)]
    whole = {name: PATTERNS.index(chunks) for name, chunks in (("4", (8, 0, 0)), ("2", (0, 8, 0)))}
    free = choose_within(demands, 2, 0.0, lambda ids: True)
    assert free.patterns == tuple(sorted(whole.values())) and free.cycles == 20

    def narrow(ids: Sequence[int]) -> bool:
        return any(PATTERNS[i][2] for i in ids)

    found = choose_within(demands, 3, 0.0, narrow)
    assert set(whole.values()) < set(found.patterns) and narrow(found.patterns) and found.cycles == 20
    tight = choose_within(demands, 2, 0.0, narrow)
    assert narrow(tight.patterns) and tight.cycles > 20  # one of the two has to go
    assert choose_within(demands, 2, 0.0, lambda ids: False) == replace(free, seconds=ANY)


def test_every_data_set_has_a_schedule() -> None:
    for dataset in ("digits", "mnist", "cifar10"):
        assert schedule_of(Settings(dataset=dataset).schedule).float.epochs
    with pytest.raises(SysmolError, match="unknown preset 'nonsense'"):
        schedule_of(Settings(preset="nonsense").schedule)


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(SysmolError, match="46 patterns"):
        Settings(patterns=46)
    with pytest.raises(SysmolError, match="rounds"):
        Settings(rounds=0)


def test_what_a_run_depends_on(tmp_path: Path) -> None:
    """More rounds go on from fewer; other settings, data and simulators do not."""
    (tmp_path / "gem5").write_text("a simulator")

    def key(settings: Settings, gem5: Path | None = None) -> str | None:
        return training(settings, gem5).resumes_at

    assert key(Settings(rounds=3)) == key(Settings(rounds=9)) != key(Settings(drop=2))
    assert key(Settings()) != key(Settings(), tmp_path / "gem5")
    keys = set()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "data.npz").write_text(folder)
        keys.add(key(Settings(dataset=str(tmp_path / folder / "data.npz"), preset="quick")))
    assert len(keys) == 2, "one name, two contents"
