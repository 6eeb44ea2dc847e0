"""Depthwise layers by ``vdw``: the reference's logits from every kernel, stride, precision and way to requantise, and
none of its code where the hardware lacks it.

SYSMOL_TEST_NETWORKS random networks; a few by default.
"""

import os
import random
import re
from dataclasses import replace

import numpy as np
import pytest

from sysmol import isa
from sysmol.errors import SysmolError
from sysmol.kernels_c.plan.lanes16 import PRECISION_FIELD, Sums, scaled_constants
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.plan.planes import in_planes
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.network.builder import Builder, random_precisions
from sysmol.pattern import PATTERNS

COUNT = int(os.environ.get("SYSMOL_TEST_NETWORKS", "3"))
EVERYTHING = Options(has=isa.EVERYTHING)
SAME = (1, 1, 1, 1)
KERNELS = (
    ((3, 3), (1, 1), SAME),
    ((5, 5), (1, 1), (2, 2, 2, 2)),
    ((3, 3), (2, 2), SAME),
    ((5, 5), (2, 2), (2, 2, 2, 2)),
    ((2, 4), (1, 1), (1, 1, 0, 2)),
    ((3, 2), (1, 2), (0, 1, 1, 0)),
    ((1, 7), (1, 1), (0, 3, 0, 3)),
)
"""Kernel, stride and padding."""
MIXES = ([(2, 4, 2)], [(8, 0, 0), (0, 8, 0), (0, 0, 8)], [(4, 4, 0), (3, 3, 2)], [(5, 2, 1), (1, 1, 6)])
"""Patterns of a tensor's vectors; some have words of two precisions, or codes that fill no piece of ``vqpk.h``."""


def followed(b: Builder, x: str, precisions, window, forms=None, patterns=(), **more) -> list[str]:
    """A convolution, and a depthwise layer of its output."""
    kernel, stride, padding = window
    given = {"patterns": [patterns]} if patterns else {}
    (x,) = b.layer("conv2d", x, [precisions], len(precisions), **given)
    return b.layer(
        "depthwise", x, forms or [precisions], kernel=kernel, stride=stride, padding=padding, **given, **more
    )


def start(seed: int, name: str, height: int = 7, width: int = 10) -> tuple[Builder, str]:
    b = Builder(np.random.default_rng(seed), height, width, 2, name)
    (x,) = b.layer("rescale", "image", ["s8"])
    return b, x


