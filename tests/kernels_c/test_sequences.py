"""Networks random in everything that attention knows, as C (:func:`sysmol.network.sequences.any_transformer`).

SYSMOL_TEST_NETWORKS of them; a few by default. In PyTorch's integers: tests/train/test_sequences.py.
"""

import itertools
import json
import os
from dataclasses import replace

import numpy as np
import pytest

from sysmol.configs_gem5.launch import find_gem5, run_gem5, why_no_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.errors import SysmolError
from sysmol.isas import ISAS
from sysmol.kernels_c.build import compile_network, compile_program, run_executable
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.kernels_c.toolchain import find_compiler
from sysmol.network import reference, save
from sysmol.network.sequences import any_gate, any_transformer

COUNT = int(os.environ.get("SYSMOL_TEST_NETWORKS", "3"))


@pytest.mark.parametrize("number", range(COUNT))
def test_c_gives_the_reference_s_logits(number, program, assert_answers, seed):
    net = any_transformer(seed + number)
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


CODES = [4] * 9 + [2] * 10


@pytest.mark.parametrize("forms", [("s8", "s16"), (CODES, "s8"), (CODES, CODES)], ids=["s8-s16", "smol-s8", "smol"])
def test_gates(forms, program, assert_answers, seed):
    net = any_gate(np.random.default_rng(seed), forms)
    net.name += str(forms)
    assert_answers(net, [str(program(net, "host", "-O1", "-Werror"))])


FAULTS = {
    "sums of the values": ("v_madd(sum, v_dup(", "v_madd(sum, v_dup(1 + "),
    "order of the tokens": ("const int token = m_get_s32(", "const int token = m_get_s32(4 + "),
    "distances to the largest score": ("m_min(top - m_get_s16(at, 0),", "m_min(17 + top - m_get_s16(at, 0),"),
    "the mean": ("v_dup(n.addend)", "v_dup(n.addend - 9000)"),
    "the standard deviation": ("v_dup((uint32_t)n.factor)", "v_dup((uint32_t)n.factor / 2)"),
    "the reciprocal": ("/ ((", "/ 2 / (("),
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_wrong_step_shows(fault, tmp_path, seed):
    """In one of eight networks: in others what the step changes is rounded away."""
    right, wrong = FAULTS[fault]
    candidates = (n for n in map(any_transformer, range(seed, seed + 400)) if _shows(n))
    for net in itertools.islice(candidates, 8):
        assert net.samples is not None
        made = generate(net, TARGETS["host"], "net.host", "a test")
        assert right in made.source
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
