"""What every unit must compute, vectorised in NumPy: registers are uint8 ``[vectors, 16]``.

The SMOL instructions are a second formulation of :mod:`sysmol.isa`, by look-up of the number grid, and are checked
against it; with it, millions of vectors take seconds."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sysmol import isa
from sysmol.errors import SysmolError
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
