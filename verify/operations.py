"""The standard instructions that random programs put around the SMOL ones: text for each ISA, and meaning.

Operands are small integers: ``v`` a vector register, ``s`` a scalar register, ``k`` an immediate, ``o`` an offset in
the window. The meanings follow the Arm Architecture Reference Manual and the RISC-V vector specification 1.0; RISC-V's
vector operations use the element width and the length that the last ``vset`` chose, with undisturbed tails.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from sysmol import isa as table
from sysmol.isas import ISAS
from sysmol.verify import meanings
from sysmol.verify.meanings import Meaning
from sysmol.verify.state import WINDOW, State, signed

SCALAR_NAMES = {
    "arm": tuple(f"x{i}" for i in range(12)),
    "riscv": ("a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "t0", "t1", "t2", "t3"),
}
ARRANGEMENT = {8: "16b", 16: "8h", 32: "4s"}
LETTER = {8: "b", 16: "h", 32: "s"}
WIDTHS = (8, 16, 32)


@dataclass(frozen=True)
class Operation:
    """One instruction (or the short sequence that forms an address). ``operands``: one letter each; texts are format
    strings over a, b, c, d (operands), T and E (AArch64's arrangement and element letter), W and V (32-bit names of the
    last and the first scalar), w (width), SET (RISC-V's vset), LQ, SQ, LQ_BELOW, SQ_BELOW (the words of loads and
    stores); ``None``: not on that ISA. ``needs``: the instruction of the table that it is. Texts use the registers that
    :mod:`~sysmol.verify.assembly` keeps: the window's base x21 or s3, the scratch x12 or t4."""

    name: str
    group: str
    operands: str
    arm: str | None
    riscv: str | None
    meaning: Meaning
    immediates: tuple[int, ...] = ()
    needs: str = ""

    def on(self, isa: str) -> str | None:
        return self.arm if isa == "arm" else self.riscv

    @property
    def fn(self) -> int:
        """Function code of the instruction of the table that it is."""
        return next(access.fn for access in table.ACCESSES if access.name == self.needs)


def set_type_text(width: int, less: int, size: int) -> str:
    """RISC-V's instructions for :func:`meanings.set_type`: the immediate form ends at 31 elements."""
    elements = size * 8 // width - less
    if elements > 31:
        return f"li t4, {elements}\nvsetvli zero, t4, e{width}, m1, tu, mu"
    return f"vsetivli zero, {elements}, e{width}, m1, tu, mu"


def _vector(name: str, arm: str | None, riscv: str | None, function: Callable[[int, int, int, int], int]) -> Operation:
    def text(mnemonic: str | None, template: str) -> str | None:
        return None if mnemonic is None else template.replace("OP", mnemonic)

    bitwise = name in ("and", "orr", "eor")
    arrangement = "16b" if bitwise else "{T}"
    # RISC-V's multiply-accumulates name the factors in the other order, which changes nothing.
    return Operation(
        name,
        "vector",
        "vvv",
        text(arm, f"OP v{{a}}.{arrangement}, v{{b}}.{arrangement}, v{{c}}.{arrangement}"),
        text(riscv, "OP v{a}, v{b}, v{c}"),
        meanings.lane_by_lane(function),
    )


_SHIFTS = tuple(range(1, 8))
# AArch64's unscaled offsets end at 255.
_STATIC = (*range(0, 256, 4), 1, 3, 7, 13, 57, 61)
_WIDE = tuple(range(0, WINDOW, 16))

