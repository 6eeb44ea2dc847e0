"""What the tests of the SMOL unit share."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sysmol.machine import pattern_set
from sysmol.rtl.hardware import Hardware


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """Random numbers from the printed seed (SYSMOL_TEST_SEED)."""
    return np.random.default_rng(seed)


@pytest.fixture(scope="session")
def hardware() -> Callable[..., Hardware]:
    """A unit with a named set of patterns."""

    def build(patterns: str = "P45", **options: Any) -> Hardware:
        return Hardware(pattern_set(patterns), **options)

    return build
