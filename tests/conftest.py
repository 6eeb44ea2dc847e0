"""What every folder's tests share."""

import os
import random
from collections.abc import Callable

import pytest

from sysmol.cli import run_command_line


@pytest.fixture(scope="session")
def seed() -> int:
    """Seed of everything random in a test: SYSMOL_TEST_SEED, or a new one; printed, so that failures show it."""
    value = int(os.environ.get("SYSMOL_TEST_SEED", random.randrange(1 << 30)))
    print(f"SYSMOL_TEST_SEED={value}")
    return value


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: ``(status, stdout, stderr)``."""

    def call(*arguments: object) -> tuple[int, str, str]:
        status = run_command_line([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return call
