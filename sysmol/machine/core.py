"""The core: widths, queues, register files."""

from dataclasses import dataclass
from typing import Any

from sysmol.machine.reader import Reader

FEWEST_VECTORS = 128
"""Physical vector registers that leave room for renaming."""


@dataclass(frozen=True)
class Core:
    """Widths in instructions per cycle, queue and register file sizes in entries.

    ``vector_bits`` is the length of RISC-V's vector registers; ``mispredict_cycles`` informs the estimate only.
    """

    fetch_width: int
    fetch_buffer_bytes: int
    decode_width: int
    rename_width: int
    dispatch_width: int
    issue_width: int
    writeback_width: int
    commit_width: int
    rob_entries: int
    iq_entries: int
    load_queue: int
    store_queue: int
    int_registers: int
    float_registers: int
    vector_registers: int
    predicate_registers: int
    branch_predictor: str
    mispredict_cycles: int
    vector_bits: int
    source: str
    note: str = ""


def read_core(reader: Reader, data: Any) -> Core:
    """The field ``core`` of a machine."""
    core: Core = reader.record(Core, data, "core")
    reader.cite(core.source, "core")
    if core.vector_registers < FEWEST_VECTORS:
        raise reader.error(
            f"core: vector_registers must be {FEWEST_VECTORS} or more (40 and more are architectural state in gem5)"
        )
    if core.vector_bits < 128 or core.vector_bits & (core.vector_bits - 1):
        raise reader.error("core: vector_bits must be a power of two and at least 128")
    return core
