"""One clause per instruction: the new content of vd from the old one, vn, vm and what field6 selects.

Registers are 16 bytes. ``index`` is the place of the word's function code among those of the instruction. The same
meaning in C, written for speed, stands in ``kernels_c/include/smol_arith.h``; tests compare the two.
"""

from sysmol.isa.registers import chunk_dot, elements, lanes, register, signed
from sysmol.isa.selectors import Part, legal_part, pack
from sysmol.pattern import REGISTER_BYTES, chunk_precisions


def vmac(vd: bytes, vn: bytes, vm: bytes, pattern: int, _index: int) -> bytes:
    """lane32[i] of vd += aligned products of chunks 2i and 2i+1."""
    dots = [chunk_dot(vn, vm, chunk, p) for chunk, p in enumerate(chunk_precisions(pattern))]
    return register([acc + dots[2 * i] + dots[2 * i + 1] for i, acc in enumerate(lanes(vd, 32))], 32)


def vdot(vd: bytes, vn: bytes, vm: bytes, pattern: int, index: int) -> bytes:
    """lane32[index] of vd += aligned products of all chunks; the other lanes are kept."""
    acc = lanes(vd, 32)
    acc[index] += sum(chunk_dot(vn, vm, chunk, p) for chunk, p in enumerate(chunk_precisions(pattern)))
    return register(acc, 32)


def products(vn: bytes, vm: bytes, chosen: Part) -> list[int]:
    """Plain products ``g1 * g2`` of a part, lane order."""
    p = chosen.precision
    return [
        a * b for chunk in chosen.chunks for a, b in zip(elements(vn, chunk, p), elements(vm, chunk, p), strict=True)
    ]


def vmul(_vd: bytes, vn: bytes, vm: bytes, field6: int, _index: int) -> bytes:
    """vd = element-wise products of part k, sign-extended to its lanes; vd is not read."""
    chosen = legal_part(field6)
    return register(products(vn, vm, chosen), chosen.lane_bits)


def vmla(vd: bytes, vn: bytes, vm: bytes, field6: int, _index: int) -> bytes:
    """Lanes of vd += element-wise products of part k."""
    chosen = legal_part(field6)
    sums = zip(lanes(vd, chosen.lane_bits), products(vn, vm, chosen), strict=True)
    return register([acc + product for acc, product in sums], chosen.lane_bits)


def vqpk(vd: bytes, vn: bytes, vm: bytes, field6: int, _index: int) -> bytes:
    """vd, as one 128-bit number, moves down; codes clamp(lane32 >> shift, 0, 2^p-1) of vn, then vm, enter above."""
    chosen = pack(field6)
    top = (1 << chosen.precision) - 1
    sums = [signed(lane, 32) for lane in lanes(vn, 32) + lanes(vm, 32)][: chosen.codes]
    codes = [min(max(value >> chosen.shift, 0), top) for value in sums]
    piece = sum(code << chosen.precision * i for i, code in enumerate(codes))
    whole = int.from_bytes(vd, "little") >> chosen.bits | piece << 8 * REGISTER_BYTES - chosen.bits
    return whole.to_bytes(REGISTER_BYTES, "little")
