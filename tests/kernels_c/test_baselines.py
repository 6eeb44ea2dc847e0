"""The baselines' multiply-accumulate styles against the reference: odd sizes, strides, prime channels, extremes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sysmol.configs_gem5.launch import find_gem5, run_gem5, why_no_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.errors import SysmolError
from sysmol.isas import ISAS
from sysmol.kernels_c.build import compile_network, compile_program
from sysmol.kernels_c.elf import kernels, riscv_words
from sysmol.kernels_c.micro.rvv import spread
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.kernels_c.toolchain import find_compiler
from sysmol.network import Network, save
from sysmol.network.builder import Builder, trained_like

SAME = (1, 1, 1, 1)
UNIFORM_1 = 44


def int8_net(seed: int, top: int = 127) -> Network:
    """Kernels of odd sizes, strides, prime channels, one-pixel images; weights at most ``top`` in size."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, 7, 5, 3, f"int8_{top}_{seed}")
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, ["s8"], 13, (3, 3), padding=SAME)
    (y,) = b.layer("conv2d", x, ["s8"], 29, (3, 3), padding=SAME)
    (y,) = b.layer("conv2d", y, ["s8"], 13, (1, 1), residual=x)
    (y,) = b.layer("conv2d", y, ["s8"], 17, (2, 3), stride=(2, 2), padding=(0, 1, 1, 0))
    (y,) = b.layer("conv2d", y, ["s8"], 48, (3, 3), padding=SAME)
    (y,) = b.layer("conv2d", y, ["s8"], 31, (2, 2), padding=SAME)  # pixels of whole registers, even width: shared pairs
    b.classifier(y, 11)
    for layer in b.net.layers:
        if layer.weight is not None:
            layer.weight = trained_like(rng, layer.weight.shape, (1, 2, 3), top)
    return b.finish()


def extreme_net(low: int, high: int) -> Network:
    """All weights ``low`` or ``high``, all activations -128 or 127: some channels' sums are as large as they get."""
    rng = np.random.default_rng(1)
    b = Builder(rng, 4, 5, 1, f"extreme{low}")
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, ["s8"], 32)
    out = b.net.layers[-1].outputs[0]
    assert out.M is not None
    out.M[:], out.shift, out.lo = 1, 0, -128
    out.B[..., 0::2], out.B[..., 1::2] = -(1 << 20), 1 << 20  # the clamp makes -128 and 127 of these
    (x,) = b.layer("conv2d", x, ["s8"], 9, (3, 3), padding=SAME)
    b.classifier(x, 3)
    for layer in b.net.layers:
        if layer.weight is not None:
            layer.weight = np.full_like(layer.weight, low)
            layer.weight[0::3, ..., 1::2] = high  # every product positive
            layer.weight[1::3, ..., 0::2] = high  # every product negative
    return b.finish()


