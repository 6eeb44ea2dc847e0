"""Energy: constants with sources, draws that agree with the core's power, and intervals that are never left out."""

import copy
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sysmol.analysis.costs import models
from sysmol.analysis.costs.area import array_budget, machine_area, unit_area
from sysmol.analysis.costs.energy import constants, units
from sysmol.analysis.costs.energy.constants import CORES, core_of, cores, draw, read_core
from sysmol.analysis.costs.energy.model import PARTS, Energies, Interval, energies, network_energy, ratio
from sysmol.analysis.costs.quantity import Absent, Kind, Quantity
from sysmol.analysis.costs.vectors import layer_costs
from sysmol.analysis.costs.workload import Workload
from sysmol.benchmarks import hardware_tables
from sysmol.benchmarks.tables import RESULTS
from sysmol.errors import SysmolError
from sysmol.files import PACKAGE
from sysmol.isas import ISAS
from sysmol.machine import load_machine, pattern_set

DOCS = PACKAGE / "docs"
MACHINE = load_machine("o3-n1")
ROW: dict[str, Any] = {
    "isa": "arm", "cpu": "o3", "source": "gem5", "kind": "measured", "op": "conv2d", "style": "vdot", "cycles": 1000.0,
    "insts": 3000.0, "load": 800.0, "store": 20.0, "smol": 1500.0, "smol_vdot": 1500.0, "smol_vqpk": 0.0,
    "smol_macs4": 48_000.0, "smol_macs2": 0.0, "smol_macs1": 0.0, "macs": 48_000, "l1d_misses": 10.0, "l2_misses": 1.0,
}  # fmt: skip


def out_of_order() -> constants.Core:
    core = core_of("o3", MACHINE)
    assert core is not None
    return core


def test_draws_stay_in_their_ranges_and_give_the_cores_power() -> None:
    core = out_of_order()
    drawn = draw(core)
    for name, constant in core.constants.items():
        assert len(drawn[name]) == constants.DRAWS
        assert constant["low"] <= drawn[name].min() and drawn[name].max() <= constant["high"]
    assert core.power is not None
    rates = core.power["events_per_cycle"]
    least = drawn["cycle"] + sum(rates[name]["low"] * drawn[name] for name in rates)
    most = drawn["cycle"] + sum(rates[name]["high"] * drawn[name] for name in rates)
    assert (least <= core.power["high"]).all() and (most >= core.power["low"]).all()
    alone = np.exp(np.mean(np.log([core.constants["instruction"][end] for end in ("low", "high")])))
    assert np.median(drawn["instruction"]) > alone, "the power says more than the range"
    assert all((draw(core)[name] == drawn[name]).all() for name in drawn)
    assert not (draw(core, seed=1)["cycle"] == drawn["cycle"]).all()


def test_every_constant_has_a_source() -> None:
    assert {core.core_models for core in cores()} == {("o3", "estimate", "prediction"), ("minor",)}
    for path in CORES.glob("*.json"):
        for name, constant in read_core(path).constants.items():
            assert constant["source"] in read_core(path).sources and constant["low"] < constant["high"], name


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d["constants"]["cycle"].update(source="hearsay"), "names the source 'hearsay'"),
        (lambda d: d["constants"]["cycle"].update(low=500), "no range from 500 to 400"),
        (lambda d: d["constants"].pop("dram_line"), "dram_line"),
        (lambda d: d["power"].update(low=-1), "low"),
    ],
)
def test_bad_constants_are_refused(tmp_path: Path, change: Any, complaint: str) -> None:
    data = json.loads((CORES / "neoverse-n1.json").read_text())
    change(data)
    path = tmp_path / "core.json"
    path.write_text(json.dumps(data))
    with pytest.raises(SysmolError, match=complaint):
        read_core(path)


def test_a_power_that_no_constants_give_is_refused() -> None:
    core = out_of_order()
    assert core.power is not None
    odd = copy.copy(core)
    object.__setattr__(odd, "power", {**core.power, "low": 1e6, "high": 2e6})
    with pytest.raises(SysmolError, match="widen a range"):
        draw(odd)


