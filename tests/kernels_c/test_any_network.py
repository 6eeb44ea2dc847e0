"""Networks random in everything the format knows, as C: shapes, formats, operations, low and high products.

SYSMOL_TEST_NETWORKS of them (`make test-networks`); a few by default. The same networks in PyTorch's integers, and
after they were saved and loaded, are in tests/train/test_any_network.py.
"""

import itertools
import os
from dataclasses import replace

import numpy as np
import pytest

from sysmol.kernels_c.build import compile_program, run_executable
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.plan import names
from sysmol.kernels_c.plan.constants import comment_text, identifier
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.kernels_c.toolchain import find_compiler
from sysmol.network import HIGH, builder
from sysmol.schedule import Schedule

COUNT = int(os.environ.get("SYSMOL_TEST_NETWORKS", "3"))


@pytest.mark.parametrize("number", range(COUNT))
def test_c_gives_the_reference_s_logits(number, program, assert_answers, seed):
    net = builder.any_network(seed + number)
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror"))])


@pytest.mark.parametrize("number", range(COUNT // 10))
def test_sanitizers_find_nothing(number, program, assert_answers, seed):
    net = builder.any_network(seed + number)
    assert_answers(net, [str(program(net, "host", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover"))])


@pytest.mark.parametrize("isa", ["arm", "riscv"])
def test_cross_compiled_code_gives_them_too(isa, program, emulator, assert_answers, seed):
    prefix = emulator(isa)
    net = next(n for n in map(builder.any_network, range(seed, seed + 50)) if _high_outputs(n) > 2)
    assert_answers(net, [*prefix, str(program(net, isa, "-O1", "-DSMOL_EMULATE", "-Werror"))])


def _high_outputs(net):
    return sum(out.multiply == HIGH for layer in net.layers for out in layer.outputs)


def test_a_wrong_high_product_shows(tmp_path, seed):
    """Code whose high products are off by about one does not pass in one of eight networks: codes round much away."""
    target = TARGETS["host"]
    candidates = (n for n in map(builder.any_network, range(seed, seed + 400)) if _high_outputs(n) > 3)
    for net in itertools.islice(candidates, 8):
        assert net.samples is not None
        made = generate(net, target, "net.host", "a test")
        source = made.source.replace('#include "smol_net.h"', '#include "smol_net.h"\n' + OTHER)
        executable = compile_program(
            replace(made, source=source), "net.host", tmp_path, find_compiler(target), target, ["-O1"]
        )[0]
        got = run_executable([str(executable)], net.samples.images, net.classes, "int32")
        if not np.array_equal(got, net.samples.logits):
            return
    pytest.fail(f"SYSMOL_TEST_SEED={seed}: no network noticed")


OTHER = """
static inline int32_t other_high(int32_t x, int32_t f, int32_t k, int32_t m)
{
    return m_high((int32_t)((uint32_t)x * (uint32_t)f + (uint32_t)k) - 1, 1, 0, m);
}
static vec other_mulh(vec a, vec m)
{
    for (int i = 0; i < 4; i++)
        a.l[i] = (uint32_t)other_high((int32_t)a.l[i], 1, 0, (int32_t)m.l[i]) + 1;
    return a;
}
#define m_high(x, f, k, m) (other_high(x, f, k, m) + 1)
#define v_mulh(a, m) other_mulh(a, m)
"""


def test_high_products_cost_instructions(seed):
    """The estimate counts them: the same network with them takes more."""
    low, high = (builder.random_network(seed, 6, (9, 20), high=share) for share in (0.0, 1.0))
    for isa in ("arm", "riscv"):
        mixes = [sum(r.mix["simd"] for r in generate(n, TARGETS[isa], "net", "a test").regions) for n in (low, high)]
        assert mixes[1] > mixes[0]


# --- names -----------------------------------------------------------------------------------------------------------


def _renamed(seed, chosen):
    net = builder.random_network(seed, 5, (5, 9))
    for layer, name in zip(net.layers, chosen, strict=False):
        layer.name = name
    return net


CLASHES = [
    ("c", "c_clear0"),
    ("a.b", "a_b"),
    ("c", "c_out0_m"),
    ("c_w", "c"),
    ("x_out0", "x"),
    ("é", "ü", "ö"),
]


@pytest.mark.parametrize("clash", CLASHES, ids=lambda clash: "-".join(clash))
def test_layers_whose_symbols_would_be_the_same_are_told_apart(clash, program, assert_answers, seed):
    net = _renamed(seed, clash)
    found, _ = names.distinct(net, Options())
    own = [identifier(layer.name) for layer in found.layers]
    assert len(set(own)) == len(own)
    assert not any(a is not b and names.collide(a, b) for a in own for b in own)
    if clash == CLASHES[0]:
        net.name = "*/ int main() { return 3; } /*"
        assert_answers(net, [str(program(net, "host", "-O1"))])


def test_names_without_a_clash_stay(seed):
    net = builder.any_network(seed)
    assert names.distinct(net, Options())[0] is net


def test_schedules_follow_the_names(seed):
    net = _renamed(seed, ["image", "a.b", "a_b"])
    chosen = Schedule.parse("os-8x1x2-vdot")
    found, options = names.distinct(net, Options(schedules={"a_b": chosen}))
    assert options.schedules == {found.layers[2].name: chosen}


def test_no_name_ends_a_comment():
    hostile = "*/ system(0); /*"
    em = Emitter({})
    em.comment(hostile)
    for text in (em.text(), f"/* {comment_text(hostile)} */"):
        assert text.count("*/") == text.count("/*") == 1


@pytest.mark.parametrize("taken", [1, 2, 4])
def test_a_channel_alone_changes_its_bits(taken, program, assert_answers):
    """The first channel of a pixel lies at the same bit at every precision, but has other codes."""
    b = builder.Builder(np.random.default_rng(taken), 6, 5, 1, f"alone{taken}")
    (x,) = b.layer("rescale", "image", [[taken]])
    for given in (1, 2, 4):
        for op, more in (("depthwise", {"kernel": (3, 3), "padding": (1, 1, 1, 1)}), ("rescale", {})):
            (y,) = b.layer(op, x, [[given]], **more)
            (x,) = b.layer("rescale", y, [[taken]], residual=x)
    b.classifier(x)
    net = b.finish(4)
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror"))])
