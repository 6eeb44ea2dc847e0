"""Networks and tensors that strangers brought: what must export, with which values, and what ends in one line."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from layerwise import Layerwise
from networks import frozen, random_images
from torch import nn

from sysmol.errors import SysmolError
from sysmol.network import Normalisation, load, reference, save
from sysmol.train.frontend.data import to_real
from sysmol.train.frontend.policy import Policy
from sysmol.train.quantise import calibration, integer
from sysmol.train.quantise.export import export
from sysmol.train.quantise.prepared import prepare
from sysmol.train.quantise.structure import byte_grid
from sysmol.train.quantise.windows import plain


def answers(prepared, images, tmp_path=None, **options):
    """The exported network's logits as real numbers, which must be the reference's, and those of the prepared one."""
    real = to_real(images, prepared.normalisation)
    net = export(prepared, "foreign", real)
    if tmp_path is not None:
        net = load(save(tmp_path / "a.safetensors", net))
    logits = integer.evaluate(net, images.numpy())
    assert np.array_equal(logits[:2], reference.evaluate(net, images[:2].numpy()))
    with torch.no_grad():
        return net, logits * net.provenance["logit_scale"], prepared(real).numpy()


class Newcomer(nn.Module):
    """``y = conv(t) + t``, or a linear layer in place of the convolution."""

    def __init__(self, before: str, kind: str, normalised: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.before, self.linear = before, nn.Linear(8, 8) if kind == "linear" else None
        self.conv = nn.Conv2d(8, 8, 3, padding=1, groups=8 if kind == "depthwise" else 1)
        self.norm = nn.BatchNorm2d(8) if normalised else nn.Identity()
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        t = self.first(x)
        t = {"conv": t, "relu": F.relu(t), "maximum": F.max_pool2d(F.relu6(t), 2), "mean": F.avg_pool2d(t, 2)}[
            self.before
        ]
        if self.linear is not None:
            t = t.mean((2, 3))
            return self.head(self.linear(t) + t)
        return self.head((self.norm(self.conv(t)) + t).mean((2, 3)))


@pytest.mark.parametrize("before", ["conv", "relu", "maximum", "mean"])
@pytest.mark.parametrize("kind", ["conv", "depthwise", "linear"])
@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("policy", ["int8", "w4", "mixed"])
def test_a_residual_of_the_convolution_s_own_input_exports(before, kind, normalised, policy, seed):
    if kind == "linear" and normalised:
        return  # the linear layer has no normalisation
    torch.manual_seed(seed)
    images = random_images(seed, 8, (6, 6, 1))
    _, found, real = answers(frozen(Newcomer(before, kind, normalised), images, policy, seed), images)
    assert np.abs(found - real).max() <= 0.3 * np.abs(real).max()


class Constant(nn.Module):
    """A layer in the middle whose results are all the same number, or nearly."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 3)
        factor, bias = {"dead": (1, -1e3), "zero": (0, 0), "constant": (0, 3), "spread": (1e-7, 3), "logits": (1, 0)}[
            kind
        ]
        with torch.no_grad():
            self.middle.weight.mul_(factor)
            self.middle.bias.fill_(bias)
            if kind == "logits":
                self.head.weight.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        t = F.relu(self.middle(F.relu(self.first(x))))
        return self.head((self.last(t) + t).mean((2, 3)))


@pytest.mark.parametrize("kind", ["dead", "zero", "constant", "spread", "logits"])
@pytest.mark.parametrize("policy", ["int8", "w4", "w1", "mixed"])
def test_dead_and_constant_tensors_keep_their_values(kind, policy, seed):
    torch.manual_seed(seed)
    images = random_images(seed, 8, (6, 6, 1))
    module = Constant(kind).eval()
    _, found, real = answers(frozen(module, images, policy, seed), images)
    with torch.no_grad():
        exact = module(to_real(images)).numpy()
    assert np.abs(found - real).max() <= 0.01 * np.abs(real).max() + 1e-6
    if policy == "int8":
        assert np.abs(found - exact).max() <= 0.05 * np.abs(exact).max()


