"""The numbers of the twin of the core (:mod:`sysmol.analysis.costs.twin`), and their file ``twin.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

from sysmol.files import atomic_write_json, read_json
from sysmol.typed import entries, many, number, table, text, whole

FORMAT, VERSION = "sysmol-core-twin", 2
FILE = Path(__file__).with_name("twin.json")


@dataclass(frozen=True)
class Memory:
    """Cycles per line of 64 bytes, ``near`` from L2 and ``far`` from memory; where the footprint passes L2; cycles of
    a layer's start; how much dearer lines of weights are in depthwise layers and on RISC-V; ``overlap``: q."""

    weights_near: float
    weights_far: float
    tensors_far: float
    code_far: float
    middle: float
    width: float
    start: float
    depthwise: float
    riscv: float
    overlap: float


_ENDS = many(number(0), 2, 2)
_KIND = many(number(-5, 5), 3, 3)
_FIELDS = table(
    {
        "against": text,
        "machine": text,
        "rows": whole(1),
        "clock_ghz": number(0),
        "memory": table({each.name: number(0) for each in fields(Memory)}),
        "kinds": entries(_KIND),
        "others": _KIND,
        "layers": entries(_ENDS),
        "networks": entries(_ENDS),
    }
)


@dataclass(frozen=True)
class Parameters:
    """``machine``: on which layers were measured. ``kinds``: a, b and c by ISA and kind, ``others`` of those that were
    not measured. ``layers``, ``networks``: by ISA, what was measured over what was predicted of networks that were left
    out, 19 of 20 (layers) or all of them (networks)."""

    against: str
    machine: str
    rows: int
    clock_ghz: float
    memory: Memory
    kinds: Mapping[str, Sequence[float]]
    others: Sequence[float]
    layers: Mapping[str, Sequence[float]]
    networks: Mapping[str, Sequence[float]]

    @classmethod
    def load(cls, path: Path = FILE) -> Parameters:
        """:class:`~sysmol.errors.SysmolError` where the file is wrong."""
        data = read_json(path, FORMAT, VERSION, _FIELDS)
        memory = Memory(**{each.name: data["memory"][each.name] for each in fields(Memory)})
        return cls(**{each.name: data[each.name] for each in fields(cls) if each.name != "memory"}, memory=memory)

    def save(self, path: Path = FILE) -> Path:
        """Write what :meth:`load` reads."""
        return atomic_write_json(path, {"format": FORMAT, "version": VERSION, **asdict(self)})


@cache
def known() -> Parameters:
    """Those that come with the package."""
    return Parameters.load()


def network_interval(isa: str) -> tuple[float, float]:
    """What a whole network's cycles may be, over the predicted ones: ``(low, high)``, low <= 1 <= high."""
    low, high = known().networks[isa]
    return low, high
