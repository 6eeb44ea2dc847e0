"""Networks random in everything that attention knows, as C (:func:`sysmol.network.sequences.any_transformer`).

SYSMOL_TEST_NETWORKS of them; a few by default. In PyTorch's integers: tests/train/test_sequences.py.
"""

import itertools
import json
import os
from dataclasses import replace

import numpy as np
import pytest

from sysmol import isa
from sysmol.benchmarks.networks import make_network
from sysmol.benchmarks.shapes import load_network
from sysmol.configs_gem5.launch import find_gem5, run_gem5, why_no_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.errors import SysmolError
from sysmol.isas import ISAS
from sysmol.kernels_c.build import compile_network, compile_program, run_executable
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.kernels_c.toolchain import find_compiler
from sysmol.network import reference, save
from sysmol.network.model import Layer, Normalisation
from sysmol.network.operations.functions import FUNCTIONS
from sysmol.network.sequences import SequenceBuilder, any_gate, any_transformer, plain_transformer

COUNT = int(os.environ.get("SYSMOL_TEST_NETWORKS", "3"))


@pytest.mark.parametrize("number", range(COUNT))
def test_c_gives_the_reference_s_logits(number, program, assert_answers, seed):
    net = any_transformer(seed + number)
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror"))])


@pytest.mark.parametrize("bits", [2, 4])
def test_streams_are_normalised_where_convolutions_split_their_lanes(bits, program, assert_answers, seed):
    """With the second page of instructions a convolution stores a stream of 16 bits lane by lane, not in pairs."""
    b = SequenceBuilder(np.random.default_rng([seed, bits]), 4, 4, 5, f"split {bits}")
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, ["s16"], 32)
    x = b.append(Layer("norm", "layernorm", b.stream(x)), np.full(32, bits), 32)
    (x,) = b.layer("conv2d", x, [np.full(32, bits)], 32)
    b.classifier(x)
    net, options = b.finish(2), Options(has=isa.EVERYTHING)
    text = generate(net, TARGETS["arm"], "net.arm", "a test", options).source
    assert "v_narrow_halves(" in text and "v_normal(" in text
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror", choices=options))])


def test_bytes_of_a_table_in_the_order_of_codes(program, assert_answers):
    """A table's bytes that a gate reads beside codes lie in the codes' blocks."""
    net = any_transformer(13)
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror"))])