class Nothing(nn.Module):
    """An addition behind whose ReLU nothing is left, whatever the image."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.head = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 1), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        t = F.leaky_relu(self.first(x), 0.02)
        nothing = F.relu(t - F.relu(t))
        return self.head((self.last(F.relu(t)) + nothing).mean((2, 3)))


@pytest.mark.parametrize("policy", ["int8", "w1"])
def test_streams_of_nothing_are_no_finer_than_their_sums_allow(policy, seed, monkeypatch):
    torch.manual_seed(seed)
    images = random_images(seed, 8, (6, 6, 1))
    prepared = frozen(Nothing().eval(), images, policy, seed)
    Layerwise(prepared, to_real(images), images[:2].numpy()).check()
    monkeypatch.setattr("sysmol.train.quantise.export.FINEST", 0.0)
    with pytest.raises(SysmolError, match="no 32-bit integers hold its scales"):
        export(prepared, "x", to_real(images))


def test_one_channel_with_the_strides_of_another_order_is_convolved_right():
    """PyTorch's own convolution is wrong for such strides (its issue 82060): the test shows that the copy matters."""
    differs = 0
    for width, kernel, step in ((2, 2, 3), (3, 2, 2), (4, 3, 2), (5, 3, 3)):
        x, weight = torch.randn(3, 1, 5, width), torch.randn(16, 1, 1, kernel)
        expected = torch.einsum("ncyxhw,kchw->nkyx", x.unfold(2, 1, 1).unfold(3, kernel, step), weight)
        strange = x.clone(memory_format=torch.channels_last)
        assert strange.is_contiguous() and strange.stride() != x.stride()
        assert torch.allclose(F.conv2d(plain(strange), plain(weight), stride=(1, step)), expected, atol=1e-5)
        assert plain(strange).stride() == x.stride()
        differs += not torch.allclose(F.conv2d(strange, weight, stride=(1, step)), expected, atol=1e-5)
    if not differs:
        pytest.skip("this PyTorch convolves one channel of any strides right: plain() is needed no more")


class Narrow(nn.Module):
    """One channel, output width 1, strides over columns."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 16, (1, 3), stride=(1, 2)), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.conv(x)).mean((2, 3)))


def test_prepared_and_integers_agree_on_one_narrow_channel(seed):
    torch.manual_seed(seed)
    images = random_images(seed, 16, (5, 4, 1))
    prepared = frozen(Narrow(), images, "int8", seed)
    _, found, real = answers(prepared, images)
    assert np.abs(found - real).max() <= 0.05 * np.abs(real).max()
    with torch.no_grad():
        other = prepared(to_real(images).clone(memory_format=torch.channels_last)).numpy()
    assert np.allclose(other, real, atol=1e-5)


# --- numbers that are none -------------------------------------------------------------------------------------------


def _ready(seed):
    torch.manual_seed(seed)
    images = random_images(seed, 8, (6, 6, 1))
    return frozen(Newcomer("relu", "conv", False), images, "int8", seed), to_real(images)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_name_their_layer(value, seed):
    prepared, images = _ready(seed)
    with torch.no_grad():
        prepared.convolution("conv").weight[0] = value
    with pytest.raises(SysmolError, match=r"^layer conv: NaN or infinite numbers in its weight"):
        export(prepared, "x", images)
    prepared.mode = "float"
    with pytest.raises(SysmolError, match=r"^layer conv gives NaN or infinite numbers on the calibration images$"):
        prepared.calibrate(images)


def test_images_that_are_no_numbers_are_named(seed):
    prepared, images = _ready(seed)
    images[1, 0, 2, 3] = float("nan")
    with pytest.raises(SysmolError, match=r"^the calibration images hold NaN or infinite numbers$"):
        prepared.calibrate(images)


# --- normalisation, edges, padding, flatten --------------------------------------------------------------------------


class Small(nn.Module):
    """A padded convolution with different sides, as TensorFlow's SAME has them, and a linear layer over the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3, stride=2)
        self.head = nn.Linear(6 * 3 * 4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.conv(F.pad(x, (1, 0, 0, 1)))).flatten(1))


