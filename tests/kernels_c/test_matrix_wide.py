"""Streams of 16 bits beside codes on the matrix form: sums in 16-bit lanes, outputs in 32 by widening products.

Networks whose sums sit on the limit of 16 bits, just below and just above it; layers in parts.
"""

import re

import numpy as np
import pytest

from sysmol import isa
from sysmol.grid import integer
from sysmol.kernels_c.epilogue import wide as wide_room
from sysmol.kernels_c.plan.lanes16 import LANE_MOST
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.network import Network
from sysmol.network.builder import Builder
from sysmol.packing import pack, slot_precisions

EVERYTHING = Options(has=isa.EVERYTHING)
SAME = (1, 1, 1, 1)
WIDE = "v_begin_narrow("


def streams_network(seed: int, bits: int) -> Network:
    """Blocks with residuals of 16 bits, written by a layer of 8 bits first; readers of them in both epilogues."""
    rng = np.random.default_rng([seed, bits])
    b = Builder(rng, int(rng.integers(2, 6)), int(rng.choice([8, 16])), 2, f"streams{bits}")
    # Whole words of 4 bytes, or 8 of 4 bits: other pixels have registers of 32-bit sums.
    n = 16 * int(rng.choice([1, 2])) if bits == 2 else 16 if bits == 4 else 32
    (x,) = b.layer("rescale", "image", ["s8"])
    x, stream = b.layer("conv2d", x, [[bits] * n, "s16"], n, (3, 3), padding=SAME)
    for _ in range(2):
        (y,) = b.layer("conv2d", x, [[bits] * n], n, (3, 3), padding=SAME)
        x, stream = b.layer("conv2d", y, [[bits] * n, "s16"], n, (3, 3), padding=SAME, residual=stream)
    (x,) = b.layer("conv2d", x, [[bits] * n], n, (3, 3), padding=SAME, residual=stream)
    (wide,) = b.layer("conv2d", x, ["s16"], n, residual=stream)
    t = b.net.tensors[wide]
    (z,) = b.layer("avgpool", wide, ["s8"], kernel=(t.height, t.width))
    b.classifier(z, 5)
    return b.finish()


def source(net: Network, target: str = "host") -> str:
    return generate(net, TARGETS[target], "net", "a test", EVERYTHING).source


@pytest.mark.parametrize("bits", (4, 2, 1))
def test_streams(bits, program, assert_answers, seed):
    net = streams_network(seed, bits)
    assert source(net).count(WIDE) >= 4
    assert "v_unzip16(" in source(net, "riscv")  # whose common epilogue interleaves groups
    assert_answers(net, [str(program(net, "host", "-O0", "-Werror", choices=EVERYTHING))])


@pytest.mark.parametrize("isa_name", ("arm", "riscv"))
def test_streams_cross_compiled(isa_name, program, emulator, assert_answers, seed):
    net = streams_network(seed, 2)
    assert WIDE in source(net, isa_name)
    executable = program(net, isa_name, "-O1", "-DSMOL_EMULATE", "-Werror", choices=EVERYTHING)
    assert_answers(net, [*emulator(isa_name), str(executable)])


@pytest.mark.parametrize("fault", ("addend", "left"))
def test_faults_are_found(fault, program, assert_answers, seed, monkeypatch):
    """B less by 2**20; sums shifted once too often."""
    made = wide_room.wide

    def wrong(*arguments):
        how = made(*arguments)
        if how is None:
            return None
        if fault == "addend":
            return wide_room.Wide(how.left, how.factors, [each - (1 << 20) for each in how.addends])
        return wide_room.Wide(how.left + 1, how.factors, how.addends)

    monkeypatch.setattr("sysmol.kernels_c.nest.output.wide", wrong)
    for number in range(8):  # some round it away
        net = streams_network(seed + number, 2)
        net.name = f"{net.name}_{fault}_{number}"
        try:
            assert_answers(net, [str(program(net, "host", "-O0", choices=EVERYTHING))])
        except AssertionError:
            return
    raise AssertionError(f"no network shows the fault, SYSMOL_TEST_SEED={seed}")


