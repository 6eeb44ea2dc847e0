"""Generated programs give exactly the reference's logits: on the host, and as ARM and RISC-V code under qemu."""

import pytest
from kernel_networks import all_networks

from sysmol.isas import ISAS

CROSS = ["random", "depthwise", "int8", "float"]
"""Networks that also run as cross-compiled code, SMOL words emulated: between them they have every operation."""


@pytest.mark.parametrize("name", list(all_networks(0)))
def test_host(name, program, assert_answers, seed):
    net = all_networks(seed)[name]()
    executable = program(net, "host", "-O1", "-Werror")
    assert_answers(net, [str(executable)])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CROSS)
def test_cross(name, isa, program, emulator, assert_answers, seed):
    prefix = emulator(isa)
    net = all_networks(seed)[name]()
    executable = program(net, isa, "-O1", "-DSMOL_EMULATE", "-Werror")
    assert_answers(net, [*prefix, str(executable)])


def test_every_pattern_appears(seed):
    used = {p for make in all_networks(seed).values() for p in make().patterns}
    assert used == set(range(45))
