"""Chosen schedules as data: a JSON file, keyed by what a layer's best schedule depends on.

``{"format": "sysmol-schedules", "version": 1, "entries": {KEY: ENTRY}}``. A key is the hash of the layer's
:func:`description` (operation, geometry, formats and patterns of its tensors), the ISA and the machine's name, so that
layers of one shape share an entry, in any network. An entry holds that description, the chosen ``schedule`` and its
``cycles``, the heuristic's choice ``heuristic``, all ``measured`` schedules with their cycles, and ``source``: who gave
the cycles (a gem5 version, or ``estimate``).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_json, content_key, read_json
from sysmol.network import Layer, Network, operation
from sysmol.schedule import Schedule

FORMAT, VERSION = "sysmol-schedules", 1


def description(net: Network, layer: Layer, isa: str, machine: str) -> dict[str, Any]:
    """What the best schedule of a convolution depends on, as plain data."""

    def tensor(name: str) -> dict[str, Any]:
        t = net.tensors[name]
        return {"format": t.format, "shape": list(t.shape), "patterns": list(t.patterns)}

    return {
        "op": layer.op,
        "kernel": list(layer.kernel),
        "stride": list(layer.stride),
        "padding": list(layer.padding),
        "input": tensor(layer.input),
        "residual": tensor(layer.residual) if layer.residual else None,
        "outputs": [tensor(name) for name in layer.targets],
        "isa": isa,
        "machine": machine,
    } | ({} if layer.dilation == (1, 1) else {"dilation": list(layer.dilation)})


def key(facts: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that identify a :func:`description`."""
    return content_key(facts)[:16]


def convolutions(net: Network) -> list[Layer]:
    """The layers that have a schedule."""
    return [layer for layer in net.layers if operation(layer).mixes_channels and layer.input != net.input]


def read(path: str | Path) -> dict[str, dict[str, Any]]:
    """The entries of a file; none where it does not exist yet."""
    if not Path(path).exists():
        return {}
    entries = read_json(path, FORMAT, VERSION).get("entries")
    if not isinstance(entries, dict) or not all(isinstance(e, dict) and "schedule" in e for e in entries.values()):
        raise SysmolError(f'{path} holds no table of schedules under "entries": make it again with sysmol tune')
    return entries


def write(path: str | Path, entries: Mapping[str, Mapping[str, Any]]) -> Path:
    """Add ``entries`` to a file; those with the same key are replaced."""
    merged = read(path) | {name: dict(entry) for name, entry in entries.items()}
    data = {"format": FORMAT, "version": VERSION, "entries": dict(sorted(merged.items()))}
    return atomic_write_json(path, data)


def stored(path: str | Path, net: Network, isa: str, machine: str) -> dict[str, Schedule]:
    """Schedules by layer name that a file holds for a network; layers without an entry are left out."""
    if not Path(path).exists():
        raise SysmolError(f"there is no {path}: make it with sysmol tune")
    entries = read(path)
    result = {}
    for layer in convolutions(net):
        entry = entries.get(key(description(net, layer, isa, machine)))
        if entry is not None:
            result[layer.name] = Schedule.parse(str(entry["schedule"]))
    return result
