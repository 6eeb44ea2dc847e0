"""Learning curves from what network files keep."""

import math
from pathlib import Path

from sysmol.analysis.learning import COLUMNS, learning_curve
from sysmol.analysis.products import collect
from sysmol.analysis.report import write_report
from sysmol.network import load, save


def phase(name: str, epochs: int, **more: float) -> dict:
    """A phase whose loss falls by a tenth an epoch."""
    log = [{"epoch": n + 1, "loss": 1 - n / 10, "accuracy": n / 10, "seconds": 1.0} | more for n in range(epochs)]
    return {"name": name, "epochs": epochs, "lr": 0.1, "log": log}


def test_phases_follow_one_another(products: Path) -> None:
    path = products / "mixed.network.safetensors"
    net = load(path)
    net.provenance["phases"] = [phase("fp32", 3), phase("mixed-tune", 2, bits=2.5)]
    path.unlink()
    save(path, net)
    curve = learning_curve(load(path))
    assert tuple(curve.columns) == COLUMNS and curve["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert curve["phase"].tolist() == ["fp32"] * 3 + ["mixed-tune"] * 2
    assert curve["loss"].tolist() == [1.0, 0.9, 0.8, 1.0, 0.9]
    assert math.isnan(curve["bits"][0]) and curve["bits"].tolist()[3:] == [2.5, 2.5]
    write_report(collect(products), products, "sysmol report")
    assert "Accuracy on the training images" in (products / "report.html").read_text()


def test_a_file_that_kept_the_last_epochs_alone_has_no_curve(products: Path) -> None:
    net = load(products / "mixed.network.safetensors")
    net.provenance["phases"] = [phase("fp32", 3) | {"epochs": 12}]
    assert learning_curve(net).empty
    net.provenance = {}
    assert learning_curve(net).empty
