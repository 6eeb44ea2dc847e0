"""The cell library: area, functions, delay, power and leakage of its cells, read from a Liberty file.

Units are the library's own: ps, fF, um2, fJ (internal energy: 1 V * 1 V * 1 fF), pW. Only what this package uses is
kept: NLDM delay and transition tables, setup times, internal power, pin capacitances, functions, flip-flops. Power is
that of the supply rail: the tables of the ground rail measure the same charge once more."""

import bisect
import functools
import hashlib
import lzma
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sysmol.errors import SysmolError

ASAP7 = Path(__file__).resolve().parent / "library" / "asap7_rvt_tt.lib.xz"
_TOKEN = re.compile(r'"[^"]*"|[A-Za-z0-9_.+\-!*&|^\[\]]+|[(){}:;,]')
_COMMENT = re.compile(r"/\*.*?\*/", re.S)


@dataclass
class Group:
    """A group of a Liberty file: ``name (arguments) { attributes, groups }``."""

    name: str
    arguments: tuple[str, ...]
    attributes: dict[str, list[str]] = field(default_factory=dict)
    groups: list["Group"] = field(default_factory=list)

    def all(self, name: str) -> Iterator["Group"]:
        """Its groups of this name."""
        return (group for group in self.groups if group.name == name)

    def first(self, name: str) -> "Group | None":
        """Its first group of this name."""
        return next(self.all(name), None)

    def get(self, name: str, default: str = "") -> str:
        """First value of an attribute."""
        return self.attributes.get(name, [default])[0]


def parse(text: str) -> Group:
    """Groups of a Liberty file's text."""
    tokens = [t for t in _TOKEN.findall(_COMMENT.sub("", text.replace("\\\n", " "))) if t != ","]
    root = Group("", ())
    stack = [root]
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if token == "}":
            stack.pop()
            at += 1
        elif token == ";":
            at += 1
        elif tokens[at + 1] == ":":
            stack[-1].attributes.setdefault(token, []).append(tokens[at + 2].strip('"'))  # a semicolon may be absent
            at += 3
        elif tokens[at + 1] == "(":
            end = tokens.index(")", at)
            arguments = tuple(t.strip('"') for t in tokens[at + 2 : end])
            if end + 1 < len(tokens) and tokens[end + 1] == "{":
                group = Group(token, arguments)
                stack[-1].groups.append(group)
                stack.append(group)
                at = end + 2
            else:
                stack[-1].attributes[token] = list(arguments)
                at = end + 1
        else:
            raise SysmolError(f"cell library: cannot read it at {token!r}")
    return root


def _numbers(texts: list[str]) -> list[float]:
    return [float(number) for text in texts for number in text.replace(",", " ").split()]


@dataclass(frozen=True)
class Table:
    """A look-up table over input transition (ps) and output load (fF), bilinear, extended linearly beyond its ends."""

    slews: tuple[float, ...]
    loads: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    def __call__(self, slew: float, load: float) -> float:
        """Value at this input transition and load."""
        i, x = _place(self.slews, slew)
        j, y = _place(self.loads, load)
        low, high = self.values[i], self.values[min(i + 1, len(self.values) - 1)]
        k = min(j + 1, len(low) - 1)
        return (1 - x) * ((1 - y) * low[j] + y * low[k]) + x * ((1 - y) * high[j] + y * high[k])


def _place(axis: tuple[float, ...], value: float) -> tuple[int, float]:
    if len(axis) < 2:
        return 0, 0.0
    i = min(max(bisect.bisect_right(axis, value) - 1, 0), len(axis) - 2)
    return i, (value - axis[i]) / (axis[i + 1] - axis[i])


def _table(group: Group | None) -> Table | None:
    """Table of a group; None where it is absent. A table of one axis is one of input transition."""
    if group is None:
        return None
    first, second = _numbers(group.attributes.get("index_1", [])), _numbers(group.attributes.get("index_2", []))
    slews, loads = tuple(first) or (0.0,), tuple(second) or (0.0,)
    rows = np.reshape(_numbers(group.attributes["values"]), (len(slews), len(loads)))
    return Table(slews, loads, tuple(tuple(float(v) for v in row) for row in rows))


@dataclass(frozen=True)
class Arc:
    """Delay from an input to an output: ``tables`` by the output's edge (``rise``, ``fall``): delay and transition.

    ``sense`` tells which edge of the input causes it: ``positive``, ``negative`` or ``both``.
    """

    source: str
    sense: str
    tables: dict[str, tuple[Table, Table]]


