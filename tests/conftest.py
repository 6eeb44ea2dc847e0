"""What every folder's tests share."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from sysmol.cli import run_command_line
from sysmol.configs_gem5.launch import find_gem5, why_no_gem5
from sysmol.isas import ISAS

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # as sysmol.interchange.extras has it


@pytest.fixture(scope="session")
def seed() -> int:
    """Seed of everything random in a test: SYSMOL_TEST_SEED (``new`` draws one), or always the same; printed, so that
    failures show it."""
    asked = os.environ.get("SYSMOL_TEST_SEED", "0")
    value = random.randrange(1 << 30) if asked == "new" else int(asked)
    print(f"SYSMOL_TEST_SEED={value}")
    return value


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def gem5(isa: str) -> Path:
    """A gem5 whose plug-in knows the ISA; the test skips where there is none."""
    binary = find_gem5(isa)
    if binary is None:
        pytest.skip(why_no_gem5(isa))
    return binary


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: ``(status, stdout, stderr)``."""

    def call(*arguments: object) -> tuple[int, str, str]:
        status = run_command_line([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return call