OPERATIONS: tuple[Operation, ...] = (
    _vector("add", "add", "vadd.vv", lambda d, n, m, w: n + m),
    _vector("sub", "sub", "vsub.vv", lambda d, n, m, w: n - m),
    _vector("mul", "mul", "vmul.vv", lambda d, n, m, w: n * m),
    _vector("mla", "mla", "vmacc.vv", lambda d, n, m, w: d + n * m),
    _vector("mls", "mls", "vnmsac.vv", lambda d, n, m, w: d - n * m),
    _vector("and", "and", "vand.vv", lambda d, n, m, w: n & m),
    _vector("orr", "orr", "vor.vv", lambda d, n, m, w: n | m),
    _vector("eor", "eor", "vxor.vv", lambda d, n, m, w: n ^ m),
    _vector("smax", "smax", "vmax.vv", lambda d, n, m, w: max(signed(n, w), signed(m, w))),
    _vector("smin", "smin", "vmin.vv", lambda d, n, m, w: min(signed(n, w), signed(m, w))),
    _vector("umax", "umax", "vmaxu.vv", lambda d, n, m, w: max(n, m)),
    _vector("umin", "umin", "vminu.vv", lambda d, n, m, w: min(n, m)),
    Operation("shl", "vector", "vvk", "shl v{a}.{T}, v{b}.{T}, #{c}", "vsll.vi v{a}, v{b}, {c}",
              meanings.shift(lambda n, k, w: n << k), _SHIFTS),
    Operation("sshr", "vector", "vvk", "sshr v{a}.{T}, v{b}.{T}, #{c}", "vsra.vi v{a}, v{b}, {c}",
              meanings.shift(lambda n, k, w: signed(n, w) >> k), _SHIFTS),
    Operation("ushr", "vector", "vvk", "ushr v{a}.{T}, v{b}.{T}, #{c}", "vsrl.vi v{a}, v{b}, {c}",
              meanings.shift(lambda n, k, w: n >> k), _SHIFTS),
    Operation("dup", "vector", "vs", "dup v{a}.{T}, {W}", "vmv.v.x v{a}, {b}", meanings.dup),
    # RISC-V's vmv.s.x is left out: in gem5 v24.0's out-of-order core it loses the undisturbed tail.
    Operation("insert", "vector", "vs", "mov v{a}.{E}[0], {W}", None, meanings.insert),
    Operation("ext", "vector", "vvvk", "ext v{a}.16b, v{b}.16b, v{c}.16b, #{d}", None,
              meanings.ext, tuple(range(1, 16))),
    Operation("zip1", "vector", "vvv", "zip1 v{a}.{T}, v{b}.{T}, v{c}.{T}", None, meanings.zip1),
    Operation("sdot", "vector", "vvv", "sdot v{a}.4s, v{b}.16b, v{c}.16b", None, meanings.sdot),
    Operation("addv", "vector", "vv", "addv {E}{a}, v{b}.{T}", None, meanings.addv),
    Operation("add scalar", "vector", "vvs", None, "vadd.vx v{a}, v{b}, {c}", meanings.add_scalar),
    Operation("slide", "vector", "vvk", None, "vslidedown.vi v{a}, v{b}, {c}", meanings.slide, (1, 2, 3)),
    Operation("sum", "vector", "vvv", None, "vredsum.vs v{a}, v{b}, v{c}", meanings.reduction),
    Operation("merge", "vector", "mvv", None, "vmerge.vvm v{a}, v{b}, v{c}, v0", meanings.merge),
    Operation("get", "scalar", "sv", "smov {a}, v{b}.{E}[0]", "vmv.x.s {a}, v{b}", meanings.get),
    Operation("add", "scalar", "sss", "add {a}, {b}, {c}", "add {a}, {b}, {c}", meanings.scalar(lambda n, m: n + m)),
    Operation("sub", "scalar", "sss", "sub {a}, {b}, {c}", "sub {a}, {b}, {c}", meanings.scalar(lambda n, m: n - m)),
    Operation("mul", "scalar", "sss", "mul {a}, {b}, {c}", "mul {a}, {b}, {c}", meanings.scalar(lambda n, m: n * m)),
    Operation("and", "scalar", "sss", "and {a}, {b}, {c}", "and {a}, {b}, {c}", meanings.scalar(lambda n, m: n & m)),
    Operation("or", "scalar", "sss", "orr {a}, {b}, {c}", "or {a}, {b}, {c}", meanings.scalar(lambda n, m: n | m)),
    Operation("xor", "scalar", "sss", "eor {a}, {b}, {c}", "xor {a}, {b}, {c}", meanings.scalar(lambda n, m: n ^ m)),
    Operation("add immediate", "scalar", "ssk", "add {a}, {b}, #{c}", "addi {a}, {b}, {c}",
              meanings.scalar_immediate(lambda n, k: n + k), (1, 2, 16, 24, 100, 2047)),
    Operation("shift left", "scalar", "ssk", "lsl {a}, {b}, #{c}", "slli {a}, {b}, {c}",
              meanings.scalar_immediate(lambda n, k: n << k), (1, 3, 8, 31)),
    Operation("shift right", "scalar", "ssk", "lsr {a}, {b}, #{c}", "srli {a}, {b}, {c}",
              meanings.scalar_immediate(lambda n, k: n >> k), (1, 5, 9, 40)),
    Operation("load 8", "memory", "so", "ldur {a}, [x21, #{b}]", "ld {a}, {b}(s3)", meanings.load(8, False)),
    Operation("load 4", "memory", "so", "ldursw {a}, [x21, #{b}]", "lw {a}, {b}(s3)", meanings.load(4, True)),
    Operation("load 1", "memory", "so", "ldurb {V}, [x21, #{b}]", "lbu {a}, {b}(s3)", meanings.load(1, False)),
    Operation("store 8", "memory", "so", "stur {a}, [x21, #{b}]", "sd {a}, {b}(s3)", meanings.store(8)),
    Operation("store 4", "memory", "so", "stur {V}, [x21, #{b}]", "sw {a}, {b}(s3)", meanings.store(4)),
    Operation("store 1", "memory", "so", "sturb {V}, [x21, #{b}]", "sb {a}, {b}(s3)", meanings.store(1)),
    Operation("load at", "memory", "ss", "and x12, {b}, #0x1f8\nldr {a}, [x21, x12]",
              "andi t4, {b}, 0x1f8\nadd t4, t4, s3\nld {a}, 0(t4)", meanings.load(8, False, 0x1F8)),
    Operation("store at", "memory", "ss", "and x12, {b}, #0x1f8\nstr {a}, [x21, x12]",
              "andi t4, {b}, 0x1f8\nadd t4, t4, s3\nsd {a}, 0(t4)", meanings.store(8, 0x1F8)),
    Operation("store byte at", "memory", "ss", "and x12, {b}, #0x1ff\nstrb {V}, [x21, x12]",
              "andi t4, {b}, 0x1ff\nadd t4, t4, s3\nsb {a}, 0(t4)", meanings.store(1, 0x1FF)),
    Operation("vload", "memory", "vw", "ldr q{a}, [x21, #{b}]",
              "addi t4, s3, {b}\nvl1re8.v v{a}, (t4)", meanings.load_vector()),
    Operation("vstore", "memory", "vw", "str q{a}, [x21, #{b}]",
              "addi t4, s3, {b}\nvs1r.v v{a}, (t4)", meanings.store_vector()),
    Operation("vload at", "memory", "vs", "and x12, {b}, #0x1f0\nldr q{a}, [x21, x12]",
              "andi t4, {b}, 0x1f0\nadd t4, t4, s3\nvl1re8.v v{a}, (t4)", meanings.load_vector(0x1F0)),
    Operation("vstore at", "memory", "vs", "and x12, {b}, #0x1f0\nstr q{a}, [x21, x12]",
              "andi t4, {b}, 0x1f0\nadd t4, t4, s3\nvs1r.v v{a}, (t4)", meanings.store_vector(0x1F0)),
    Operation("vload odd", "memory", "vs", "and x12, {b}, #0x1fe\nldr q{a}, [x21, x12]",
              "andi t4, {b}, 0x1fe\nadd t4, t4, s3\nvl1re8.v v{a}, (t4)", meanings.load_vector(0x1FE)),
    Operation("lq", "memory", "vo", None, "LQ", meanings.load_low, needs="lq"),
    Operation("sq", "memory", "vo", None, "SQ", meanings.store_low, needs="sq"),
    Operation("lq below", "memory", "vo", None, "li t4, 2048\nadd t4, t4, s3\nLQ_BELOW", meanings.load_low,
              needs="lq"),
    Operation("sq below", "memory", "vo", None, "li t4, 2048\nadd t4, t4, s3\nSQ_BELOW", meanings.store_low,
              needs="sq"),
    Operation("vle", "memory", "vw", None, "SET\naddi t4, s3, {b}\nvle{w}.v v{a}, (t4)", meanings.load_elements),
    Operation("vse", "memory", "vw", None, "SET\naddi t4, s3, {b}\nvse{w}.v v{a}, (t4)", meanings.store_elements),
    Operation("vset", "vector", "k", None, "SET", meanings.set_type, (0, 0, 0, 1, 2)),
)  # fmt: skip
GROUPS = ("vector", "scalar", "memory")
BY_GROUP = {
    (isa, group): [op for op in OPERATIONS if op.group == group and op.on(isa)] for isa in ISAS for group in GROUPS
}
WINDOW_BASE, SCRATCH = 19, 29
"""RISC-V's numbers of s3 and t4."""


