"""What every unit must compute, vectorised in NumPy: registers are uint8 ``[vectors, 16]``.

The SMOL instructions are a second formulation of :mod:`sysmol.isa`, by look-up of the number grid, and are checked
against it; with it, millions of vectors take seconds."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sysmol import isa
from sysmol.errors import SysmolError
from sysmol.isa.selectors import HalfPack, known
from sysmol.pattern import CHUNK_BITS, CHUNKS, chunk_precisions

Registers = npt.NDArray[np.uint8]


def grid(register: Registers, chunk: int, p: int) -> npt.NDArray[np.int32]:
    """Odd integers of a chunk's elements, int32 ``[vectors, 16 / p]``."""
    word = register[:, 2 * chunk : 2 * chunk + 2].copy().view("<u2").astype(np.int32)
    shifts = np.arange(0, CHUNK_BITS, p, dtype=np.int32)
    return 2 * (word >> shifts & (1 << p) - 1) - ((1 << p) - 1)


def _dot(vn: Registers, vm: Registers, chunk: int, p: int) -> npt.NDArray[np.int32]:
    products = grid(vn, chunk, p) * grid(vm, chunk, p)
    total: npt.NDArray[np.int32] = products.sum(axis=1, dtype=np.int32)
    return total << isa.ALIGN[p]


def _lanes(register: Registers, kind: str) -> npt.NDArray[np.signedinteger]:
    return np.ascontiguousarray(register).view(kind)


def smol(fn: int, field6: int, vd: Registers, vn: Registers, vm: Registers) -> Registers:
    """New vd of a SMOL instruction."""
    row = isa.find(fn)
    if row is None or not isa.is_legal(fn, field6):
        raise SysmolError(isa.illegal_reason(fn, field6))
    with np.errstate(over="ignore"):
        if row.format == "second":
            return SECOND[row.name](field6, vd, vn, vm)
        return {"pattern": _sums, "part": _products, "pack": _pack}[row.field6](row, fn, field6, vd, vn, vm)


