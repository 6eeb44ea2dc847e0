"""The SMOL instructions, a row each. All that knows an instruction is generated from its row or reads it.

Encodings, register layout and accumulator widths are this project's own design to the abstracts of the SySMOL papers,
which give none.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sysmol.isa import semantics
from sysmol.isa.encodings import FORMATS, Format
from sysmol.isa.selectors import SELECTORS, Selector

Semantics = Callable[[bytes, bytes, bytes, int, int], bytes]


@dataclass(frozen=True)
class Timing:
    """Cycles from issue to result, pipelined, and the reason for them."""

    cycles: int
    reason: str


@dataclass(frozen=True)
class Instruction:
    """One row.

    ``fns``: the numbers of its function codes, one or several in sequence. ``field6``: what that field selects, a key
    of :data:`~sysmol.isa.selectors.SELECTORS`. ``reads``: the operands whose content it reads. ``unit``: the block of
    the hardware that executes it. ``op_class``: gem5's operation class of the instruction where gem5 has none of its
    name; one that no integer, floating-point or vector code uses. ``timing``: for machines that do not name the
    instruction. ``macs``: multiply-accumulates per element that field6 selects, as statistics count them.
    ``examples``: index of the function code and field6 of words that the reference page shows.
    """

    name: str
    fns: tuple[int, ...]
    field6: str
    reads: tuple[str, ...]
    unit: str
    op_class: str
    timing: Timing
    macs: int
    examples: tuple[tuple[int, int], ...]
    summary: str
    semantics: Semantics
    format: str = "registers"

    @property
    def reads_vd(self) -> bool:
        """Whether the old content of vd matters."""
        return "vd" in self.reads

    @property
    def symbol(self) -> str:
        """The name where only letters, digits and underscores may stand."""
        return self.name.replace(".", "_")

    @property
    def kind(self) -> str:
        """The name as C++ and gem5's operation classes write it."""
        return "".join(piece.capitalize() for piece in self.name.split("."))

    @property
    def named_class(self) -> str:
        """gem5's operation class of the instruction's own, which the patch op-classes adds."""
        return f"Smol{self.kind}"

    @property
    def class_parameter(self) -> str:
        """The parameter of gem5's decoders that holds its operation class."""
        return f"{self.symbol}_class"

    @property
    def selector(self) -> Selector:
        return SELECTORS[self.field6]

    @property
    def word_format(self) -> Format:
        return FORMATS[self.format]

    def legal_fields(self) -> tuple[int, ...]:
        """All legal values of field6."""
        return self.selector.legal


TABLE = (
    Instruction(
        name="vmac",
        fns=(0,),
        field6="pattern",
        reads=("vd", "vn", "vm"),
        unit="array",
        op_class="SimdAes",
        timing=Timing(3, "A cycle more than a dot product of 8 bits: alignment and a second level of adders"),
        macs=1,
        examples=((0, 0),),
        summary="lane32[i] of vd += sum over chunks 2i and 2i+1 of their aligned products (i = 0..3)",
        semantics=semantics.vmac,
    ),
    Instruction(
        name="vmul",
        fns=(1,),
        field6="part",
        reads=("vn", "vm"),
        unit="multiplier",
        op_class="SimdSha1Hash",
        timing=Timing(3, "Products only, no tree; as vmac"),
        macs=1,
        examples=((0, 0x13),),
        summary="vd = element-wise products g1*g2 of part k, sign-extended to its lanes; vd is not read",
        semantics=semantics.vmul,
    ),
    Instruction(
        name="vmla",
        fns=(2,),
        field6="part",
        reads=("vd", "vn", "vm"),
        unit="multiplier",
        op_class="SimdSha256Hash",
        timing=Timing(4, "As a multiply-accumulate of integers"),
        macs=1,
        examples=((0, 0x27),),
        summary="as vmul, added to the lanes of vd",
        semantics=semantics.vmla,
    ),
    Instruction(
        name="vqpk",
        fns=(3,),
        field6="pack",
        reads=("vd", "vn", "vm"),
        unit="packer",
        op_class="SimdSha256Hash2",
        timing=Timing(4, "A shift by immediate (2 cycles), then a cycle each for the clamp and the merge"),
        macs=0,
        examples=((0, 0x13),),
        summary="vd = vd >> w | (codes u_0, u_1, .. side by side) << (128 - w): "
        "u_i = clamp(lane32[i] >> S, 0, 2^p-1), signed, of vn, then of vm; w is the codes' width in all",
        semantics=semantics.vqpk,
    ),
    Instruction(
        name="vdot",
        fns=(4, 5, 6, 7),
        field6="pattern",
        reads=("vd", "vn", "vm"),
        unit="array",
        op_class="SimdAesMix",
        timing=Timing(4, "vmac plus a cycle for the adder tree over all eight chunks"),
        macs=1,
        examples=((0, 7), (3, 44)),
        summary="lane32[j] of vd += sum over all 8 chunks of their aligned products, j = fn - 4; "
        "the other lanes are kept",
        semantics=semantics.vdot,
    ),
)

BY_NAME = {row.name: row for row in TABLE}
_UNITS = tuple(dict.fromkeys(row.unit for row in TABLE))
BY_UNIT = tuple(sorted(TABLE, key=lambda row: _UNITS.index(row.unit)))
"""The rows unit by unit, units in the order in which the table comes upon them."""
