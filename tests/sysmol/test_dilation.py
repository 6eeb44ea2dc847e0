"""Taps that are pixels apart, and pixels that are repeated: what the reference computes, by other ways."""

from dataclasses import replace

import numpy as np
import pytest

from sysmol.errors import SysmolError
from sysmol.network import Layer, Network, Tensor, border_classes, load, operation, save
from sysmol.network.builder import Builder
from sysmol.network.checks import check_geometry, validate
from sysmol.network.reference import accumulate, run


def test_valid_taps_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    empty = 0
    for _ in range(300):
        size, kernel, stride, dilation = (int(rng.integers(1, most)) for most in (9, 5, 4, 5))
        reach = (kernel - 1) * dilation + 1
        before, after = (int(rng.integers(0, reach)) for _ in range(2))
        index, classes = border_classes(size, kernel, stride, before, after, dilation)
        assert len(index) == max((size + before + after - reach) // stride + 1, 0)
        for position, number in enumerate(index):
            start = position * stride - before
            valid = [tap for tap in range(kernel) if 0 <= start + tap * dilation < size]
            assert list(range(*classes[number])) == valid
            empty += not valid
    assert empty


@pytest.mark.parametrize("op", ["conv2d", "depthwise"])
def test_a_dilated_kernel_is_one_with_zeros_between_its_taps(op: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    b = Builder(rng, 7, 6, 4)
    (x,) = b.layer("rescale", "image", ["s8"])
    b.layer(op, x, ["s8"], 4, (3, 2), (2, 1), (3, 2, 1, 0), dilation=(2, 3), groups=2 if op == "conv2d" else 1)
    layer = b.net.layers[-1]
    assert layer.weight is not None
    own = layer.weight if op == "conv2d" else layer.weight[None]
    wide = np.zeros((len(own), *layer.reach, own.shape[-1]), dtype=np.int8)
    wide[:, ::2, ::3] = own
    dense = replace(layer, kernel=layer.reach, dilation=(1, 1), weight=wide if op == "conv2d" else wide[0])
    values = rng.integers(-128, 128, (7, 6, 4))
    found = accumulate(b.net, layer, values)
    assert found.any() and np.array_equal(found, accumulate(b.net, dense, values))


def test_upsampling_by_hand() -> None:
    net = Network(
        "n", {name: Tensor(name, *shape, 1, "s8") for name, shape in (("a", (1, 2)), ("b", (2, 6)))}, [], "a", "b"
    )
    layer = Layer("up", "upsample", "a", output="b", kernel=(2, 3))
    check_geometry(net, layer, {"a"})
    operation(layer).check(net, layer)
    found = operation(layer).evaluate(net, layer, [np.array([[[5], [7]]])])
    assert found[..., 0].tolist() == [[5, 5, 5, 7, 7, 7]] * 2


def test_files_keep_them(tmp_path, seed: int) -> None:
    b = Builder(np.random.default_rng(seed), 6, 5, 2)
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, [[4, 2, 1, 4, 4]], 5, (3, 3), padding=(2, 2, 2, 2), dilation=(2, 2))
    (x,) = b.layer("upsample", x, [], kernel=(2, 1))
    b.classifier(x, 3)
    net = b.finish()
    again = load(save(tmp_path / "a.network.safetensors", net))
    assert [(la.op, la.kernel, la.dilation) for la in again.layers] == [
        (la.op, la.kernel, la.dilation) for la in net.layers
    ]
    assert net.samples is not None
    image = net.samples.images[0]
    assert all(np.array_equal(a, b) for a, b in zip(run(net, image).values(), run(again, image).values(), strict=True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dilation": (0, 1)}, "bad kernel, stride, padding or dilation"),
        ({"dilation": (3, 3)}, "pixels"),
        ({"padding": (5, 2, 2, 2)}, "padding must be smaller"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], words: str, seed: int) -> None:
    b = Builder(np.random.default_rng(seed), 6, 5, 2)
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, ["s8"], 5, (3, 3), padding=(2, 2, 2, 2), dilation=(2, 2))
    b.classifier(x, 3)
    net = b.finish()
    net.layers[1] = replace(net.layers[1], **change)
    with pytest.raises(SysmolError, match=words):
        validate(net)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dilation": (2, 2)}, "only convolutions have a dilation"),
        ({"stride": (2, 1)}, "no stride and no padding"),
        ({"kernel": (2, 2)}, "pixels"),
    ],
)
def test_upsampling_has_factors_alone(change: dict[str, object], words: str, seed: int) -> None:
    b = Builder(np.random.default_rng(seed), 3, 3, 2)
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("upsample", x, [], kernel=(2, 1))
    b.classifier(x, 3)
    net = b.finish()
    net.layers[1] = replace(net.layers[1], **change)
    with pytest.raises(SysmolError, match=words):
        validate(net)
