"""Networks from shapes: formats, precisions, repeatability."""

import numpy as np
import pytest

from sysmol.benchmarks.networks import VARIANTS, make_network, mixed_cover, weight_bits
from sysmol.benchmarks.shapes import load_network, load_shapes, parse_shapes
from sysmol.errors import SysmolError
from sysmol.machine import PATTERN_SETS
from sysmol.network.checks import validate
from sysmol.packing import slot_precisions

TINY = """
network 6x6x3
stem       conv       3   16 3x3 1 1  1 relu  image    -
wide       conv      16   72 1x1 1 0  1 relu6 stem     -
depth      conv      72   72 3x3 2 1 72 relu6 wide     -
narrow     conv      72   16 1x1 1 0  1 none  depth    -
again      conv      16   16 3x3 1 1  1 relu  narrow   narrow
small      maxpool   16   16 2x2 1 0  1 none  again    -
pool       avgpool   16   16 2x2 1 0  1 none  small    -
classifier linear    16    5 1x1 1 0  1 none  pool     -
"""


@pytest.mark.parametrize("variant", VARIANTS)
def test_formats(variant: str) -> None:
    (shape,) = parse_shapes(TINY, "tiny", "tiny")
    net = make_network(shape, variant, seed=3)
    validate(net)
    reads = {layer.name: net.tensors[layer.input].format for layer in net.layers}
    between = "f32" if variant == "fp32" else "s8" if variant.startswith("int8") else "smol"
    assert reads["wide"] == reads["depth"] == reads["narrow"] == reads["again"] == between
    assert reads["stem"] == reads["classifier"] == ("f32" if variant == "fp32" else "s8")
    assert reads["pool"] == ("f32" if variant == "fp32" else "s16")
    short = {layer.name: layer.weight for layer in net.layers if getattr(layer.weight, "dtype", None) == np.int8}
    if variant.endswith(("-stem4", "-lean")):
        stem = short.pop("stem")
        assert (np.abs(stem) <= 15).all() and (stem % 2 == 1).all()
    if variant == "int8w4" or variant.endswith("-lean"):
        assert short and all(np.abs(weight).max() <= 7 for weight in short.values())
    if variant.endswith(("-codes", "-lean")):
        assert net.tensors[net.layers[5].residual].format == "smol"
    if between == "smol":
        assert set(net.patterns) <= set(PATTERN_SETS["P4"])


def test_repeatable() -> None:
    (shape,) = parse_shapes(TINY, "tiny", "tiny")
    first, again, other = (make_network(shape, "mixP4", seed) for seed in (1, 1, 2))
    assert first.samples is not None and again.samples is not None and other.samples is not None
    assert np.array_equal(first.samples.logits, again.samples.logits)
    assert not np.array_equal(first.samples.logits, other.samples.logits)


@pytest.mark.parametrize("name", ["resnet8", "mobilenetv2_stem2"])
def test_mix_has_at_most_two_bits(name: str) -> None:
    """The 8-bit stem and classifier included; and it is a mix."""
    net = make_network(load_network(name), "mixP4")
    assert weight_bits(net) <= 2
    assert len({int(p) for t in net.tensors.values() if t.format == "smol" for p in t.precisions}) > 1


def test_mixed_covers() -> None:
    rng = np.random.default_rng(5)
    for channels in (1, 16, 63, 64, 65, 96, 128, 144, 320, 960):
        precisions, ids = mixed_cover(rng, channels)
        assert len(precisions) == channels and set(ids) <= set(PATTERN_SETS["P4"])
        assert precisions.mean() <= 2 and len(ids) <= max(1, channels // 64)
        offered = slot_precisions(ids)
        assert all((precisions == p).sum() <= (offered == p).sum() for p in (4, 2, 1))


def test_logits_depend_on_every_output_of_single_layers() -> None:
    """A fault in one output of a measured layer must show: change one weight, the logits change."""
    from sysmol.network.reference import evaluate

    shape = next(s for s in load_shapes("convolutions") if s.height == 8)
    net = make_network(shape, "int8")
    assert net.samples is not None
    layer = next(layer for layer in net.layers if layer.name == "conv1x1_128")
    assert layer.weight is not None
    layer.weight[77, 0, 0, 5] ^= 64
    assert not np.array_equal(evaluate(net, net.samples.images), net.samples.logits)


def test_unknown_variant() -> None:
    with pytest.raises(SysmolError, match="choose from"):
        make_network(load_network("resnet8"), "w3")
