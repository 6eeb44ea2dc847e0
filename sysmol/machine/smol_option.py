"""The option that changes a machine's SMOL unit: ``units=2,vdot=4,share=no``. Works on JSON objects."""

import copy
from dataclasses import dataclass, field
from typing import Any

from sysmol.errors import SysmolError
from sysmol.isa import BY_UNIT
from sysmol.machine.smol_unit import LISTS, SMOL_FUNCTIONS, default_function, named_instructions

PIPELINED = ".pipelined"


@dataclass
class Wishes:
    """What an option says. ``every`` holds changes of all functions, ``one`` those of some, which win."""

    share: str | None = None
    units: int | None = None
    lists: dict[str, str] = field(default_factory=dict)
    every: dict[str, Any] = field(default_factory=dict)
    one: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


def change_smol(smol: dict[str, Any], text: str, starts_per_cycle: int) -> dict[str, Any]:
    """The ``smol`` object of a machine as the option ``text`` wants it.

    Items are separated by commas: ``shared`` (as the machine says), ``separate``, ``share=v0+v1`` (the units named),
    ``share=no``, ``units=N`` (units of its own), ``latency=N`` and ``pipelined=yes|no`` (all functions), ``vdot=N``,
    ``vdot.pipelined=yes|no`` (one function), ``patterns=P4`` or ``patterns=0+36+44``, ``pieces=0+10+14``,
    ``forms=all``, ``instructions=standard+matrix``. A unit of its own without a count has ``starts_per_cycle``, what
    the machine had. Raises :class:`SysmolError` on anything else.
    """
    try:
        made = copy.deepcopy(smol)
        wishes = read_option(text, SMOL_FUNCTIONS)
        made.update(wishes.lists)
        change_instructions(made, wishes)
        change_functions(made["functions"], wishes)
        change_place(made, wishes, starts_per_cycle)
    except ValueError as error:
        raise SysmolError(
            f"SMOL unit {text!r}: {error}; an example: units=2,vdot=4,vmac.pipelined=no,patterns=P4,share=no"
        ) from None
    return made


def read_option(text: str, functions: tuple[str, ...]) -> Wishes:
    """The items of an option; :class:`ValueError` with the reason where one is not known or stands twice."""
    wishes = Wishes()
    seen: set[str] = set()
    for item in (item.strip() for item in text.split(",")):
        key, _, value = item.partition("=")
        if item in ("shared", "separate"):
            key, value = "share", "yes" if item == "shared" else "no"
        if key in seen:
            raise ValueError(f"{key} stands twice")
        seen.add(key)
        function = key.removesuffix(PIPELINED)
        if key == "share":
            wishes.share = value
        elif key == "units":
            wishes.units = number(value)
        elif key in ("patterns", "instructions", *LISTS):
            wishes.lists[key] = value.replace("+", ",")
        elif key == "latency":
            wishes.every["cycles"] = number(value)
        elif key == "pipelined":
            wishes.every["pipelined"] = truth(value)
        elif function in functions:
            wishes.one.append((function, {"cycles": number(value)} if key == function else {"pipelined": truth(value)}))
        else:
            raise ValueError(f"{item!r} is not known: items are {', '.join(functions)}, and those of the example")
    return wishes


def number(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 1000:
        raise ValueError(f"{value!r} is no number from 1 to 1000")
    return int(value)


def truth(value: str) -> bool:
    if value not in ("yes", "no"):
        raise ValueError(f"{value!r} is neither yes nor no")
    return value == "yes"


def change_instructions(smol: dict[str, Any], wishes: Wishes) -> None:
    """The instructions that the machine has: what it did not describe has the defaults; what it lost is gone."""
    rows, had = {row.name: row for row in BY_UNIT}, smol["functions"]
    names = [name for name in named_instructions(smol) if name in rows]
    for name, _ in wishes.one:
        if name not in names:
            raise ValueError(f"the machine has no {name}: add it as in instructions=standard+matrix")
    smol["functions"] = {name: had.get(name) or default_function(rows[name]) for name in names}


def change_functions(functions: dict[str, Any], wishes: Wishes) -> None:
    """What is said of one function wins over what is said of all, in whatever order."""
    everywhere = [(name, wishes.every) for name in functions] if wishes.every else []
    for name, change in everywhere + wishes.one:
        functions[name].update(change, source="option", note="")


def change_place(smol: dict[str, Any], wishes: Wishes, starts_per_cycle: int) -> None:
    """Units of its own, or those that it shares."""
    if wishes.units is not None and wishes.share not in (None, "no"):
        raise ValueError("a shared unit has the pipes of its machine: leave out units, or say share=no")
    if wishes.units is not None or wishes.share == "no":
        smol.pop("share", None)
        smol["count"] = wishes.units if wishes.units is not None else smol.get("count", starts_per_cycle)
    elif wishes.share == "yes" and "share" not in smol:
        raise ValueError("the machine has a SMOL unit of its own: name the pipes to share, as in share=v0+v1")
    elif wishes.share not in (None, "yes"):
        smol.pop("count", None)
        smol["share"] = [name for name in str(wishes.share).split("+") if name]
