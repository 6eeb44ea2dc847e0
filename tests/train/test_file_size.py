"""What an export costs in bytes: short forms everywhere, and figures that are those of the file."""

import numpy as np
import pytest
import torch
from networks import network, ready

from sysmol.network import load, save
from sysmol.network.file import encode, read
from sysmol.train.frontend.data import to_real
from sysmol.train.quantise import fixed_point, integer
from sysmol.train.quantise.export import export, sizes

POLICIES = ("mixed", "w2", "int8", "fp32")


@pytest.mark.parametrize("policy", POLICIES)
def test_exports_take_the_short_forms(policy: str, tmp_path, seed: int) -> None:
    net, _, _ = network("mixture", policy, seed)
    description, _ = read(save(tmp_path / "n.safetensors", net))
    forms = {row["weight"] for row in description["layers"] if "weight" in row}
    assert forms <= {"codes", "i1", "f4"}
    outputs = [out for row in description["layers"] for out in row.get("outputs", [])]
    assert not any("table" in out for out in outputs)
    if policy != "fp32":
        # Factors of 32 bits are left to outputs whose channels differ too much for 16, as the random gains here may.
        long = [
            o for o in outputs if o["tensor"] != "logits" and "each" not in o["M"] and o["M"][0] not in ("i1", "i2")
        ]
        assert len(long) <= len(outputs) / 2


@pytest.mark.parametrize("policy", POLICIES)
def test_file_bytes_are_those_of_the_deployment_file(policy: str, tmp_path, seed: int) -> None:
    net, _, _ = network("mixture", policy, seed)
    found = sizes(net, 1000)
    net.metrics = dict(found)
    path = save(tmp_path / "n.safetensors", net, deploy=True)
    assert path.stat().st_size == found["file_bytes"] == len(encode(load(path), deploy=True))
    assert found["compression"] == 4000 / found["file_bytes"]
    assert found["bits_per_parameter"] <= found["register_bits"]
    if policy != "fp32":
        assert found["weight_bytes"] < sizes(network("mixture", "fp32", seed)[0], 1000)["weight_bytes"]


def test_without_the_border_constants_the_logits_leave_the_float_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of test_exact.py would see a border that is not derived, on four bits and a fixed seed."""
    prepared, images = ready("rectified", "w4", 5)
    with torch.no_grad():
        real = prepared(to_real(images)).numpy()

    def error() -> float:
        net = export(prepared, "n", to_real(images))
        return float(np.abs(integer.evaluate(net, images.numpy()) * net.provenance["logit_scale"] - real).mean())

    right = error()
    monkeypatch.setattr(fixed_point, "border_constants", lambda sums, *_: 0 * sums)
    assert error() > 5 * right
