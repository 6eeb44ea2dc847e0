"""Static timing of a mapped netlist from the library's tables, and the delays that the energy simulation uses.

Launch: flip-flops, and inputs as if a flip-flop of the library drove them into a load of :data:`BOUNDARY_LOAD`.
Capture: flip-flops, and outputs as if one took them; setup times are part of every delay. The load of a net is the
capacitance of the pins that it drives, plus ``wire`` fF for each. The clock is ideal.
"""

from collections import defaultdict
from dataclasses import dataclass

from sysmol.rtl.liberty import Cell, Library
from sysmol.rtl.netlist import Net, Netlist

FLOP = "DFFHQNx1_ASAP7_75t_R"
CLOCK_SLEW = 20.0
"""Transition of the clock, ps."""
BOUNDARY_LOAD = 3.0
"""Load, fF, behind the flip-flops that are assumed at inputs: a buffer of the operand bus."""
EDGES = ("rise", "fall")
OTHER = {"rise": "fall", "fall": "rise"}


@dataclass
class Timing:
    """``stages``: the longest delay, ps, of each pipeline stage with launch and setup, the last one into the outputs.

    ``delays``: for the energy simulation, ps from each input of a gate, by its output net; ``slews`` ps, ``loads`` fF.
    """

    stages: list[float]
    delays: dict[int, list[float]]
    slews: dict[Net, float]
    loads: dict[Net, float]
    launch: float

    @property
    def period(self) -> float:
        """Shortest clock period, ps."""
        return max(self.stages)


def net_loads(netlist: Netlist, library: Library, wire: float) -> dict[Net, float]:
    """Load of every net in fF."""
    loads: dict[Net, float] = defaultdict(float)
    for gate in netlist.gates:
        for pin, net in zip(gate.cell.inputs, gate.inputs, strict=True):
            loads[net] += gate.cell.capacitance[pin] + wire
    data = library.cells[FLOP]
    for bus in netlist.outputs.values():
        for net in bus:
            loads[net] += data.capacitance[data.data] + wire
    return loads


def analyse(netlist: Netlist, library: Library, wire: float = 0.0) -> Timing:
    """Timing of a netlist, whose pipeline has no loops."""
    loads = net_loads(netlist, library, wire)
    flop = library.cells[FLOP]
    launch, launch_slew = _launch(flop, BOUNDARY_LOAD)
    arrival: dict[Net, dict[str, float]] = {}
    slew: dict[Net, dict[str, float]] = {}
    for constant in ("0", "1", "x"):
        arrival[constant], slew[constant] = dict.fromkeys(EDGES, 0.0), dict.fromkeys(EDGES, CLOCK_SLEW)
    for bus in netlist.inputs.values():
        for net in bus:
            arrival[net], slew[net] = dict.fromkeys(EDGES, launch), dict.fromkeys(EDGES, launch_slew)
    for gate in netlist.flops:
        at, transition = _launch(gate.cell, loads[gate.output])
        arrival[gate.output], slew[gate.output] = dict.fromkeys(EDGES, at), dict.fromkeys(EDGES, transition)
    delays: dict[int, list[float]] = {}
    for gate in netlist.gates:
        if gate.cell.is_flop:
            delays[gate.output] = [0.0]
            continue
        _propagate(gate.cell, gate.inputs, gate.output, loads[gate.output], arrival, slew, delays)
    height = heights(netlist)
    last = max(height.values(), default=0)
    stages = [0.0] * (last + 1)
    for gate in netlist.flops:
        (net,) = gate.inputs
        stage = last - height[gate.output]
        stages[stage] = max(stages[stage], _capture(gate.cell, arrival[net], slew[net]))
    for bus in netlist.outputs.values():
        for net in bus:
            stages[last] = max(stages[last], _capture(flop, arrival[net], slew[net]))
    mean_slews = {net: sum(edges.values()) / 2 for net, edges in slew.items()}
    return Timing(stages, delays, mean_slews, dict(loads), launch)


def heights(netlist: Netlist) -> dict[Net, int]:
    """Of every flip-flop's output, how many flip-flops a way from it to an output has at most, with itself."""
    above: dict[Net, int] = defaultdict(int)
    found: dict[Net, int] = {}
    for gate in reversed(netlist.gates):
        height = above[gate.output] + gate.cell.is_flop
        if gate.cell.is_flop:
            found[gate.output] = height
        for net in gate.inputs:
            above[net] = max(above[net], height)
    return found


def _launch(flop: Cell, load: float) -> tuple[float, float]:
    tables = flop.arcs[flop.output][0].tables
    return (
        max(tables[edge][0](CLOCK_SLEW, load) for edge in EDGES),
        max(tables[edge][1](CLOCK_SLEW, load) for edge in EDGES),
    )


def _capture(flop: Cell, arrival: dict[str, float], slew: dict[str, float]) -> float:
    return max(arrival[edge] + flop.setup[edge](slew[edge], CLOCK_SLEW) for edge in EDGES)


def _propagate(
    cell: Cell,
    inputs: tuple[Net, ...],
    output: int,
    load: float,
    arrival: dict[Net, dict[str, float]],
    slew: dict[Net, dict[str, float]],
    delays: dict[int, list[float]],
) -> None:
    """Latest arrival and slowest transition of a gate's output, and the mean delay from each input."""
    latest, slowest = dict.fromkeys(EDGES, 0.0), dict.fromkeys(EDGES, 0.0)
    seen: dict[str, list[float]] = defaultdict(list)
    nets = dict(zip(cell.inputs, inputs, strict=True))
    for arc in cell.arcs[cell.output]:
        net = nets[arc.source]
        for edge, (delay_table, slew_table) in arc.tables.items():
            causes = (edge,) if arc.sense == "positive" else (OTHER[edge],) if arc.sense == "negative" else EDGES
            for cause in causes:
                delay = delay_table(slew[net][cause], load)
                seen[arc.source].append(delay)
                latest[edge] = max(latest[edge], arrival[net][cause] + delay)
                slowest[edge] = max(slowest[edge], slew_table(slew[net][cause], load))
    arrival[output], slew[output] = latest, slowest
    delays[output] = [sum(seen[pin]) / len(seen[pin]) if seen[pin] else 0.0 for pin in cell.inputs]
