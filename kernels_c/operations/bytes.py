"""Sixteen bytes at a time: looked up in tables in registers, and stored as bytes or as codes."""

from itertools import pairwise

import numpy as np

from sysmol.kernels_c.emitter import Costs
from sysmol.kernels_c.plan.layout import ELEMENT_BYTES, Place
from sysmol.network import Array

TABLE = 64
"""Entries of a table in registers."""
BLOCK = 8
"""Elements of a block."""
STORES = {8: "v_store", 4: "v_store_codes4", 2: "v_store_codes2", 1: "v_store_codes1"}
"""Operation that stores 16 elements of so many bits."""


def has_tables(costs: Costs) -> bool:
    """Whether a target looks bytes up in registers."""
    return "v_lookup" in costs


def element_bits(place: Place, index: int) -> int:
    """Bits of an element of block ``index``: of codes or bytes. Bytes may lie in the blocks of codes, too."""
    return place.blocks[index].precision if place.tensor.format == "smol" else 8


def pairs(source: Place, target: Place, first: int, count: int) -> int:
    """How many pairs of ``count`` blocks from ``first`` on have a channel in every lane and lie one behind the other in
    both tensors, elements in the order of the lanes; all or none."""
    if source.blocks != target.blocks and target.tensor.format != "s8":
        return 0
    blocks = target.blocks[first : first + count]
    bits = element_bits(target, first)
    own = [target.block_base(i) for i in range(first, first + count)]
    theirs = [source.block_base(i) for i in range(first, first + count)]
    size = BLOCK * ELEMENT_BYTES[source.tensor.format]
    whole = all(
        all(all(lanes) for lanes in block.lanes) and len(block.groups) == 2 and element_bits(target, first + i) == bits
        for i, block in enumerate(blocks)
    )
    codes = all(
        target.tensor.format != "smol"
        or [shift for group in block.shifts for shift in group] == [bits * lane for lane in range(BLOCK)]
        for block in blocks
    )
    behind = all(b - a == bits for a, b in pairwise(own)) and all(b - a == size for a, b in pairwise(theirs))
    return count // 2 if whole and codes and behind else 0


def in_registers(values: Array) -> Array:
    """Bytes of one table or several of 64 entries, zeros behind the last value."""
    return np.pad(values.astype(np.uint8), (0, -len(values) % TABLE))
