"""Networks that concatenate: code for every layer and part, but functions that do not grow with them."""

import re

import numpy as np
import pytest

from sysmol.kernels_c.nest.many_outputs import MOST
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.shared import LEAST
from sysmol.kernels_c.targets import TARGETS
from sysmol.network import Network
from sysmol.network.builder import Builder, Format, random_precisions

SAME = (1, 1, 1, 1)
GROWTH = 12


def dense_network(seed: int, layers: int, kind: str = "s8", high: float = 0.5, samples: int = 2) -> Network:
    """A dense block as training exports it: every layer convolves all parts before it, one after the other, and sums
    in 16 bits; batch normalisation in front of every layer makes each part a tensor for each of its readers.

    ``kind`` of the parts: ``s8``, ``smol`` or ``f32``.
    """
    rng = np.random.default_rng(seed)
    b = Builder(rng, 6, 5, 3, f"dense{layers}_{kind}_{seed}", high)
    stream = "f32" if kind == "f32" else "s16"

    def parts(count: int) -> list[Format]:
        return [random_precisions(rng, GROWTH) if kind == "smol" else kind] * count

    (x,) = b.layer("rescale", "image", ["f32" if kind == "f32" else "s8"])
    read = [b.layer("conv2d", x, parts(layers + 1), GROWTH, (3, 3), padding=SAME)]
    for number in range(layers):
        residual = ""
        for part in read[:-1]:
            (residual,) = b.layer("conv2d", part[number], [stream], GROWTH, (3, 3), padding=SAME, residual=residual)
        forms = parts(layers - number)
        read.append(b.layer("conv2d", read[-1][number], forms, GROWTH, (3, 3), padding=SAME, residual=residual))
        read[-1] = [""] * (number + 1) + read[-1]
    residual = ""
    for part in read[:-1]:
        (residual,) = b.layer("conv2d", part[layers], [stream], GROWTH, (6, 5), residual=residual)
    (b.net.output,) = b.layer("conv2d", read[-1][layers], ["f32" if kind == "f32" else "s32"], GROWTH, (6, 5))
    return b.finish(samples)


@pytest.mark.parametrize("kind", ["s8", "smol", "f32"])
def test_shared_functions_and_single_outputs_are_right(kind, seed, program, assert_answers):
    net = dense_network(seed, 6, kind)
    assert max(len(layer.outputs) for layer in net.layers) > MOST
    made = generate(net, TARGETS["host"], "net.host", "a test")
    uses = re.findall(r"^    (layers_\d+)\(", made.source, re.MULTILINE)
    assert min(uses.count(name) for name in set(uses)) >= LEAST
    assert_answers(net, [str(program(net, "host"))])


@pytest.mark.slow
def test_code_is_linear_in_the_layers():
    """From 10 to 40 layers there are 13 times as many convolutions, whose weights alone are 13 times as many bytes."""
    made = {layers: dense_network(1, layers, samples=1) for layers in (10, 20, 40)}
    sizes = {}
    for layers, net in made.items():
        program = generate(net, TARGETS["arm"], "net.arm", "a test")
        weights = sum(layer.weight.nbytes for layer in net.layers if layer.weight is not None)
        sizes[layers] = (len(program.source), len(program.constants) / weights)
        print(f"{layers} layers, {len(net.layers)} with their parts: {sizes[layers][0]:,} bytes of C,", end=" ")
        print(f"{len(program.constants):,} of constants, {weights:,} of weights")
    assert sizes[20][0] < 2 * sizes[10][0] and sizes[40][0] < 4 * sizes[10][0]
    assert sizes[40][1] < 1.5 * sizes[10][1]