def test_energy_is_the_sum_of_its_events() -> None:
    core = out_of_order()
    found, drawn = energies([ROW], core), draw(core)
    pj = units.layer_energy(ROW)
    assert pj == pytest.approx(1500 * units.table()["vdot", 4])
    expected = (
        1000 * drawn["cycle"] + 3000 * drawn["instruction"] + 820 * drawn["l1d_access"] + 10 * drawn["l2_access"]
        + drawn["dram_line"] + pj * drawn["arithmetic"]
    )  # fmt: skip
    assert np.allclose(found.total, expected)
    shares = found.shares()
    assert tuple(shares) == PARTS and sum(share.value for share in shares.values()) == pytest.approx(1, abs=0.02)
    assert shares["arithmetic"].value < 0.05 < shares["background"].value


def test_ratios_are_narrower_than_energies() -> None:
    core = out_of_order()
    one, half = energies([ROW], core), energies([{**ROW, "cycles": 500.0, "insts": 1500.0}], core)
    gain, total = ratio(one, half), Interval.of(one.total)
    assert 1 < gain.low <= gain.value <= gain.high < 2
    assert gain.high / gain.low < total.high / total.low
    assert ratio(one, one) == Interval(1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("change", "instruction", "bits", "count"),
    [
        ({"smol_macs4": 0.0, "smol_macs1": 192_000.0}, "vdot", 1, 1500),
        ({"smol_vdot": 0.0, "smol_vmac": 1500.0}, "vmac", 4, 1500),
        ({"smol": 0.0, "smol_vdot": 0.0, "style": "dot"}, "sdot", 8, 3000),
        ({"smol": 0.0, "smol_vdot": 0.0, "style": "mmla"}, "smmla", 8, 1500),
        ({"smol": 0.0, "smol_vdot": 0.0, "style": "fma"}, "fma4", 32, 12_000),
        ({"smol": 0.0, "smol_vdot": 0.0, "style": "mac"}, "mac16", 16, 6000),
        ({"smol": 0.0, "smol_vdot": 0.0, "style": "pop"}, "sdot", 8, 0),
        ({"op": "depthwise", "style": "", "smol_vdot": 0.0, "smol_vmla": 1500.0}, "vmla", 4, 1500),
    ],
)
def test_multiply_accumulates_by_instruction(change: dict[str, Any], instruction: str, bits: int, count: int) -> None:
    assert units.layer_energy(ROW | change) == pytest.approx(count * units.table()[instruction, bits])


def test_rows_without_counts_by_function_use_the_layers_bits() -> None:
    row = {key: value for key, value in ROW.items() if not key.startswith("smol_")} | {
        "weight_bits": 2.0,
        "smol_all": 1600.0,
    }
    expected = 1500 * units.table()["vdot", 2] + 100 * units.instruction_energy("vqpk", 2)
    assert units.layer_energy(row) == pytest.approx(expected)
    between = units.layer_energy(row | {"weight_bits": 3.0, "smol_all": 1500.0}) / 1500
    assert units.table()["vdot", 2] < between < units.table()["vdot", 4]


def test_core_models_have_constants_of_their_own() -> None:
    in_order, other = core_of("minor", load_machine("o3-p470")), core_of("o3", load_machine("o3-a72"))
    assert in_order is not None and in_order.power is None and other is None
    assert core_of("o3", MACHINE.with_smol("units=2")) == out_of_order(), "another SMOL unit, the same core"
    small, large = (Interval.of(energies([ROW], core).total) for core in (in_order, out_of_order()))
    assert small.high < large.low
    why = network_energy([{**ROW, "cpu": "timing"}], MACHINE)
    assert isinstance(why, Absent) and "timing" in why.reason
    untimed = network_energy([{**ROW, "cycles": math.nan}], MACHINE)
    assert isinstance(untimed, Absent) and "does not model time" in untimed.reason