IMAGENET = Normalisation.of_unit_range((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize("policy", ["int8", "w4", Policy(default=4, edges=4), Policy(edges="learned"), "fp32"])
@pytest.mark.parametrize("normalisation", [IMAGENET, Normalisation((100.0,), (0.02,)), ((1.0, 2.0, 3.0), (0.01,))])
def test_a_normalisation_of_one_s_own_reaches_the_file_and_the_logits(policy, normalisation, tmp_path, seed):
    torch.manual_seed(seed)
    images = random_images(seed, 12, (6, 8, 3))
    made = normalisation if isinstance(normalisation, Normalisation) else Normalisation(*normalisation)
    module = Small(3).eval()
    prepared = frozen(module, images, policy, seed, normalisation=normalisation)
    real = to_real(images, made)
    with torch.no_grad():
        exact, wanted = module(real).numpy(), prepared(real).numpy()
    net = load(save(tmp_path / "a.safetensors", export(prepared, "x", real)))
    assert net.normalisation == made
    found = integer.evaluate(net, images.numpy()) * net.provenance.get("logit_scale", 1.0)
    assert np.abs(found - wanted).max() <= (0.25 if policy not in ("int8", "fp32") else 0.05) * np.abs(wanted).max()
    if policy in ("int8", "fp32"):
        assert np.abs(found - exact).max() <= 0.06 * np.abs(exact).max()
    if not net.is_float:
        assert np.array_equal(integer.evaluate(net, images[:2].numpy()), reference.evaluate(net, images[:2].numpy()))


@pytest.mark.parametrize(
    ("mean", "scale"), [((), (1.0,)), ((1.0,), (0.0,)), ((float("nan"),), (1.0,)), ((1.0, 2.0), (1.0,))]
)
def test_a_normalisation_that_is_none_is_refused(mean, scale):
    with pytest.raises(SysmolError, match="normalisation"):
        prepare(Small(3), to_real(random_images(0, 2, (6, 8, 3))), normalisation=(mean, scale))


def test_the_usual_normalisation_keeps_bytes_exact():
    assert byte_grid(Normalisation(), 3) == (1 / 64, 0.0)


@pytest.mark.parametrize("policy", [Policy(default=4, edges=4), Policy(edges="learned"), Policy(default=2, edges=1)])
def test_a_perceptron_s_pixels_become_channels(policy, tmp_path, seed):
    """Not 128 times its size: an image's pixels fill registers, with a precision each where that is learned."""
    torch.manual_seed(seed)
    images = random_images(seed, 8, (12, 10, 1))
    module = nn.Sequential(nn.Flatten(), nn.Linear(120, 40), nn.ReLU(), nn.Linear(40, 4))
    net, found, real = answers(frozen(module, images, policy, seed), images, tmp_path)
    flat = net.layers[0]
    assert flat.op == "flatten" and flat.input == "image"
    assert len(net.tensors[flat.outputs[0].tensor].patterns) <= 4
    assert np.abs(found - real).max() <= 0.35 * np.abs(real).max()


@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_any_layer_has_any_bits(bits, seed):
    torch.manual_seed(seed)
    images = random_images(seed, 8, (6, 8, 3))
    for layers in ({"conv": bits, "head": 8}, {"conv": 4, "head": bits}):
        policy = Policy(default=4, layers=layers)
        net, _, _ = answers(frozen(Small(3), images, policy, seed), images)
        formats = {layer.name: net.tensors[layer.input] for layer in net.layers if layer.weight is not None}
        for name, wanted in layers.items():
            assert (formats[name].format == "s8") == (wanted == 8)
            assert wanted == 8 or set(formats[name].precisions.tolist()) == {wanted}


# --- memory ----------------------------------------------------------------------------------------------------------


def test_calibration_and_export_in_batches_see_all_images(seed, monkeypatch):
    """Without batch normalisation the number of batches changes nothing but which values are drawn."""
    torch.manual_seed(seed)
    images = random_images(seed, 24, (6, 6, 1)) // 4
    images[-1] *= 4  # the last image alone has large values
    module = Newcomer("relu", "conv", False)
    scales: list[list[float]] = []
    seen: list[int] = []
    for memory in (calibration.MEMORY, 20_000):
        monkeypatch.setattr(calibration, "MEMORY", memory)
        prepared = frozen(module, images, "int8", seed)
        assert (len(calibration.batches(prepared, 24)) > 3) == (memory == 20_000)
        seen.clear()
        with prepared.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0]))):
            net = export(prepared, "x", to_real(images))
        assert memory != 20_000 or max(seen, default=0) < 24, "all images at once"
        scales.append([float(prepared.activation(k).scale[0].detach()) for k in prepared.keys if k[2] == "s8"])
        scales[-1].append(net.layers[1].outputs[0].M.max() * 2.0 ** -net.layers[1].outputs[0].shift)
    assert np.allclose(scales[0], scales[1], rtol=0.05)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 512])
def test_batches_hold_every_image_once_and_two_at_least(count, seed, monkeypatch):
    monkeypatch.setattr(calibration, "MEMORY", 1)
    prepared, _ = _ready(seed)
    parts = calibration.batches(prepared, count)
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(count))
    assert min(part.stop - part.start for part in parts) >= min(count, 2)
