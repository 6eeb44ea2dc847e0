"""Compressor trees of single products: of two nibbles for ``vmul`` and ``vmla``, of two fp32 significands."""

from sysmol.rtl.array import NIBBLE
from sysmol.rtl.compress import Bit, Tree, compress
from sysmol.rtl.systemverilog import module as systemverilog_module
from sysmol.rtl.systemverilog import tree_body

PRODUCT_BITS = 2 * NIBBLE
SIGNIFICAND = 24
CONSTANT = -((15 * 15 + 1) // 2) % (1 << PRODUCT_BITS)
"""A 4-bit product g1*g2 is 2n - 225 with the weighted count n of equal bits, thus 2(n - 113) + 1."""


def nibble_tree() -> Tree:
    """n - 113 of two 4-bit elements from the counts of their halves and the equal bits between the halves."""
    columns = [[Bit("1'b1")] if CONSTANT >> column & 1 else [] for column in range(PRODUCT_BITS)]
    for i in range(NIBBLE):
        columns[i].append(Bit(f"low[{i}]", 4.0))
        columns[i + NIBBLE].append(Bit(f"high[{i}]", 4.0))
        columns[i] = columns[i][::-1]
        for j in range(NIBBLE):
            if i // 2 != j // 2:
                columns[i + j].append(Bit(f"same[{i}][{j}]", 2.0))
    return compress(columns)


def module() -> str:
    """``nibble_product``."""
    text = """
Product of two 4-bit elements, as (product - 1) / 2 in two rows of 8 bits, signed.

low and high are the weighted counts of equal bits within the lower and the upper halves of the nibbles, which 2-bit
elements need, too; same[i][j] are the equal bits between a lower and an upper half."""
    ports = ["input logic [3:0] low, high", "input logic [3:0][3:0] same"]
    ports.append(f"output logic [1:0][{PRODUCT_BITS - 1}:0] rows")
    body = ["  wire unused = ^same;", *tree_body(nibble_tree())]
    return systemverilog_module("nibble_product", text, ports, body)


def significand_tree() -> Tree:
    """Product of two 24-bit significands from the ANDs of their bits."""
    columns: list[list[Bit]] = [[] for _ in range(2 * SIGNIFICAND)]
    for i in range(SIGNIFICAND):
        for j in range(SIGNIFICAND):
            columns[i + j].append(Bit(f"p{i}[{j}]", 1.0))
    return compress(columns)


def significand_module() -> str:
    """``fp32_significands``."""
    text = """
Product of two significands of 24 bits, in two rows of 48 bits."""
    ports = [f"input logic [{SIGNIFICAND - 1}:0] a, b", f"output logic [1:0][{2 * SIGNIFICAND - 1}:0] rows"]
    products = [f"  wire [{SIGNIFICAND - 1}:0] p{i} = {{{SIGNIFICAND}{{a[{i}]}}}} & b;" for i in range(SIGNIFICAND)]
    return systemverilog_module("fp32_significands", text, ports, products + tree_body(significand_tree()))
