"""What must trap: every illegal word, patterns that the hardware lacks, and legal words while the vector unit is off.

A bare-metal program runs each word once and records what the architecture says about it. RISC-V (machine mode): cause
2, illegal instruction, with the word in mtval; mstatus.VS turns dirty where the word ran and stays where it did not.
AArch64 (exception level 1): exception class 0 (unknown reason) for illegal words and 7 (access to SIMD) where
CPACR_EL1.FPEN traps. In every case the address is that of the word, and vd keeps its content.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sysmol import isa as table
from sysmol.files import make_folder
from sysmol.kernels_c.image.runtimes import runtime_for
from sysmol.kernels_c.targets import TARGETS
from sysmol.kernels_c.toolchain import compile_c, find_compiler
from sysmol.machine import pattern_set
from sysmol.verify.campaign import run_program_file

VD, VN, VM = 1, 2, 3
RECORD = 48
"""Bytes of a record: cause, offset of the trap's address from the word's, value, state of the unit afterwards, vd."""
NONE = (1 << 64) - 1
OFF, INITIAL, CLEAN, DIRTY = 0, 1, 2, 3
"""mstatus.VS. CPACR_EL1.FPEN: 3 lets SIMD run; 0 and 2 trap it."""
ILLEGAL_CAUSE = {"arm": 0x00, "riscv": 2}
OFF_CAUSE = {"arm": 0x07, "riscv": 2}
UNKNOWN_SYNDROME, SIMD_SYNDROME = 0x2000000, 0x3E00000
"""Lower bits of ESR_EL1: 32-bit instruction; for SIMD traps also condition code 14, always."""


@dataclass(frozen=True)
class Case:
    """One word with the unit in a state; what is expected of it."""

    word: int
    name: str
    unit: int
    record: bytes


def cases(isa: str, patterns: Sequence[int], rng: random.Random, operands: Sequence[bytes]) -> list[Case]:
    """All illegal words (one choice of registers) with the unit on, legal words of every function with it off and on,
    in random order. ``operands``: contents of vd, vn, vm."""
    found = []
    vd = operands[0]
    for fn, field6 in table.candidates():
        word = table.encode(isa, fn, field6, VD, VN, VM)
        name = f"function {fn}, field6 {field6}"
        if table.supported(fn, field6, patterns):
            result = table.execute(fn, field6, *operands)
            on = rng.choice((INITIAL, CLEAN, DIRTY)) if isa == "riscv" else 3
            found.append(Case(word, name, on, _record(NONE, NONE, NONE, 3, result)))
            if field6 % 8 == 0:
                off = OFF if isa == "riscv" else rng.choice((0, 2))
                value = word if isa == "riscv" else SIMD_SYNDROME
                record = _record(OFF_CAUSE[isa], 0, value, off, vd)
                found.append(Case(word, f"{name}, unit off", off, record))
        else:
            found.append(_illegal(isa, word, name, vd))
        if field6 % 8 == 0:
            found += [_illegal(isa, word ^ 1 << bit, f"{name}, bit {bit}", vd) for bit in formless_bits(isa, word)]
    rng.shuffle(found)
    return found


def formless_bits(isa: str, word: int) -> list[int]:
    """Bits that turn a word into one of the claimed space that has none of the formats."""
    flipped = ((bit, word ^ 1 << bit) for bit in range(32))
    return [bit for bit, other in flipped if table.claims(isa, other) and table.fields(isa, other) is None]


def _illegal(isa: str, word: int, name: str, vd: bytes) -> Case:
    unit = INITIAL if isa == "riscv" else 3
    value = word if isa == "riscv" else UNKNOWN_SYNDROME
    return Case(word, name, unit, _record(ILLEGAL_CAUSE[isa], 0, value, unit, vd))


def _record(cause: int, offset: int, value: int, unit: int, vd: bytes) -> bytes:
    return b"".join(x.to_bytes(8, "little") for x in (cause, offset, value, unit)) + vd


def describe(record: bytes) -> str:
    """A record on one line."""
    cause, offset, value, unit = (int.from_bytes(record[i : i + 8], "little") for i in range(0, 32, 8))
    trap = "no trap" if cause == NONE else f"cause {cause:#x} at {offset:+#x}, value {value:#x}"
    return f"{trap}, unit {unit}, vd {record[32:][::-1].hex()}"


RISCV = """
    .section .text.start, "ax"
    .global _start
_start:
    la t0, trap
    csrw mtvec, t0
    la s4, records
    la s6, operands
    li s7, 0x600
{cases}
    la s4, records
    amoor.d zero, zero, (s4)
    mv a0, s4
    li a1, {bytes}
    li a2, 0
    la a3, name
    fence
    .4byte 0x7b | (0x4f << 25)
    li a0, 0
    .4byte 0x7b | (0x21 << 25)
