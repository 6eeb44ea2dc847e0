"""The seam of operations: one of two inputs, defined in this file alone, goes through every part that knows operations.

In the project it would touch five files: its class and its back end in C are new, the two packages' ``__init__`` and
the evaluation in PyTorch get a few lines.
"""

import numpy as np
import pytest

from sysmol.errors import SysmolError
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import expand
from sysmol.kernels_c.nest.elementwise import Elementwise
from sysmol.kernels_c.operations.base import MAKERS
from sysmol.kernels_c.plan.layout import Block
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.network import Array, Layer, Network, magnitude, need, validate
from sysmol.network.builder import Builder
from sysmol.network.operations import OPERATIONS, Operation
from sysmol.network.reference import evaluate
from sysmol.train.quantise import integer


class Product(Operation):
    """``acc[c] = x[c] * y[c]`` of two activations."""

    name = "product"
    inputs = 2

    def check(self, net: Network, layer: Layer) -> None:
        super().check(net, layer)
        x, y = (net.tensors[name] for name in layer.inputs)
        need(x.shape == y.shape and x.format == y.format == "s8", f"layer {layer.name} takes two equal s8 tensors")

    def evaluate(self, net: Network, layer: Layer, x: list[Array]) -> Array:
        return x[0] * x[1]

    def accumulator_bound(self, net: Network, layer: Layer) -> Array:
        x, y = (net.tensors[name] for name in layer.inputs)
        return magnitude(x) * magnitude(y)

    def macs(self, net: Network, layer: Layer) -> int:
        return int(np.prod(net.tensors[layer.input].shape))


class ProductKernel(Elementwise):
    def gather(self, em: Emitter, block: Block) -> list[str]:
        assert self.second is not None
        expand(em, self.source, ["corner"], block, ["e"])
        expand(em, self.second, ["second_corner"], block, ["f"])
        for g in range(len(block.groups)):
            em.line(f"const vec a{g} = v_mul(e{g}, f{g});")
        return [f"a{g}" for g in range(len(block.groups))]


@pytest.fixture
def product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registered everywhere for one test."""
    monkeypatch.setitem(OPERATIONS, "product", Product())
    monkeypatch.setitem(
        MAKERS, "product", lambda net, layer, places, _, options: ProductKernel(net, layer, places, options)
    )
    monkeypatch.setitem(integer.ACCUMULATE, "product", lambda _, layer, x: x[0] * x[1])


def network(seed: int) -> Network:
    """Two branches of a network, multiplied; the sums get a residual and go on as bytes and as codes."""
    b = Builder(np.random.default_rng(seed), 6, 5, 3, f"product{seed}")
    (x,) = b.layer("rescale", "image", ["s8"])
    x, stream = b.layer("conv2d", x, ["s8", "s16"], 21, (3, 3), padding=(1, 1, 1, 1))
    (y,) = b.layer("conv2d", x, ["s8"], 21, (1, 1))
    z, codes = b.layer("product", x, ["s8", [4] * 9 + [2] * 12], second=y, residual=stream)
    (w,) = b.layer("product", z, ["s8"], second=y)
    (w,) = b.layer("conv2d", codes, ["s8"], 21, residual=w)
    b.classifier(w)
    return b.finish()


def test_a_product_of_two_activations(product: None, program, assert_answers, seed: int) -> None:
    net = network(seed)
    samples = net.samples
    assert samples is not None
    assert np.array_equal(evaluate(net, samples.images), samples.logits)
    assert np.array_equal(integer.evaluate(net, samples.images), samples.logits)
    assert_answers(net, [str(program(net, "host"))])
    for target in TARGETS.values():
        made = generate(net, target, "net", "a test")
        region = next(region for region in made.regions if region.op == "product")
        assert region.macs == 6 * 5 * 21 and region.mix["simd"] > 0
        assert region.bytes_in >= 2 * 6 * 5 * 21  # both inputs, and the residual


def test_a_branch_decides_the_result(product: None, seed: int) -> None:
    """Exchanging an input for another one changes the logits: the second input is really read."""
    net = network(seed)
    layer = next(layer for layer in net.layers if layer.op == "product")
    layer.second = layer.input
    validate(net)
    assert net.samples is not None and not np.array_equal(evaluate(net, net.samples.images), net.samples.logits)


def test_what_is_not_registered_is_refused_by_name(product: None, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    net = network(seed)
    product_layer = next(layer for layer in net.layers if layer.op == "product")
    product_layer.second = ""
    with pytest.raises(SysmolError, match=r"layer product3: a product takes 2 inputs, not \['t1_0'\]"):
        validate(net)
    product_layer.second = "t2_0"
    monkeypatch.delitem(MAKERS, "product")
    with pytest.raises(SysmolError, match="layer product3: no code is generated for product, only for"):
        generate(net, TARGETS["arm"], "net", "a test")
    monkeypatch.delitem(integer.ACCUMULATE, "product")
    with pytest.raises(SysmolError, match="layer product3: PyTorch evaluates no product, only"):
        integer.Evaluator(net)
    monkeypatch.delitem(OPERATIONS, "product")
    with pytest.raises(SysmolError, match="layer product3 has the unknown operation 'product'"):
        validate(net)
