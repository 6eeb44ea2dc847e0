"""Transformers of users' modules: how attention may be written, what is refused, what training computes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sysmol.errors import SysmolError
from sysmol.network import Network, reference
from sysmol.network.operations.softmax import weights
from sysmol.train import prepare
from sysmol.train.frontend.data import load, to_real
from sysmol.train.frontend.models import build
from sysmol.train.frontend.policy import Policy
from sysmol.train.quantise import integer
from sysmol.train.quantise.export import _Exporter, export
from sysmol.train.quantise.heads import heads_cover, rounded_weights
from sysmol.train.quantise.prepared import Prepared
from sysmol.train.quantise.trainer import Phase, Trainer, accuracy

X = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(5))


class Around(nn.Module):
    """Tokens of an image, what a function of (module, tokens) makes of them, and logits of their mean."""

    def __init__(self, function) -> None:
        super().__init__()
        self.stem, self.head, self.function = nn.Conv2d(1, 12, 2, 2), nn.Linear(12, 5), function
        self.qkv, self.norm, self.cls = nn.Linear(12, 36), nn.LayerNorm(12), nn.Parameter(torch.randn(1, 1, 12))
        self.first = nn.MultiheadAttention(12, 3, batch_first=True)
        self.last = nn.MultiheadAttention(12, 3)
        layer = nn.TransformerEncoderLayer(12, 2, 20, 0.1, "gelu", batch_first=True, norm_first=True)
        self.layer, self.post = layer, nn.TransformerEncoderLayer(12, 2, 20, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(12), enable_nested_tensor=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.function(self, self.stem(x).flatten(2).transpose(1, 2)).mean(1))


def qkv(m, x, heads: int = 3):
    """Queries, keys and values [n, heads, tokens, channels]."""
    return m.qkv(x).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def joined(y):
    return y.transpose(1, 2).flatten(2)


def attended(m, x, **options):
    q, k, v = qkv(m, x)
    return joined(F.scaled_dot_product_attention(q, k, v, **options))


def by_hand(m, x):
    q, k, v = qkv(m, x)
    return x + joined(((q * 0.4) @ k.transpose(-2, -1)).softmax(-1) @ v)


def gated(m, x):
    return m.norm(x) * torch.sigmoid(x.mean(1, keepdim=True))


WAYS = {
    "hand": by_hand,
    "function": lambda m, x: attended(m, x, scale=0.3),
    "one head": lambda m, x: torch.bmm(F.softmax(torch.bmm(x, m.norm(x).mT) / 4, 2), x),
    "module": lambda m, x: m.first(x, m.norm(x), x)[0],
    "tokens first": lambda m, x: m.last(x.mT.movedim(2, 0), x.transpose(0, 1), x.permute(1, 0, 2))[0].swapaxes(0, 1),
    "pre-norm": lambda m, x: m.layer(x),
    "post-norm": lambda m, x: m.post(m.post(x)),
    "encoder": lambda m, x: m.encoder(src=x),
    "gates": gated,
    "functional norm": lambda m, x: F.layer_norm(x, (12,), m.norm.weight, eps=1e-3) + F.silu(x).contiguous(),
}


@pytest.mark.parametrize("way", WAYS)
def test_ways_to_write_it(way: str, seed: int) -> None:
    torch.manual_seed(seed)
    module = Around(WAYS[way]).eval()
    with torch.no_grad():
        assert torch.allclose(module(X), prepare(module, X, "fp32").eval()(X), atol=1e-5)
    network, prepared = _exported(module, "w4")
    assert np.array_equal(integer.evaluate(network, network.samples.images), network.samples.logits)
    assert _error(network, prepared) < 0.15


def _exported(module: nn.Module, policy: str | Policy) -> tuple[Network, Prepared]:
    prepared = prepare(module, X, policy)
    prepared.freeze()
    prepared.calibrate(X)
    return export(prepared.eval(), "transformer", X), prepared


def _error(network: Network, prepared: Prepared) -> float:
    """Root mean square of what integers differ by from the rounded network, in parts of its logits' spread."""
    images = torch.from_numpy(network.samples.images).permute(0, 3, 1, 2)
    with torch.no_grad():
        real = prepared(to_real(images.permute(0, 2, 3, 1))).numpy()
    found = network.samples.logits * network.provenance["logit_scale"]
    return float(np.sqrt(np.square(found - real).mean()) / real.std())


def test_the_error_shows_wrong_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module = Around(lambda m, x: attended(m, 4 * x)).eval()
    right = _error(*_exported(module, "w4"))
    steps = _Exporter._score_steps
    monkeypatch.setattr(_Exporter, "_score_steps", lambda self, unit: 8 * steps(self, unit))
    assert _error(*_exported(module, "w4")) > 3 * right


