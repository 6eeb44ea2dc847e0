"""Words to instructions and back: encoding, decoding, names, execution."""

from collections.abc import Iterator
from dataclasses import dataclass

from sysmol.errors import SysmolError
from sysmol.isa.encodings import FORMATS, BitField, Format
from sysmol.isa.selectors import VALUES
from sysmol.isa.table import ACCESSES, TABLE, Access, Instruction

_BY_FN = {fn: row for row in TABLE for fn in row.fns}
_ACCESS_BY_FN = {access.fn: access for access in ACCESSES}
USED_FORMATS = {name: FORMATS[name] for name in dict.fromkeys(row.format for row in TABLE)}
"""The formats that an instruction on registers has, by name."""
ACCESS_FORMATS = {access.format: FORMATS[access.format] for access in ACCESSES}
"""The formats of loads and stores."""
ALL_FORMATS = USED_FORMATS | ACCESS_FORMATS
FUNCTIONS = tuple(fn for form in USED_FORMATS.values() for fn in form.functions)
"""Numbers of all function codes of the formats on registers, with an instruction or without."""
PARSED = {(isa, name): form.parsed(isa) for name, form in ALL_FORMATS.items() for isa in form.on}
"""Fields of the words, by ISA and format."""


@dataclass(frozen=True)
class Word:
    """A decoded SMOL word; ``fn`` is the number of its function code. A load or store has ``vn`` for its scalar
    register and an offset ``imm`` in bytes; field6 and the register that it lacks are zero."""

    fn: int
    field6: int
    vd: int
    vn: int
    vm: int
    imm: int = 0


def find(fn: int) -> Instruction | None:
    """Row of a function code on registers; ``None`` where it has no instruction."""
    return _BY_FN.get(fn)


def find_access(fn: int) -> Access | None:
    """Row of the function code of a load or store; ``None`` where it has none."""
    return _ACCESS_BY_FN.get(fn)


def is_legal(fn: int, field6: int) -> bool:
    """Whether function and field6 name an instruction."""
    row = find(fn)
    if row is None:
        return find_access(fn) is not None and field6 == 0
    return field6 in row.legal_fields()


def format_of(fn: int) -> tuple[str, Format]:
    """Name and format of the words with a function code; :class:`SysmolError` where no format has it."""
    for name, form in ALL_FORMATS.items():
        if fn in form.functions:
            return name, form
    raise SysmolError(f"there is no function {fn}")


def encode(isa: str, fn: int, field6: int, vd: int, vn: int, vm: int) -> int:
    """32-bit word on ``"riscv"`` or ``"arm"``; any field values that fit, legal or not (tests need illegal words)."""
    name, form = format_of(fn)
    return _pieces(isa, name, {"fn": fn - form.functions.start, "field6": field6, "vd": vd, "vn": vn, "vm": vm})


def encode_access(isa: str, fn: int, register: int, base: int, imm: int) -> int:
    """32-bit word of a load or store of a vector register at a scalar register plus ``imm`` bytes, -2048 to 2047."""
    name, form = format_of(fn)
    if isa not in form.on:
        raise SysmolError(f"{isa} has no {_ACCESS_BY_FN[fn].name}")
    limit = 1 << (form.fields["imm"] - 1)
    if imm not in range(-limit, limit):
        raise SysmolError(f"imm = {imm} is not from {-limit} to {limit - 1}")
    return _pieces(isa, name, {"vd": register, "vm": register, "base": base, "imm": imm & (2 * limit - 1)})


def _pieces(isa: str, name: str, values: dict[str, int]) -> int:
    word, widths = 0, ALL_FORMATS[name].fields
    for f in PARSED[isa, name]:
        if f.name is None:
            word |= f.constant << f.low
            continue
        if values[f.name] not in range(1 << widths[f.name]):
            raise SysmolError(f"{f.name} = {values[f.name]} does not fit {widths[f.name]} bits")
        word |= (values[f.name] >> f.start & ((1 << f.width) - 1)) << f.low
    return word


DIRECTIVE = {"arm": ".inst", "riscv": ".4byte"}
"""What puts a word into assembler text."""


