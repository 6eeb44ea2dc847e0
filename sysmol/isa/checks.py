"""The table checked strictly, and its fingerprint."""

import hashlib
from collections.abc import Callable, Collection, Sequence

from sysmol.errors import SysmolError
from sysmol.isa.encodings import FORMATS
from sysmol.isa.registers import ALIGN
from sysmol.isa.selectors import FORMS, PIECES, SELECTORS, VALUES, group, pack, pack16, pack32, part, taps
from sysmol.isa.table import ACCESSES, TABLE, Instruction
from sysmol.isa.words import ALL_FORMATS
from sysmol.pattern import CHUNK_BITS, CHUNKS, PATTERNS, pattern_name

OPERANDS = ("vd", "vn", "vm")


def check_table(table: tuple[Instruction, ...] = TABLE) -> None:
    """Refuse rows with one function code or one name, and what a row names that does not exist."""
    seen: dict[int, str] = {}
    for row in table:
        if row.field6 not in SELECTORS:
            raise SysmolError(f"{row.name}: field6 selects one of {', '.join(SELECTORS)}, not {row.field6!r}")
        if row.format not in FORMATS:
            raise SysmolError(f"{row.name}: the format is one of {', '.join(FORMATS)}, not {row.format!r}")
        if unknown := [operand for operand in row.reads if operand not in OPERANDS]:
            raise SysmolError(f"{row.name}: reads one of {', '.join(OPERANDS)}, not {unknown[0]!r}")
        if row.fns != tuple(range(row.fns[0], row.fns[0] + len(row.fns))):
            raise SysmolError(f"{row.name}: functions {row.fns} are not in sequence")
        for fn in row.fns:
            if fn not in FORMATS[row.format].functions:
                raise SysmolError(f"{row.name}: function {fn} does not fit the words of format {row.format}")
            if fn in seen:
                raise SysmolError(f"{row.name}: function {fn} belongs to {seen[fn]} already")
            seen[fn] = row.name
    if len({row.symbol for row in table}) != len(table):
        raise SysmolError("two instructions have one name")


def check_formats() -> None:
    """Refuse formats that share function codes or whose words one could take for each other's."""
    seen: dict[int, str] = {}
    for name, form in FORMATS.items():
        for fn in form.functions:
            if fn in seen:
                raise SysmolError(f"format {name}: function {fn} belongs to {seen[fn]} already")
            seen[fn] = name
    constants: dict[tuple[str, str], tuple[int, int]] = {}
    for name, form in FORMATS.items():
        for isa, encoding in form.on.items():
            fixed = [f for f in encoding.parsed(form.fields) if f.name is None]
            mask, match = sum(f.mask for f in fixed), sum(f.constant << f.low for f in fixed)
            for (other_isa, other), (other_mask, other_match) in constants.items():
                if other_isa == isa and not (match ^ other_match) & mask & other_mask:
                    raise SysmolError(f"format {name}: its words on {isa} may be those of {other}, too")
            constants[isa, name] = (mask, match)


SELECTED: dict[str, tuple[Callable[[int], object], Sequence[int]]] = {
    "part": (part, VALUES),
    "pack": (pack, VALUES),
    "pack16": (pack16, VALUES),
    "pack32": (pack32, VALUES),
    "group": (group, VALUES),
    "taps": (taps, VALUES),
    "piece": (PIECES.__getitem__, range(len(PIECES))),
    "form": (FORMS.__getitem__, range(len(FORMS))),
}
"""What the selectors choose, by name, and for which numbers; patterns stand for themselves."""


def canonical_text(formats: Collection[str] = tuple(ALL_FORMATS)) -> str:
    """The table as text, of the instructions with some formats: equal text, equal instruction set."""
    lines = []
    for name in formats:
        form = ALL_FORMATS[name]
        shown = "" if len(formats) == 1 else f" {name} {form.functions}"
        lines += [f"{isa}{shown}: {encoding.bits}" for isa, encoding in sorted(form.on.items())]
    lines += [f"pattern {number}: {pattern_name(number)}" for number in range(len(PATTERNS))]
    rows = [row for row in TABLE if row.format in formats]
    for row in rows:
        others = "" if {"vn", "vm"} <= set(row.reads) else f" reads={row.reads}"
        lines.append(f"{row.name} fn={row.fns} field6={row.field6} reads_vd={row.reads_vd}{others}: {row.summary}")
    lines += [
        f"{access.name} fn={access.fn} loads={access.loads}: {access.summary}"
        for access in ACCESSES
        if access.format in formats
    ]
    used = {row.field6 for row in rows}
    for name, (chosen, numbers) in SELECTED.items():
        lines += [f"{name} {number:#04x}: {chosen(number)}" for number in numbers if name in used]
    lines += [f"align {p}: {shift}" for p, shift in sorted(ALIGN.items())]
    lines.append(f"chunks: {CHUNKS} of {CHUNK_BITS} bits")
    return "\n".join(lines) + "\n"


def fingerprint(formats: Collection[str] = tuple(ALL_FORMATS)) -> str:
    """Name of this version of the instructions with some formats."""
    return hashlib.sha256(canonical_text(formats).encode()).hexdigest()[:16]


check_table()
check_formats()
FINGERPRINT = fingerprint()
"""Names this version of the instruction set in headers, in gem5's plug-in and in run folders."""
