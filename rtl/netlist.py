"""A mapped netlist: cells of the library and the nets between them, as Yosys writes it in JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sysmol.errors import SysmolError
from sysmol.rtl.circuit import Planes
from sysmol.rtl.liberty import Cell, Library

Net = int | str
"""A net's number, or a constant ``"0"``, ``"1"``, ``"x"``."""


@dataclass(frozen=True)
class Gate:
    """An instance of a cell with its inputs' nets in the cell's order, and its output's net."""

    cell: Cell
    inputs: tuple[Net, ...]
    output: int


@dataclass
class Netlist:
    """Gates in topological order (flip-flops are wires in that order), input and output buses, and names of nets."""

    inputs: dict[str, list[Net]]
    outputs: dict[str, list[Net]]
    gates: list[Gate]
    names: dict[int, str] = field(default_factory=dict)

    @property
    def flops(self) -> list[Gate]:
        """Its flip-flops."""
        return [gate for gate in self.gates if gate.cell.is_flop]

    def area(self) -> tuple[float, float]:
        """Area in um2 of the logic, and of the flip-flops."""
        logic = sum(gate.cell.area for gate in self.gates if not gate.cell.is_flop)
        return logic, sum(gate.cell.area for gate in self.flops)

    def leakage(self) -> float:
        """Leakage in pW."""
        return sum(gate.cell.leakage for gate in self.gates)

    def evaluate(self, inputs: Mapping[str, Planes], fault: int | None = None) -> dict[str, Planes]:
        """Outputs once every pipeline stage has seen ``inputs``; ``fault`` inverts the gate of that index."""
        values = self.settle(inputs, fault)
        return {name: np.stack([values[net] for net in bus]) for name, bus in self.outputs.items()}

    def settle(self, inputs: Mapping[str, Planes], fault: int | None = None) -> dict[Net, Any]:
        """Value of every net once every pipeline stage has seen ``inputs``."""
        words = next(iter(inputs.values())).shape[1]
        zero = np.zeros(words, dtype=np.uint64)
        values: dict[Net, Any] = {"0": zero, "1": ~zero, "x": zero}
        for name, bus in self.inputs.items():
            for i, net in enumerate(bus):
                values[net] = inputs[name][i] if name in inputs else zero
        for index, gate in enumerate(self.gates):
            value = gate.cell.evaluate(*(values[net] for net in gate.inputs))
            values[gate.output] = ~value if index == fault else value
        return values


def read(text: str, top: str, library: Library) -> Netlist:
    """Netlist of module ``top`` from Yosys's JSON; :class:`SysmolError` where it holds anything but library cells."""
    module = json.loads(text)["modules"][top]
    gates = []
    for name, cell in module["cells"].items():
        kind = library.cells.get(cell["type"])
        if kind is None:
            raise SysmolError(f"netlist of {top}: {cell['type']} ({name}) is no cell of the library {library.name}")
        pins = {pin: bits[0] for pin, bits in cell["connections"].items()}
        gates.append(Gate(kind, tuple(pins[pin] for pin in kind.inputs), pins[kind.output]))
    ports: dict[str, dict[str, list[Net]]] = {"input": {}, "output": {}}
    for name, port in module["ports"].items():
        ports[port["direction"]][name] = port["bits"]
    names: dict[int, str] = {}
    for name, entry in module["netnames"].items():
        for i, net in enumerate(entry["bits"]):
            if isinstance(net, int) and (not entry.get("hide_name") or net not in names):
                names[net] = f"{name}[{i}]"
    clock = ports["input"].pop("clk", [])
    known = {net for bus in ports["input"].values() for net in bus} | set(clock)
    return Netlist(ports["input"], ports["output"], _ordered(gates, known, top), names)


def _ordered(gates: list[Gate], known: set[Net], top: str) -> list[Gate]:
    """Gates, each behind those that drive its inputs."""
    driver = {gate.output: gate for gate in gates}
    done: set[int] = set()
    order: list[Gate] = []
    for root in gates:
        stack = [(root, False)]
        while stack:
            gate, ready = stack.pop()
            if gate.output in done:
                continue
            if ready:
                done.add(gate.output)
                order.append(gate)
                continue
            stack.append((gate, True))
            for net in gate.inputs:
                if isinstance(net, int) and net not in known and net not in done:
                    if net not in driver:
                        raise SysmolError(f"netlist of {top}: net {net} has no driver")
                    stack.append((driver[net], False))
        if len(order) > len(gates):
            raise SysmolError(f"netlist of {top}: its gates form a loop")
    return order
