"""Compressor trees: they add up, and only as many adders as bits disappear."""

import random

import pytest

from sysmol.rtl import array, int8, product
from sysmol.rtl.compress import Bit, Tree, compress


def total(tree: Tree, bits: dict[str, int]) -> int:
    """Sum of a tree's rows after its adders have run."""
    values = dict(bits)
    for adder in tree.adders:
        ones = sum(values[name] for name in adder.inputs)
        values[adder.sum] = ones & 1
        if adder.carry:
            values[adder.carry] = ones >> 1
    return sum(values[name] << column for column, row in enumerate(tree.rows) for name in row)


@pytest.mark.parametrize("heights", [[1], [3, 1, 0], [4, 7, 2, 9, 1, 0, 0, 0], [16] * 6])
def test_trees_add_modulo_their_width(heights, seed):
    random.seed(seed)
    columns = [[Bit(f"x{i}_{k}", random.random()) for k in range(n)] for i, n in enumerate(heights)]
    tree = compress(columns)
    assert all(len(row) <= 2 for row in tree.rows)
    for _ in range(50):
        bits = {bit.name: random.getrandbits(1) for column in columns for bit in column}
        want = sum(bits[bit.name] << i for i, column in enumerate(columns) for bit in column)
        assert (total(tree, bits) - want) % (1 << len(heights)) == 0


@pytest.mark.parametrize("tree", [product.nibble_tree(), product.significand_tree(), *map(int8.tree, int8.COUNTS)])
def test_every_adder_finds_its_inputs(tree):
    made = {name for adder in tree.adders for name in (adder.sum, adder.carry)}
    seen: set[str] = set()
    for adder in tree.adders:
        assert all(name in seen or name not in made for name in adder.inputs)
        seen |= {adder.sum, adder.carry}


@pytest.mark.parametrize("precisions", list(array.precision_sets()))
def test_columns_have_no_more_leaves_than_the_fullest_precision_needs(precisions):
    leaves = array.leaves(precisions)
    assert len({leaf.name for leaf in leaves}) == len(leaves)
    for column in {leaf.column for leaf in leaves}:
        here = [leaf for leaf in leaves if leaf.column == column]
        needed = [sum(p in dict(leaf.choices) for leaf in here) for p in precisions]
        assert len(here) == max(needed)
    for p in precisions:  # every count bit of every pair of bits that counts at p stands once
        used = [dict(leaf.choices)[p] for leaf in leaves if p in dict(leaf.choices)]
        pairs = [(i, j) for i in range(4) for j in range(4) if array.weight(i, j, p) is not None]
        assert sorted(used) == sorted((bit, i, j) for i, j in pairs for bit, _ in array.COUNT_BITS)
