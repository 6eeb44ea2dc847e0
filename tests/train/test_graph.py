"""What cannot be exported is refused at once, in one line that names the layer."""

import pytest
import torch
import torch.nn.functional as F
from networks import Mixture, Rectified
from torch import nn

from sysmol.errors import SysmolError
from sysmol.train.frontend.graph import Value
from sysmol.train.frontend.policy import Policy
from sysmol.train.frontend.trace import trace
from sysmol.train.quantise.prepared import prepare


class Around(nn.Module):
    """A layer between a stem and a head."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Sequential(layer)
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3)))


class Function(nn.Module):
    """A function between a stem and a head."""

    def __init__(self, function) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Linear(8, 2)
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.function(self.stem(x)).mean((2, 3)))


X = torch.zeros(2, 3, 8, 8)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.Softplus(), "Softplus"),
        (nn.Mish(), "Mish"),
        (nn.Hardtanh(), "-1.0 .. 1.0"),
        (nn.Upsample(scale_factor=1.5), "whole factors"),
        (nn.Upsample(scale_factor=2, mode="bilinear"), "mode=bilinear"),
        (nn.PixelShuffle(2), "PixelShuffle"),
        (nn.MaxPool2d(2, dilation=2), "dilation"),
        (nn.Conv2d(8, 8, 3, padding=5, dilation=2), "padding"),
        (nn.ELU(), "ELU"),
        (nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"), "reflect"),
        (nn.Conv2d(8, 8, 1, padding=1), "padding"),
        (nn.ConvTranspose2d(8, 8, 2), "ConvTranspose2d"),
        (nn.InstanceNorm2d(8), "InstanceNorm2d"),
        (nn.AvgPool2d(3, 2, ceil_mode=True), "ceil_mode"),
        (nn.AvgPool2d(3, padding=1, count_include_pad=False), "count_include_pad"),
        (nn.AdaptiveAvgPool2d((None, 3)), "output size 8x3"),
        (nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8, track_running_stats=False)), "running statistics"),
    ],
)
def test_unsupported_layers(layer: nn.Module, words: str) -> None:
    with pytest.raises(SysmolError) as error:
        prepare(Around(layer), X)
    message = str(error.value)
    assert "\n" not in message and words in message and "body" in message
    assert ", test_graph.py line " in message


@pytest.mark.parametrize(
    "function",
    [
        torch.exp,
        lambda x: x * x.mean(1, keepdim=True),
        lambda x: x * x.mean((2, 3), keepdim=True).flip(1),
        lambda x: x / torch.arange(1.0, 513).view(8, 8, 8),
        lambda x: x // 2,
        lambda x: 1 / x,
        lambda x: x / 0,
        lambda x: torch.add(x, x, alpha=2),
        lambda x: torch.add(x, 1, alpha=2),
        lambda x: x + torch.ones(2, 8, 1, 1),
        lambda x: F.interpolate(x, (12, 8)),
        lambda x: F.interpolate(x, scale_factor=0.5),
        lambda x: F.interpolate(x, scale_factor=(1.05, 1)),
        lambda x: x.softmax(1),
        lambda x: F.pad(x, (1, 1, 1, 1)),
        lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1)), 2),
        lambda x: x[:, :, 1:],
        lambda x: x[:, [0, 0, 1, 2, 3, 4, 5, 6]],
        lambda x: torch.cat([F.max_pool2d(x, 2)[:, ::2]] * 2, 1),
        lambda x: x + x.mean((2, 3), keepdim=True),
        lambda x: x.permute(0, 1, 3, 2) + x,
        lambda x: F.max_pool2d(x.permute(0, 1, 3, 2), 2),
        lambda x: F.avg_pool1d(x.flatten(2), 2).unsqueeze(3),
        lambda x: torch.cat([x, x], 2),
        lambda x: torch.clamp(x, -1, 1),
    ],
)
def test_unsupported_functions(function) -> None:
    with pytest.raises(SysmolError) as error:
        prepare(Function(function), X)
    message = str(error.value)
    assert "\n" not in message and "unsupported layer" in message and ", test_graph.py line " in message


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 2, 8), nn.Conv2d(3, 2, 8)

    def forward(self, x: torch.Tensor):
        return self.a(x), self.b(x)


@pytest.mark.parametrize(
    ("module", "example", "words"),
    [
        (Branching(), X, "cannot trace"),
        (TwoOutputs(), X, "one tensor"),
        (nn.Sequential(nn.Conv2d(3, 4, 3)), X, "must end in logits"),
        (Mixture(), torch.zeros(1, 5, 9, 11), "does not run"),
        (Mixture(), torch.zeros(3, 9, 11), "does not run"),
        (Mixture(), torch.zeros(9, 11), "example input"),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), torch.zeros(2, 4, 5), "had no batch"),
        (nn.Sequential(nn.Conv1d(3, 4, 3), nn.MaxPool2d(2)), torch.zeros(2, 3, 9), "had no batch"),
    ],
)
def test_unsupported_models(module: nn.Module, example: torch.Tensor, words: str) -> None:
    with pytest.raises(SysmolError, match=words) as error:
        prepare(module, example)
    assert "\n" not in str(error.value)


def test_policies_are_checked() -> None:
    x = torch.zeros(1, 3, 9, 11)
    for policy, words in (
        (Policy(default=3), "3 bits"),
        (Policy(layers={"nothing*": 4}), "no layer is called"),
        (Policy(default=32), "cannot be mixed"),
        (Policy(default=4, layers={"depthwise": 2}), "share their bits"),
        ("w9", "unknown policy"),
    ):
        with pytest.raises(SysmolError, match=words):
            prepare(Mixture(), x, policy)


def test_additions_ride_on_convolutions_where_they_can() -> None:
    graph = trace(Mixture(), torch.zeros(1, 3, 9, 11))
    assert graph.units["conv2"].residual == Value("conv1", "relu6")
    assert graph.units["conv3"].residual == Value("shortcut")
    assert not any(unit.op == "add" for unit in graph.units.values())
    graph = trace(Rectified(), torch.zeros(1, 1, 8, 8))
    assert sum(unit.op == "add" for unit in graph.units.values()) == 1
    pool = next(unit for unit in graph.units.values() if unit.op == "maxpool")
    assert pool.input is not None and pool.input.act == "relu"


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.avg_pool2d(x, x.shape[2]),
        lambda x: F.max_pool2d(F.relu(x), x.size(3)),
        lambda x: F.avg_pool2d(x.clip(0, 6), kernel_size=x.size()[2:]),
        lambda x: sum([x, F.hardtanh(x, 0, 6), F.relu6(x)]),
        lambda x: F.adaptive_avg_pool2d(x, (4, None)),
        lambda x: torch.clamp(x, min=0.0),
        lambda x: F.dropout2d(F.dropout(x, training=False), training=False),
        lambda x: F.max_pool2d(F.relu(x), 3, 2, ceil_mode=True),
        lambda x: F.max_pool2d(x, (3, 2), (2, 3), 1, ceil_mode=True),
        lambda x: F.avg_pool2d(x, 2, ceil_mode=True),
        lambda x: x * 2,
        lambda x: -0.5 * x,
        lambda x: F.relu(x) / 4,
        lambda x: torch.mul(x, 3).div(2),
        lambda x: x / x.shape[2] + x.size(1),
        lambda x: F.relu(x).mul_(0.5),
        lambda x: F.relu6(x) * 2,
        lambda x: F.relu(x) * -1,
        lambda x: x * 2 + x,
        lambda x: x / torch.arange(1.0, 9).view(8, 1, 1),
        lambda x: 1 - x,
        lambda x: (x - torch.ones(1, 8, 1, 1)) * torch.arange(8.0).view(8, 1, 1).exp() + 0.5,
        lambda x: x - F.relu(x),
        lambda x: -(x + 1).sub_(0.25),
        lambda x: torch.sub(F.max_pool2d(x, 2), 3),
        lambda x: F.interpolate(x, scale_factor=2),
        lambda x: F.interpolate(F.max_pool2d(x, 2), size=x.shape[2:], mode="nearest"),
        lambda x: F.interpolate(x.mean((2, 3), keepdim=True), scale_factor=(3, 5)),
        lambda x: F.relu(F.interpolate(F.relu6(x), scale_factor=2)),
        lambda x: F.leaky_relu(x, 0.2),
        lambda x: F.leaky_relu(x, negative_slope=0.0) + F.leaky_relu_(x + 0, 0.1),
        lambda x: F.relu6(F.prelu(x, torch.linspace(-1, 2, 8))),
        lambda x: F.leaky_relu(F.max_pool2d(F.relu(x), 2), 0.1),
        lambda x: F.leaky_relu(F.max_pool2d(x, 2), 0.1),
        torch.sigmoid,
        lambda x: F.gelu(x, approximate="tanh") - F.silu(F.max_pool2d(x, 3, 1, 1)).tanh(),
        lambda x: F.hardswish(F.relu(x)) + F.hardsigmoid(x) * 2,
        lambda x: x * x.sigmoid(),
        lambda x: torch.sigmoid(x.mean((2, 3), keepdim=True)) * x,
        lambda x: x + torch.arange(8.0),
        lambda x: torch.ones(1, 8, 8, 8).tril() + 2 * x,
        lambda x: x.permute(0, 1, 3, 2),
        lambda x: F.relu(x.permute(0, 3, 2, 1) * torch.arange(8.0)).permute(0, 3, 2, 1),
        lambda x: torch.cat(x.chunk(2, 1), 1),
        lambda x: torch.cat([x, F.relu(x)], 1)[:, 4:12],
        lambda x: F.max_pool2d(x, 2)[:, [1, 0, 2, 3, 4, 5, 7, 6]],
        lambda x: torch.cat([F.relu(x)[:, ::2], F.avg_pool2d(x, 1)[:, 4:]], 1),
        lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (8,)).permute(0, 3, 1, 2),
        lambda x: F.relu(x.flatten(2).transpose(1, 2) - torch.ones(64, 8).cumsum(0)).mT.view(-1, 8, 8, 8),
    ],
)
def test_other_ways_to_write_it(function) -> None:
    torch.manual_seed(0)
    module = Function(function).eval()
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(module(x), prepare(module, x, "fp32").eval()(x), atol=1e-5)


def test_the_users_module_is_left_alone() -> None:
    module = Mixture().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    prepared = prepare(module, torch.zeros(1, 3, 9, 11))
    prepared.calibrate(torch.randn(4, 3, 9, 11))
    assert module.training
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_float_mode_is_the_users_module() -> None:
    torch.manual_seed(0)
    for module, shape in ((Mixture(), (4, 3, 9, 11)), (Rectified(), (4, 1, 8, 8))):
        module.eval()
        x = torch.randn(shape)
        prepared = prepare(module, x, "fp32").eval()
        with torch.no_grad():
            assert torch.allclose(module(x), prepared(x), atol=1e-5)


class Padded(nn.Module):
    """Padding in front of convolutions, as 'SAME' of other frameworks has it, and a softmax at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8)
        self.b, self.c = nn.Conv2d(8, 8, 3, groups=8, stride=2), nn.Conv2d(8, 8, 3, padding=1)
        self.zero, self.head = nn.ZeroPad2d((1, 0, 1, 0)), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.pad(x, (0, 1, 0, 1))
        y = F.relu(self.norm(self.a(y)) * 0.5)
        padded = self.zero(y)
        y = self.c(F.relu(self.b(padded)))
        return F.log_softmax(self.head(y.mean((2, 3))), dim=1)


def test_padding_is_the_convolutions_and_softmax_is_dropped() -> None:
    torch.manual_seed(0)
    module, x = Padded().eval(), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        prepared = prepare(module, x, "fp32").eval()
        assert torch.allclose(module(x), F.log_softmax(prepared(x), 1), atol=1e-5)
    assert prepared.graph.units["a"].padding == (0, 0, 1, 1)
