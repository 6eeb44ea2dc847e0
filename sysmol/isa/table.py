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
    ``examples``: index of the function code and field6 of words that the reference page shows. ``standard``: whether a
    machine whose description does not say which instructions it has, has this one.
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
    standard: bool = True

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


PROPOSAL = "Of a trial in silicon (ASAP7), not measured again yet: "

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
    Instruction(
        name="vmm.w",
        fns=(8,),
        field6="piece",
        reads=("vd", "vn", "vm"),
        unit="array",
        op_class="Matrix",
        timing=Timing(4, PROPOSAL + "one array with vdot, vmac and vmm.h, four stages"),
        macs=4,
        examples=((0, 10), (0, 34)),
        summary="lane32[2i+j] of vd += sum over chunks k of the piece of the aligned products of chunk 4i+k of vn and "
        "chunk 4j+k of vm, `<< 4` where the piece says so (i, j = 0..1)",
        semantics=semantics.vmm_w,
        format="second",
        standard=False,
    ),
    Instruction(
        name="vmm.h",
        fns=(9,),
        field6="form",
        reads=("vd", "vn", "vm"),
        unit="array",
        op_class="MatrixOP",
        timing=Timing(4, PROPOSAL + "one array with vdot, vmac and vmm.w, four stages"),
        macs=8,
        examples=((0, 0x14),),
        summary="lane16[4i+j] of vd += sum over chunks k of the form of the products of chunk 4i+2h+k of vn and chunk "
        "2j+k of vm, in the form's unit (i = 0..1, j = 0..3)",
        semantics=semantics.vmm_h,
        format="second",
        standard=False,
    ),
    Instruction(
        name="vqpk.h",
        fns=(11,),
        field6="pack16",
        reads=("vd", "vn", "vm"),
        unit="packer",
        op_class="SimdShaSigma2",
        timing=Timing(2, PROPOSAL + "two stages"),
        macs=0,
        examples=((0, 0x13), (0, 0x3C)),
        summary="each half h of vd moves down; codes clamp(lane16 >> S, 0, 2^p-1), signed, of lanes 4h..4h+3 of vn, "
        "then of vm, enter above; joint: vd moves down as a whole, all codes of vn, then of vm, enter above",
        semantics=semantics.vqpk_h,
        format="second",
        standard=False,
    ),
    Instruction(
        name="vqpk.s",
        fns=(12,),
        field6="pack32",
        reads=("vd", "vn", "vm"),
        unit="packer",
        op_class="SimdShaSigma2",
        timing=Timing(2, PROPOSAL + "two stages"),
        macs=0,
        examples=((0, 0x13),),
        summary="each half h of vd moves down; codes clamp(lane32 >> S, 0, 2^p-1), signed, of lanes 2h, 2h+1 of vn, "
        "then of vm, enter above",
        semantics=semantics.vqpk_s,
        format="second",
        standard=False,
    ),
    Instruction(
        name="vunp.h",
        fns=(13,),
        field6="group",
        reads=("vn",),
        unit="unpacker",
        op_class="SimdShaSigma3",
        timing=Timing(1, PROPOSAL + "one stage"),
        macs=0,
        examples=((0, 0x12),),
        summary="lane16[4i+j] of vd = odd integer g of code 4q+j, of p bits, of half i of vn (group q, j = 0..3); vd "
        "and vm are not read",
        semantics=semantics.vunp_h,
        format="second",
        standard=False,
    ),
    Instruction(
        name="vdw",
        fns=(14,),
        field6="taps",
        reads=("vd", "vn", "vm"),
        unit="taps",
        op_class="MatrixMov",
        timing=Timing(2, PROPOSAL + "two stages"),
        macs=1,
        examples=((0, 0x01),),
        summary="lane16[c] of vd += sum over t = 0..2 of the products of code 8k+c of 32-bit word t0+t of vn and code "
        "8k+c of word t of vm (c = 0..7)",
        semantics=semantics.vdw,
        format="second",
        standard=False,
    ),
)

BY_NAME = {row.name: row for row in TABLE}
_UNITS = tuple(dict.fromkeys(row.unit for row in TABLE))
BY_UNIT = tuple(sorted(TABLE, key=lambda row: _UNITS.index(row.unit)))
"""The rows unit by unit, units in the order in which the table comes upon them."""


@dataclass(frozen=True)
class Access:
    """A row of the table of loads and stores: 128 bits between memory and the low part of a register.

    ``fn``: the number of its function code. ``op_class``: gem5's operation class, that of the ISA's own accesses of
    whole registers, whose unit and latency they share. ``example``: a register, a scalar register and an offset.
    """

    name: str
    fn: int
    loads: bool
    op_class: str
    summary: str
    example: tuple[int, int, int]
    format: str

    @property
    def symbol(self) -> str:
        return self.name

    @property
    def kind(self) -> str:
        return self.name.capitalize()


ACCESSES = (
    Access(
        name="lq",
        fn=16,
        loads=True,
        op_class="SimdWholeRegisterLoad",
        summary="vd = 16 bytes at x[base] + imm; bits from 128 on become zero",
        example=(1, 10, 48),
        format="load",
    ),
    Access(
        name="sq",
        fn=17,
        loads=False,
        op_class="SimdWholeRegisterStore",
        summary="16 bytes at x[base] + imm = the low 128 bits of vm",
        example=(1, 10, -32),
        format="store",
    ),
)
ALL_NAMES = (*BY_NAME, *(access.name for access in ACCESSES))
"""Names of all instructions, as machines list those that they have."""
STANDARD_NAMES = tuple(row.name for row in TABLE if row.standard)
