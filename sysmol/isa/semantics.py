"""One clause per instruction: the new content of vd from the old one, vn, vm and what field6 selects.

Registers are 16 bytes. ``index`` is the place of the word's function code among those of the instruction. The same
meaning in C, written for speed, stands in ``kernels_c/include/smol_arith.h``; tests compare the two.
"""

from sysmol.isa.registers import ALIGN, chunk_dot, codes_of, elements, lanes, pair_dot, register, signed
from sysmol.isa.selectors import PIECES, HalfPack, Part, form, group, known, legal_part, pack, pack16, pack32, taps
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


def vmm_w(vd: bytes, vn: bytes, vm: bytes, field6: int, _index: int) -> bytes:
    """lane32[2i+j] of vd += products of half i of vn and half j of vm, i, j in 0..1."""
    piece, acc = PIECES[field6], lanes(vd, 32)
    for i in range(2):
        for j in range(2):
            dots = [pair_dot(vn, 4 * i + k, vm, 4 * j + k, p) << ALIGN[p] for k, p in enumerate(piece.chunks)]
            acc[2 * i + j] += sum(dots) << piece.shift
    return register(acc, 32)


def vmm_h(vd: bytes, vn: bytes, vm: bytes, field6: int, _index: int) -> bytes:
    """lane16[4i+j] of vd += products of word 2i+h of vn and word j of vm, i in 0..1, j in 0..3, in the form's unit."""
    (chosen, words), acc = known(form(field6)), lanes(vd, 16)
    for i in range(2):
        for j in range(4):
            for k, p in enumerate(chosen.chunks):
                dot = pair_dot(vn, 4 * i + 2 * words + k, vm, 2 * j + k, p)
                acc[4 * i + j] += dot << (ALIGN[p] - ALIGN[chosen.unit])
    return register(acc, 16)


def _pack(vd: bytes, values: list[int], chosen: HalfPack) -> bytes:
    """Each part of vd, the whole or its halves, moves down; the codes of its values enter above."""
    top, parts = (1 << chosen.precision) - 1, 1 if chosen.joint else 2
    size, result = REGISTER_BYTES // parts, b""
    for number in range(parts):
        mine = values[number * chosen.codes // parts :][: chosen.codes // parts]
        codes = [min(max(value >> chosen.shift, 0), top) for value in mine]
        width = chosen.precision * len(codes)
        piece = sum(code << chosen.precision * i for i, code in enumerate(codes))
        old = int.from_bytes(vd[number * size : (number + 1) * size], "little")
        result += (old >> width | piece << 8 * size - width).to_bytes(size, "little")
    return result


def _by_half(vn: bytes, vm: bytes, width: int, codes: int, joint: bool) -> list[int]:
    """Lanes in the order in which their codes stand: all of vn, then all of vm; or, half by half, vn's, then vm's. With
    8 codes of 16-bit lanes those of vm are left out."""
    n, m = ([signed(lane, width) for lane in lanes(r, width)] for r in (vn, vm))
    if codes == len(n):
        return n
    half = len(n) // 2
    return n + m if joint else n[:half] + m[:half] + n[half:] + m[half:]


def vqpk_h(vd: bytes, vn: bytes, vm: bytes, field6: int, _index: int) -> bytes:
    """vd, or each half of it, moves down; codes clamp(lane16 >> shift, 0, 2^p-1) of vn, then vm, enter above."""
    chosen = pack16(field6)
    return _pack(vd, _by_half(vn, vm, 16, chosen.codes, chosen.joint), chosen)


def vqpk_s(vd: bytes, vn: bytes, vm: bytes, field6: int, _index: int) -> bytes:
    """Each half h of vd moves down; codes of lanes 2h, 2h+1 of vn, then of vm, enter above."""
    chosen = known(pack32(field6))
    return _pack(vd, _by_half(vn, vm, 32, chosen.codes, chosen.joint), chosen)


def vunp_h(_vd: bytes, vn: bytes, _vm: bytes, field6: int, _index: int) -> bytes:
    """lane16[4i+j] of vd = odd integer g of code 4*group+j of half i of vn."""
    p, number = known(group(field6))
    halves = (vn[: REGISTER_BYTES // 2], vn[REGISTER_BYTES // 2 :])
    return register([g for half in halves for g in codes_of(half, p)[4 * number : 4 * number + 4]], 16)


def vdw(vd: bytes, vn: bytes, vm: bytes, field6: int, _index: int) -> bytes:
    """lane16[c] of vd += products of code 8*part+c of words first+t of vn and t of vm, t in 0..2."""
    chosen, acc = known(taps(field6)), lanes(vd, 16)
    for t in range(3):
        n, m = (
            codes_of(r[4 * at : 4 * at + 4], chosen.precision)[8 * chosen.part : 8 * chosen.part + 8]
            for r, at in ((vn, chosen.first + t), (vm, t))
        )
        acc = [value + a * b for value, a, b in zip(acc, n, m, strict=True)]
    return register(acc, 16)
