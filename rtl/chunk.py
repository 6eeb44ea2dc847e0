"""SystemVerilog of a chunk: selection by precision, and the compressor tree."""

from sysmol.grid import PRECISIONS
from sysmol.rtl import array
from sysmol.rtl.systemverilog import module, tree_body


def chunk_module(precisions: tuple[int, ...], empty: bool = False) -> str:
    """``smol_chunk_421``: the weighted count of a chunk that can have these precisions; ``smol_chunk_421_empty`` of one
    that can be empty, too."""
    lines = []
    for leaf in array.leaves(precisions):
        if array.is_constant(leaf, precisions, empty):
            (bit, i, j), _ = leaf.groups()[0]
            lines.append(f"  wire {leaf.name} = {bit}[{i}][{j}];")
            continue
        terms = []
        for (bit, i, j), chosen in leaf.groups():
            gates = " | ".join(f"is{p}" for p in chosen)
            all_of_them = len(chosen) == len(precisions) and not empty
            gate = f"({gates})" if len(chosen) > 1 else gates
            terms.append(f"{bit}[{i}][{j}]" if all_of_them else f"{bit}[{i}][{j}] & {gate}")
        lines.append(f"  wire {leaf.name} = {' | '.join(terms)};")
    tree = array.chunk_tree(precisions, empty)
    listed = ", ".join(str(p) for p in precisions)
    text = f"""
Weighted count of a chunk that can have elements of {listed} bits, in two rows.

The number of nibbles whose bits i and j are equal is ones[i][j] + 2 twos[i][j] + last[i][j]. Precision selects, once
for the whole chunk, which counts enter which column; those that never enter together share an input. The rows' sum
times two, less a constant of the precision, is the sum of the chunk's products in units of 2^-6."""
    if empty:
        text += " An empty chunk has no precision, and counts nothing."
    ports = [f"input logic [3:0][3:0] {name}" for name, _ in array.COUNT_BITS]
    ports += [f"input logic is{p}" for p in PRECISIONS]
    ports.append(f"output logic [1:0][{tree.width - 1}:0] rows")
    unused = [f"is{p}" for p in PRECISIONS if p not in precisions or (len(precisions) == 1 and not empty)]
    lines.append(f"  wire unused = &{{1'b0, {', '.join([*unused, 'ones', 'twos', 'last'])}}};")
    return module(chunk_name(precisions, empty), text, ports, lines + tree_body(tree))


def chunk_name(precisions: tuple[int, ...], empty: bool = False) -> str:
    """Name of a chunk's module."""
    return f"smol_chunk_{array.names(precisions)}{'_empty' if empty else ''}"