def _sums(row: isa.Instruction, fn: int, field6: int, vd: Registers, vn: Registers, vm: Registers) -> Registers:
    dots = np.stack([_dot(vn, vm, chunk, p) for chunk, p in enumerate(chunk_precisions(field6))], axis=1)
    lanes = _lanes(vd, "<i4").copy()
    if len(row.fns) > 1:
        lanes[:, fn - row.fns[0]] += dots.sum(axis=1, dtype=np.int32)
    else:
        lanes += dots.reshape(len(vd), CHUNKS // 2, 2).sum(axis=2, dtype=np.int32)
    return lanes.view(np.uint8)


def _products(row: isa.Instruction, fn: int, field6: int, vd: Registers, vn: Registers, vm: Registers) -> Registers:
    part = isa.part(field6)
    assert part is not None
    kind = f"<i{part.lane_bits // 8}"
    products = np.concatenate([grid(vn, c, part.precision) * grid(vm, c, part.precision) for c in part.chunks], axis=1)
    lanes = products.astype(kind)
    return (lanes + _lanes(vd, kind) if row.reads_vd else lanes).view(np.uint8)


def _pack(row: isa.Instruction, fn: int, field6: int, vd: Registers, vn: Registers, vm: Registers) -> Registers:
    form = isa.pack(field6)
    lanes = np.concatenate([_lanes(vn, "<i4"), _lanes(vm, "<i4")], axis=1)[:, : form.codes]
    codes = np.clip(lanes >> form.shift, 0, (1 << form.precision) - 1).astype(np.uint8)
    bits = np.unpackbits(codes[:, :, None], axis=2, bitorder="little")[:, :, : form.precision].reshape(len(vd), -1)
    piece = np.packbits(bits, axis=1, bitorder="little")
    return np.concatenate([vd[:, form.bits // 8 :], piece], axis=1)


def _pair(vn: Registers, n: int, vm: Registers, m: int, p: int) -> npt.NDArray[np.int32]:
    """Sum of the products of chunk ``n`` of one register and chunk ``m`` of another, int32 ``[vectors]``."""
    total: npt.NDArray[np.int32] = (grid(vn, n, p) * grid(vm, m, p)).sum(axis=1, dtype=np.int32)
    return total


def _vmm_w(field6: int, vd: Registers, vn: Registers, vm: Registers) -> Registers:
    piece, lanes = isa.PIECES[field6], _lanes(vd, "<i4").copy()
    for i in range(2):
        for j in range(2):
            for k, p in enumerate(piece.chunks):
                lanes[:, 2 * i + j] += _pair(vn, 4 * i + k, vm, 4 * j + k, p) << isa.ALIGN[p] + piece.shift
    return lanes.view(np.uint8)


def _vmm_h(field6: int, vd: Registers, vn: Registers, vm: Registers) -> Registers:
    (form, word), lanes = known(isa.form(field6)), _lanes(vd, "<i2").copy()
    for i in range(2):
        for j in range(4):
            for k, p in enumerate(form.chunks):
                dots = _pair(vn, 4 * i + 2 * word + k, vm, 2 * j + k, p) << isa.ALIGN[p] - isa.ALIGN[form.unit]
                lanes[:, 4 * i + j] += dots.astype("<i2")
    return lanes.view(np.uint8)


def _pack_halves(form: HalfPack, kind: str, vd: Registers, vn: Registers, vm: Registers) -> Registers:
    """Codes enter each half of vd from above, or, joint, the whole."""
    n, m = _lanes(vn, kind), _lanes(vm, kind)
    half = n.shape[1] // 2
    if form.joint:
        shares = [np.concatenate([n, m], axis=1)]
    elif form.codes == 2 * half:  # all of vn's lanes and none of vm's
        shares = [n[:, :half], n[:, half:]]
    else:
        shares = [np.concatenate([x[:, at : at + half] for x in (n, m)], axis=1) for at in (0, half)]
    size = 16 // len(shares)
    result = []
    for number, lanes in enumerate(shares):
        codes = np.clip(lanes >> form.shift, 0, (1 << form.precision) - 1).astype(np.uint8)
        entering = np.unpackbits(codes[:, :, None], axis=2, bitorder="little")[:, :, : form.precision]
        old = np.unpackbits(vd[:, size * number : size * number + size], axis=1, bitorder="little")
        bits = np.concatenate([old, entering.reshape(len(vd), -1)], axis=1)[:, -8 * size :]
        result.append(np.packbits(bits, axis=1, bitorder="little"))
    return np.concatenate(result, axis=1)


def _vqpk_h(field6: int, vd: Registers, vn: Registers, vm: Registers) -> Registers:
    return _pack_halves(isa.pack16(field6), "<i2", vd, vn, vm)


def _vqpk_s(field6: int, vd: Registers, vn: Registers, vm: Registers) -> Registers:
    return _pack_halves(known(isa.pack32(field6)), "<i4", vd, vn, vm)


def _vunp_h(field6: int, vd: Registers, vn: Registers, vm: Registers) -> Registers:
    p, number = known(isa.group(field6))
    first = 4 * p * number
    numbers = [grid(vn, 4 * half + first // CHUNK_BITS, p) for half in range(2)]
    at = first % CHUNK_BITS // p
    return np.concatenate([g[:, at : at + 4] for g in numbers], axis=1).astype("<i2").view(np.uint8)


def _word(register: Registers, word: int, p: int) -> npt.NDArray[np.int32]:
    """Odd integers of the codes of a 32-bit word, int32 ``[vectors, 32 / p]``."""
    return np.concatenate([grid(register, 2 * word + chunk, p) for chunk in range(2)], axis=1)


def _vdw(field6: int, vd: Registers, vn: Registers, vm: Registers) -> Registers:
    taps, lanes = known(isa.taps(field6)), _lanes(vd, "<i2").copy()
    share = slice(8 * taps.part, 8 * taps.part + 8)
    for t in range(3):
        pixels, weights = _word(vn, taps.first + t, taps.precision), _word(vm, t, taps.precision)
        lanes += (pixels * weights)[:, share].astype("<i2")
    return lanes.view(np.uint8)


SECOND: dict[str, Callable[[int, Registers, Registers, Registers], Registers]] = {
    "vmm.w": _vmm_w,
    "vmm.h": _vmm_h,
    "vqpk.h": _vqpk_h,
    "vqpk.s": _vqpk_s,
    "vunp.h": _vunp_h,
    "vdw": _vdw,
}
"""New vd of the instructions of the second page, from field6 and the registers."""


def sdot(vd: Registers, vn: Registers, vm: Registers) -> Registers:
    """int32 lanes of vd plus the products of their four signed bytes."""
    a, b = (_lanes(register, "<i1").astype(np.int32).reshape(-1, 4, 4) for register in (vn, vm))
    return (_lanes(vd, "<i4") + (a * b).sum(axis=2, dtype=np.int32)).view(np.uint8)


def smmla(vd: Registers, vn: Registers, vm: Registers) -> Registers:
    """Lane 2i + j of vd plus row i of vn times row j of vm, 8 signed bytes each."""
    a, b = (_lanes(register, "<i1").astype(np.int32).reshape(-1, 2, 8) for register in (vn, vm))
    return (_lanes(vd, "<i4") + np.einsum("vik,vjk->vij", a, b).reshape(-1, 4).astype(np.int32)).view(np.uint8)


QUIET_NAN = np.uint32(0x7FC00000)


SMALLEST_NORMAL = 2.0**-126


def _flushed(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Numbers below fp32's smallest normal one become zero of their sign."""
    return np.where(np.abs(values) < SMALLEST_NORMAL, np.copysign(0.0, values), values)


def fma(vd: Registers, vn: Registers, vm: Registers) -> Registers:
    """fp32 lanes vn * vm + vd, rounded once to nearest even; subnormals are zeros, every NaN is the canonical one.

    The product of two fp32 numbers is exact in fp64. The sum is rounded to odd in fp64, which makes the second rounding
    to fp32 the right one (Boldo and Melquiond, IEEE Trans. Computers 57(4), 2008).
    """
    with np.errstate(all="ignore"):
        a, b, c = (_flushed(np.ascontiguousarray(register).view("<f4").astype(np.float64)) for register in (vn, vm, vd))
        product = a * b
        total = product + c
        back = total - product
        error = (product - (total - back)) + (c - back)  # Knuth's exact error of the sum
        bits = total.view(np.int64)
        inexact = np.isfinite(total) & (error != 0) & (bits & 1 == 0)
        away = (error > 0) == (total > 0)
        odd = np.where(inexact, np.where(away, bits + 1, bits - 1), bits)
        result = _flushed(odd.view(np.float64)).astype(np.float32)
    words = result.view(np.uint32)
    return np.where(np.isnan(result), QUIET_NAN, words).astype("<u4").view(np.uint8)


PLAIN: dict[str, Callable[[Registers, Registers, Registers], Registers]] = {"sdot": sdot, "smmla": smmla, "fma4": fma}
"""Units without a selector."""
