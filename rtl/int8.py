"""Compressor trees of the int8 dot products that the SMOL unit is compared with."""

from sysmol.rtl.compress import Bit, Tree, compress
from sysmol.rtl.systemverilog import module as systemverilog_module
from sysmol.rtl.systemverilog import tree_body

COUNTS = (4, 8)
"""Products per int32 lane: of ``sdot``, and of ``smmla``."""


def bits(count: int) -> int:
    """Width of the signed sum of ``count`` int8 products; its largest is count * 2^14."""
    return 15 + count.bit_length()


def tree(count: int) -> Tree:
    """Sum of ``count`` products of int8 by Baugh and Wooley: ANDs, those with one sign bit inverted, and a constant."""
    width = bits(count)
    columns: list[list[Bit]] = [[] for _ in range(width)]
    for k in range(count):
        for i in range(8):
            for j in range(8):
                columns[i + j].append(Bit(f"p{k}_{i}[{j}]", 1.0))
    constant = count * ((1 << 8) - (1 << 15)) % (1 << width)
    for column in range(width):
        if constant >> column & 1:
            columns[column].append(Bit("1'b1"))
    return compress(columns)


def module(count: int) -> str:
    """``int8_products_4``, ``int8_products_8``."""
    text = f"""
Sum of {count} products of signed bytes, modulo 2^{bits(count)}, in two rows.

Partial products of Baugh and Wooley: the sign bits have negative weight, so products with one of them enter inverted,
and the constant that this adds is taken off in the same tree."""
    ports = [f"input logic [{8 * count - 1}:0] a, b", f"output logic [1:0][{bits(count) - 1}:0] rows"]
    lines = []
    for k in range(count):
        for i in range(8):
            inverted = "8'h7f" if i == 7 else "8'h80"
            lines.append(f"  wire [7:0] p{k}_{i} = {{8{{a[{8 * k + i}]}}}} & b[{8 * k} +: 8] ^ {inverted};")
    return systemverilog_module(f"int8_products_{count}", text, ports, lines + tree_body(tree(count)))
