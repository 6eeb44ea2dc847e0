"""Kernels of the matrix form: the reference's logits from every layout of activations, and none of its instructions
where the hardware lacks them.

SYSMOL_TEST_NETWORKS random networks on random hardware; a few by default.
"""

import os
import random
import re

import numpy as np
import pytest

from sysmol import isa
from sysmol.errors import SysmolError
from sysmol.kernels_c.plan.constants import identifier
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.network import builder
from sysmol.network.builder import Builder, random_precisions

COUNT = int(os.environ.get("SYSMOL_TEST_NETWORKS", "3"))
EVERYTHING = Options(has=isa.EVERYTHING)
ONLY_MATRIX = Options(has=isa.capabilities([*isa.INSTRUCTION_SETS["matrix"], "vmul", "vmla"]))
SAME = (1, 1, 1, 1)
HALVES = {"v_zip16_low(", "v_mulh16(", "v_mac16(", "v_unph(", "v_qpkh("}
"""Of sums of 16 bits from start to end."""


def layouts_network(seed: int, bits: int):
    """Pixels of 2, 4, 8, 16 and 32 bytes of one precision, both strides, several kernels, all kinds of outputs and
    residuals."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, 12, 16, 2, f"matrix{bits}")
    b.whole = True
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, [[bits] * (16 // bits)], 16 // bits, (3, 3), padding=SAME)
    for size in (16, 32, 64, 128, 256):
        n = size // bits
        (x,) = b.layer("conv2d", x, [[bits] * n], n, (3, 3), padding=SAME)
        (x,) = b.layer("conv2d", x, [[bits] * n], n, (3, 3), padding=SAME)
        y, wide = b.layer("conv2d", x, [[bits] * n, "s16"], n, (1, 1))
        (x,) = b.layer("conv2d", y, [[bits] * n], n, (3, 3), padding=SAME, residual=wide)
        (x,) = b.layer("conv2d", x, [[bits] * n], n, (3, 3), padding=SAME, residual=x)
    (x,) = b.layer("conv2d", x, [[bits] * (64 // bits)], 64 // bits, (3, 3), stride=(2, 2), padding=SAME)
    (x,) = b.layer("conv2d", x, [[bits] * (32 // bits)], 32 // bits, (3, 3), stride=(2, 2), padding=SAME)
    (x,) = b.layer("conv2d", x, [[bits] * (32 // bits)], 32 // bits, (2, 3), stride=(1, 2), padding=(0, 1, 1, 1))
    (x,) = b.layer("conv2d", x, ["s8"], 7, (1, 1))
    b.classifier(x, 5)
    return b.finish()


def mixed_network(seed: int):
    """Several vectors of different patterns, ragged channels."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, 5, 7, 1, f"matrixmix{seed}")
    (x,) = b.layer("rescale", "image", ["s8"])
    for _ in range(3):
        p = random_precisions(rng, int(rng.integers(9, 90)))
        (x,) = b.layer("conv2d", x, [p], len(p), (3, 3), padding=SAME)
    b.classifier(x, 3)
    return b.finish()


def source(net, target="host", options=EVERYTHING):
    return generate(net, TARGETS[target], "net", "a test", options)


@pytest.mark.parametrize("bits", (4, 2, 1))
def test_layouts(bits, program, assert_answers, seed):
    net = layouts_network(seed, bits)
    made = source(net)
    styles = [region.schedule.rsplit("-", 1)[-1] for region in made.regions if region.op == "conv2d"]
    assert styles.count("vmm") + styles.count("vmmh") >= len(styles) - 2  # the first two read 8 bits
    assert "vmm" in styles and "vmmh" in styles
    # All ways to get activations, to requantise and to store codes.
    wanted = {"v_zip_low(", "v_zip_high(n0", "v_qpks(", "v_store_halves("} if bits == 4 else HALVES
    assert not [text for text in wanted | {"v_mmw(", "v_mmh("} if text not in made.source]
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror", choices=EVERYTHING))])


