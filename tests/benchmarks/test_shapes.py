"""Shape files: grammar, sizes, and the published facts of the networks that come with the package."""

from pathlib import Path

import pytest

from sysmol.benchmarks.shapes import EncoderShape, list_shapes, load_network, load_shapes, parse_shapes
from sysmol.errors import SysmolError

GOOD = """
network 8x8x3   # a comment
stem  conv     3  4 3x3 1 1 1 relu stem_in -
"""


@pytest.mark.parametrize("name", list_shapes())
def test_every_file_reads(name: str) -> None:
    for shape in load_shapes(name):
        if isinstance(shape, EncoderShape):
            continue
        sizes = shape.sizes()
        assert all(min(sizes[layer.name]) > 0 for layer in shape.layers)
        assert sizes[shape.layers[-1].name][:2] == (1, 1)


@pytest.mark.parametrize(
    ("name", "macs", "layers"),
    [
        ("resnet8", 12_501_632, 11),
        ("resnet20", 40_813_184, 23),
        ("resnet18", 555_422_720, 22),
        ("mobilenetv2", 87_976_448, 54),
        ("mobilenetv2_stem2", 22_003_712, 54),
        ("mobilenetv2_imagenet", 6_124_928, 54),
    ],
)
def test_published_sizes(name: str, macs: int, layers: int) -> None:
    shape = load_network(name)
    assert (sum(shape.macs().values()), len(shape.layers)) == (macs, layers)


def test_yflows_grid() -> None:
    """Filters 3 to 5, strides 1 and 2, images 56 and 112, 8 to 64 filters, each once."""
    for name in ("yflows_int8", "yflows_binary"):
        found = {
            (layer.kernel[0], layer.stride, shape.height, layer.outputs)
            for shape in load_shapes(name)
            for layer in shape.layers
            if layer.name not in shape.probes
        }
        assert found == {(f, s, i, n) for f in (3, 4, 5) for s in (1, 2) for i in (56, 112) for n in (8, 16, 32, 64)}


def test_single_layers_are_probed() -> None:
    """Every single layer's outputs reach the logits through a probe as large as them."""
    for shape in load_shapes("convolutions"):
        sizes = shape.sizes()
        for layer, probe in zip(shape.layers[::2], shape.layers[1::2], strict=True):
            assert probe.name in shape.probes and layer.name not in shape.probes
            assert probe.source == layer.name and probe.kernel == sizes[layer.name][:2]
        assert [probe.residual for probe in shape.layers[3::2]] == [probe.name for probe in shape.layers[1:-1:2]]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "empty"),
        ("net 8x8x3", "begin with"),
        ("network 8x8\n", "3 positive"),
        ("network 8x8x3\n", "needs layers"),
        ("network 8x8x3\na conv 3 4 3x3 1 1 1 relu image", "11 words"),
        ("network 8x8x3\na conv 3 4 3x3 1 1 1 relu nothing -", "no earlier layer"),
        ("network 8x8x3\na conv 4 4 3x3 1 1 1 relu image -", "other than 4 channels"),
        ("network 8x8x3\na conv 3 4 3x3 1 1 2 relu image -", "do not divide"),
        ("network 8x8x3\na conv 3 4 9x9 1 0 1 relu image -", "larger than its input"),
        ("network 8x8x3\na conv 3 4 3x3 1 1 1 tanh image -", "none of"),
        ("network 8x8x3\na conv 3 4 8x8 1 0 1 none image -\na conv 4 4 1x1 1 0 1 none a -", "stands twice"),
        ("network 8x8x3\na conv 3 4 3x3 1 1 1 none image -", "must give one pixel"),
        ("network 8x8x3\na conv 3 4 8x8 1 0 1 none image image", "does not have the shape"),
        ("layers\na 8x8 3 4 3x3 1 1", "8 words"),
        ("layers\na 2x2 3 4 3x3 1 0 1", "larger than its input"),
        (GOOD, "no earlier layer"),
    ],
)
def test_faults_are_named(text: str, what: str) -> None:
    with pytest.raises(SysmolError) as caught:
        parse_shapes(text, "x", "x.txt")
    assert what in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_file(tmp_path: Path) -> None:
    with pytest.raises(SysmolError, match=r"choose from .*resnet8"):
        load_shapes("no_such")
    with pytest.raises(SysmolError, match="there is no shape file"):
        load_shapes(tmp_path / "no.txt")