1:  j 1b
    .balign 4
trap:
    csrr t2, mcause
    sd t2, 0(s4)
    csrr t3, mepc
    sub t2, t3, s5
    sd t2, 8(s4)
    csrr t2, mtval
    sd t2, 16(s4)
    addi t3, t3, 4
    csrw mepc, t3
    mret
"""
RISCV_CASE = """
    csrs mstatus, s7
    mv t0, s6
    vl1re8.v v1, (t0)
    addi t0, t0, 16
    vl1re8.v v2, (t0)
    addi t0, t0, 16
    vl1re8.v v3, (t0)
    csrc mstatus, s7
    li t0, {unit} << 9
    csrs mstatus, t0
    la s5, 2f
    .balign 4
2:  .4byte {word:#010x}
    csrr t0, mstatus
    srli t0, t0, 9
    andi t0, t0, 3
    sd t0, 24(s4)
    csrs mstatus, s7
    addi t0, s4, 32
    vs1r.v v1, (t0)
    addi s4, s4, 48
"""
ARM = """
    .section .text.start, "ax"
    .global _start
_start:
    adrp x0, vectors
    add x0, x0, :lo12:vectors
    msr vbar_el1, x0
    adrp x20, records
    add x20, x20, :lo12:records
    adrp x21, operands
    add x21, x21, :lo12:operands
    mov x22, #(3 << 20)
{cases}
    dsb sy
    adrp x0, records
    add x0, x0, :lo12:records
    ldr x1, ={bytes}
    mov x2, #0
    adrp x3, name
    add x3, x3, :lo12:name
    isb
    .inst 0xff000110 | (0x4f << 16)
    mov x0, #0
    .inst 0xff000110 | (0x21 << 16)
1:  b 1b
    .ltorg
trap:
    mrs x2, esr_el1
    lsr x3, x2, #26
    str x3, [x20]
    and x2, x2, #0x3ffffff
    str x2, [x20, #16]
    mrs x3, elr_el1
    sub x2, x3, x19
    str x2, [x20, #8]
    add x3, x3, #4
    msr elr_el1, x3
    eret
    .balign 2048
vectors:
    .rept 16
    .balign 128
    b trap
    .endr
"""
ARM_CASE = """
    msr cpacr_el1, x22
    isb
    ldr q1, [x21]
    ldr q2, [x21, #16]
    ldr q3, [x21, #32]
    mov x0, #({unit} << 20)
    msr cpacr_el1, x0
    isb
    adr x19, 2f
2:  .inst {word:#010x}
    mrs x0, cpacr_el1
    ubfx x0, x0, #20, #2
    str x0, [x20, #24]
    msr cpacr_el1, x22
    isb
    str q1, [x20, #32]
    add x20, x20, #48
"""


def source(isa: str, chosen: Sequence[Case], operands: Sequence[bytes]) -> str:
    """Assembler text of the program."""
    frame, each = (ARM, ARM_CASE) if isa == "arm" else (RISCV, RISCV_CASE)
    body = "".join(each.format(unit=case.unit, word=case.word) for case in chosen)
    data = ["    .data", "    .balign 64", "operands:"]
    data += [f"    .byte {', '.join(map(str, operand))}" for operand in operands]
    data += ["    .balign 64", "records:", f"    .fill {len(chosen) * RECORD}, 1, 0xff", 'name: .asciz "logits.bin"']
    return frame.format(cases=body, bytes=len(chosen) * RECORD) + "\n".join(data) + "\n"


def check_faults(
    isa: str, cpu: str, seed: int, machine: str, patterns: str, gem5: Path, folder: Path
) -> tuple[int, list[str]]:
    """Run all cases on one core model with the pattern set ``patterns``; how many, and what differs, a line each."""
    rng = random.Random(f"{isa} {seed}")
    operands = [rng.randbytes(16) for _ in range(3)]
    chosen = cases(isa, pattern_set(patterns), rng, operands)
    make_folder(folder)
    listing = folder / "faults.S"
    listing.write_text(source(isa, chosen, operands))
    runtime = runtime_for("baremetal", TARGETS[isa])
    compiler = find_compiler(TARGETS[isa])
    compile_c(compiler, TARGETS[isa], [listing], [], folder / "faults", runtime.flags)
    expected = b"".join(case.record for case in chosen)
    outcome = run_program_file(
        isa, folder / "faults", len(expected), cpu, machine, gem5, folder, mode="baremetal", patterns=patterns
    )
    wrong = [outcome.trouble] if outcome.trouble else []
    for index, case in enumerate(chosen):
        found = outcome.found[RECORD * index : RECORD * (index + 1)]
        if found != case.record:
            told = describe(found) if len(found) == RECORD else "no record"
            wrong.append(f"{case.name} ({case.word:#010x}): {told}; expected {describe(case.record)}")
    return len(chosen), wrong
