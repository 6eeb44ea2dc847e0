"""A residual of one channel is added to all channels: codes, bytes and words, in the reference, PyTorch, ONNX and C."""

import numpy as np
import pytest

from sysmol.errors import SysmolError
from sysmol.network import Network, validate
from sysmol.network.builder import Builder, random_precisions
from sysmol.train.quantise import integer

CHANNELS = 21


def network(seed: int, high: float) -> Network:
    """Convolutions to outputs of every format, of one and of several precisions, with a residual of one channel."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, 6, 5, 3, f"one-{high:g}", high)
    (x,) = b.layer("rescale", "image", ["s8"])
    for _ in range(3):
        (one,) = b.layer("conv2d", x, ["s16"], 1, (3, 3), padding=(1, 1, 1, 1))
        forms = [random_precisions(rng, CHANNELS), "s8", np.full(CHANNELS, 4), "s16"]
        *_, wide = b.layer("conv2d", x, forms, CHANNELS, (3, 3), padding=(1, 1, 1, 1), residual=one)
        (x,) = b.layer("rescale", wide, [random_precisions(rng, CHANNELS)], residual=one)
    b.classifier(x)
    return b.finish()


@pytest.mark.parametrize("high", [0.0, 1.0])
def test_the_reference_s_logits_everywhere(high, program, assert_answers, seed):
    net = network(seed, high)
    assert net.samples is not None
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror"))])
    assert np.array_equal(integer.evaluate(net, net.samples.images), net.samples.logits)
    pytest.importorskip("onnxruntime", reason="needs the extra onnx: pip install 'sysmol[onnx]'")
    from sysmol.interchange import evaluation

    assert np.array_equal(evaluation.evaluate(net, net.samples.images), net.samples.logits)


@pytest.mark.parametrize("isa", ["arm", "riscv"])
def test_cross_compiled(isa, program, emulator, assert_answers, seed):
    prefix = emulator(isa)
    net = network(seed, 0.5)
    assert_answers(net, [*prefix, str(program(net, isa, "-O1", "-DSMOL_EMULATE", "-Werror"))])


def test_other_sizes_are_refused(seed):
    net = network(seed, 0.0)
    layer = next(each for each in net.layers if each.residual)
    layer.residual = net.input
    with pytest.raises(SysmolError, match="residual image has shape"):
        validate(net)