def kernels_network(seed: int, bits: int, kernels=KERNELS):
    """Kernels over one and over several vectors, with empty words in the last."""
    b, x = start(seed, f"taps{bits}-{len(kernels)}", 9, 10)
    for n, window in enumerate(kernels):
        precisions = np.full((128 + 128 * (n % 2) - 24 * (n % 3)) // bits, bits)
        (x,) = followed(b, x, precisions, window)
    b.classifier(x, 4)
    return b.finish()


def capacity_of(mix) -> np.ndarray:
    """Precisions of channels that fill vectors of these patterns."""
    return np.array([p for counts in mix for p, n in zip((4, 2, 1), counts, strict=True) for _ in range(16 // p * n)])


def mixed_network(seed: int, number: int):
    mix = MIXES[number]
    b, x = start(seed, f"tapsmix{number}")
    ids = [PATTERNS.index(counts) for counts in mix]
    for window in KERNELS[:2]:
        (x,) = followed(b, x, capacity_of(mix), window, patterns=ids)
    b.classifier(x, 4)
    return b.finish()


def outputs_network(seed: int):
    """Outputs and residuals for which only the common epilogue serves."""
    b, x = start(seed, "tapsout")
    four, two = np.full(32, 4), np.full(40, 2)
    (x,) = followed(b, x, four, KERNELS[0], ["s8"])
    (x,) = followed(b, x, two, KERNELS[1], ["s16"])
    (x,) = b.layer("rescale", x, ["s8"])
    x, wide = followed(b, x, four, KERNELS[0], [four, "s16"])
    (x,) = followed(b, x, np.full(32, 4), KERNELS[0], [np.full(32, 4)], residual=wide)
    # Channels in other slots than the input's.
    (x,) = followed(b, x, random_precisions(b.rng, 40), KERNELS[0], [random_precisions(b.rng, 40)])
    b.classifier(x, 4)
    return b.finish()


def random_taps(seed: int):
    """A chain that is random in all that decides the code."""
    rng = np.random.default_rng(seed)
    b, x = start(seed, f"tapsany{seed}", int(rng.integers(4, 13)), int(rng.integers(4, 13)))
    b.high = float(rng.choice([0.0, 0.0, 0.5]))
    for _ in range(3):
        t = b.net.tensors[x]
        kernel = tuple(int(k) for k in rng.integers(1, 6, 2).clip(max=[t.height, t.width]))
        stride = tuple(int(s) for s in rng.integers(1, 3, 2))
        padding = tuple(int(rng.integers(0, kernel[i % 2])) for i in range(4))
        channels = int(rng.integers(1, 90))
        if rng.random() < 0.5:
            precisions = np.full(channels, int(rng.choice([4, 2, 1])))
        else:
            precisions = random_precisions(rng, channels, list(rng.dirichlet([0.7, 0.7, 0.7])))
        dilation = (int(rng.integers(1, 3)), 1) if (kernel[0] - 1) * 2 < t.height else (1, 1)
        forms = [precisions] if rng.random() < 0.7 else [str(rng.choice(["s8", "s16"]))]
        (x,) = followed(b, x, precisions, (kernel, stride, padding), forms, dilation=dilation)
        if b.net.tensors[x].format == "s16":
            (x,) = b.layer("rescale", x, ["s8"])
    b.classifier(x, 4)
    return b.finish()


def made(net, target="host", options=EVERYTHING) -> str:
    return generate(net, TARGETS[target], "net", "a test", options).source


def function_of(text: str, name: str) -> str:
    """The text of a layer's C function."""
    found = re.search(rf"^SMOL_KERNEL layer_{name}\(.*?^}}", text, re.M | re.S)
    assert found, name
    return found.group()


def names_of(net, op: str) -> list[str]:
    return [layer.name.replace(".", "_") for layer in net.layers if layer.op == op]


@pytest.mark.parametrize("bits", (4, 2, 1))
def test_kernels(bits, program, assert_answers, seed):
    net = kernels_network(seed, bits, KERNELS if bits == 4 else KERNELS[bits - 1 :: 3])
    text = made(net)
    for name in names_of(net, "depthwise"):
        assert "v_dw(" in function_of(text, name) and "v_vmla(" not in text
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror", choices=EVERYTHING))])


@pytest.mark.parametrize("number", range(len(MIXES)))
def test_mixed_precisions(number, program, assert_answers, seed):
    net = mixed_network(seed + number, number)
    used = {int(word) & 0x30 for word in re.findall(r"\bv_dw\((\d+),", made(net))}
    assert used == {PRECISION_FIELD[int(p)] for p in capacity_of(MIXES[number])}
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror", choices=EVERYTHING))])


def test_other_outputs(program, assert_answers, seed):
    net = outputs_network(seed)
    assert len(in_planes(net, EVERYTHING)) == len(names_of(net, "depthwise"))
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror", choices=EVERYTHING))])


@pytest.mark.parametrize("number", range(COUNT))
def test_random(number, program, assert_answers, seed):
    net = random_taps(seed + number)
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror", choices=EVERYTHING))])


@pytest.mark.parametrize(("isa_name", "lacking"), (("arm", ()), ("riscv", ()), ("riscv", ("lq", "sq"))))
def test_cross_compiled(isa_name, lacking, program, emulator, assert_answers, seed):
    net = mixed_network(seed, 0)
    kept = tuple(name for name in isa.EVERYTHING.instructions if name not in lacking)
    choices = Options(has=replace(isa.EVERYTHING, instructions=kept))
    executable = program(net, isa_name, "-O1", "-DSMOL_EMULATE", "-Werror", choices=choices)
    assert_answers(net, [*emulator(isa_name), str(executable)])


def test_ways_to_requantise():
    """Both occur, and codes of 16-bit lanes leave in whole registers."""
    text = made(kernels_network(0, 4, KERNELS[:1]))
    assert "v_qpkh(" in text and "v_mulh16(" in text
    assert "v_half16_low(" in made(outputs_network(0))


@pytest.mark.parametrize("lacking", ("vdw", "vqpk.h"))
def test_hardware_that_lacks(lacking, program, assert_answers, seed):
    has = isa.capabilities([name for name in isa.ALL_NAMES if name != lacking])
    net = kernels_network(seed, 2, KERNELS[:1])
    text = made(net, options=Options(has=has))
    assert ("v_dw(" in text) == (lacking != "vdw")
    for name in names_of(net, "depthwise"):
        assert "v_qpkh" not in function_of(text, name)
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror", choices=Options(has=has)))])


def test_vdw_alone_serves(seed):
    """Depthwise layers behind a convolution need no vmul; behind anything else they do."""
    has = isa.capabilities([name for name in isa.ALL_NAMES if name not in ("vmul", "vmla")])
    assert "v_dw(" in made(kernels_network(seed, 4, KERNELS[:1]), options=Options(has=has))
    b, x = start(seed, "no convolution")
    (x,) = b.layer("rescale", x, [[4] * 2])
    (x,) = b.layer("depthwise", x, [[4] * 2], kernel=(3, 3))
    b.classifier(x, 3)
    with pytest.raises(SysmolError, match="the hardware has no vmul and vmla"):
        made(b.finish(), options=Options(has=has))


def test_fault_in_the_weights_is_found(tmp_path, seed, monkeypatch):
    """A kernel that swaps two taps gives other logits."""
    from sysmol.kernels_c.build import compile_program, run_executable
    from sysmol.kernels_c.nest.depthwise_taps import SmolTaps
    from sysmol.kernels_c.toolchain import find_compiler

    net = kernels_network(seed, 4, KERNELS[:1])
    right = SmolTaps._weight_array

    def swapped(self):
        layer = self.layer
        self.layer = replace(layer, weight=layer.weight[:, ::-1])
        text = right(self)
        self.layer = layer
        return text

    monkeypatch.setattr(SmolTaps, "_weight_array", swapped)
    target = TARGETS["host"]
    generated = generate(net, target, "net", "a test", EVERYTHING)
    executable = compile_program(generated, "net", tmp_path, find_compiler(target), target, ("-O1",))[0]
    got = run_executable([str(executable)], net.samples.images, net.classes, "int32")
    assert not np.array_equal(got, net.samples.logits), f"SYSMOL_TEST_SEED={seed}"


def test_scaled_constants(seed):
    """Codes of 16-bit lanes are those of 32 bits, for every sum."""
    rng = random.Random(seed)
    found = 0
    for _ in range(20):
        count, top, shift = 6, 15, rng.randint(12, 20)
        step = np.array([rng.uniform(8, 60) for _ in range(count)])
        M = np.maximum(1, (2**shift / step).astype(np.int64)) * np.array([rng.choice([-1, 1]) for _ in range(count)])
        reach = np.array([rng.randint(50, 2025) | 1 for _ in range(count)])
        B = np.array([[rng.randint(-10, 25) << shift for _ in range(count)] for _ in range(3)])
        ones = np.ones(count, dtype=np.int64)
        made = scaled_constants(M, B, shift, top, Sums(reach, 2 * ones, ones))
        if made is None:
            continue
        found += 1
        for c in range(count):
            x = np.arange(-reach[c], reach[c] + 1, 2)
            for own, start_at in zip(B[:, c], made.lanes.b[:, c], strict=True):
                lanes = x * made.factor[c] + start_at
                assert np.abs(lanes).max() < 1 << 15
                codes = np.clip((lanes * made.lanes.m[c] >> 15) >> made.lanes.shift, 0, top)
                assert np.array_equal(codes, np.clip(x * M[c] + own >> shift, 0, top)), f"SYSMOL_TEST_SEED={seed}"
    assert found, f"SYSMOL_TEST_SEED={seed}"