@dataclass(frozen=True)
class Cell:
    """One cell. ``functions`` by output; ``energy`` (fJ) by pin and its edge, averaged over the causes listed."""

    name: str
    area: float
    leakage: float
    capacitance: dict[str, float]
    functions: dict[str, str]
    arcs: dict[str, tuple[Arc, ...]]
    energy: dict[tuple[str, str], tuple[Table, ...]]
    clock: str = ""
    data: str = ""
    inverting: bool = False
    setup: dict[str, Table] = field(default_factory=dict)

    @property
    def is_flop(self) -> bool:
        """Whether it is a flip-flop."""
        return bool(self.clock)

    @property
    def output(self) -> str:
        """Its only output."""
        return next(iter(self.functions))

    @functools.cached_property
    def evaluate(self) -> Callable[..., Any]:
        """The output as a function of its inputs, in the order of :attr:`inputs`, on integers or arrays."""
        if self.is_flop:
            return (lambda d: ~d) if self.inverting else (lambda d: d)
        return boolean_function(self.functions[self.output], self.inputs)

    @functools.cached_property
    def inputs(self) -> tuple[str, ...]:
        """Inputs that the output depends on; a flip-flop's is its data."""
        return (self.data,) if self.is_flop else tuple(sorted(self.capacitance))

    def energies(self, pin: str, edge: str, slew: float, load: float) -> float:
        """Mean internal energy in fJ of an edge of a pin."""
        tables = self.energy.get((pin, edge), ())
        return sum(table(slew, load) for table in tables) / len(tables) if tables else 0.0


def boolean_function(text: str, inputs: tuple[str, ...]) -> Callable[..., Any]:
    """A Liberty function (``(!A * B) + C``) as a Python function of its inputs."""
    if not re.fullmatch(r"[A-Za-z0-9_ ()!*+&|^]+", text):
        raise SysmolError(f"cell library: cannot read the function {text!r}")
    expression = text.replace("!", "~").replace("*", "&").replace("+", "|")
    function: Callable[..., Any] = eval(f"lambda {', '.join(inputs)}: {expression}", {"__builtins__": {}})
    return function


@dataclass(frozen=True)
class Library:
    """Cells by name; ``sha256`` is that of the uncompressed file."""

    name: str
    voltage: float
    cells: dict[str, Cell]
    sha256: str
    text: str = field(repr=False)


def _cell(group: Group) -> Cell:
    capacitance: dict[str, float] = {}
    functions: dict[str, str] = {}
    arcs: dict[str, tuple[Arc, ...]] = {}
    energy: dict[tuple[str, str], list[Table]] = {}
    setup: dict[str, Table] = {}
    leakage = [
        float(state.get("value"))
        for state in group.all("leakage_power")
        if state.get("related_pg_pin") == "VDD" and not state.get("when")
    ]
    flop = group.first("ff")
    for pin in group.all("pin"):
        name = pin.arguments[0]
        for power in pin.all("internal_power"):
            if power.get("related_pg_pin") == "VDD":
                for edge in ("rise", "fall"):
                    table = _table(power.first(f"{edge}_power"))
                    if table is not None:
                        energy.setdefault((name, edge), []).append(table)
        if pin.get("direction") == "input":
            capacitance[name] = float(pin.get("capacitance"))
            for timing in pin.all("timing"):
                if timing.get("timing_type").startswith("setup"):
                    for edge in ("rise", "fall"):
                        table = _table(timing.first(f"{edge}_constraint"))
                        if table is not None:
                            setup[edge] = table
            continue
        functions[name] = pin.get("function")
        arcs[name] = tuple(_arc(timing) for timing in pin.all("timing") if timing.first("cell_rise") is not None)
    return Cell(
        group.arguments[0],
        float(group.get("area")),
        leakage[0] if leakage else 0.0,
        capacitance,
        functions,
        arcs,
        {key: tuple(tables) for key, tables in energy.items()},
        clock=flop.get("clocked_on") if flop else "",
        data=flop.get("next_state").strip("!") if flop else "",
        inverting=flop is not None and flop.get("next_state").startswith("!"),
        setup=setup,
    )


def _arc(timing: Group) -> Arc:
    sense = {"positive_unate": "positive", "negative_unate": "negative"}.get(timing.get("timing_sense"), "both")
    tables = {}
    for edge in ("rise", "fall"):
        delay, transition = _table(timing.first(f"cell_{edge}")), _table(timing.first(f"{edge}_transition"))
        if delay is not None and transition is not None:
            tables[edge] = (delay, transition)
    return Arc(timing.get("related_pin"), sense, tables)


@functools.cache
def load(path: Path = ASAP7) -> Library:
    """Read a library, compressed (``.xz``) or not; :class:`SysmolError` where it cannot be read."""
    try:
        data = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    except (OSError, lzma.LZMAError) as error:
        raise SysmolError(f"cannot read the cell library {path}: {error}") from None
    text = data.decode()
    root = parse(text).first("library")
    if root is None:
        raise SysmolError(f"{path} is no cell library in Liberty's format")
    cells = {group.arguments[0]: _cell(group) for group in root.all("cell")}
    voltage = float(root.get("nom_voltage"))
    return Library(root.arguments[0], voltage, cells, hashlib.sha256(data).hexdigest(), text)
