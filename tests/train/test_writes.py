"""In-place operations mean what they mean in PyTorch, or are refused by name."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sysmol.errors import SysmolError
from sysmol.train import prepare


class Net(nn.Module):
    """Convolutions and logits around a function of (module, first convolution's result)."""

    def __init__(self, middle) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.relu, self.relu6 = nn.ReLU(inplace=True), nn.ReLU6(inplace=True)
        self.tanh, self.identity, self.dropout = nn.Hardtanh(0, 6, inplace=True), nn.Identity(), nn.Dropout()
        self.head = nn.Linear(6, 5)
        self.middle = middle

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.middle(self, self.a(x)).mean((2, 3)))


def iadd(m, t):
    y = t
    y += m.b(t)
    return m.b(y) + t


def identity_shortcut(m, t):
    shortcut = m.identity(t)
    return m.b(m.relu(t)) + shortcut


def dropout_shortcut(m, t):
    shortcut = m.dropout(t)
    return m.b(t.relu_()) + shortcut


def view_same(m, t):
    u = t.view(t.size(0), 6, 8, 8)
    u.relu_()
    return m.b(t) + t


def twice(m, t):
    s = t
    t = m.relu(t)
    t += m.b(s)
    return m.b(t) + s


WRITES = {
    "module": lambda m, t: m.b(m.relu(t)) + t,
    "module6": lambda m, t: m.b(m.relu6(t)) + t,
    "hardtanh": lambda m, t: m.b(m.tanh(t)) + t,
    "functional": lambda m, t: m.b(F.relu(t, inplace=True)) + t,
    "functional_positional": lambda m, t: m.b(F.relu(t, True)) + t,
    "functional6": lambda m, t: m.b(F.relu6(t, inplace=True)) + t,
    "functional_hardtanh": lambda m, t: m.b(F.hardtanh(t, 0, 6, True)) + t,
    "method": lambda m, t: m.b(t.relu_()) + t,
    "torch": lambda m, t: m.b(torch.relu_(t)) + t,
    "clamp": lambda m, t: m.b(t.clamp_(min=0)) + t,
    "add": lambda m, t: m.b(t.add_(m.b(t))) + t,
    "iadd": iadd,
    "identity": identity_shortcut,
    "dropout": dropout_shortcut,
    "view_same": view_same,
    "twice": twice,
}


@pytest.mark.parametrize("middle", WRITES.values(), ids=WRITES)
def test_logits_are_the_modules(middle, seed: int) -> None:
    torch.manual_seed(seed)
    net, images = Net(middle).eval(), torch.randn(4, 3, 8, 8)
    before = copy.deepcopy(net.state_dict())
    expected = net(images.clone()).detach()
    found = prepare(net, images, "w4").eval()(images)
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))
    assert all(torch.equal(a, b) for a, b in zip(before.values(), net.state_dict().values(), strict=True))


def test_the_test_can_fail(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rewriting the comparison with the user's module refuses the network."""
    monkeypatch.setattr("sysmol.train.frontend.trace.make_pure", lambda *_: None)
    torch.manual_seed(seed)
    with pytest.raises(SysmolError, match=r"Net cannot be followed: logits .* differ by \d+"):
        prepare(Net(WRITES["module"]), torch.randn(4, 3, 8, 8), "w4")


def partly(m, t):
    t[:, :, 0].relu_()
    return m.b(t)


def flat(m, t):
    u = t.view(t.size(0), -1)
    u.relu_()
    return m.b(t)


@pytest.mark.parametrize("middle", [partly, flat])
def test_writes_into_parts_and_other_shapes_are_refused(middle) -> None:
    with pytest.raises(SysmolError, match=r"unsupported layer|through another shape"):
        prepare(Net(middle), torch.randn(4, 3, 8, 8), "w4")
