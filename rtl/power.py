"""Energy of an instruction at the gates, glitches counted: a simulation in time over many vectors at once.

Every net has a waveform of samples :data:`STEP` ps apart, 64 vectors to a machine word. A gate's output is its function
of its inputs' waveforms, each delayed by the gate's mean delay from that input; pulses shorter than the gate's delay
are removed, as a gate's inertia does. Registers and inputs change at the clock edge plus their launch delay, from the
value of one instruction to that of the next; the energy of the edges is the library's internal energy, plus C V^2 for
every rise of a net. Energy that a cell draws on input edges that change nothing, about 1% of an output's in this
library, is left out, and so are the clock tree and the registers of the operands; a flip-flop's own clock pin is in.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sysmol.rtl.circuit import Planes
from sysmol.rtl.liberty import Library
from sysmol.rtl.netlist import Net, Netlist
from sysmol.rtl.timing import CLOCK_SLEW, Timing

STEP = 4.0
"""Time between samples, ps."""
_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)

if hasattr(np, "bitwise_count"):

    def _ones(words: npt.NDArray[np.uint64]) -> int:
        return int(np.bitwise_count(words).sum())

else:
    _BYTE = np.array([bin(i).count("1") for i in range(256)], dtype=np.uint8)

    def _ones(words: npt.NDArray[np.uint64]) -> int:
        return int(_BYTE[words.view(np.uint8)].sum(dtype=np.int64))


@dataclass(frozen=True)
class Energy:
    """pJ per instruction: of gates' output edges that must be, of those that glitches add, of flip-flops, of leakage in
    one clock period."""

    useful: float
    glitches: float
    flops: float
    leakage: float

    @property
    def total(self) -> float:
        """pJ per instruction."""
        return self.useful + self.glitches + self.flops + self.leakage


def delayed(wave: Planes, steps: int) -> Planes:
    """A waveform, later."""
    if not steps:
        return wave
    out = np.empty_like(wave)
    out[:steps] = wave[0]
    out[steps:] = wave[:-steps]
    return out


def without_pulses(wave: Planes, steps: int) -> Planes:
    """A waveform without pulses, high or low, shorter than ``steps`` samples; edges stay where they are."""
    if steps < 2:
        return wave
    return _closed(_opened(wave, steps), steps)


def _opened(wave: Planes, steps: int) -> Planes:
    """Keep only runs of ones of at least ``steps`` samples."""
    return _spread(_held(wave, steps), steps)


def _closed(wave: Planes, steps: int) -> Planes:
    return ~_opened(~wave, steps)


def _held(wave: Planes, steps: int) -> Planes:
    """AND of this sample and the ``steps - 1`` after it; beyond the end the last value holds."""
    return _windowed(wave[::-1], steps, np.bitwise_and)[::-1]


def _spread(wave: Planes, steps: int) -> Planes:
    """OR of this sample and the ``steps - 1`` before it."""
    return _windowed(wave, steps, np.bitwise_or)


def _windowed(wave: Planes, steps: int, combine: np.ufunc) -> Planes:
    """Combine each sample with the ``steps - 1`` before it, by doubling; before the start the first value holds."""
    reach, out = 1, wave
    while reach < steps:
        further = min(reach, steps - reach)
        out = combine(out, delayed(out, further))
        reach += further
    return out


def simulate(
    netlist: Netlist,
    library: Library,
    timing: Timing,
    before: Mapping[str, Planes],
    after: Mapping[str, Planes],
    vectors: int,
) -> Energy:
    """Mean energy of the step from the instructions ``before`` to the instructions ``after``."""
    old, new = netlist.settle(before), netlist.settle(after)
    steps = int(timing.period / STEP) + 8
    volts = library.voltage
    waves: dict[Net, Planes] = {}
    uses: dict[Net, int] = {}
    for gate in netlist.gates:
        for net in gate.inputs:
            uses[net] = uses.get(net, 0) + 1
    useful = glitches = flops = 0.0

    def step_wave(net: Net, at: float) -> Planes:
        wave = np.empty((steps, len(old[net])), dtype=np.uint64)
        edge = min(int(at / STEP), steps - 1)
        wave[:edge], wave[edge:] = old[net], new[net]
        return wave

    for constant in ("0", "1", "x"):
        waves[constant] = step_wave(constant, 0.0)
    for bus in netlist.inputs.values():
        for net in bus:
            waves[net] = step_wave(net, timing.launch)
    for gate in netlist.flops:
        waves[gate.output] = step_wave(gate.output, timing.launch)
    for gate in netlist.gates:
        cell, net = gate.cell, gate.output
        load = timing.loads.get(net, 0.0)
        if cell.is_flop:
            rises, falls = _ones(~old[net] & new[net]), _ones(old[net] & ~new[net])
            flops += rises * (cell.energies(cell.output, "rise", CLOCK_SLEW, load) + load * volts**2)
            flops += falls * cell.energies(cell.output, "fall", CLOCK_SLEW, load)
            clock = sum(cell.energies(cell.clock, edge, CLOCK_SLEW, 0.0) for edge in ("rise", "fall"))
            flops += vectors * (clock + cell.capacitance[cell.clock] * volts**2)
            (data,) = gate.inputs
            flops += (
                0.5
                * _ones(waves[data][1:] ^ waves[data][:-1])
                * sum(cell.energies(cell.data, edge, timing.slews[data], 0.0) for edge in ("rise", "fall"))
            )
        else:
            lags = [max(0, round(d / STEP)) for d in timing.delays[net]]
            wave = cell.evaluate(*(delayed(waves[n], lag) for n, lag in zip(gate.inputs, lags, strict=True)))
            wave = without_pulses(wave, min(lags))
            waves[net] = wave
            slew = sum(timing.slews[n] for n in gate.inputs) / len(gate.inputs)
            rise = cell.energies(cell.output, "rise", slew, load) + load * volts**2
            fall = cell.energies(cell.output, "fall", slew, load)
            rises, falls = _ones(~wave[:-1] & wave[1:]), _ones(wave[:-1] & ~wave[1:])
            needed = _ones(~wave[0] & wave[-1]) * rise + _ones(wave[0] & ~wave[-1]) * fall
            useful += needed
            glitches += rises * rise + falls * fall - needed
        for n in gate.inputs:
            uses[n] -= 1
            if not uses[n] and isinstance(n, int):
                waves.pop(n, None)
    femto = 1e-3 / vectors
    leakage = netlist.leakage() * timing.period * 1e-12  # pW * ps = 1e-24 J; in pJ
    return Energy(useful * femto, glitches * femto, flops * femto, leakage)
