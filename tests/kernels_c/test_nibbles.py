"""Convolutions of bytes by weights of 4 bits on machines with the matrix form: the reference's logits from codes of
nibbles, and none of them where weights or hardware do not allow it."""

import numpy as np
import pytest

from sysmol import isa
from sysmol.kernels_c.micro import nibbles as micro
from sysmol.kernels_c.nest import nibbles
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.network.builder import Builder

EVERYTHING = Options(has=isa.EVERYTHING)


class OnGrid(Builder):
    """A builder whose weights of an image are odd numbers up to ``top``."""

    top = 15

    def _weight(self, layer, channels):
        weight = super()._weight(layer, channels)
        if weight.dtype != np.int8 or weight.shape[-1] > 4:
            return weight
        return self.rng.choice(np.arange(-self.top, self.top + 1, 2), size=weight.shape).astype(np.int8)


def stem_network(seed: int, top: int = 15, fixed: bool = False):
    """A first convolution of random shape, or of a shape that gains by codes, with outputs in all formats."""
    rng = np.random.default_rng(seed)
    channels = 3 if fixed else int(rng.integers(1, 5))
    height, width = (12, 16) if fixed else (int(v) for v in rng.integers(4, 14, 2))
    b = OnGrid(rng, height, width, channels, f"stem{seed}-{top}-{fixed}")
    b.top = top
    (x,) = b.layer("rescale", "image", ["s8"])
    kernel = (3, 3) if fixed else tuple(int(v) for v in np.minimum(rng.integers(1, 6, 2), (height, width)))
    stride = (1, 1) if fixed else tuple(int(v) for v in rng.integers(1, 3, 2))
    pads = tuple(int(rng.integers(0, k)) for k in (*kernel, *kernel)) if not fixed else (1, 1, 1, 1)
    n = 40 if fixed else int(rng.integers(1, 24))
    bits = int(rng.choice([4, 2, 1]))
    x, stream = b.layer("conv2d", x, [[bits] * n, "s16"], n, kernel, stride, pads)
    (x,) = b.layer("conv2d", x, [[bits] * n], n, (1, 1), residual=stream)
    b.classifier(x, 3)
    return b.finish()


def styles_of(net, target="host", options=EVERYTHING):
    """What the first convolution's schedule ends with."""
    return generate(net, TARGETS[target], "net", "a test", options).regions[1].schedule.rsplit("-", 1)[-1]


@pytest.mark.parametrize("number", range(3))
def test_random_stems(number, program, assert_answers, seed, monkeypatch):
    monkeypatch.setattr(nibbles, "_pays", lambda *_: True)
    net = stem_network(1000 * seed + number)
    assert styles_of(net) == "nibble"
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror", choices=EVERYTHING))])


@pytest.mark.parametrize("isa_name", ("arm", "riscv"))
def test_cross_compiled(isa_name, program, emulator, assert_answers, seed):
    net = stem_network(seed, fixed=True)
    assert styles_of(net, isa_name) == "nibble"
    executable = program(net, isa_name, "-O1", "-DSMOL_EMULATE", "-Werror", choices=EVERYTHING)
    assert_answers(net, [*emulator(isa_name), str(executable)])


def test_other_weights_and_hardware_keep_their_kernels(seed):
    net = stem_network(seed, fixed=True)
    assert styles_of(net, options=Options()) == "dot"
    assert styles_of(net, "riscv", Options()) == "mac"
    assert styles_of(net, options=Options(has=isa.EVERYTHING, styles={"s8": "dot"})) == "dot"
    net.layers[1].weight[0, 0, 0, 0] = 17
    assert styles_of(net) == "dot"
    net.layers[1].weight[0, 0, 0, 0] = 2
    assert styles_of(net) == "dot"


def test_a_wrong_excess_is_found(program, assert_answers, seed, monkeypatch):
    net = stem_network(seed, fixed=True)
    right = micro.excess
    monkeypatch.setattr(nibbles, "excess", lambda *operands: right(*operands) + 2048)
    with pytest.raises(AssertionError):
        assert_answers(net, [str(program(net, "host", "-O1", "-Werror", choices=EVERYTHING))])
