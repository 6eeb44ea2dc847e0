"""C code of functions of floats, four lanes at a time: exponentials and what is made of them.

Constants are registers that a kernel declares once; steps of several registers stand side by side.
"""

import math
from collections.abc import Sequence

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.plan.constants import array_text
from sysmol.pattern import REGISTER_BYTES

HALF = math.log(2) / 2
EXP = tuple(
    float(c)
    for c in np.polynomial.Chebyshev.interpolate(np.exp, 5, domain=[-HALF, HALF])
    .convert(kind=np.polynomial.Polynomial)
    .coef[::-1]
)
"""``exp(r)`` for ``|r| <= ln(2) / 2``, highest power first, wrong by less than 1.3e-7 of it."""
ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
"""``(1 - erf(z)) * exp(z**2) / t`` of ``t = 1 / (1 + 0.3275911 z)``, highest power first: Abramowitz and Stegun,
7.1.26, to 1.5e-7."""
ERF_STEP = 0.3275911
LEAST, MOST = -87.0, 88.0
"""Beyond these arguments the exponential is that of the nearest one."""
ROUNDING = 1.5 * 2**23
"""Added to a float of less than 2**22, it leaves the nearest whole number in the last bits."""
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4
"""ln(2) in two parts, of which the first has few bits."""


class Floats:
    """The constants of a kernel, and steps that use them. ``name`` is that of the constants' array."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: list[np.uint32] = []
        self.count = 0

    # --- constants ---

    def _number(self, bits: np.uint32) -> str:
        if bits not in self.values:
            self.values.append(bits)
        return f"k{self.values.index(bits)}"

    def real(self, value: float) -> str:
        """C variable of a float in all lanes."""
        return self._number(np.float32(value).view(np.uint32))

    def integer(self, value: int) -> str:
        """C variable of an integer in all lanes."""
        return self._number(np.uint32(value))

    def at(self, register: str) -> str:
        """C address of a constant."""
        return f"{self.name} + {REGISTER_BYTES * int(register[1:])}"

    def declare(self, em: Emitter) -> None:
        """All constants as registers: once they are known."""
        for number in range(len(self.values)):
            em.line(f"const vec k{number} = v_load({self.name} + {REGISTER_BYTES * number});")
            em.line(f"(void)k{number};")

    def array(self) -> str:
        """Text of the constant array."""
        return array_text(self.name, np.repeat(np.array(self.values, dtype=np.uint32), 4), "numbers in all lanes")

    # --- steps ---

    def _fresh(self) -> str:
        self.count += 1
        return f"f{self.count}_"

    def each(self, em: Emitter, text: str, **operands: Sequence[str]) -> list[str]:
        """New registers ``text`` of the operands' registers, whose names stand in braces."""
        prefix, count = self._fresh(), len(next(iter(operands.values())))
        for i in range(count):
            em.line(f"const vec {prefix}{i} = {text.format(**{key: names[i] for key, names in operands.items()})};")
        return [f"{prefix}{i}" for i in range(count)]

    def horner(self, em: Emitter, powers: Sequence[float], x: Sequence[str]) -> list[str]:
        """The polynomial of ``x`` with these coefficients, highest power first."""
        first, second, *rest = powers
        y = self.each(em, f"v_fmla(v_fresh({self.at(self.real(second))}), {{x}}, {self.real(first)})", x=x)
        for value in rest:
            c = self.real(value)
            y = self.each(em, f"v_faffine({{y}}, {{x}}, {c}, {self.at(c)})", x=x, y=y)
        return y

    def exponentials(self, em: Emitter, x: Sequence[str], negative: bool = False) -> list[str]:
        """``exp(x)`` of arguments clamped to :data:`LEAST` .. :data:`MOST`, wrong in the last bit or two.
        ``negative``: no argument is above 0.

        ``n`` is the whole number nearest to x / ln(2), and ``exp(x) = 2**n exp(x - n ln(2))``.
        """
        low = f"v_fmax({{x}}, {self.real(LEAST)})"
        x = self.each(em, low if negative else f"v_fat_most({low}, {MOST!r}f)", x=x)
        magic = self.at(self.real(ROUNDING))
        n = self.each(em, f"v_fmla(v_fresh({magic}), {{x}}, {self.real(1 / math.log(2))})", x=x)
        real = self.each(em, f"v_fadd({{n}}, {self.real(-ROUNDING)})", n=n)
        r = self.each(em, f"v_fmla({{x}}, {{n}}, {self.real(-LN2_HIGH)})", x=x, n=real)
        r = self.each(em, f"v_fmla({{r}}, {{n}}, {self.real(-LN2_LOW)})", r=r, n=real)
        p = self.horner(em, EXP, r)
        shift = self.integer(23)
        return self.each(em, f"v_add({{p}}, v_sll({{n}}, {shift}))", p=p, n=n)

    def sigmoids(self, em: Emitter, x: Sequence[str], factor: float = 1.0) -> list[str]:
        """``1 / (1 + exp(-factor * x))``."""
        minus = self.each(em, f"v_fmul({{x}}, {self.real(-factor)})", x=x)
        one = self.real(1.0)
        e = self.exponentials(em, minus)
        return self.each(em, f"v_fdiv({one}, v_fadd({{e}}, {one}))", e=e)

    def ramps(self, em: Emitter, x: Sequence[str]) -> list[str]:
        """``clip(x + 3, 0, 6) / 6``."""
        up = self.each(em, f"v_fmax(v_fadd({{x}}, {self.real(3.0)}), {self.real(0.0)})", x=x)
        return self.each(em, f"v_fmul(v_fat_most({{u}}, 6.0f), {self.real(1 / 6)})", u=up)

    # --- functions by name ---

    def gelu(self, em: Emitter, x: Sequence[str]) -> list[str]:
        """``max(x, 0) - |x| q``, q being the normal distribution's tail beyond ``|x|``."""
        one, step = self.real(1.0), self.real(ERF_STEP / math.sqrt(2))
        size = self.each(em, f"v_fmax({{x}}, v_fmul({{x}}, {self.real(-1.0)}))", x=x)
        t = self.each(em, f"v_fdiv({one}, v_fadd(v_fmul({{s}}, {step}), {one}))", s=size)
        tail = self.horner(em, (*(0.5 * c for c in ERF), 0.0), t)
        square = self.each(em, f"v_fmul(v_fmul({{s}}, {{s}}), {self.real(-0.5)})", s=size)
        e = self.exponentials(em, square, negative=True)
        part = self.each(em, f"v_fmul(v_fmul({{s}}, {self.real(-1.0)}), v_fmul({{q}}, {{e}}))", s=size, q=tail, e=e)
        return self.each(em, f"v_fadd(v_fmax({{x}}, {self.real(0.0)}), {{p}})", x=x, p=part)

    def gelu_tanh(self, em: Emitter, x: Sequence[str]) -> list[str]:
        """``x`` times a sigmoid of ``2 sqrt(2 / pi) (x + 0.044715 x**3)``."""
        factor = 2 * math.sqrt(2 / math.pi)
        one = self.real(1.0)
        squares = self.each(em, "v_fmul({x}, {x})", x=x)
        inner = self.each(em, f"v_fmul({{x}}, v_fadd(v_fmul({{q}}, {self.real(0.044715)}), {one}))", x=x, q=squares)
        return self._times(em, x, self.sigmoids(em, inner, factor))

    def silu(self, em: Emitter, x: Sequence[str]) -> list[str]:
        return self._times(em, x, self.sigmoids(em, x))

    def hardswish(self, em: Emitter, x: Sequence[str]) -> list[str]:
        return self._times(em, x, self.ramps(em, x))

    def sigmoid(self, em: Emitter, x: Sequence[str]) -> list[str]:
        return self.sigmoids(em, x)

    def hardsigmoid(self, em: Emitter, x: Sequence[str]) -> list[str]:
        return self.ramps(em, x)

    def tanh(self, em: Emitter, x: Sequence[str]) -> list[str]:
        """``2 sigmoid(2 x) - 1``."""
        y = self.sigmoids(em, x, 2.0)
        return self.each(em, f"v_fadd(v_fadd({{y}}, {{y}}), {self.real(-1.0)})", y=y)

    def _times(self, em: Emitter, x: Sequence[str], y: Sequence[str]) -> list[str]:
        return self.each(em, "v_fmul({x}, {y})", x=x, y=y)