@pytest.mark.parametrize("number", range(COUNT // 10))
def test_sanitizers_find_nothing(number, program, assert_answers, seed):
    net = any_transformer(seed + number)
    assert_answers(net, [str(program(net, "host", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover"))])


@pytest.mark.parametrize("isa", ["arm", "riscv"])
def test_cross_compiled_code_gives_them_too(isa, program, emulator, assert_answers, seed):
    prefix = emulator(isa)
    net = any_transformer(seed)
    assert_answers(net, [*prefix, str(program(net, isa, "-O1", "-DSMOL_EMULATE", "-Werror"))])


@pytest.mark.parametrize("form", ["s8", "f32"])
@pytest.mark.parametrize("number", range(COUNT))
def test_bytes_and_floats(number, form, program, assert_answers, seed):
    """The baselines: encoder layers in 8 bits and in full precision."""
    net = plain_transformer(seed + number, form)
    net.name += form
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror"))])


@pytest.mark.parametrize("form", ["s8", "f32"])
@pytest.mark.parametrize("isa", ["arm", "riscv"])
def test_bytes_and_floats_cross_compiled(isa, form, program, emulator, assert_answers, seed):
    prefix = emulator(isa)
    net = plain_transformer(seed, form)
    net.name += form
    assert_answers(net, [*prefix, str(program(net, isa, "-O1", "-Werror"))])


@pytest.mark.parametrize("variant", ["w4", "int8", "fp32"])
def test_the_compiler_sets_no_vector_type(variant, tmp_path):
    """In none of attention's kernels on RISC-V: where it copies a register, all kernels set the type each time."""
    net = make_network(load_network("attention"), variant)
    target = TARGETS["riscv"]
    made = generate(net, target, "net.riscv", "a test")
    _, command = compile_program(made, "net.riscv", tmp_path, find_compiler(target), target)
    assert "-DSMOL_SET_ALWAYS" not in command


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_functions_of_floats(function, tmp_path):
    """From large negative to large positive arguments, within a few units of the last place of what is around."""
    rng = np.random.default_rng(0)
    builder = SequenceBuilder(rng, 16, 16, 1, function)
    builder.net.normalisation = Normalisation((128.0,), (0.1,))
    (x,) = builder.layer("rescale", "image", ["f32"])
    builder.net.layers[-1].outputs[0].M = np.full(1, 0.1, dtype=np.float32)
    builder.net.layers[-1].outputs[0].B = np.full((1, 1, 1), -12.8, dtype=np.float32)
    builder.scaled(x, 0.2)
    y = builder.append(Layer("", "lookup", x, function=function), "f32", 1)
    builder.scaled(y, 1.0)
    (builder.net.output,) = builder.flatten(y, ["f32"])
    builder.scaled(builder.net.output, 1.0)
    net = builder.finish(1)
    net.samples.images[0] = np.arange(256).reshape(16, 16, 1)
    net.samples.logits = reference.evaluate(net, net.samples.images)
    made = generate(net, TARGETS["host"], "net.host", "a test")
    target = TARGETS["host"]
    executable = compile_program(made, "net.host", tmp_path, find_compiler(target), target, ["-O1"])[0]
    got = run_executable([str(executable)], net.samples.images, net.classes, "float32")
    wanted = net.samples.logits
    assert np.abs(got - wanted).max() < 5e-7 * max(1.0, np.abs(wanted).max())


CODES = [4] * 9 + [2] * 10


@pytest.mark.parametrize("forms", [("s8", "s16"), (CODES, "s8"), (CODES, CODES)], ids=["s8-s16", "smol-s8", "smol"])
def test_gates(forms, program, assert_answers, seed):
    net = any_gate(np.random.default_rng(seed), forms)
    net.name += str(forms)
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror"))])


FAULTS = {
    "sums of the values": ("v_madd(sum, v_dup(", "v_madd(sum, v_dup(1 + "),
    "order of the tokens": ("_token0, ", "_token0, 4 + "),
    "distances to the largest score": ("m_min(top - m_get_s16(at, 0),", "m_min(17 + top - m_get_s16(at, 0),"),
    "the mean": ("v_dup16((int16_t)n.addend)", "v_dup16((int16_t)(n.addend - 9000))"),
    "the standard deviation": ("v_dup16(n.factor)", "v_dup16(n.factor / 2)"),
    "the reciprocal": ("/ ((", "/ 2 / (("),
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_wrong_step_shows(fault, tmp_path, seed):
    """In one of twelve networks: in others what the step changes is rounded away."""
    right, wrong = FAULTS[fault]
    candidates = (n for n in map(any_transformer, range(seed, seed + 400)) if _shows(n))
    for net in itertools.islice(candidates, 12):
        assert net.samples is not None
        made = generate(net, TARGETS["host"], "net.host", "a test")
        if right not in made.source:  # scores of whole registers take another way
            continue
        try:
            found = _answers(made, made.source.replace(right, wrong), net, tmp_path)
        except SysmolError:  # weights that are all 0 divide by 0
            return
        if not np.array_equal(found, net.samples.logits):
            return
    pytest.fail(f"SYSMOL_TEST_SEED={seed}: {fault} shows in no network")


def _shows(net):
    """Whether attention decides a network's logits: its weights differ, nothing is saturated, few tokens."""
    if net.tensors["image"].height == 14 or np.array_equal(*net.samples.logits):
        return False
    stored = reference.run(net, net.samples.images[0])
    weights = [stored[layer.output] for layer in net.layers if layer.op == "softmax"]
    return any(layer.op == "layernorm" for layer in net.layers) and min(len(np.unique(w)) for w in weights) > 5


def _answers(made, source, net, folder):
    target = TARGETS["host"]
    changed = replace(made, source=source)
    executable = compile_program(changed, "net.host", folder, find_compiler(target), target, ["-O0"])[0]
    return run_executable([str(executable)], net.samples.images, net.classes, "int32")


def test_products_of_activations_are_counted(seed):
    """Attention's layers have multiply-accumulates and SMOL instructions; planned memory is no larger."""
    for number in range(4):
        net = any_transformer(seed + number)
        made = generate(net, TARGETS["host"], "net.host", "a test")
        assert made.memory.arena <= made.memory.unplanned
        for region, layer in zip(made.regions, net.layers, strict=True):
            if layer.op in ("scores", "attend"):
                assert region.macs > 0 and region.mix["smol"] > 0


def test_a_buffer_that_is_let_go_too_early_shows(tmp_path, monkeypatch, seed):
    """Memory planned without second inputs gives other logits, where the reference's are not all the same."""
    from sysmol.kernels_c.plan import arena

    def forgetful(net):
        result = {}
        for number, layer in enumerate(net.layers):
            for name in layer.targets:
                result[name] = (number, number)
            for name in (layer.input, layer.residual):
                if name in result:
                    result[name] = (result[name][0], number)
        result[net.output] = (result[net.output][0], len(net.layers))
        return result

    monkeypatch.setattr(arena, "_lifetimes", forgetful)
    for net in map(any_transformer, range(seed, seed + 40)):
        if net.tensors["image"].height == 14 or np.array_equal(*net.samples.logits):
            continue
        made = generate(net, TARGETS["host"], "net.host", "a test")
        if not np.array_equal(_answers(made, made.source, net, tmp_path), net.samples.logits):
            return
    pytest.fail("no network noticed")


def test_the_reference_is_read_by_tokens(seed):
    """Tokens in another order give another result: positions decide."""
    nets = [any_transformer(number) for number in range(seed, seed + 20)]
    turned = [reference.evaluate(net, net.samples.images[:, ::-1, ::-1].copy()) for net in nets]
    assert not all(np.array_equal(found, net.samples.logits) for found, net in zip(turned, nets, strict=True))


@pytest.mark.gem5
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("number", range(max(COUNT // 15, 1)))
def test_simulated_cores_give_them_too(number, isa, seed, tmp_path):
    """One core model; all four where more networks than usual are asked for."""
    if find_gem5(isa) is None:
        pytest.skip(why_no_gem5(isa))
    net = any_transformer(seed + number)
    manifest = compile_network(save(tmp_path / "n.safetensors", net), isa, tmp_path)
    for cpu in ("atomic", "timing", "minor", "o3") if COUNT > 3 else ("atomic",):
        run_gem5(manifest, tmp_path / cpu, Simulation(isa, cpu))
        run = json.loads((tmp_path / cpu / "run.json").read_text())
        assert run["logits_match"] is True, f"SYSMOL_TEST_SEED={seed}, {cpu}"
