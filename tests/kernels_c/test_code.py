"""Properties of the compiled kernels that no result shows: what they execute, and what they must not execute."""

import re

import numpy as np
import pytest
from kernel_networks import all_networks, float_network, int8_network

from sysmol.analysis.products import collect
from sysmol.cli import run_command_line
from sysmol.errors import SysmolError
from sysmol.isa import decode, mnemonic
from sysmol.isas import ISAS
from sysmol.kernels_c import toolchain
from sysmol.kernels_c.elf import foreign_vset, is_vset, kernels, riscv_words
from sysmol.kernels_c.micro import RvvInt8
from sysmol.kernels_c.plan.heuristic import choose
from sysmol.kernels_c.plan.layout import plan
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.kernels_c.toolchain import compile_c, find_compiler
from sysmol.network import Network, save
from sysmol.network.builder import Builder, random_network
from sysmol.pattern import REGISTER_BYTES, pattern_id
from sysmol.schedule import Schedule


def words_arm(code: bytes) -> list[int]:
    return np.frombuffer(code, dtype="<u4").tolist()


def is_vector_move(word: int) -> bool:
    """vmv<n>r.v: a copy that the compiler made, for which it may also set vtype."""
    return word & 0xFE00707F == 0x9E003057


def test_riscv_kernels_set_vtype_once(program):
    """One vset per SMOL or float kernel; int8 kernels go to 16-bit lanes and back in every tile."""
    path = program(random_network(1), "riscv")
    assert not foreign_vset(path)
    smol = kernels(path)
    for name, code in smol.items():
        words = riscv_words(code)
        count = sum(map(is_vset, words))
        allowed = 1 if name not in ("layer_conv2d1", "layer_conv2d9") else 16
        assert 1 <= count <= allowed, f"{name} has {count} vset instructions"
        assert not any(map(is_vector_move, words)), f"{name} copies vector registers"
    floats = kernels(program(float_network(1), "riscv"))
    for name, code in floats.items():
        assert sum(map(is_vset, riscv_words(code))) == 1, name


def test_depthwise_copies_no_registers(program):
    """Vectors whose lowest, highest or most chunks hold no channel set vtype once, too."""
    b = Builder(np.random.default_rng(1), 5, 5, 1, "sparse_depthwise")
    mixed = pattern_id(2, 4, 2)
    (x,) = b.layer("rescale", "image", ["s8"])
    cases = [([2] * 20, [mixed]), ([1] * 21, [mixed]), ([4] * 3 + [1] * 21, [mixed]), ([4] * 33, [0, 0])]
    for precisions, ids in cases:
        (x,) = b.layer("conv2d", x, [precisions], len(precisions), patterns=[ids])
        (x,) = b.layer("depthwise", x, [precisions], kernel=(3, 3), padding=(1, 1, 1, 1), patterns=[ids])
    b.classifier(x, 3)
    path = program(b.finish(1), "riscv")
    assert not foreign_vset(path)
    for name, code in kernels(path).items():
        if "depthwise" in name:
            words = riscv_words(code)
            assert sum(map(is_vset, words)) == 1 and not any(map(is_vector_move, words)), name


def int8_pointwise() -> Network:
    """1x1 of int8 on 7x14 pixels: an odd height and an even width that four does not divide."""
    b = Builder(np.random.default_rng(1), 7, 14, 512, "pointwise")
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, ["s8"], 64, (1, 1))
    (x,) = b.layer("avgpool", x, ["s8"], kernel=(7, 14))
    b.classifier(x)
    return b.finish(1)


def test_wide_int8_kernels_keep_their_registers(program):
    """A tile that needs more registers than there are made the compiler set vtype, and every operation with it."""
    path = program(int8_pointwise(), "riscv")
    assert not foreign_vset(path)
    for name, code in kernels(path).items():
        assert not any(map(is_vector_move, riscv_words(code))), name


def test_a_compiler_that_sets_vtype_measures_nothing(tmp_path, monkeypatch, capsys):
    """Where a compiler must set vtype to copy registers: right all the same, and said; no ratio to such cycles."""
    save(tmp_path / "int8.network.safetensors", int8_pointwise())
    monkeypatch.setattr(toolchain, "KEEPS_VTYPE", 1000)
    words = ["compile", str(tmp_path / "int8.network.safetensors"), "--isa", "riscv", "--out", str(tmp_path / "bin")]
    assert run_command_line([*words, "--schedule", "conv2d1=os-32x1x2-mac"]) == 0
    assert "cycles no measure" in capsys.readouterr().out
    results = collect(tmp_path)
    assert not results.ratios_to("int8", "riscv") and results.ratios_to("int8", "arm")


@pytest.mark.parametrize("isa", ISAS)
def test_words_are_the_networks(isa, program):
    """A SMOL network's kernels hold vdot and vmla words of its own patterns; int8 and float ones hold none."""
    words = words_arm if isa == "arm" else riscv_words

    def names(net: Network) -> set[str]:
        found = [decode(isa, w) for code in kernels(program(net, isa)).values() for w in words(code)]
        return {mnemonic(word.fn, word.field6) for word in found if word is not None}

    net = random_network(1)
    used = names(net)
    patterns = {int(m.group(1)) for n in used if (m := re.fullmatch(r"vdot\.P(\d+)\.\d", n))}
    assert patterns and patterns <= set(net.patterns)
    assert any(n.startswith("vmla.") for n in used)
    assert not names(int8_network(1)) and not names(float_network(1))


