"""Hardware design points as data: cores, functional units, latencies, the SMOL unit, caches and memory.

A machine is a JSON file (``sysmol/machines/*.json``, or any path): format ``sysmol-machine``, version 1. It may use
parts (core, caches, memory, SMOL unit) that other machines use too. The same description makes gem5's core
(``configs_gem5/run_net.py``), feeds the built-in estimate and goes whole into every run folder. Every latency names its
source. docs/machines.md tells how to add a machine.

| file | what |
|---|---|
| ``core.py``, ``functional_units.py``, ``smol_unit.py``, ``caches.py`` | the pieces of a description, and their rules |
| ``op_classes.py`` | gem5's operation classes |
| ``pattern_sets.py`` | sets of patterns by name |
| ``machine.py`` | the whole |
| ``files.py``, ``parts.py``, ``reader.py`` | reading: files, what they share, strict access |
| ``smol_option.py`` | the option ``--smol`` |

Standard library only: gem5's embedded Python imports this.
"""

from sysmol.machine.caches import Cache, Memory
from sysmol.machine.core import Core
from sysmol.machine.files import (
    MACHINE_FOLDER,
    MACHINE_FORMAT,
    MACHINE_VERSION,
    list_machines,
    load_machine,
    machine_files,
    machine_path,
)
from sysmol.machine.functional_units import Latency, Unit
from sysmol.machine.machine import Machine, parse_machine
from sysmol.machine.op_classes import CLASS_GROUPS, OP_CLASSES
from sysmol.machine.parts import PARTS_FOLDER, compose
from sysmol.machine.pattern_sets import PATTERN_SETS, pattern_set, pattern_set_name
from sysmol.machine.smol_unit import SMOL_FUNCTIONS, SmolFunction, SmolUnit

__all__ = [
    "CLASS_GROUPS",
    "MACHINE_FOLDER",
    "MACHINE_FORMAT",
    "MACHINE_VERSION",
    "OP_CLASSES",
    "PARTS_FOLDER",
    "PATTERN_SETS",
    "SMOL_FUNCTIONS",
    "Cache",
    "Core",
    "Latency",
    "Machine",
    "Memory",
    "SmolFunction",
    "SmolUnit",
    "Unit",
    "compose",
    "list_machines",
    "load_machine",
    "machine_files",
    "machine_path",
    "parse_machine",
    "pattern_set",
    "pattern_set_name",
]