def binary_net(seed: int) -> Network:
    """Uniform 1-bit tensors: one and two vectors, sparse slots, strides, borders, a single pixel."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, 7, 5, 2, f"binary{seed}")

    def layer(x: str, channels: int, *args, **kwargs) -> str:  # type: ignore[no-untyped-def]
        ids = [UNIFORM_1] * -(-channels // 128)
        (y,) = b.layer("conv2d", x, [[1] * channels], channels, *args, patterns=[ids], **kwargs)  # type: ignore[misc]
        return y

    (x,) = b.layer("rescale", "image", ["s8"])
    x = layer(x, 101)
    x = layer(x, 131, (3, 3), padding=SAME)
    x = layer(x, 67, (3, 2), stride=(2, 1), padding=(1, 0, 2, 1))
    x = layer(x, 128, (1, 1))
    x = layer(x, 13, (3, 3), stride=(1, 2), padding=SAME, residual="")
    b.classifier(x, 5)
    return b.finish()


NETWORKS: dict[str, dict[str, Callable[[int], Network]]] = {
    "mmla": {"random": int8_net, "extreme": lambda seed: extreme_net(-128, 127)},
    "mac": {"random": int8_net, "extreme": lambda seed: extreme_net(-128, 127)},
    "unpack": {"random": lambda seed: int8_net(seed, 7), "extreme": lambda seed: extreme_net(-8, 7)},
    "pop": {"random": binary_net},
}

SERVES = {"host": ("mmla", "unpack", "pop"), "arm": ("mmla", "unpack", "pop"), "riscv": ("mac", "unpack", "pop")}


def options(style: str) -> Options:
    """The style for its input format, and no SMOL words elsewhere either."""
    return Options(styles={"smol" if style == "pop" else "s8": style}, pack="simd")


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Path]:
    """Generate and compile a network in a style: ``build(net, isa, style, *flags) -> executable``."""

    def make(net: Network, isa: str, style: str, *flags: str) -> Path:
        target = TARGETS[isa]
        program = generate(net, target, "net", "a test", options(style))
        return compile_program(program, "net", tmp_path, find_compiler(target), target, flags)[0]

    return make


@pytest.mark.parametrize(("style", "name"), [(s, n) for s in SERVES["host"] for n in NETWORKS[s]])
def test_host(style, name, build, assert_answers, seed):
    net = NETWORKS[style][name](seed)
    assert_answers(net, [str(build(net, "host", style, "-O1", "-Werror"))])


@pytest.mark.parametrize(("isa", "style", "name"), [(i, s, n) for i in ISAS for s in SERVES[i] for n in NETWORKS[s]])
def test_cross(isa, style, name, build, emulator, assert_answers, seed):
    prefix = emulator(isa)
    net = NETWORKS[style][name](seed)
    assert_answers(net, [*prefix, str(build(net, isa, style, "-O1", "-DSMOL_EMULATE", "-Werror"))])


@pytest.mark.gem5
@pytest.mark.parametrize(("isa", "style"), [("arm", "mmla"), ("arm", "pop"), ("riscv", "pop"), ("riscv", "unpack")])
def test_gem5(isa, style, seed, tmp_path):
    """gem5's own decoder executes everything: these kernels hold no SMOL words."""
    if find_gem5(isa) is None:
        pytest.skip(why_no_gem5(isa))
    net = NETWORKS[style]["random"](seed)
    path = save(tmp_path / "n.safetensors", net)
    manifest = compile_network(path, isa, tmp_path, options=options(style))
    run_gem5(manifest, tmp_path / "run", Simulation(isa, "atomic", stock_decoder=True))
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["logits_match"] is True, f"SYSMOL_TEST_SEED={seed}"


def test_styles_use_their_instructions(build, seed):
    """``smmla`` in mmla kernels and nowhere else; two operations on mask bits per product register on RISC-V."""

    def words(path: Path) -> np.ndarray:
        return np.concatenate([np.frombuffer(code, "<u4") for code in kernels(path).values()])

    def smmla(path: Path) -> int:
        return int((words(path) & 0xFFE0FC00 == 0x4E80A400).sum())

    net = int8_net(seed)
    assert smmla(build(net, "arm", "mmla")) > 0
    assert smmla(build(net, "arm", "dot")) == 0
    code = [w for c in kernels(build(binary_net(seed), "riscv", "pop")).values() for w in riscv_words(c)]
    counts = sum(w & 0xFC0FF07F == 0x40082057 for w in code)
    exclusive = sum(w & 0xFC00707F == 0x6C002057 for w in code)
    assert counts == exclusive > 0


def test_unpack_refuses_large_weights(seed):
    net = int8_net(seed, 127)
    for isa in ISAS:
        with pytest.raises(SysmolError) as error:
            generate(net, TARGETS[isa], "n", "test", options("unpack"))
        assert "\n" not in str(error.value) and "-8..7" in str(error.value)


def test_spread():
    """Bins respect length and capacity; what cannot fit is refused."""
    rng = np.random.default_rng(3)
    items = rng.random((60, 12)) / 10
    bins = spread(items, 6, 10)
    assert bins is not None and sorted(i for own in bins for i in own) == list(range(60))
    assert all(len(own) <= 6 and items[own].sum(axis=0).max() <= 1 for own in bins)
    assert spread(items * 4, 6, 10) is None
    assert spread(np.full((4, 1), 0.6), 2, 2) is None
    assert spread(np.zeros((0, 4)), 1, 0) == []
