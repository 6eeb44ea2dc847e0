"""The whole of training on a few digits: four network files whose samples the reference confirms."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sysmol.errors import SysmolError
from sysmol.network import load, reference
from sysmol.train.frontend.data import load_digits
from sysmol.train.frontend.models import build
from sysmol.train.quantise.trainer import Trainer
from sysmol.train.recipes.pipeline import DIGITS_BITS, PRESETS, VARIANTS, Pipeline, Schedule, run


def tiny() -> Schedule:
    quick = PRESETS["quick"]
    changed = {
        name: replace(getattr(quick, name), epochs=1, limit=256)
        for name in ("float", "int8", "uniform", "noise", "tune")
    }
    return replace(quick, **changed, calibration=64, statistics=250, samples=20)  # type: ignore[arg-type]


def test_four_networks_from_one_training(tmp_path: Path) -> None:
    first = run(out_dir=tmp_path, preset=tiny(), quiet=True)
    assert tuple(first) == VARIANTS
    for variant, metrics in first.items():
        net = load(tmp_path / f"{variant}.network.safetensors")
        assert net.samples is not None and len(net.samples.images) == 20
        some = net.samples.images[:2]
        wanted = reference.evaluate(net, some)
        if net.is_float:
            assert np.allclose(wanted, net.samples.logits[:2], rtol=1e-4, atol=1e-4)
        else:
            assert np.array_equal(wanted, net.samples.logits[:2])
        for key in ("accuracy_fp32", "accuracy_float", "accuracy_integer", "bits_per_parameter", "compression"):
            assert isinstance(metrics[key], float) and net.metrics[key] == metrics[key]
        assert net.provenance["dataset"] == "digits" and net.provenance["seed"] == 0
    bits = [first[variant]["bits_per_parameter"] for variant in VARIANTS]
    assert bits[0] == 32 and bits[1] == 8 and bits[1] > bits[2] >= bits[3] and bits[3] <= DIGITS_BITS
    mixed = load(tmp_path / "mixed.network.safetensors")
    assert any(len(set(tensor.precisions)) > 1 for tensor in mixed.tensors.values() if tensor.format == "smol")

    begin = time.monotonic()
    second = run(out_dir=tmp_path, preset=tiny(), quiet=True, variants=("mixed",))
    same = ("accuracy_integer", "accuracy_float", "file_bytes")
    assert all(second["mixed"][key] == first["mixed"][key] for key in same)
    assert time.monotonic() - begin < 60


def test_bad_settings_are_one_line(tmp_path: Path) -> None:
    for settings, words in (
        ({"preset": "long"}, "unknown preset"),
        ({"dataset": "imagenet"}, "unknown data set"),
        ({"model": "vgg"}, "unknown model"),
        ({"variants": ("w3",)}, "unknown variant"),
    ):
        with pytest.raises(SysmolError, match=words) as error:
            run(out_dir=tmp_path, **settings)  # type: ignore[arg-type]
        assert "\n" not in str(error.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(SysmolError, match="cannot create the folder"):
        run(out_dir=tmp_path / "file" / "out", preset=tiny(), quiet=True)


def test_the_price_of_precision_is_one_of_bits_or_of_time() -> None:
    """A channel's weight in the penalty: the weights that read it, or the instructions of a register of it."""
    data = load_digits()
    schedule = PRESETS["quick"]
    for by_time in (False, True):
        noise = replace(schedule.noise, by_time=by_time)
        pipeline = Pipeline(data, build("digits_net", 1, 10), replace(schedule, noise=noise), Trainer(data, quiet=True))
        prepared = pipeline._prepare(pipeline.module, "mixed")
        expected = dict.fromkeys(prepared.learned_domains(), 0.0)
        for unit in prepared.smol_convolutions():
            outputs, height, width = unit.shape
            weights = unit.kernel[0] * unit.kernel[1] * (outputs // unit.groups)
            name = prepared.domain_of[unit.input.unit]
            expected[name] += prepared.instructions(unit) if by_time else weights
            if unit.groups == 1:
                assert prepared.instructions(unit) == weights * height * width
        assert prepared.penalty_weights() == expected
    assert noise.settings()["by_time"] and "by_time" not in schedule.noise.settings()