def limit_network(seed: int, bits: int, total: int) -> Network:
    """A layer whose sums of products reach ``total`` times the largest activation, and do so: every activation is the
    largest or the smallest one, by the sign of the weight that it meets in the first output channel."""
    rng = np.random.default_rng([seed, bits, total])
    n, side = 64 // bits, 5 if bits == 4 else 11
    b = Builder(rng, side + 1, side + 3, 2, f"limit{bits}_{total}")
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, [[bits] * n], n, (1, 1))
    ends = rng.integers(0, 2, n)
    out = b.net.layers[-1].outputs[0]
    out.M, out.shift = np.ones(n, dtype=np.int32), 0
    out.B = np.where(ends, 1 << 24, -(1 << 24)).astype(np.int32).reshape(1, 1, n)
    x, _ = b.layer("conv2d", x, [[bits] * n, "s16"], n, (side, side))
    layer = b.net.layers[-1]
    slots, top = np.asarray(b.net.tensors[layer.input].slots), (1 << bits) - 1
    precisions = slot_precisions(b.net.tensors[layer.input].patterns)
    sizes = spread(rng, side * side * n, total, top)
    codes = rng.integers(0, 2, size=(n, side, side, len(precisions)))
    codes[..., :] += (top - 1) // 2  # +1 and -1, in slots that nothing uses, too
    signs = np.where(ends, 1, -1)
    codes[0][..., slots] = (sizes.reshape(side, side, n) * signs + top) // 2
    assert int(np.abs(integer(codes[0], precisions))[..., slots].sum()) == total
    layer.weight = pack(codes, b.net.tensors[layer.input].patterns)
    layer.outputs = [b._output(layer, name) for name in layer.targets]
    b.classifier(x, 3)
    return b.finish()


def spread(rng: np.random.Generator, count: int, total: int, top: int) -> np.ndarray:
    """Odd numbers 1 .. top, as many as asked for, with that total."""
    sizes = np.ones(count, dtype=np.int64)
    steps = (total - count) // 2
    for at in rng.permutation(count):
        own = min(steps, (top - 1) // 2)
        sizes[at] += 2 * own
        steps -= own
    assert steps == 0 and sizes.sum() == total
    return sizes


@pytest.mark.parametrize("bits", (4, 2))
@pytest.mark.parametrize("beyond", (-2, 0, 2), ids=("below", "on", "above"))
def test_limit_of_sixteen_bits(bits, beyond, program, assert_answers, seed):
    """The next smaller and the next larger sum than the largest that fits: totals of odd numbers are 2 apart."""
    top = (1 << bits) - 1
    count = (5 * 5 if bits == 4 else 11 * 11) * 64 // bits
    largest = LANE_MOST // top
    largest -= (largest - count) % 2
    net = limit_network(seed, bits, largest + beyond)
    style = "vmmh" if beyond <= 0 else "vmm"
    assert re.search(rf"; schedule os-\w+-{style} \*/", source(net).replace("-p", " ")), source(net)[:3000]
    assert_answers(net, [str(program(net, "host", "-O0", "-Werror", choices=EVERYTHING))])


@pytest.mark.parametrize("bits", (2, 1))
def test_layers_in_parts(bits, program, assert_answers, seed):
    """Sums that are left in memory have the unit of the codes where that of 4 bits has no room."""
    rng = np.random.default_rng([seed, bits])
    b = Builder(rng, 3, 4, 1, f"parts{bits}")
    n = 128 // bits
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, [[bits] * n], n)
    made = b.layer("conv2d", x, [[bits] * n] * 5, n, (3, 3), padding=SAME)
    b.classifier(made[3], 5)
    net = b.finish()
    region = generate(net, TARGETS["host"], "net", "a test", EVERYTHING).regions[2]
    assert region.schedule.endswith("-vmmh")
    assert_answers(net, [str(program(net, "host", "-O0", "-Werror", choices=EVERYTHING))])
