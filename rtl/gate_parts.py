"""Parts of the SMOL unit as gates that units of one and of both pages have: a chunk's counts, a multiplier.

Each is named after its module of the SystemVerilog (:mod:`sysmol.rtl.sources`)."""

from sysmol.rtl import array, product
from sysmol.rtl.circuit import ONE, ZERO, Circuit

Bus = list[int]


def chunk(
    c: Circuit,
    found: dict[tuple[str, int, int], int],
    precisions: tuple[int, ...],
    precise: dict[int, int],
    empty: bool = False,
) -> Bus:
    """smol_chunk_*: weighted count of a chunk from its counts of equal bits, by the bits that say its precision."""
    named = {}
    for leaf in array.leaves(precisions):
        named[leaf.name] = c.any(
            found[bit]
            if array.is_constant(leaf, precisions, empty)
            else c.and_(found[bit], c.any(precise[p] for p in chosen_at))
            for bit, chosen_at in leaf.groups()
        )
    return c.tree(array.chunk_tree(precisions, empty), named)


def equal(c: Circuit, a: Bus, b: Bus) -> list[Bus]:
    """smol_nibble: XNOR of every bit of one nibble with every bit of another."""
    return [[c.inv(c.xor(x, y)) for y in b] for x in a]


def counts(c: Circuit, a: Bus, b: Bus) -> dict[tuple[str, int, int], int]:
    """smol_count: over the nibbles of a chunk, how often bits i and j are equal."""
    same = [equal(c, a[4 * n : 4 * n + 4], b[4 * n : 4 * n + 4]) for n in range(array.NIBBLES)]
    found = {}
    for i in range(array.NIBBLE):
        for j in range(array.NIBBLE):
            x, y, z, last = (nibble[i][j] for nibble in same)
            found["ones", i, j], found["twos", i, j] = c.xor(c.xor(x, y), z), c.maj(x, y, z)
            found["last", i, j] = last
    return found


def multiplier(c: Circuit, chosen: dict[str, int], field6: Bus, vd: Bus, vn: Bus, vm: Bus) -> Bus:
    """vmul and vmla (smol_mul, smol_product)."""
    is4, is1 = c.decode(field6[4:], [0]), field6[5]
    a, b = (_part(c, register, field6) for register in (vn, vm))
    accumulate = chosen.get("vmla", ZERO)
    result: Bus = []
    for n in range(8):
        same = equal(c, a[4 * n : 4 * n + 4], b[4 * n : 4 * n + 4])
        low, high = _pair(c, same, 0), _pair(c, same, 2)
        named = {f"same[{i}][{j}]": same[i][j] for i in range(4) for j in range(4)}
        named |= {f"low[{i}]": low[i] for i in range(4)} | {f"high[{i}]": high[i] for i in range(4)} | {"1'b1": ONE}
        four = c.tree(product.nibble_tree(), named)
        halves = []
        for count, single in ((low, same[0][0]), (high, same[2][2])):
            minus_five = c.add(count, [ONE, ONE, ZERO, ONE])
            half = c.select((is1, [c.inv(single)] * 4), (c.inv(is1), minus_five))
            halves += [ONE, *half, *[half[3]] * 3]
        both = c.select((is4, [ONE, *four, *[four[7]] * 7]), (c.inv(is4), halves))
        old = [c.and_(bit, accumulate) for bit in vd[16 * n : 16 * n + 16]]
        carried = c.add([*old[:8], ZERO], [*both[:8], ZERO])
        result += carried[:8] + c.add(old[8:], both[8:], c.and_(carried[8], is4))
    return result


def _pair(c: Circuit, same: list[Bus], low: int) -> Bus:
    """smol_pair: weighted count of equal bits of two 2-bit elements."""
    a, b = same[low][low + 1], same[low + 1][low]
    both, top = c.and_(a, b), same[low + 1][low + 1]
    return [same[low][low], c.xor(a, b), c.xor(top, both), c.and_(top, both)]


def _part(c: Circuit, register: Bus, field6: Bus) -> Bus:
    """smol_part: part k of a register as eight nibbles."""
    is1 = field6[5]
    is_wide = c.inv(is1)
    words = [(c.and_(is_wide, c.decode(field6[:2], [k])), register[32 * k : 32 * k + 32]) for k in range(4)]
    spread = []
    for k in range(8):
        chunk = register[16 * k : 16 * k + 16]
        nibbles = [bit for n in range(8) for bit in (chunk[2 * n], ZERO, chunk[2 * n + 1], ZERO)]
        spread.append((c.and_(is1, c.decode(field6[:3], [k])), nibbles))
    return c.select(*words, *spread)