def assembly(isa: str, word: int) -> str:
    """A word as a line of assembler text."""
    return f"{DIRECTIVE[isa]} {word:#010x}"


def spaces(isa: str) -> tuple[tuple[int, int], ...]:
    """``(mask, match)`` of the words that this package claims on an ISA, legal or not: one pair or several."""
    claimed = (form.on[isa].claimed() for form in ALL_FORMATS.values() if isa in form.on)
    return tuple(dict.fromkeys(claimed))


def claims(isa: str, word: int) -> bool:
    """Whether a word lies in a space that this package claims."""
    return any(word & mask == match for mask, match in spaces(isa))


def decode(isa: str, word: int) -> Word | None:
    """Fields of a legal SMOL word; ``None`` where the word is of another space or illegal."""
    found = fields(isa, word)
    return found if found is not None and is_legal(found.fn, found.field6) else None


def fields(isa: str, word: int) -> Word | None:
    """Fields of a word that has one of the formats, legal or not; ``None`` where it has none of them."""
    for name, form in ALL_FORMATS.items():
        values = read_fields(word, PARSED[isa, name]) if isa in form.on else None
        if values is None:
            continue
        if name in USED_FORMATS:
            values["fn"] += form.functions.start
            return Word(**values)
        sign = 1 << (form.fields["imm"] - 1)
        imm = (values["imm"] ^ sign) - sign
        return Word(form.functions.start, 0, values.get("vd", 0), values["base"], values.get("vm", 0), imm)
    return None


def read_fields(word: int, places: tuple[BitField, ...]) -> dict[str, int] | None:
    """Values of the named fields; ``None`` where a constant differs."""
    values: dict[str, int] = {}
    for f in places:
        bits = (word & f.mask) >> f.low
        if f.name is not None:
            values[f.name] = values.get(f.name, 0) | bits << f.start
        elif bits != f.constant:
            return None
    return values


def mnemonic(fn: int, field6: int) -> str:
    """Name with its selectors: ``vmac.P7``, ``vdot.P7.2``, ``vmul.b4.k3``, ``vqpk.b2x8.s6``; a load's or store's."""
    row, access = find(fn), find_access(fn)
    if access is not None and field6 == 0:
        return access.name
    if row is None or not is_legal(fn, field6):
        raise SysmolError(f"function {fn} with field6 {field6} is illegal: {illegal_reason(fn, field6)}")
    index = f".{row.fns.index(fn)}" if len(row.fns) > 1 else ""
    return f"{row.name}.{row.selector.label(field6)}{index}"


def disassembly(word: Word) -> str:
    """A legal word with its operands: ``vdot.P7.2 v1, v2, v3``, ``lq v1, 48(x10)``."""
    access, name = find_access(word.fn), mnemonic(word.fn, word.field6)
    if access is None:
        return f"{name} v{word.vd}, v{word.vn}, v{word.vm}"
    return f"{name} v{word.vd if access.loads else word.vm}, {word.imm}(x{word.vn})"


def illegal_reason(fn: int, field6: int) -> str:
    """Why a function and field6 name no instruction; empty where they do."""
    row = find(fn)
    if row is None:
        return f"there is no function {fn}"
    if field6 in row.legal_fields():
        return ""
    return f"{row.name}: field6 {field6} is no {row.selector.choice}"


def words() -> Iterator[tuple[int, int]]:
    """All legal pairs of function and field6 of instructions on registers."""
    for row in TABLE:
        for fn in row.fns:
            for field6 in row.legal_fields():
                yield fn, field6


def candidates() -> Iterator[tuple[int, int]]:
    """All pairs of function and field6 that fit the words' fields, legal or not."""
    for fn in FUNCTIONS:
        for field6 in VALUES:
            yield fn, field6


def execute(fn: int, field6: int, vd: bytes, vn: bytes, vm: bytes) -> bytes:
    """New content of vd. Operands are 16 bytes each; :class:`SysmolError` where the instruction is illegal."""
    row = find(fn)
    if row is None or field6 not in row.legal_fields():
        raise SysmolError(illegal_reason(fn, field6))
    return row.semantics(vd, vn, vm, field6, row.fns.index(fn))
