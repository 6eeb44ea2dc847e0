"""Networks and machines drawn together: PyTorch's integers, the reference in NumPy, C on the host and gem5's core
models give the same logits, and no code uses an instruction that its machine lacks.

SYSMOL_TEST_NETWORKS of them, every tenth in gem5 too (``make test-machines``); a few by default.
"""

import os
import random

import numpy as np
import pytest
from drawn import KINDS, PRODUCTS, draw, draw_kind, draw_smol, limit_of
from test_matrix_wide import limit_network

from sysmol import isa
from sysmol.configs_gem5.launch import run_gem5
from sysmol.configs_gem5.request import CPUS, Simulation
from sysmol.files import atomic_write_json
from sysmol.grid import integer as on_grid
from sysmol.kernels_c.build import compile_network
from sysmol.kernels_c.plan.lanes16 import LANE_MOST
from sysmol.kernels_c.targets import TARGETS
from sysmol.network import save
from sysmol.packing import slot_precisions, unpack
from sysmol.train.quantise import integer

COUNT = int(os.environ.get("SYSMOL_TEST_NETWORKS", "3"))
IN_GEM5 = max(1, COUNT // 10)


@pytest.mark.parametrize("number", range(COUNT))
def test_logits_on_the_host(number, program, assert_answers, seed):
    drawn = draw(seed + number, TARGETS["host"])
    print(f"{drawn.kind}, {drawn.machine.name}, {drawn.refused} machines refused")
    net = drawn.net
    assert np.array_equal(integer.evaluate(net, net.samples.images), net.samples.logits), f"SYSMOL_TEST_SEED={seed}"
    # Code that is not optimised takes half as long.
    level = "-O0" if number % 4 else "-O1"
    assert_answers(net, [str(program(net, "host", level, "-Werror", choices=drawn.options))])


@pytest.mark.gem5
@pytest.mark.parametrize("number", range(IN_GEM5))
def test_logits_in_gem5(gem5, isa, number, seed, tmp_path):
    """On the machine that was drawn, whose hardware faults where code uses what it lacks; core models in turn."""
    drawn = draw(seed + 10 * number, TARGETS[isa])
    machine = atomic_write_json(tmp_path / "machine.json", drawn.machine.to_json())
    path = save(tmp_path / "drawn.network.safetensors", drawn.net)
    manifest = compile_network(path, isa, tmp_path, options=drawn.options)
    simulation = Simulation(isa, CPUS[number % len(CPUS)], machine, images=len(drawn.net.samples.images))
    run = run_gem5(manifest, tmp_path / "run", simulation, gem5=gem5)
    print(f"{drawn.kind}, {drawn.machine.name}, {simulation.cpu}: {run['sim_insts']} instructions")
    assert run["logits_match"] is True, f"SYSMOL_TEST_SEED={seed}"


def test_draws_reach_everything(seed):
    """All kinds of networks; machines with each instruction and without, also with and without what else serves."""
    seeds = range(seed, seed + 400)
    assert {draw_kind(each) for each in seeds} == set(KINDS)
    options = [dict(item.split("=") for item in draw_smol(random.Random(each), ()).split(",")) for each in seeds]
    has = [isa.capabilities(isa.instruction_set(option["instructions"])) for option in options]
    for name in isa.ALL_NAMES:
        assert {each.has(name) for each in has} == {True, False}
    for some, other in (("vdot", "vmm.w"), ("vmm.w", "vmm.h"), ("vdw", PRODUCTS[0])):
        assert len({(each.has(some), each.has(other)) for each in has}) == 4


@pytest.mark.parametrize("bits", (4, 2))
def test_limits_are_where_sums_cease_to_fit(bits, seed):
    """The largest sum of a network on the limit, and its neighbours': the weights' total times the largest code."""
    top = (1 << bits) - 1
    totals = []
    for beyond in (-2, 0, 2):
        net = limit_network(seed, bits, limit_of(bits, beyond))
        layer = net.layers[2]
        tensor = net.tensors[layer.input]
        codes = unpack(layer.weight, tensor.patterns)
        sizes = np.abs(on_grid(codes, slot_precisions(tensor.patterns)))[..., np.asarray(tensor.slots)]
        totals.append(top * int(sizes.reshape(len(sizes), -1).sum(axis=1).max()))
    below, on, above = totals
    assert below < on <= LANE_MOST < above and on - below == above - on == 2 * top
