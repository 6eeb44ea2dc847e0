"""The epilogue with and without vqpk: every form of piece and word, shifts and clamps that it cannot express."""

import re

import numpy as np
import pytest

from sysmol import isa
from sysmol.errors import SysmolError
from sysmol.isas import ISAS
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.pack import Packer, PieceAddress, piece_form
from sysmol.kernels_c.epilogue.requantise import largest_sum
from sysmol.kernels_c.plan.layout import smol_blocks
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.network import INT32_MAX, Network, accumulator_bound
from sysmol.network.builder import Builder
from sysmol.pattern import capacity, chunk_precisions
from sysmol.schedule import Schedule

SAME = (1, 1, 1, 1)
TILES = ["os-8x1x8-vdot", "os-8x2x4-vdot", "os-16x1x4-vdot", "os-16x2x2-vdot", "os-32x1x2-vdot", "os-8x1x3-vdot"]


def shifts_network(seed: int) -> Network:
    """Every kind of shift: even, odd with room to double, odd without, none, 31; codes limited from above and below."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, 3, 8, 2, f"shifts{seed}")
    p = [4] * 21 + [2] * 19 + [1] * 27
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, [p], len(p), (3, 3), padding=SAME)
    for shift, room, hi, lo in (
        (16, 1, 15, 0), (17, 1, 15, 0), (17, 0, 15, 0), (0, 1, 15, 0), (31, 1, 15, 0), (19, 1, 9, 0), (19, 0, 2, 0),
        (18, 1, 14, 0), (15, 1, 15, 1),
    ):  # fmt: skip
        (x,) = b.layer("conv2d", x, [p], len(p))
        layer = b.net.layers[-1]
        out = layer.outputs[0]
        out.shift, out.hi, out.lo = shift, hi, lo
        # Sums spread around the codes; where twice is not to fit, one channel has a large constant.
        bound = accumulator_bound(b.net, layer)
        out.M = np.maximum(1, min(1 << shift + 4, INT32_MAX // 8) // bound)
        out.B = rng.integers(-(1 << min(shift, 28)), 1 << min(shift + 3, 28), size=out.B.shape)
        out.B[..., 0] = out.B[..., 0] if room else INT32_MAX // 10 * 7
    b.classifier(x, 5)
    return b.finish(1)


def outputs_network(seed: int) -> Network:
    """Several outputs and residuals of every format behind one kernel; tiles that do not divide the tensor."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, 5, 9, 3, f"outputs{seed}")
    p, q = [2] * 45, [4] * 13
    (x,) = b.layer("rescale", "image", ["s8"])
    x, wide, bytes_ = b.layer("conv2d", x, [p, "s16", "s8"], 45, (3, 3), padding=SAME)
    b.net.layers[-1].outputs[1].lo = 0
    x, wide = b.layer("conv2d", x, [p, "s16"], 45, (3, 3), padding=SAME, residual=wide)
    b.net.layers[-1].outputs[1].lo = -32768
    (y,) = b.layer("conv2d", x, [p], 45, (1, 1), residual=wide)
    (y,) = b.layer("conv2d", y, [p], 45, (1, 1), residual=bytes_)
    (y,) = b.layer("conv2d", y, [p], 45, (1, 1), residual=x)
    (y,) = b.layer("conv2d", y, [q], 13, (3, 3), padding=SAME)
    y, _ = b.layer("conv2d", y, [[1] * 19, "s8"], 19, (3, 3), padding=SAME)
    b.classifier(y, 5)
    return b.finish(1)


