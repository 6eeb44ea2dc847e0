"""Compressor tree of ``vdw``: three products of 4-bit codes added."""

from sysmol.rtl.array import NIBBLE
from sysmol.rtl.compress import Bit, Tree, compress
from sysmol.rtl.systemverilog import module as systemverilog_module
from sysmol.rtl.systemverilog import tree_body

TAPS = 3
TAP_BITS = 10
CONSTANT = -((TAPS * 15 * 15 + 1) // 2) % (1 << TAP_BITS)
"""The sum of three 4-bit products is 2n - 675 with the weighted count n of equal bits, thus 2(n - 338) + 1."""


def tree() -> Tree:
    """n - 338 from the counts of the three products' equal bits: ``ones + 2 twos`` by bits i and j."""
    columns = [[Bit("1'b1")] if CONSTANT >> column & 1 else [] for column in range(TAP_BITS)]
    for i in range(NIBBLE):
        for j in range(NIBBLE):
            columns[i + j].append(Bit(f"ones[{i}][{j}]", 6.0))
            columns[i + j + 1].append(Bit(f"twos[{i}][{j}]", 5.0))
    return compress(columns)


def module() -> str:
    """``tap_products``."""
    text = f"""
Sum of three products of 4-bit elements, as (sum - 1) / 2 in two rows of {TAP_BITS} bits, signed.

In how many of the three bits i and j are equal is ones[i][j] + 2 twos[i][j]."""
    ports = ["input logic [3:0][3:0] ones, twos", f"output logic [1:0][{TAP_BITS - 1}:0] rows"]
    return systemverilog_module("tap_products", text, ports, tree_body(tree()))
