"""The variants of one network that training makes from a full-precision start, and their names."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sysmol.errors import SysmolError
from sysmol.machine import PATTERN_SETS
from sysmol.train.frontend.policy import USUAL_LAYERS, LayerBits
from sysmol.train.quantise.modes import CLAMP, OFFSET, SYMMETRIC

LEARNED, RANDOM, SENSITIVITY = SCORES = ("learned", "random", "sensitivity")
"""Where precisions come from: SMOL's noise, chance, or the slope of the loss at the full-precision weights."""
SEPARATE = "separate"
LONGER = "longer"


@dataclass(frozen=True)
class Variant:
    """One network made from the full-precision start.

    ``policy`` names the bits per layer (:data:`sysmol.train.frontend.policy.POLICIES`). Only for policy mixed:
    ``pattern_set``, a name or ids (empty: the pipeline's); ``bits``, the largest number of stored bits per parameter,
    and ``cycles``, the largest share of the multiply-accumulates of uniform 4-bit codes (None: as learned); ``scores``,
    one of :data:`SCORES`; ``shared``, whether weights have the precisions of the activations that they meet. ``grid``
    is that of :func:`sysmol.train.quantise.prepared.prepare`.
    """

    name: str
    policy: str = "mixed"
    pattern_set: str | tuple[int, ...] = ""
    bits: float | None = None
    cycles: float | None = None
    scores: str = LEARNED
    shared: bool = True
    grid: str = OFFSET

    @property
    def longer(self) -> bool:
        """Whether training goes on where that of :attr:`shorter` ends: one more phase, with soft labels where the
        schedule has them, as long as the quantised networks' last."""
        return self.name.endswith(_LONGER)

    @property
    def shorter(self) -> Variant:
        """The variant without what makes it longer."""
        return replace(self, name=self.name.removesuffix(_LONGER))

    @property
    def exported(self) -> bool:
        """Whether there is a network file of it; other variants are for comparison only."""
        return self.shared and self.grid != SYMMETRIC

    def described(self, layers: LayerBits = USUAL_LAYERS) -> str:
        """In words, with the bits of single layers."""
        edges = f"; {layers.words}"
        words = {
            "fp32": "full precision",
            "int8": "all layers at 8 bits",
            "w4": f"uniform 4-bit codes{edges}",
            "w2": f"uniform 2-bit codes{edges}",
            "w1": f"uniform 1-bit codes{edges}",
            "mixed": f"{self.scores} 1/2/4-bit codes per input channel{edges}",
        }[self.policy]
        words += ", trained on" if self.longer else ""
        words += "" if self.shared else ", weights and activations apart"
        words += "" if self.bits is None else f"; at most {self.bits:g} bits per parameter"
        words += "" if self.cycles is None else f"; at most {self.cycles:.0%} of uniform 4-bit's multiply-accumulates"
        return words if self.grid == OFFSET else f"{words}; activation grid: {self.grid}"


_LONGER = f"-{LONGER}"
_UNIFORM = re.compile(rf"(fp32|int8)|(w[421])(?:-({SYMMETRIC}|{CLAMP}))?")
_MIXED = re.compile(
    rf"(mixed|{'|'.join(PATTERN_SETS)})(?:-(\d+(?:\.\d+)?))?(?:-c(\d+))?"
    rf"(?:-({RANDOM}|{SENSITIVITY}|{SEPARATE}))?(?:-({SYMMETRIC}|{CLAMP}))?"
)


def variant(name: str) -> Variant:
    """The variant of a name; :class:`SysmolError` where it has no meaning.

    ``fp32``, ``int8``, ``w4``, ``w2`` or ``w1``; or a pattern set (``mixed``: the pipeline's own), then the bits per
    parameter, then ``c`` with a limit of cycles in percent of uniform 4-bit's, then ``random``, ``sensitivity`` or
    ``separate`` (weights and activations have precisions of their own, which needs the bits and takes no notice of
    patterns and cycles), all optional: ``P4-1.5-c40-random``. SMOL variants may end in an activation grid,
    ``symmetric`` or ``clamp``. Behind all of it, every ``longer`` trains on: ``fp32-longer``.
    """
    base = re.sub(rf"({_LONGER})+$", "", name)
    if found := _UNIFORM.fullmatch(base):
        plain, codes, grid = found.groups()
        return Variant(name, plain or codes, grid=grid or OFFSET)
    if found := _MIXED.fullmatch(base):
        patterns, bits, cycles, how, grid = found.groups()
        if how == SEPARATE and (bits is None or cycles is not None):
            raise SysmolError(f"variant '{name}' needs bits per parameter, and no cycles: {patterns}-1.5-separate")
        return Variant(
            name,
            pattern_set="" if patterns == "mixed" else patterns,
            bits=None if bits is None else float(bits),
            cycles=None if cycles is None else int(cycles) / 100,
            scores=how if how in SCORES else LEARNED,
            shared=how != SEPARATE,
            grid=grid or OFFSET,
        )
    raise SysmolError(
        f"unknown variant '{name}': choose from fp32, int8, w4, w2, w1, mixed, or a pattern set with bits per "
        "parameter, a limit of cycles and what to compare with, like P4-1.5, P4-1.5-c40 or P4-1.5-random"
    )


def exportable(chosen: Variant) -> Variant:
    """The variant itself; :class:`SysmolError` where no network file of it can exist."""
    if not chosen.exported:
        raise SysmolError(f"variant {chosen.name} is for comparison only: no SMOL instruction computes it")
    return chosen