def tiles_network(seed: int) -> tuple[Network, Options]:
    """Layers of full and odd vectors under tiles of several blocks and pixels."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, 4, 8, 2, f"tiles{seed}")
    (x,) = b.layer("rescale", "image", ["s8"])
    schedules = {}
    ids = [0, 36, 44, 1, 23, 2, 40]
    for number, pattern in enumerate(ids):
        precisions = [p for p in chunk_precisions(pattern) for _ in range(16 // p)]
        assert len(precisions) == capacity(pattern)
        (x,) = b.layer("conv2d", x, [precisions], len(precisions), patterns=[[pattern]])
        if number:
            schedules[b.net.layers[-1].name] = Schedule.parse(TILES[(number + seed) % len(TILES)])
    b.classifier(x, 5)
    return b.finish(1), Options(schedules=schedules, styles={"smol": "vdot"})


@pytest.mark.parametrize("pack", ["vqpk", "simd"])
@pytest.mark.parametrize("make", [shifts_network, outputs_network])
def test_shifts_and_outputs(make, pack, program, assert_answers, seed) -> None:
    net = make(seed)
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror", choices=Options(pack=pack)))])


@pytest.mark.parametrize("offset", [0, 2, 4])
def test_tiles(offset, program, assert_answers, seed) -> None:
    net, options = tiles_network(6 * (seed // 6) + offset)
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror", choices=options))])


@pytest.mark.parametrize("isa_name", ISAS)
def test_cross(isa_name, program, assert_answers, emulator, seed) -> None:
    prefix = emulator(isa_name)
    net = outputs_network(seed)
    assert_answers(net, [*prefix, str(program(net, isa_name, "-O1", "-DSMOL_EMULATE", "-Werror"))])


def test_doubling_is_where_it_fits() -> None:
    net = shifts_network(1)
    bounds = [largest_sum(net, layer, layer.outputs[0]) for layer in net.layers[3:5]]
    assert net.layers[3].outputs[0].shift % 2 and net.layers[4].outputs[0].shift % 2
    assert bounds[0] <= INT32_MAX // 2 < bounds[1] <= INT32_MAX


def test_the_instruction_is_used_or_not() -> None:
    net = tiles_network(0)[0]
    words = {
        pack: re.findall(r"v_qpk|v_hsum", generate(net, TARGETS["arm"], "n", "a test", Options(pack=pack)).source)
        for pack in ("vqpk", "simd")
    }
    assert set(words["vqpk"]) == {"v_qpk"} and set(words["simd"]) == {"v_hsum"}
    with pytest.raises(SysmolError, match="option pack is 'neon': give one of vqpk, simd"):
        Options(pack="neon")


def _run(lines: list[str], lanes: dict[str, bytes], base: int, memory: bytearray) -> None:
    """Execute what a Packer wrote: vqpk by the table, stores on ``memory``."""
    registers = dict(lanes)
    half = [0, 0]

    def at(text: str) -> int:
        return base + sum(int(term) for term in text.replace("y", "0").split("+"))

    for line in (line.strip() for line in lines):
        if found := re.fullmatch(r"v_qpk(_first)?\((\d+), (\w+), (\w+), (\w+)\);", line):
            first, selector, d, n, m = found.groups()
            old = bytes(range(16)) if first else registers[d]
            registers[d] = isa.execute(3, int(selector), old, registers[n], registers[m])
        elif found := re.fullmatch(r"v_store\((.*), (\w+)\);", line):
            memory[at(found[1]) : at(found[1]) + 16] = registers[found[2]]
        elif found := re.fullmatch(r"v_store_halves\((.*), (.*), (\w+)\);", line):
            for n in range(2):
                memory[at(found[n + 1]) : at(found[n + 1]) + 8] = registers[found[3]][8 * n : 8 * n + 8]
        elif found := re.fullmatch(r"v_store_strided\((.*), (-?\d+), (\w+)\);", line):
            for n in range(4):
                start = at(found[1]) + n * int(found[2])
                memory[start : start + 4] = registers[found[3]][4 * n : 4 * n + 4]
        elif found := re.fullmatch(r"v_(?:split|top)\(half, (\w+)\);", line):
            value = int.from_bytes(registers[found[1]], "little")
            half = [value & (1 << 64) - 1 if "split" in line else 0xBAD, value >> 64]
        elif found := re.fullmatch(r"m_store(\d+)\((.*), \(?(?:\(uint32_t\)\()?half\[(\d)\](?: >> (\d+))?\)?\);", line):
            width, where, which, shift = int(found[1]) // 8, found[2], int(found[3]), int(found[4] or 0)
            memory[at(where) : at(where) + width] = (half[which] >> shift).to_bytes(16, "little")[:width]
        else:
            assert re.fullmatch(r"[{}]|uint64_t half\[2\];|vec \w+;", line), line


@pytest.mark.parametrize("form", range(4))
def test_packer_puts_every_code_in_its_place(form: int, seed: int) -> None:
    """Random pixels and runs: memory holds the codes where they belong and is untouched elsewhere."""
    rng = np.random.default_rng(seed + form)
    p, codes = isa.PACK_FORMS[form]
    size = p * codes // 8
    for trial in range(60):
        run, pixels = int(rng.integers(1, 6)), int(rng.integers(1, 9))
        stride = run * size + int(rng.choice([0, 0, size, 16, 5]))
        shift = 2 * int(rng.integers(0, 16))
        pieces = [PieceAddress("y", pixel * stride + n * size) for pixel in range(pixels) for n in range(run)]
        values = rng.integers(-(1 << 31), 1 << 31, size=(len(pieces), 8)) >> rng.integers(0, 31, size=(len(pieces), 8))
        lanes = {
            f"q{n}_{h}": values[n, 4 * h : 4 * h + 4].astype("<i4").tobytes()
            for n in range(len(pieces))
            for h in (0, 1)
        }
        em = Emitter(TARGETS["arm"].costs)
        packer = Packer(em, "d", form, shift, pieces)
        packer.declare()
        for n in range(len(pieces)):
            packer.put(f"q{n}_0", f"q{n}_1")
        memory = bytearray(b"\xa5" * (pixels * stride + 64))
        expected = bytearray(memory)
        for piece, lane in zip(pieces, values, strict=True):
            word = sum(int(np.clip(v >> shift, 0, 2**p - 1)) << p * i for i, v in enumerate(lane[:codes]))
            expected[16 + piece.offset : 16 + piece.offset + size] = word.to_bytes(size, "little")
        _run(em.lines, lanes, 16, memory)
        assert memory == expected, (seed, trial, form, run, pixels, stride)
        assert em.mix["smol"] == len(pieces)


def test_forms_of_blocks() -> None:
    """Two 4-bit chunks, a single one, a 2-bit chunk and half a 1-bit chunk have their forms of vqpk."""
    net = tiles_network(0)[0]
    found = {
        (block.precision, block.bits): piece_form(block)
        for tensor in net.tensors.values()
        if tensor.format == "smol"
        for block in smol_blocks(tensor)
    }
    assert found == {(4, 32): 0, (2, 16): 1, (1, 8): 2, (4, 16): 3}
