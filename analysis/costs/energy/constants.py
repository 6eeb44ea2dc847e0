"""Constants of a core with ranges and sources, and draws of them that agree with the core's power.

A core is a JSON file in ``cores/`` (format ``sysmol-energy``, version 1): which of gem5's core models and which machine
it stands for, the constants, and where it is known the power per cycle with the events per cycle of the code that
was running. Draws are log-uniform within the ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sysmol.errors import SysmolError
from sysmol.files import read_json
from sysmol.machine import Machine, load_machine
from sysmol.typed import entries, many, number, passage, table, text

FORMAT, VERSION = "sysmol-energy", 1
CORES = Path(__file__).resolve().parent / "cores"
CYCLE, ARITHMETIC = "cycle", "arithmetic"
EVENTS = ("instruction", "l1d_access", "l2_access", "dram_line")
"""Kinds of events beside cycles and arithmetic."""
DRAWS, SEED = 4000, 20
TRIES = 50
"""Rounds of draws, after which a power that no constants give is a mistake in the file."""

_RANGE = {"low": number(0), "high": number(0)}
_CONSTANT = table(_RANGE | {"unit": text, "source": text, "note": passage})
_POWER = table(_RANGE | {"unit": text, "source": text, "note": passage, "events_per_cycle": entries(table(_RANGE))})
_FIELDS = table(
    {
        "name": text,
        "core_models": many(text, 1),
        "machine": passage,
        "sources": entries(passage),
        "constants": table(dict.fromkeys((CYCLE, ARITHMETIC, *EVENTS), _CONSTANT)),
    },
    {"power": _POWER},
)

Draws = Mapping[str, npt.NDArray[np.float64]]
"""Constants by name, ``[DRAWS]`` each: pJ, and of ``arithmetic`` a factor."""


@dataclass(frozen=True)
class Core:
    """What a core's file says."""

    name: str
    core_models: tuple[str, ...]
    machine: str
    sources: Mapping[str, str]
    constants: Mapping[str, Mapping[str, Any]]
    power: Mapping[str, Any] | None = None

    def stands_for(self, core_model: str, machine: Machine) -> bool:
        """Whether its constants are of this core: gem5's core model, and the machine's core where that counts."""
        return core_model in self.core_models and (not self.machine or machine.core == load_machine(self.machine).core)


def read_core(path: Path) -> Core:
    """A file of constants; :class:`SysmolError` where a source is not named, or a range is none."""
    data = read_json(path, FORMAT, VERSION, _FIELDS)
    data = {key: value for key, value in data.items() if key not in ("format", "version")}
    core = Core(**data | {"core_models": tuple(data["core_models"])})
    for name, constant in [*core.constants.items(), *([("power", core.power)] if core.power else [])]:
        if constant["source"] not in core.sources:
            raise SysmolError(f"{path}: {name} names the source {constant['source']!r}, which is none of the sources")
        if not 0 < constant["low"] <= constant["high"]:
            raise SysmolError(f"{path}: {name} has no range from {constant['low']} to {constant['high']}")
    return core


@cache
def cores() -> tuple[Core, ...]:
    """Those that there are."""
    return tuple(read_core(path) for path in sorted(CORES.glob("*.json")))


def core_of(core_model: str, machine: Machine) -> Core | None:
    """The constants for a core model of gem5 (``estimate`` and ``prediction`` are that of O3) on a machine; None where
    there are none."""
    return next((core for core in cores() if core.stands_for(core_model, machine)), None)


def _drawn(ranges: Mapping[str, Mapping[str, Any]], rng: np.random.Generator) -> dict[str, npt.NDArray[np.float64]]:
    return {
        name: np.exp(rng.uniform(np.log(found["low"]), np.log(found["high"]), DRAWS)) for name, found in ranges.items()
    }


def draw(core: Core, seed: int = SEED) -> Draws:
    """Constants, :data:`DRAWS` of each, with which the core takes its power; always the same for a seed.

    :class:`SysmolError` where hardly any do.
    """
    rng = np.random.default_rng(seed)
    kept: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in core.constants}
    count = 0
    for _ in range(TRIES):
        drawn = _drawn(core.constants, rng)
        fits = _fits(core, drawn, rng)
        for name, values in drawn.items():
            kept[name].append(values[fits])
        count += int(fits.sum())
        if count >= DRAWS:
            return {name: np.concatenate(parts)[:DRAWS] for name, parts in kept.items()}
    raise SysmolError(f"{core.name}: hardly any constants within their ranges give the core's power: widen a range")


def _fits(core: Core, drawn: Draws, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Draws whose power is the core's, with events drawn from their ranges."""
    if core.power is None:
        return np.ones(DRAWS, dtype=np.bool_)
    rates = _drawn(core.power["events_per_cycle"], rng)
    power = drawn[CYCLE] + sum(rates[name] * drawn[name] for name in rates)
    return (power >= core.power["low"]) & (power <= core.power["high"])