CAUSAL = torch.ones(16, 16).tril()
REFUSED = {
    "mask": (lambda m, x: m.first(x, x, x, attn_mask=CAUSAL.bool())[0], "mask"),
    "causal": (lambda m, x: attended(m, x, is_causal=True), "mask"),
    "added mask": (lambda m, x: (x @ x.mT + CAUSAL.log()).softmax(-1) @ x, "scores"),
    "masked encoder": (lambda m, x: m.layer(x, src_mask=CAUSAL.bool()), "mask"),
    "weights": (lambda m, x: m.first(x, x, x)[1] @ x, "weights"),
    "scores": (lambda m, x: (x @ x.mT).mean(2, keepdim=True) * x, "scores"),
    "softmax over queries": (lambda m, x: (x @ x.mT).softmax(1) @ x, "last axis"),
    "no keys": (lambda m, x: x.mT @ x, "no heads"),
    "class token": (lambda m, x: torch.cat([x, x.mean(1, keepdim=True)], 1), "channels"),
    "one token": (lambda m, x: x[:, :1], "pixels"),
    "batch as tokens": (lambda m, x: m.last(x, x, x)[0], "batch_first=False"),
    "scale": (lambda m, x: attended(m, x, scale=m.cls.sum()), "scale"),
    "norm": (lambda m, x: F.layer_norm(x, (16, 12)), "normalises"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_the_line(what: str) -> None:
    function, words = REFUSED[what]
    with pytest.raises(SysmolError) as error:
        prepare(Around(function), X)
    message = str(error.value)
    assert "\n" not in message and words in message and ", test_transformers.py line " in message


def test_queries_and_keys_share_precisions_values_have_one_per_head(seed: int) -> None:
    torch.manual_seed(seed)
    prepared = prepare(Around(by_hand), X, Policy(edges="learned"))
    prepared.calibrate(X)
    prepared.start_noise()
    with torch.no_grad():
        for domain in prepared.all_domains():
            domain.s.normal_(0, 2)
    prepared.size_penalty().backward()
    prepared.freeze()
    prepared.calibrate(X)
    (unit,) = prepared.graph.attentions
    assert unit.input and unit.second and unit.third
    assert prepared.domain(unit.input.unit) is prepared.domain(unit.second.unit)
    values = prepared.domain(unit.third.unit)
    slopes = values.s.grad.view(3, -1)
    assert bool(slopes.any() and (slopes == slopes[:, :1]).all())
    assert bool((values.precisions.view(3, -1) == values.precisions.view(3, -1)[:, :1]).all())
    network = export(prepared.eval(), "transformer", X)
    assert np.array_equal(integer.evaluate(network, network.samples.images), network.samples.logits)


def test_weights_in_training_are_the_networks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    t = rng.integers(-300, 300, (1, 3, 50, 20))
    real = torch.from_numpy(t * np.log(2) / 16)
    found = rounded_weights(real, torch.tensor([4, 2, 1])).numpy()
    for head, bits in enumerate((4, 2, 1)):
        u = weights(t[:, head] - t[:, head].max(-1, keepdims=True), bits)
        assert np.allclose(found[:, head], u / u.sum(-1, keepdims=True), atol=1e-6)


def test_values_need_patterns_of_one_precision() -> None:
    with pytest.raises(SysmolError, match="pattern of one precision"):
        heads_cover(np.array([[4, 2]]), [1, 2], 1, 1)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "functional norm"])  # whose epsilon is its own
def test_full_precision_in_a_file(way: str) -> None:
    """The file's floats are the module's, as PyTorch and NumPy evaluate it."""
    torch.manual_seed(3)
    module = Around(WAYS[way]).eval()
    network = export(prepare(module, X, "fp32").eval(), "transformer", X)
    assert network.samples is not None
    images = network.samples.images
    with torch.no_grad():
        real = module(to_real(images)).numpy()
    for found in (network.samples.logits, reference.evaluate(network, images)):
        assert np.abs(found - real).max() < 1e-4 * np.abs(real).max()


def test_a_toy_learns_the_digits() -> None:
    """Full precision, then everything in 4 bits, without training and after an epoch. Images stay where they are:
    one pixel of translation, the default, is half a token of these 8x8 images, and a network that has not learned it
    forgets the digits over it."""
    data = load("digits")
    images, labels, still = data.test_images, data.test_labels, {"shift": 0}
    torch.manual_seed(0)
    module, trainer = build("digits_cct", 1, 10), Trainer(data, quiet=True)
    trainer.fit(module, Phase("fp32", epochs=10, lr=6e-3, **still))
    real = accuracy(module, images, labels)
    assert real > 0.88
    few = to_real(data.train_images[:128])
    prepared = prepare(module, few[:8], "w4")
    prepared.freeze()
    prepared.calibrate(few)
    assert accuracy(prepared, images, labels) > real - 0.05
    trainer.fit(prepared, Phase("w4", epochs=1, lr=5e-4, **still))
    rounded = accuracy(prepared, images, labels)
    assert rounded > real - 0.05
    network = export(prepared.eval(), "digits", few)
    assert abs(integer.accuracy(network, images, labels) - rounded) < 0.03
