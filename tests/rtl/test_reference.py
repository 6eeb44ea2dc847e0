"""The vectorised meaning against the executable one of the instruction table, and of the other units against Python."""

import math

import numpy as np
import pytest

from sysmol import isa
from sysmol.errors import SysmolError
from sysmol.rtl import reference, stimulus, units
from sysmol.rtl.hardware import INSTRUCTIONS, SECOND_PAGE, Hardware


def test_smol_instructions_equal_the_table(rng):
    vectors = 24
    for fn, field6 in units.words(Hardware(tuple(range(45)), (*INSTRUCTIONS, *SECOND_PAGE))):
        vd, vn, vm = (stimulus.registers(rng, vectors) for _ in range(3))
        found = reference.smol(fn, field6, vd, vn, vm)
        for i in range(vectors):
            want = isa.execute(fn, field6, vd[i].tobytes(), vn[i].tobytes(), vm[i].tobytes())
            assert found[i].tobytes() == want, isa.mnemonic(fn, field6)


def test_illegal_words_are_refused():
    with pytest.raises(SysmolError, match="no part selector"):
        reference.smol(1, 0x3F, *(np.zeros((1, 16), np.uint8) for _ in range(3)))


def test_int8_dot_products(rng):
    vd, vn, vm = (stimulus.registers(rng, 50) for _ in range(3))
    acc, a, b = vd.view("<i4"), vn.view("i1").astype(int), vm.view("i1").astype(int)
    for v in range(50):
        dot = [int(acc[v, i]) + int(a[v, 4 * i : 4 * i + 4] @ b[v, 4 * i : 4 * i + 4]) for i in range(4)]
        mat = [
            int(acc[v, 2 * i + j]) + int(a[v, 8 * i : 8 * i + 8] @ b[v, 8 * j : 8 * j + 8])
            for i in range(2)
            for j in range(2)
        ]
        assert reference.sdot(vd, vn, vm).view("<u4")[v].tolist() == [x % (1 << 32) for x in dot]
        assert reference.smmla(vd, vn, vm).view("<u4")[v].tolist() == [x % (1 << 32) for x in mat]


def bits_of(*values: float) -> np.ndarray:
    """fp32 numbers as one register."""
    return np.array([values], dtype="<f4").view(np.uint8)


def test_fma_rounds_once():
    # (1 + 2^-12)^2 - 1 - 2^-11 is 2^-24 exactly; rounded twice it would be 0.
    a = bits_of(1 + 2**-12, 1.0, 3.0, 2.0**-126)
    b = bits_of(1 + 2**-12, 1.0, 4.0, 0.5)
    c = bits_of(-1 - 2**-11, 2.0**-24, -12.0, 0.0)
    result = reference.fma(c, a, b).view("<f4")[0]
    assert result.tolist() == [2.0**-24, 1.0, 0.0, 0.0]  # a tie to even, a cancelled sum, a subnormal made zero


def test_fma_against_exact_fractions(rng):
    from fractions import Fraction

    vd, vn, vm = (stimulus.floats(rng, 400) for _ in range(3))
    a, b, c, got = (r.view("<f4").ravel() for r in (vn, vm, vd, reference.fma(vd, vn, vm)))
    checked = 0
    for x, y, z, found in zip(a.tolist(), b.tolist(), c.tolist(), got.tolist(), strict=True):
        if not all(np.isfinite(v) and (v == 0 or abs(v) >= 2.0**-126) for v in (x, y, z)):
            continue
        exact = Fraction(x) * Fraction(y) + Fraction(z)
        if abs(exact) < Fraction(2) ** -126:
            assert found == 0
        elif np.isfinite(found):
            step = Fraction(2) ** (max(math.frexp(found)[1], -125) - 24)
            assert abs(Fraction(found) - exact) <= abs(step) / 2
            checked += 1
        else:
            assert abs(exact) > Fraction(float(np.finfo(np.float32).max))
    assert checked > 300
