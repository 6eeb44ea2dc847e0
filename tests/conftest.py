"""What every folder's tests share."""

import os
import random

import pytest


@pytest.fixture(scope="session")
def seed() -> int:
    """Seed of everything random in a test: SYSMOL_TEST_SEED, or a new one; printed, so that failures show it."""
    value = int(os.environ.get("SYSMOL_TEST_SEED", random.randrange(1 << 30)))
    print(f"SYSMOL_TEST_SEED={value}")
    return value
