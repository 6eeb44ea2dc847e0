"""Words in a row: words on the borders of every row of the table, and random ones of all that is claimed.

A bare-metal program runs each word once, one after the other. What is no instruction of the hardware must trap, with
its address, and change nothing; what is one must run. All vector registers are stored after every block of words, and
at the end the memory that loads and stores reach: the Python model has the same.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sysmol import isa as table
from sysmol.files import make_folder
from sysmol.kernels_c.image.runtimes import runtime_for
from sysmol.kernels_c.targets import TARGETS
from sysmol.kernels_c.toolchain import compile_c, find_compiler
from sysmol.machine import load_machine
from sysmol.verify.simulation import Outcome, run_program_file
from sysmol.verify.state import VECTORS
from sysmol.verify.traps import TRAPS

BLOCK = 256
"""Words between two looks at the registers."""
RECORD = 24
"""Bytes of a trap's record: offset of the word, cause, value."""
REACH = 2048
"""Loads and stores have offsets from -REACH to REACH - 1: scalar registers point to the middle of that."""
SHOWN = 10
"""Differences that are told."""
ENDS = (0, 31)


@dataclass(frozen=True)
class Stream:
    """Words for hardware that executes what ``has`` says; ``vectors``: registers before the first one; ``memory``:
    what loads and stores reach."""

    isa: str
    has: table.Capabilities
    words: tuple[int, ...]
    vectors: tuple[bytes, ...]
    memory: bytes

    @property
    def blocks(self) -> int:
        return -(-len(self.words) // BLOCK)

    @property
    def result_bytes(self) -> int:
        """Of the records (room for one per word), the registers after each block, the memory."""
        return len(self.words) * RECORD + self.blocks * VECTORS * 16 + len(self.memory)


@dataclass(frozen=True)
class Expected:
    """What a stream leaves: a record per trap, the registers after each block, the memory."""

    records: bytes
    states: bytes
    memory: bytes

    @property
    def traps(self) -> int:
        return len(self.records) // RECORD


def make_stream(isa: str, machine: str, seed: int | str, count: int) -> Stream:
    """Border words and ``count`` random ones for a machine, in random order."""
    rng = random.Random(f"{isa} {seed}")
    has = load_machine(machine).smol.capabilities
    words = [*border_words(isa, has), *random_words(isa, rng, count)]
    rng.shuffle(words)
    vectors = tuple(rng.randbytes(16) for _ in range(VECTORS))
    return Stream(isa, has, tuple(words), vectors, rng.randbytes(2 * REACH + 16))


def border_fields(fn: int, legal: Callable[[int, int], bool]) -> set[int]:
    """Values of field6 at which a function begins or ceases to be legal, both sides, and the ends of the field."""
    values = table.VALUES
    edges = {value for value in values[1:] if legal(fn, value) != legal(fn, value - 1)}
    return edges | {value - 1 for value in edges} | {values[0], values[-1]}


def border_words(isa: str, has: table.Capabilities) -> Iterator[int]:
    """Words on both sides of every border between legal and illegal, with the lowest and the highest registers.

    ``has``: what the hardware executes; what it lacks is illegal.
    """
    registers = [(low, low, low) for low in ENDS] + [(31, 0, 0), (0, 31, 0), (0, 0, 31)]
    for fn in table.FUNCTIONS:
        borders = {value for legal in (table.is_legal, has.executes) for value in border_fields(fn, legal)}
        for field6 in sorted(borders):
            for vd, vn, vm in registers:
                yield table.encode(isa, fn, field6, vd, vn, vm)
    bases = TRAPS[isa].bases
    for access in table.ACCESSES:
        if isa not in table.ACCESS_FORMATS[access.format].on:
            continue
        for register in ENDS:
            for base in (bases[0], bases[-1]):
                for imm in (-REACH, -1, 0, 1, REACH - 1):
                    word = table.encode_access(isa, access.fn, register, base, imm)
                    yield word
                    yield from (other for bit in range(32) if outside(isa, other := word ^ 1 << bit))


def outside(isa: str, word: int) -> bool:
    """Whether a word of the claimed space has none of the formats."""
    return table.claims(isa, word) and table.fields(isa, word) is None


def random_words(isa: str, rng: random.Random, count: int) -> Iterator[int]:
    """Words drawn from everything that is claimed, each space with the same probability. Legal loads and stores get
    one of the scalar registers that hold an address."""
    spaces = table.spaces(isa)
    for _ in range(count):
        mask, match = rng.choice(spaces)
        word = rng.getrandbits(32) & ~mask | match
        found = table.decode(isa, word)
        if found is not None and table.find_access(found.fn):
            base = rng.choice(TRAPS[isa].bases)
            word = table.encode_access(isa, found.fn, found.vd or found.vm, base, found.imm)
        yield word


def expect(stream: Stream) -> Expected:
    """The Python model of a stream."""
    registers, memory = list(stream.vectors), bytearray(stream.memory)
    records, states = [], []
    for at, word in enumerate(stream.words):
        found = table.decode(stream.isa, word)
        if found is None or not stream.has.executes(found.fn, found.field6):
            records.append(trap_record(stream.isa, address_of(stream.isa, at), word))
        else:
            run_word(found, registers, memory)
        if (at + 1) % BLOCK == 0 or at + 1 == len(stream.words):
            states.append(b"".join(registers))
    return Expected(b"".join(records), b"".join(states), bytes(memory))


def address_of(isa: str, at: int) -> int:
    """Offset of a word from the first one: what stores the registers stands between the blocks."""
    return 4 * at + at // BLOCK * TRAPS[isa].look_bytes


def trap_record(isa: str, offset: int, word: int) -> bytes:
    traps = TRAPS[isa]
    value = word if traps.illegal_value is None else traps.illegal_value
    return b"".join(x.to_bytes(8, "little") for x in (offset, traps.illegal_cause, value))


def run_word(word: table.Word, registers: list[bytes], memory: bytearray) -> None:
    """Apply a legal word to the registers and the memory, in place."""
    access = table.find_access(word.fn)
    if access is None:
        vd, vn, vm = (registers[r] for r in (word.vd, word.vn, word.vm))
        registers[word.vd] = table.execute(word.fn, word.field6, vd, vn, vm)
        return
    at = REACH + word.imm
    if access.loads:
        registers[word.vd] = bytes(memory[at : at + 16])
    else:
        memory[at : at + 16] = registers[word.vm]


def source(stream: Stream) -> str:
    """Assembler text of the program."""
    traps, words = TRAPS[stream.isa], stream.words
    blocks = []
    for start in range(0, len(words), BLOCK):
        blocks += [table.assembly(stream.isa, word) for word in words[start : start + BLOCK]]
        blocks.append(traps.look)
    data = ["    .data", "    .balign 64", "operands:", *map(_bytes, stream.vectors)]
    data += ["    .balign 64", "records:", f"    .fill {len(words) * RECORD}, 1, 0xff"]
    data += ["states:", f"    .fill {stream.blocks * VECTORS * 16}, 1, 0xff"]
    data += ["memory:", *(_bytes(stream.memory[i : i + 16]) for i in range(0, len(stream.memory), 16))]
    data += ['name: .asciz "logits.bin"']
    return traps.stream.format(blocks="\n".join(blocks), bytes=stream.result_bytes) + "\n".join(data) + "\n"


def _bytes(content: bytes) -> str:
    return f"    .byte {', '.join(map(str, content))}"


def run_stream(stream: Stream, cpu: str, machine: str, gem5: Path, folder: Path) -> Outcome:
    """Assemble a stream and run it on one core model of a machine."""
    make_folder(folder)
    listing, target = folder / "words.S", TARGETS[stream.isa]
    listing.write_text(source(stream))
    compile_c(find_compiler(target), target, [listing], [], folder / "words", runtime_for("baremetal", target).flags)
    return run_program_file(
        stream.isa, folder / "words", stream.result_bytes, cpu, machine, gem5, folder / "run", mode="baremetal"
    )


def check_words(
    isa: str, cpu: str, seed: int, count: int, machine: str, gem5: Path, folder: Path
) -> tuple[int, int, list[str]]:
    """Run border words and ``count`` random ones, others for each core model, on a machine.

    Words in all, those of them that must trap, and a line for each difference, the first ones.
    """
    stream = make_stream(isa, machine, f"{seed} {cpu}", count)
    expected = expect(stream)
    outcome = run_stream(stream, cpu, machine, gem5, folder)
    wrong = [outcome.trouble] if outcome.trouble else []
    return len(stream.words), expected.traps, [*wrong, *compare(stream, expected, outcome.found)][:SHOWN]


def compare(stream: Stream, expected: Expected, found: bytes) -> list[str]:
    """A line for each trap, the first block, and the memory that differ; ``found``: what the program wrote."""
    size, end = len(stream.words) * RECORD, stream.result_bytes - len(stream.memory)
    wrong = compare_traps(stream, expected.records.ljust(size, b"\xff"), found[:size])
    length = 16 * VECTORS
    for block in range(stream.blocks):
        want = expected.states[block * length :][:length]
        got = found[size:end][block * length :][:length]
        if want != got:
            place = next(r for r in range(VECTORS) if want[16 * r :][:16] != got[16 * r :][:16])
            wrong.append(f"v{place} differs after word {min((block + 1) * BLOCK, len(stream.words))}")
            break
    if found[end:] != expected.memory:
        wrong.append("the memory of loads and stores differs")
    return wrong


def compare_traps(stream: Stream, expected: bytes, found: bytes) -> list[str]:
    """A line for each record that only one side has."""
    trapped, awaited = set(_records(found)), set(_records(expected))
    at = {address_of(stream.isa, number): word for number, word in enumerate(stream.words)}
    wrong = []
    for record in sorted(trapped ^ awaited):
        offset, cause, value = record
        word = f"{at[offset]:#010x}" if offset in at else "no word"
        which = "unexpected" if record in trapped else "missing"
        wrong.append(f"{word} at {offset:+#x}: {which} trap with cause {cause:#x}, value {value:#x}")
    return wrong if wrong or found == expected else ["the traps come in another order, or twice"]


def _records(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Records that were written."""
    for i in range(0, len(content) - RECORD + 1, RECORD):
        record = content[i : i + RECORD]
        if record != b"\xff" * RECORD:
            offset, cause, value = (int.from_bytes(record[j : j + 8], "little") for j in (0, 8, 16))
            yield offset, cause, value
