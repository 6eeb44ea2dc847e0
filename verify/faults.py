"""What must trap: every illegal word, instructions and patterns that the hardware lacks, and legal words while the
vector unit is off.

A bare-metal program runs each word once and records what the architecture says about it (:mod:`sysmol.verify.traps`).
In every case the address is that of the word, and vd keeps its content.
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
from sysmol.machine import load_machine, pattern_set
from sysmol.verify.simulation import run_program_file
from sysmol.verify.traps import TRAPS, draw

VD, VN, VM = 1, 2, 3
RECORD = 48
"""Bytes of a record: cause, offset of the trap's address from the word's, value, state of the unit afterwards, vd."""
NONE = (1 << 64) - 1


@dataclass(frozen=True)
class Case:
    """One word with the unit in a state; what is expected of it."""

    word: int
    name: str
    unit: int
    record: bytes


def cases(isa: str, has: table.Capabilities, rng: random.Random, operands: Sequence[bytes]) -> list[Case]:
    """All illegal words (one choice of registers) with the unit on, legal words of every function with it off and on,
    in random order. ``has``: what the hardware executes; ``operands``: contents of vd, vn, vm."""
    found = []
    vd, traps = operands[0], TRAPS[isa]
    for fn, field6 in table.candidates():
        word = table.encode(isa, fn, field6, VD, VN, VM)
        name = f"function {fn}, field6 {field6}"
        if has.executes(fn, field6):
            result = table.execute(fn, field6, *operands)
            found.append(Case(word, name, draw(rng, traps.on), _record(NONE, NONE, NONE, traps.runs, result)))
            if field6 % 8 == 0:
                off = draw(rng, traps.off)
                value = word if traps.off_value is None else traps.off_value
                record = _record(traps.off_cause, 0, value, off, vd)
                found.append(Case(word, f"{name}, unit off", off, record))
        else:
            found.append(_illegal(isa, word, name, vd))
        if field6 % 8 == 0:
            found += [_illegal(isa, word ^ 1 << bit, f"{name}, bit {bit}", vd) for bit in formless_bits(isa, word)]
    found += [_illegal(isa, word, name, vd) for word, name in illegal_accesses(isa, has)]
    rng.shuffle(found)
    return found


def illegal_accesses(isa: str, has: table.Capabilities) -> list[tuple[int, str]]:
    """Words of loads and stores that the hardware lacks, and words around all of them that none has, with names."""
    found = []
    for row in (access for access in table.ACCESSES if isa in table.ACCESS_FORMATS[access.format].on):
        word = table.encode_access(isa, row.fn, VD, 10, 16)
        found += [(word ^ 1 << bit, f"{row.name}, bit {bit}") for bit in formless_bits(isa, word)]
        found += [] if has.has(row.name) else [(word, row.name)]
    return found


def formless_bits(isa: str, word: int) -> list[int]:
    """Bits that turn a word into one of the claimed space that has none of the formats."""
    flipped = ((bit, word ^ 1 << bit) for bit in range(32))
    return [bit for bit, other in flipped if table.claims(isa, other) and table.fields(isa, other) is None]


def _illegal(isa: str, word: int, name: str, vd: bytes) -> Case:
    traps = TRAPS[isa]
    value = word if traps.illegal_value is None else traps.illegal_value
    return Case(word, name, traps.tried, _record(traps.illegal_cause, 0, value, traps.tried, vd))


def _record(cause: int, offset: int, value: int, unit: int, vd: bytes) -> bytes:
    return b"".join(x.to_bytes(8, "little") for x in (cause, offset, value, unit)) + vd


def describe(record: bytes) -> str:
    """A record on one line."""
    cause, offset, value, unit = (int.from_bytes(record[i : i + 8], "little") for i in range(0, 32, 8))
    trap = "no trap" if cause == NONE else f"cause {cause:#x} at {offset:+#x}, value {value:#x}"
    return f"{trap}, unit {unit}, vd {record[32:][::-1].hex()}"


def source(isa: str, chosen: Sequence[Case], operands: Sequence[bytes]) -> str:
    """Assembler text of the program."""
    body = "".join(TRAPS[isa].case.format(unit=case.unit, word=case.word) for case in chosen)
    data = ["    .data", "    .balign 64", "operands:"]
    data += [f"    .byte {', '.join(map(str, operand))}" for operand in operands]
    data += ["    .balign 64", "records:", f"    .fill {len(chosen) * RECORD}, 1, 0xff", 'name: .asciz "logits.bin"']
    return TRAPS[isa].frame.format(cases=body, bytes=len(chosen) * RECORD) + "\n".join(data) + "\n"


def check_faults(
    isa: str, cpu: str, seed: int, machine: str, patterns: str, gem5: Path, folder: Path
) -> tuple[int, list[str]]:
    """Run all cases on one core model of a machine with the pattern set ``patterns``; how many, and a line for each
    that differs."""
    rng = random.Random(f"{isa} {seed}")
    operands = [rng.randbytes(16) for _ in range(3)]
    has = load_machine(machine).with_patterns(pattern_set(patterns)).smol.capabilities
    chosen = cases(isa, has, rng, operands)
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