def test_mix_counts_vdots(seed):
    """The accounting of a convolution is what its shapes say: at least a vdot per output and register of its window."""
    net = random_network(seed)
    places = plan(net)
    for target in TARGETS.values():
        regions = {r.name: r for r in generate(net, target, "n", "test").regions}
        assert list(regions) == [layer.name for layer in net.layers]
        for layer in net.layers:
            mix = regions[layer.name].mix
            assert set(mix) == {"smol", "vload", "vstore", "simd", "scalar", "branch", "chains", "chain_len"}
            x = net.tensors[layer.input]
            if layer.op == "conv2d" and x.format == "smol":
                out = net.tensors[layer.targets[0]]
                window = layer.kernel[0] * layer.kernel[1] * places[layer.input].pixel_bytes
                registers = -(-window // REGISTER_BYTES)
                assert mix["smol"] >= out.height * out.width * out.channels * registers, layer.name
                assert mix["chains"] and mix["chain_len"]
            if layer.op not in ("conv2d", "depthwise"):
                assert mix["smol"] == 0


def test_generated_text_is_stable(seed):
    """The same network gives the same text, with the command in its head."""
    net = random_network(seed)
    first, second = (generate(net, TARGETS["arm"], "n", "the command") for _ in range(2))
    assert first == second
    assert "by: the command */" in first.source.splitlines()[0]
    assert "malloc" not in first.source


def test_schedules_parse_back():
    for height, width, blocks, style in [(32, 32, 2, "vdot"), (1, 1, 2, "dot"), (7, 5, 5, "fma"), (2, 2, 9, "mac")]:
        schedule = choose(height, width, blocks, style)
        assert Schedule.parse(str(schedule)) == schedule
        assert schedule.rows <= height and schedule.columns <= width
    for text in ("os-8x2x4", "ws-8x2x4-vdot", "os-7x2x4-vdot", "os-8x9x9-vdot", "os-8x0x4-vdot", ""):
        with pytest.raises(SysmolError):
            Schedule.parse(text)


def test_suite_has_unpadded_sizes(seed):
    """7 and 33 channels, prime sizes: the suite must not have become friendly."""
    shapes = [t.shape for make in all_networks(seed).values() for t in make().tensors.values()]
    assert {7, 33} <= {c for _, _, c in shapes} and {5, 7} <= {h for h, _, _ in shapes}


def test_foreign_vset_is_found(tmp_path):
    source = tmp_path / "a.c"
    source.write_text(
        "#include <riscv_vector.h>\n"
        '#include "smol_vec_riscv.h"\n'
        "__attribute__((noinline)) void layer_own(void *p) { v_begin(); v_store(p, v_zero()); }\n"
        "__attribute__((noinline)) void layer_other(void *p) { __riscv_vse8(p, __riscv_vmv_v_x_u8m2(1, 9), 9); }\n"
        "int main(void) { int a[8]; layer_own(a); layer_other(a); return a[0]; }\n"
    )
    target = TARGETS["riscv"]
    compile_c(find_compiler(target), target, [source], target.include, tmp_path / "a")
    assert foreign_vset(tmp_path / "a") == ["layer_other"]


def test_setting_vtype_always_is_right_too(program, emulator, assert_answers):
    """The fallback for compilers that set vtype in a kernel: every operation sets it."""
    net = random_network(3)
    path = program(net, "riscv", "-O1", "-DSMOL_EMULATE", "-DSMOL_SET_ALWAYS")
    assert_answers(net, [*emulator("riscv"), str(path)])


def test_int8_windows_are_safe():
    """The 16-bit sums of RVV int8 kernels: every element in one window, no window beyond 16 bits for any activation."""
    rng = np.random.default_rng(7)
    b = Builder(rng, 4, 4, 3, "windows")
    (x,) = b.layer("rescale", "image", ["s8"])
    b.layer("conv2d", x, ["s8"], 16, (3, 3), padding=(1, 1, 1, 1))
    layer = b.net.layers[1]
    layer.weight = rng.integers(-128, 128, size=layer.weight.shape).astype(np.int8)
    layer.weight[:, 0, 0, 0] = -128
    places = plan(b.net)
    for limits in [(-128, 127), (0, 127), (0, 40)]:
        blocks = places[layer.targets[0]].blocks
        schedule = choose(4, 4, 2, "mac", RvvInt8.work)
        tiles = [RvvInt8(layer, places[x], [block], schedule, limits) for block in blocks]
        tiles[0].agree(tiles)
        assert len({(tile.plan.run, tile.plan.length, len(tile.plan.members)) for tile in tiles}) == 1
        for tile in tiles:
            weights = tile.runs[tile.plan.run][1]
            assert sorted(r for window in tile.plan.members for r in window) == list(range(len(weights)))
            for window in tile.plan.members:
                products = weights[window].reshape(-1, weights.shape[2])
                assert len(window) <= tile.plan.length
                assert np.maximum(products * limits[0], products * limits[1]).sum(axis=0).max() <= 32767
                assert np.minimum(products * limits[0], products * limits[1]).sum(axis=0).min() >= -32768
    assert tiles[0].plan.terms > 4
