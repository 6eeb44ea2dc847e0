"""Schedules: which data flow and register tile a convolution uses, under names that parse.

Grammar: ``anchor-CHANNELSxROWSxCOLUMNS-style[-wN][-iN][-oN][-uN][-pN][-bN]``, for example ``os-8x2x4-vdot`` or
``os-1x1x1-vmac-w9-i6``. Standard library only.

* The **anchor** is the tensor that the loop order keeps in registers: ``os`` the outputs, ``ws`` the weights, ``is``
  the inputs.
* The **tile** is output channels x output rows x output columns whose accumulators are in registers together. A
  multiple of 8 channels is a *register tile* (output-stationary). A tile of one accumulator register (``1x1x1``, or
  ``4x1x1`` where the style keeps four channels in a register) is the *single-accumulator* form of YFlows, which every
  anchor has and which takes auxiliary stationarity.
* The **style** names the multiply-accumulate, see :data:`sysmol.styles.STYLES`.
* ``wN``, ``iN``, ``oN``: **auxiliary stationarity**, vector registers that hold weights, inputs and outputs beside the
  anchored tensor. Single-accumulator form only.
* ``uN``: register tiles unroll N steps (input registers of a kernel row) of the reduction; where N reaches a whole
  kernel row or the whole kernel, those loops go away.
* ``pN``: register tiles prefetch weights N steps ahead (AArch64 has the instruction).
* ``bN``: **cache blocking**, N rows of tiles are finished for all output channels before the next N begin.
"""

import re
from dataclasses import dataclass

from sysmol.errors import SysmolError
from sysmol.styles import STYLES, Style

ANCHORS = ("os", "ws", "is")
REGISTERS = 32
WORKING = 3
"""Registers that a single-accumulator kernel works with: one of each tensor (YFlows' rule: R = 32 - 3)."""
ACCUMULATORS = 16
"""Vector registers that a tile may use for accumulators, of 32: the rest hold weights, activations and constants."""
GROUP = 4
"""Output channels in one accumulator register: lanes of 32 bits."""
PER_OUTPUT = {name: style.accumulators for name, style in STYLES.items() if style.accumulators}
"""Styles that keep one output in a register, lanes summed at the end, and the accumulators that a tile may have."""

_GRAMMAR = re.compile(
    rf"({'|'.join(ANCHORS)})-(\d+)x(\d+)x(\d+)-([a-z][a-z0-9]*)"
    r"(?:-w(\d+))?(?:-i(\d+))?(?:-o(\d+))?(?:-u(\d+))?(?:-p(\d+))?(?:-b(\d+))?"
)


@dataclass(frozen=True)
class Schedule:
    """A data flow with its register tile; ``str()`` gives the name and :meth:`parse` reads it back.

    ``weights``, ``inputs``, ``outputs``: auxiliary registers. ``unroll``, ``prefetch`` in steps, ``block`` in rows of
    tiles; 0 where the name has none.
    """

    anchor: str
    channels: int
    rows: int
    columns: int
    style: str
    weights: int = 0
    inputs: int = 0
    outputs: int = 0
    unroll: int = 0
    prefetch: int = 0
    block: int = 0

    def __str__(self) -> str:
        parts = [self.anchor, f"{self.channels}x{self.rows}x{self.columns}", self.style]
        options = (self.weights, self.inputs, self.outputs, self.unroll, self.prefetch, self.block)
        parts += [f"{letter}{value}" for letter, value in zip("wioupb", options, strict=True) if value]
        return "-".join(parts)

    @property
    def pixels(self) -> int:
        """Output pixels in a tile."""
        return self.rows * self.columns

    @property
    def single(self) -> bool:
        """Whether the tile is one accumulator register, the form that takes auxiliary stationarity."""
        return self.channels in (1, GROUP) and self.pixels == 1

    @property
    def accumulators(self) -> int:
        """Accumulator registers of the tile."""
        if self.style in PER_OUTPUT:
            return self.channels * self.pixels
        apart = STYLES[self.style].pixels if self.style in STYLES else 1
        return self.channels * -(-self.pixels // apart) // GROUP

    @property
    def free(self) -> int:
        """Registers that auxiliary stationarity may take; anchored weights of four channels take three more."""
        return REGISTERS - WORKING - (self.channels - 1 if self.anchor == "ws" else 0)

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """The schedule with this name; :class:`SysmolError` where the name does not follow the grammar."""
        found = _GRAMMAR.fullmatch(text)
        if found is None:
            raise SysmolError(
                f"{text!r} is no schedule: write anchor-CHANNELSxROWSxCOLUMNS-style with anchor in {ANCHORS}, "
                "a style such as vdot, then what applies of -wN -iN -oN -uN -pN -bN, as in os-8x2x4-vdot"
            )
        anchor, channels, rows, columns, style, *options = found.groups()
        numbers = [0 if value is None else int(value) for value in options]
        if any(value is not None and number == 0 for value, number in zip(options, numbers, strict=True)):
            raise SysmolError(f"{text!r}: a suffix with 0 is left out of the name")
        result = cls(anchor, int(channels), int(rows), int(columns), style, *numbers)
        if str(result) != text:
            raise SysmolError(f"{text!r} has leading zeros: write {result}")
        result.check()
        return result

    def check(self) -> None:
        """Raise :class:`SysmolError` where the parts cannot go together, whatever the layer."""
        if self.single:
            if self.unroll or self.prefetch:
                raise SysmolError(f"{str(self)!r}: -u and -p are for register tiles, of 8 or more channels")
            if {"os": self.outputs, "ws": self.weights, "is": self.inputs}[self.anchor]:
                raise SysmolError(f"{str(self)!r}: the anchored tensor has its register already; leave its suffix out")
            if self.weights + self.inputs + self.outputs > self.free:
                raise SysmolError(f"{str(self)!r} needs more than the {self.free} vector registers that are free")
            if self.anchor == "ws" and self.inputs and self.outputs:
                raise SysmolError(f"{str(self)!r}: weight-stationary kernels keep outputs or inputs, not both")
            return
        if self.anchor != "os":
            raise SysmolError(
                f"{str(self)!r}: {self.anchor} kernels have one accumulator: write 1x1x1, or 4x1x1 with vdot or dot"
            )
        if self.weights or self.inputs or self.outputs:
            raise SysmolError(f"{str(self)!r}: -w, -i and -o need a tile of one accumulator (1x1x1 or 4x1x1)")
        limit = PER_OUTPUT.get(self.style, ACCUMULATORS)
        if self.channels % 8 or not 0 < self.accumulators <= limit:
            raise SysmolError(
                f"{str(self)!r}: a register tile has a multiple of 8 channels and 1..{limit} accumulator registers"
            )


def style_of(text: str) -> Style | None:
    """The style of the schedule with this name, None where the name is empty (layers without a schedule).

    :class:`SysmolError` where it is no schedule, or its style is unknown.
    """
    if not text:
        return None
    name = Schedule.parse(text).style
    if name not in STYLES:
        raise SysmolError(f"{text!r} names the unknown style {name!r}: choose from {', '.join(STYLES)}")
    return STYLES[name]