@dataclass(frozen=True)
class Step:
    """An operation with its operands; ``width`` in bits."""

    operation: Operation
    args: tuple[int, ...]
    width: int

    def run(self, state: State) -> None:
        self.operation.meaning(state, self.args, self.width)

    def text(self, isa: str, size: int) -> str:
        """Assembler text, one instruction per line."""
        template = self.operation.on(isa)
        assert template is not None
        letters = self.operation.operands
        names = SCALAR_NAMES[isa]
        shown = [names[a] if kind == "s" else str(a) for kind, a in zip(letters, self.args, strict=True)]
        values = dict(zip("abcd", shown, strict=False))
        if isa == "arm":
            # The 32-bit name of the last scalar operand, and of the first.
            scalars = [a for kind, a in zip(letters, self.args, strict=True) if kind == "s"]
            values |= {"T": ARRANGEMENT[self.width], "E": LETTER[self.width]}
            values |= {"W": f"w{scalars[-1]}", "V": f"w{scalars[0]}"} if scalars else {}
        less = self.args[0] if self.operation.name == "vset" else 0
        text = template.format(w=self.width, **values)
        if self.operation.needs:
            text = self._access(isa, text)
        return text.replace("SET", set_type_text(self.width, less, size))

    def _access(self, isa: str, text: str) -> str:
        """The words of loads and stores in a text: from the window's base upwards, or 2048 bytes above it downwards."""
        fn = self.operation.fn
        below = table.encode_access(isa, fn, self.args[0], SCRATCH, self.args[1] - 2048)
        plain = table.encode_access(isa, fn, self.args[0], WINDOW_BASE, self.args[1])
        name = self.operation.needs.upper()
        text = text.replace(f"{name}_BELOW", table.assembly(isa, below))
        return text.replace(name, table.assembly(isa, plain))


def random_step(
    rng: random.Random, isa: str, group: str, vector: Callable[[], int], has: table.Capabilities = table.EVERYTHING
) -> Step:
    """A random operation of a group; ``vector()`` draws vector registers; ``has``: what the hardware executes."""
    operation = rng.choice([op for op in BY_GROUP[isa, group] if not op.needs or has.has(op.needs)])
    args = tuple(_operand(rng, kind, operation, vector) for kind in operation.operands)
    return Step(operation, args, rng.choice(WIDTHS))


def _operand(rng: random.Random, kind: str, operation: Operation, vector: Callable[[], int]) -> int:
    if kind == "v":
        return vector()
    if kind == "m":  # written under the mask v0, which it must not overlap
        return vector() or 1
    if kind == "s":
        return rng.randrange(12)
    if kind == "w":
        return rng.choice(_WIDE)
    if kind == "o":
        return rng.choice(_STATIC)
    return rng.choice(operation.immediates)