@pytest.mark.parametrize(
    ("bits", "channels", "read"), ((2, 40, 12), (2, 80, 20), (4, 24, 12), (4, 72, 40), (1, 200, 28))
)
def test_words_without_channels_are_left_out(bits, channels, read, program, assert_answers, seed):
    """A convolution reads pixels whose last register is not full; it has weights for the bytes ``read`` alone."""
    b = Builder(np.random.default_rng([seed, bits]), 5, 9, 2, f"words{bits}x{channels}")
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, [[bits] * channels], channels, (1, 1))
    (x,) = b.layer("conv2d", x, [[bits] * 16], 16, (3, 3), padding=SAME)
    name = identifier(b.net.layers[-1].name)
    b.classifier(x, 3)
    net = b.finish()
    assert f" {name}_w[{16 * 9 * read} + " in source(net).constants
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror", choices=EVERYTHING))])


@pytest.mark.parametrize("number", range(2))
def test_patterns(number, program, assert_answers, seed):
    net = mixed_network(seed + number)
    assert "v_mmw(" in source(net).source
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror", choices=EVERYTHING))])


@pytest.mark.parametrize("isa_name", ("arm", "riscv"))
def test_cross_compiled(isa_name, program, emulator, assert_answers, seed):
    net = layouts_network(seed, 2)
    executable = program(net, isa_name, "-O1", "-DSMOL_EMULATE", "-Werror", choices=EVERYTHING)
    assert_answers(net, [*emulator(isa_name), str(executable)])


def random_hardware(rng: random.Random) -> isa.Capabilities:
    """Instructions and pieces at random, enough of them for every network."""
    matrix = [name for name in isa.INSTRUCTION_SETS["matrix"] if rng.random() < 0.7]
    pieces = [piece for piece in range(len(isa.PIECES)) if rng.random() < 0.8]
    forms = [form for form in range(2 * len(isa.FORMS)) if rng.random() < 0.8]
    return isa.capabilities([*isa.STANDARD_NAMES, *matrix], piece=pieces, form=forms)


def instructions_in(text: str) -> set[str]:
    """SMOL instructions of the second page in generated C."""
    names = {"v_mmw": "vmm.w", "v_mmh": "vmm.h", "v_qpks": "vqpk.s", "v_qpkh": "vqpk.h", "v_unph": "vunp.h"}
    return {names[word] for word in re.findall(rf"\b({'|'.join(names)})(?=_first\(|\()", text)}


@pytest.mark.parametrize("number", range(COUNT))
def test_random_networks_on_random_hardware(number, program, assert_answers, seed):
    rng = random.Random(seed + number)
    has = random_hardware(rng)
    net = builder.any_network(seed + number)
    options = Options(has=has)
    made = source(net, options=options)
    assert instructions_in(made.source) <= set(has.instructions)
    for word, selector in (("v_mmw", "piece"), ("v_mmh", "form")):
        used = {int(value) for value in re.findall(rf"\b{word}\((\d+),", made.source)}
        assert used <= set(has.chosen[selector])
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror", choices=options))])


def test_hardware_without_vdot(program, assert_answers, seed):
    """Codes are packed by vector code where there is no vqpk."""
    net = mixed_network(seed)
    made = source(net, options=ONLY_MATRIX)
    assert not re.search(r"\bv_(dot|mac|qpk|qpk_first)\(", made.source) and "v_mmw(" in made.source
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror", choices=ONLY_MATRIX))])
    with pytest.raises(SysmolError, match="the hardware has no instruction that serves a smol input"):
        source(net, options=Options(has=isa.capabilities(["vqpk"])))


def test_hardware_without_products(seed):
    """A unit with vdot alone has no depthwise layers."""
    vdot = Options(has=isa.capabilities(["vdot", "vqpk"]))
    assert "v_dot(" in source(mixed_network(seed), options=vdot).source
    b = Builder(np.random.default_rng(seed), 5, 5, 3, "depthwise")
    (x,) = b.layer("rescale", "image", [[4, 4, 4]])
    (x,) = b.layer("depthwise", x, [[4, 4, 4]], kernel=(3, 3))
    b.classifier(x, 3)
    with pytest.raises(SysmolError, match="the hardware has no vmul and vmla"):
        source(b.finish(), options=vdot)


def test_todays_instructions_give_todays_code(seed):
    """Nothing of the second page where a machine has the first alone."""
    net = layouts_network(seed, 2)
    for target in ("host", "arm", "riscv"):
        text = source(net, target, Options()).source
        assert not instructions_in(text) and "vmm" not in text
