"""The environment variables that sysmol reads, and the one function that reads them.

What a result depends on is part of its key (:mod:`sysmol.workbench.key`), so whoever makes one must know which
variables were read: :func:`recording` tells. Standard library only: gem5's embedded Python imports this.
"""

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar

VARIABLES = {
    "GEM5_ROOT": "gem5's source tree, below which its binaries lie (default: ~/gem5)",
    "SYSMOL_CC_HOST": "C compiler of the computer at hand (default: cc, gcc or clang)",
    "SYSMOL_CC_ARM": "cross compiler for AArch64, a command with its options (default: ziglang's clang)",
    "SYSMOL_CC_RISCV": "cross compiler for RISC-V, a command with its options (default: ziglang's clang)",
    "SYSMOL_DATA": "folder of the MNIST and CIFAR-10 files",
    "ZIG_GLOBAL_CACHE_DIR": "where ziglang's compiler keeps its built C libraries (default: its own choice)",
    "OMP_NUM_THREADS": "threads of PyTorch, on which the order of its sums depends (default: all processors)",
}
"""Every variable, and what it says."""
PLACES = ("GEM5_ROOT", "SYSMOL_DATA", "ZIG_GLOBAL_CACHE_DIR")
"""Variables that name a place: results depend on the files found there, not on its path."""

_reads: ContextVar[set[str] | None] = ContextVar("reads", default=None)


def read(name: str, default: str = "") -> str:
    """The variable's value, or ``default`` where it is not set or empty. ``name`` is one of :data:`VARIABLES`."""
    if name not in VARIABLES:
        raise KeyError(f"{name} is not in sysmol.environment.VARIABLES")
    noted = _reads.get()
    if noted is not None:
        noted.add(name)
    return os.environ.get(name) or default


@contextlib.contextmanager
def recording() -> Iterator[set[str]]:
    """The names of the variables that are read in the block, in this thread."""
    outer = _reads.get()
    token = _reads.set(set())
    noted = _reads.get()
    assert noted is not None
    try:
        yield noted
    finally:
        _reads.reset(token)
        if outer is not None:
            outer |= noted
