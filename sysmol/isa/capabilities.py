"""What hardware executes of the table: not every instruction, not every value of a selector that is optional."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sysmol.errors import SysmolError
from sysmol.isa.selectors import FORMS, SELECTORS
from sysmol.isa.table import ACCESSES, ALL_NAMES, STANDARD_NAMES, TABLE
from sysmol.isa.words import find, find_access

OPTIONAL = {name: selector for name, selector in SELECTORS.items() if selector.optional}
"""The selectors of which hardware may lack values, by name."""
INSTRUCTION_SETS: dict[str, tuple[str, ...]] = {
    "standard": STANDARD_NAMES,
    "matrix": tuple(row.name for row in TABLE if not row.standard),
    "accesses": tuple(name for name in ALL_NAMES if name not in {row.name for row in TABLE}),
    "all": ALL_NAMES,
}
"""Sets of instructions that a machine may name. ``matrix``: the second page; ``accesses``: loads and stores."""


@dataclass(frozen=True)
class Capabilities:
    """``instructions`` by name, in the order of the table; ``chosen``: values of field6 of each optional selector."""

    instructions: tuple[str, ...]
    chosen: Mapping[str, tuple[int, ...]]

    def has(self, name: str) -> bool:
        """Whether it has an instruction, with some values of field6 at least."""
        return name in self.instructions

    def codes(self) -> tuple[int, ...]:
        """Its function codes."""
        rows = [(row.name, row.fns) for row in TABLE] + [(access.name, (access.fn,)) for access in ACCESSES]
        return tuple(fn for name, fns in rows if name in self.instructions for fn in fns)

    def lacks(self, fn: int, field6: int) -> str:
        """Why it does not execute a legal word; empty where it does."""
        row = find(fn) or find_access(fn)
        if row is None or row.name not in self.instructions:
            return "instruction"
        selector = getattr(row, "field6", "")
        return selector if field6 not in self.chosen.get(selector, (field6,)) else ""

    def executes(self, fn: int, field6: int) -> bool:
        """Whether function and field6 are an instruction of this hardware."""
        row = find(fn)
        legal = find_access(fn) is not None and field6 == 0 if row is None else field6 in row.legal_fields()
        return legal and not self.lacks(fn, field6)


def capabilities(instructions: Collection[str] = ALL_NAMES, **chosen: Iterable[int]) -> Capabilities:
    """Hardware with these instructions, and these values of field6 by selector (all of the others)."""
    return Capabilities(
        tuple(name for name in ALL_NAMES if name in instructions),
        {name: tuple(sorted(chosen.get(name, selector.legal))) for name, selector in OPTIONAL.items()},
    )


EVERYTHING = capabilities()
"""Hardware that lacks nothing."""


def instruction_set(text: str) -> tuple[str, ...]:
    """Names from a text: instructions and sets, apart by blanks, commas or plus signs; in the order of the table."""
    items = text.replace(",", " ").replace("+", " ").split()
    names: set[str] = set()
    for item in items:
        if item not in ALL_NAMES and item not in INSTRUCTION_SETS:
            known = ", ".join((*INSTRUCTION_SETS, *ALL_NAMES))
            raise SysmolError(f"there is no instruction {item!r}: choose from {known}")
        names.update(INSTRUCTION_SETS.get(item, (item,)))
    if not names:
        raise SysmolError("the list of instructions is empty")
    return tuple(name for name in ALL_NAMES if name in names)


def instruction_set_name(names: Collection[str]) -> str:
    """The inverse of :func:`instruction_set`: a set's name where the set is all, else the instructions' names."""
    for name, members in INSTRUCTION_SETS.items():
        if set(members) == set(names):
            return name
    return " ".join(name for name in ALL_NAMES if name in names)


def selector_values(selector: str, text: str) -> tuple[int, ...]:
    """Values of field6 that a text lists: ``all``, or numbers, of forms those of bits [3:0] (each with all words)."""
    legal = SELECTORS[selector].legal
    if text.strip() == "all":
        return legal
    try:
        numbers = {int(item) for item in text.replace(",", " ").replace("+", " ").split()}
    except ValueError:
        numbers = set()
    if selector == "form":
        valid = set(range(len(FORMS)))
        values = numbers | {number + len(FORMS) for number in numbers}
    else:
        valid, values = set(legal), numbers
    if not numbers or not numbers <= valid:
        choice = SELECTORS[selector].choice
        raise SysmolError(f"{text!r} is no list of numbers of a {choice}: 0 to {max(valid)}, or all")
    return tuple(sorted(values))


def selector_text(selector: str, values: Collection[int]) -> str:
    """The inverse of :func:`selector_values`."""
    if set(values) == set(SELECTORS[selector].legal):
        return "all"
    return ",".join(str(value) for value in sorted(values) if selector != "form" or value < len(FORMS))
