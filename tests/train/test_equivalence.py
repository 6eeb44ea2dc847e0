"""What a tracer does not see is found by comparing logits, and named."""

import pytest
import torch
from torch import nn

from sysmol.errors import SysmolError
from sysmol.train import prepare


class Scaled(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return 2 * super()._conv_forward(x, weight, bias)


def network(middle: nn.Module | None = None) -> nn.Sequential:
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(), middle or nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4)]
    return nn.Sequential(*layers)


IMAGES = torch.rand(4, 3, 8, 8)


def test_hooks_are_named() -> None:
    net = network()
    net[2].register_forward_hook(lambda module, inputs, result: result * 3)
    with pytest.raises(SysmolError, match="'2' has hooks"):
        prepare(net, IMAGES)
    net = network()
    net[2].register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))
    with pytest.raises(SysmolError, match="'2' has hooks"):
        prepare(net, IMAGES)


def test_hooks_that_change_nothing_do_not_matter() -> None:
    net, seen = network(), []
    net[2].register_forward_hook(lambda module, inputs, result: seen.append(result.shape))
    prepare(net, IMAGES)


def test_an_overridden_method_is_named() -> None:
    with pytest.raises(SysmolError, match="'2' overrides _conv_forward"):
        prepare(network(Scaled(6, 6, 3)), IMAGES)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(value: float) -> None:
    net = network()
    with torch.no_grad():
        net[2].weight[0, 0, 0, 0] = value
    with pytest.raises(SysmolError, match="layer '2' has NaN or infinite numbers in its weight"):
        prepare(net, IMAGES)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_images_that_are_no_numbers_are_refused(value: str) -> None:
    images = IMAGES.clone()
    images[0, 0, 0, 0] = float(value)
    with pytest.raises(SysmolError, match="the example images hold NaN"):
        prepare(network(), images)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_other_float_types_are_converted(kind: torch.dtype) -> None:
    net = network().eval().to(kind)
    expected = net.float()(IMAGES)
    net.to(kind)
    found = prepare(net, IMAGES.to(kind), "w4").eval()(IMAGES)
    assert found.dtype == torch.float32 and torch.allclose(found, expected, atol=1e-2)
    assert next(net.parameters()).dtype == kind


def test_the_line_of_the_users_code_is_named() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6, 4)

        def forward(self, x):
            y = self.a(x)
            return self.head((y * y.erf()).mean((2, 3)))

    with pytest.raises(SysmolError, match=r"erf\), test_equivalence.py line \d+: supported are"):
        prepare(Gated(), IMAGES)