def test_the_model_is_an_estimate_with_an_interval(products: Path) -> None:
    workload, run = Workload.compiled(products / "bin" / "mixed.riscv.json"), products / "runs" / "mixed-riscv-o3"
    for options in ({}, {"run": run}):
        cost = models.every_cost(workload, MACHINE, **options)
        energy = cost.energy
        assert isinstance(energy, Quantity) and energy.kind is Kind.ESTIMATE and energy.low < energy.value < energy.high
        parts = [layer.energy.value for layer in cost.layers if isinstance(layer.energy, Quantity)]
        assert len(parts) == len(cost.layers) and sum(parts) == pytest.approx(energy.value, rel=0.02)
        assert "uncertain" not in str(energy) and " to " in str(energy)
        assert cost.area == machine_area(MACHINE)
    weights = layer_costs(products / "bin" / "mixed.riscv.json", MACHINE, run)
    by_energy = weights.weights("energy")
    assert set(by_energy) == set(weights.per_vector) and all(value > 0 for value in by_energy.values())
    with pytest.raises(SysmolError, match="no energy of"):
        layer_costs(products / "bin" / "mixed.riscv.json", load_machine("o3-a72")).weights("energy")


def test_area_follows_the_patterns() -> None:
    areas = [unit_area(pattern_set(name)) for name in ("P1", "P4", "P45")]
    assert areas[0].value < areas[1].value < areas[2].value and all(a.low < a.value < a.high for a in areas)
    assert array_budget(areas[0].value) == pytest.approx(421.5, abs=5)
    whole = machine_area(MACHINE)
    assert isinstance(whole, Quantity) and whole.value == pytest.approx(2 * areas[2].value)
    assert unit_area(()).value == 0, "without patterns there is no unit"


def test_hardware_with_the_second_page_is_the_larger_unit() -> None:
    """Of twice the size; an instruction of the first page takes more energy in its array."""
    machine = load_machine("o3-n1-matrix")
    area, first = machine_area(machine), machine_area(MACHINE)
    assert isinstance(area, Quantity) and isinstance(first, Quantity) and 2 < area.value / first.value < 2.6
    alone, both = network_energy([ROW], MACHINE), network_energy([ROW], machine)
    assert isinstance(alone, Energies) and isinstance(both, Energies)
    assert both.shares()["arithmetic"].value > 1.5 * alone.shares()["arithmetic"].value
    assert machine_area(machine.with_smol("instructions=standard")) == first


@pytest.mark.parametrize(
    ("change", "instruction", "bits", "count"),
    [
        ({"smol_vmm_w": 1500.0}, "vmm.w", 4, 1500),
        ({"smol_vmm_h": 1500.0, "smol_macs4": 0.0, "smol_macs2": 192_000.0}, "vmm.h", 2, 1500),
        ({"smol_vdw": 1500.0, "op": "depthwise"}, "vdw", 4, 1500),
        ({"style": "vmmh"}, "vmm.h", 4, 1500),
        ({"style": "vdw", "op": "depthwise"}, "vdw", 4, 1500),
    ],
)
def test_instructions_of_the_second_page(change: dict[str, Any], instruction: str, bits: int, count: int) -> None:
    row = ROW | {"smol_vdot": 0.0} | change
    assert units.layer_energy(row, both=True) == pytest.approx(count * units.table(both=True)[instruction, bits])
    packed = {"smol": row["smol"] + 60.0, "smol_vqpk_h": 40.0, "smol_vunp_h": 20.0}
    more = units.layer_energy(row | packed, both=True) - units.layer_energy(row, both=True)
    assert more == pytest.approx(40 * units.table(True)["vqpk.h", 2] + 20 * units.table(True)["vunp.h", 2])
    with pytest.raises(SysmolError, match="no energy of"):
        units.layer_energy(row)


