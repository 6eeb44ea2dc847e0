"""Compiling and running generated programs in tests."""

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from sysmol.kernels_c.build import FLOAT_TOLERANCE, compile_program, run_executable
from sysmol.kernels_c.plan.options import DEFAULT, Options
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.kernels_c.toolchain import find_compiler
from sysmol.network import Network

sys.path.insert(0, str(Path(__file__).parent))

EMULATORS = {
    "arm": ["qemu-aarch64-static"],
    "riscv": ["qemu-riscv64-static", "-cpu", "rv64,v=true,vlen=128"],
}


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Generate and compile a network, once per session: ``program(net, isa, *flags) -> executable``.

    ``choices``: the generator's options.
    """
    made: dict[tuple[str, ...], Path] = {}

    def make(net: Network, isa: str, *options: str, choices: Options = DEFAULT) -> Path:
        key = (net.name, isa, str(choices), *options)
        if key not in made:
            target = TARGETS[isa]
            generated = generate(net, target, f"net.{isa}", "a test", choices)
            folder = tmp_path_factory.mktemp("program")
            made[key] = compile_program(generated, f"net.{isa}", folder, find_compiler(target), target, options)[0]
        return made[key]

    return make


@pytest.fixture
def emulator() -> Callable[[str], Sequence[str]]:
    """Command prefix that runs executables of an ISA here; skips the test where there is none."""

    def find(isa: str) -> Sequence[str]:
        command = EMULATORS[isa]
        if shutil.which(command[0]) is None:
            pytest.skip(f"no {command[0]} (Debian: apt install qemu-user-static)")
        return command

    return find


@pytest.fixture
def assert_answers(seed: int) -> Callable[[Network, Sequence[str]], None]:
    """The program must give the reference's logits of the network's samples."""

    def check(net: Network, command: Sequence[str]) -> None:
        assert net.samples is not None
        expected = net.samples.logits
        got = run_executable(command, net.samples.images, net.classes, "float32" if net.is_float else "int32")
        if net.is_float:
            scale = np.abs(expected).max(axis=1, keepdims=True)
            assert (np.abs(got - expected) <= FLOAT_TOLERANCE * scale).all(), f"SYSMOL_TEST_SEED={seed}"
        else:
            assert np.array_equal(got, expected), f"SYSMOL_TEST_SEED={seed}: {got} instead of {expected}"

    return check
