"""The built-in networks against the layer lists that the benchmarks measure, and the names of variants."""

import pytest
import torch
from torch import nn

from sysmol.benchmarks.shapes import load_network
from sysmol.errors import SysmolError
from sysmol.train.frontend.models import MODELS, build
from sysmol.train.recipes.variants import Variant, exportable, variant

Layer = tuple[int, int, tuple[int, ...], int, int]


def layers(module: nn.Module) -> list[Layer]:
    """Channels in and out, kernel, stride and groups of all convolutions and linear layers, sorted."""
    found = []
    for each in module.modules():
        if isinstance(each, nn.Conv2d):
            stride = each.stride[0]
            found.append((each.in_channels, each.out_channels, tuple(each.kernel_size), int(stride), each.groups))
        elif isinstance(each, nn.Linear):
            found.append((each.in_features, each.out_features, (1, 1), 1, 1))
    return sorted(found)


@pytest.mark.parametrize("name", ["resnet8", "resnet20", "mobilenetv2", "mobilenetv2_stem2"])
def test_networks_are_those_of_the_benchmarks(name: str) -> None:
    shapes = [s for s in load_network(name).layers if s.op in ("conv", "linear")]
    wanted = sorted((s.inputs, s.outputs, s.kernel, s.stride, s.groups) for s in shapes)
    assert layers(build(name, 3, 10)) == wanted


@pytest.mark.parametrize("name", MODELS)
def test_every_network_runs(name: str) -> None:
    channels, size = {"digits_net": (1, 8), "digits_cct": (1, 8), "mnist_net": (1, 28)}.get(name, (3, 32))
    module = build(name, channels, 10).eval()
    with torch.no_grad():
        assert module(torch.zeros(1, channels, size, size)).shape == (1, 10)


def test_names_of_variants() -> None:
    assert variant("fp32") == Variant("fp32", "fp32")
    assert variant("fp32-longer") == Variant("fp32-longer", "fp32") and variant("fp32-longer").longer
    assert not variant("fp32").longer and variant("fp32-longer").shorter == variant("fp32")
    longest = variant("P4-2.0-random-clamp-longer")
    assert longest.longer and longest.shorter == variant("P4-2.0-random-clamp") and "trained on" in longest.described()
    twice = variant("P4-2.0-longer-longer")
    assert twice.shorter == variant("P4-2.0-longer") and twice.shorter.shorter == variant("P4-2.0")
    assert variant("w2-clamp") == Variant("w2-clamp", "w2", grid="clamp")
    assert variant("mixed") == Variant("mixed")
    assert variant("P8-2.5") == Variant("P8-2.5", pattern_set="P8", bits=2.5)
    assert variant("P4-2-random") == Variant("P4-2-random", pattern_set="P4", bits=2.0, scores="random")
    assert variant("P45-1.5-separate") == Variant("P45-1.5-separate", pattern_set="P45", bits=1.5, shared=False)
    assert variant("P4-c40") == Variant("P4-c40", pattern_set="P4", cycles=0.4)
    both = variant("P8-1.8-c50-random-longer")
    assert (both.bits, both.cycles, both.scores, both.longer) == (1.8, 0.5, "random", True)
    assert "1.8 bits" in both.described() and "50% of" in both.described()
    chosen = variant("P4-1.25-sensitivity-clamp")
    assert (chosen.bits, chosen.scores, chosen.grid) == (1.25, "sensitivity", "clamp") and chosen.exported
    assert "sensitivity" in chosen.described() and "1.25 bits" in chosen.described() and "clamp" in chosen.described()
    for name in (
        "w3",
        "P5-2.0",
        "P4-",
        "P4-2.0-best",
        "fp32-clamp",
        "longer",
        "longer-w4",
        "int8-symmetric",
        "P45-separate",
        "P45-1.5-c50-separate",
        "P4-c50-1.5",
    ):
        with pytest.raises(SysmolError, match=f"variant '{name}'"):
            variant(name)
    for name in ("w2-symmetric", "P4-2.0-separate", "mixed-symmetric"):
        with pytest.raises(SysmolError, match="comparison only"):
            exportable(variant(name))