@pytest.fixture(scope="module")
def kernels() -> pd.DataFrame:
    """The measured kernels."""
    return pd.read_csv(RESULTS / "kernels.csv")


@pytest.fixture(scope="module")
def known(kernels: pd.DataFrame) -> dict[tuple[str, str, str], Energies]:
    """Energies of the measured networks."""
    return hardware_tables.energies(kernels)


def test_energies_of_the_measured_networks(known: dict[tuple[str, str, str], Energies]) -> None:
    """SMOL takes less energy than int8 wherever it takes fewer cycles, by less than the cycles say, and int8 less than
    fp32."""
    assert {isa for _, _, isa in known} == {"arm", "riscv"}
    for isa in ("arm", "riscv"):
        base = known["resnet8", "int8", isa]
        gains = [ratio(base, known["resnet8", variant, isa]) for variant in ("w4", "w2", "w1")]
        assert gains[0].low > 1 and all(gain.high / gain.low < 1.3 for gain in gains)
        assert gains[0].high < gains[1].high < gains[2].high
        assert ratio(known["resnet8", "fp32", isa], base).low > 1


def span(values: Sequence[float]) -> str:
    return f"{100 * min(values):.0f} to {100 * max(values):.0f}%"


def test_the_page_says_what_the_measurements_give(
    known: dict[tuple[str, str, str], Energies], kernels: pd.DataFrame
) -> None:
    """Sentences of docs/energy.md follow from results/kernels.csv, as its tables do."""
    cycles = kernels.query("layer != 'total'").groupby(["network", "variant", "isa"])["cycles"].sum()
    gain = {key: ratio(known[key[0], "int8", key[2]], own) for key, own in known.items() if key[1] != "int8"}

    def beyond(network: str, isa: str) -> list[float]:
        """How much larger the ratio of energies is than that of cycles."""
        keys = [(network, variant, isa) for variant in ("w4", "w2", "w1", "mixP4")]
        return [gain[key].value / (cycles[network, "int8", isa] / cycles[key]) - 1 for key in keys]

    stem = [-value for value in beyond("mobilenetv2_stem2", "riscv")]
    stored = [known["mobilenetv2_stem2", v, isa].shares()["DRAM"].value for v in ("int8", "w4") for isa in ISAS]
    shares = {key: own.shares()["arithmetic"].value for key, own in known.items()}
    off = {key: max(found.high / found.value - 1, 1 - found.low / found.value) for key, found in gain.items()}
    own = [off["resnet8", variant, isa] for variant in ("w4", "w2", "w1", "mixP4") for isa in ISAS]
    hard = {("mobilenetv2_stem2", v, isa) for v, isa in (("w2", "arm"), ("w1", "arm"), ("w1", "riscv"))}
    assert max(own) < 0.04 and max(off[key] for key in hard) < 1 / 3
    assert max(value for key, value in off.items() if key not in hard) < 0.15
    totals = [Interval.of(each.total) for each in known.values()]
    spread = [total.high / total.low for total in totals]
    fp32 = [value for key, value in shares.items() if key[1] == "fp32"]
    text = " ".join((DOCS / "energy.md").read_text(encoding="utf-8").split())
    for claim in (
        f"is {span([-value for value in beyond('resnet8', 'arm')])} smaller than that of the cycles on AArch64",
        f"{span(beyond('resnet8', 'riscv'))} larger on RISC-V",
        f"In MobileNetV2 it is {span(beyond('mobilenetv2_stem2', 'arm'))} larger on AArch64, and "
        f"{100 * min(stem):.0f} to {100 * max(stem):.0f}% smaller on RISC-V",
        f"{span(stored)} of these networks' energy is DRAM",
        f"Arithmetic is at most {100 * max(value for key, value in shares.items() if key[1] != 'fp32'):.1f}%",
        f"{100 * min(fp32):.1f} to {100 * max(fp32):.1f}% in fp32",
        f"is {min(spread):.1f} to {max(spread):.1f} times its lower end",
    ):
        assert claim in text
