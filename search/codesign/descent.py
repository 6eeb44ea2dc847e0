"""How limits fall from round to round."""

from __future__ import annotations

from dataclasses import dataclass

STEP = 0.75
"""How much smaller the next limit is where the accuracy held."""
CLOSE = 0.03
"""Limits closer than this share of the first one kept are not told apart."""


@dataclass(frozen=True)
class Limits:
    """Of one round: cycles or energy (``of``), as a share of what uniform 4-bit takes in the layers with learned
    precisions, and stored bits per parameter (None: none)."""

    share: float
    bits: float | None = None
    of: str = "cycles"

    def __str__(self) -> str:
        if self.share == 1.0 and self.bits is None:
            return "none"
        size = "" if self.bits is None else f", {self.bits:.2f} bits"
        return f"{self.share:.0%} of w4's {self.of}{size}"


class Descent:
    """The search for the smallest limit at which a network keeps its accuracy: down by STEP as long as it does, then
    half way between the largest limit that was too small and the smallest that was not.
    """

    def __init__(self, first: float, kept: float) -> None:
        self.value, self.start, self.kept, self.lost = first, kept, kept, 0.0

    def tell(self, kept: bool, reached: float) -> None:
        """The round's outcome at the present value; a layout may have ``reached`` less than its limit."""
        if kept:
            self.kept = min(self.kept, reached)
        else:
            self.lost = max(self.lost, self.value)

    def go_on(self, least: float) -> bool:
        """Set the next value; False where there is none to try. No limit below ``least`` can be met."""
        if self.kept <= 1.001 * least or self.kept - self.lost < CLOSE * self.start:
            self.value = self.kept
            return False
        self.value = (self.kept + self.lost) / 2 if self.lost else max(STEP * self.kept, least)
        return True
