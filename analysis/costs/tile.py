"""Cycles of the layers of a network on a compute-in-memory tile: the closed form of :mod:`sysmol.cim.estimate`.

With a correction (``tile_corrections.json``, from ``python -m sysmol.benchmarks.tile_corrections``) the closed form is
multiplied by what gem5 measured on other layers and tiles, and the interval holds 19 of 20 layers of networks and tiles
that the correction had not seen. Without one the closed form stands alone and has no interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sysmol.analysis.costs.protocol import LayerCost, NetworkCost, absent
from sysmol.analysis.costs.quantity import Absent, Kind, Quantity
from sysmol.analysis.costs.workload import Workload
from sysmol.cim.estimate import Shape, estimate, shape_of
from sysmol.cim.layout import Layout, plain_layouts
from sysmol.cim.mapping import Unmappable
from sysmol.cim.tile import Tile
from sysmol.files import atomic_write_json, read_json
from sysmol.machine import Machine
from sysmol.network import Network
from sysmol.typed import many, number, table, text, whole

FORMAT, VERSION = "sysmol-tile-corrections", 1
FILE = Path(__file__).parent / "tile_corrections.json"
FEATURES = ("closed", "pixels", "channels", "inputs", "taps", "depthwise", "rows", "columns", "feed")
Floats = npt.NDArray[np.float64]
_FIELDS = table(
    {
        "against": text,
        "points": whole(1),
        "coefficients": many(number(), len(FEATURES) + 1, len(FEATURES) + 1),
        "low": number(0),
        "high": number(0),
    }
)


def features(shapes: Sequence[Shape], tiles: Sequence[Tile], closed: Floats) -> Floats:
    """What a correction looks at, ``[n, 1 + features]``, the first column 1."""
    rows = []
    for s, t, cycles in zip(shapes, tiles, closed, strict=True):
        inputs = s.elements_8 + s.elements_4 + s.elements_2 + s.elements_1
        sizes = (cycles, s.height * s.width, s.channels, inputs, s.kernel_y * s.kernel_x)
        rows.append([1.0, *map(math.log, sizes), s.depthwise, *map(math.log, (t.rows, t.columns, t.feed_bytes))])
    return np.array(rows, dtype=np.float64)


@dataclass(frozen=True)
class Correction:
    """The logarithm of a factor, linear in :func:`features`; the interval around the corrected figure, as factors."""

    against: str
    points: int
    coefficients: tuple[float, ...]
    low: float
    high: float

    @classmethod
    def load(cls, path: Path = FILE) -> Correction:
        """:class:`~sysmol.errors.SysmolError` where the file is wrong."""
        data = read_json(path, FORMAT, VERSION, _FIELDS)
        return cls(data["against"], data["points"], tuple(data["coefficients"]), data["low"], data["high"])

    def save(self, path: Path) -> None:
        """Write what :meth:`load` reads."""
        atomic_write_json(path, {"format": FORMAT, "version": VERSION, **asdict(self)})

    def factor(self, x: Floats) -> Floats:
        """Of every row of features."""
        return np.asarray(np.exp(x @ np.array(self.coefficients)))


@dataclass(frozen=True)
class TileTwin:
    """A tile as a :class:`~sysmol.analysis.costs.protocol.CostModel`. Layers that it cannot compute are absent, with
    the reason; :meth:`NetworkCost.completed_by` adds those of the core."""

    tile: Tile = field(default_factory=Tile)
    correction: Correction | None = None
    name = "tile"

    @property
    def kind(self) -> Kind:
        """An estimate; a prediction where it is corrected by measurements of others."""
        return Kind.ESTIMATE if self.correction is None or self.correction.against != "gem5" else Kind.PREDICTION

    def cost(self, workload: Workload, machine: Machine) -> NetworkCost:
        """Cycles of the machine's core while the tile computes each layer."""
        net = workload.network
        per_cycle = machine.clock_ghz / self.tile.clock_ghz
        found = layer_cycles(net, plain_layouts(net), self.tile, self.correction)
        layers = []
        for layer in net.layers:
            cycles = found[layer.name]
            if isinstance(cycles, str):
                layers.append(LayerCost(layer.name, layer.op, Absent(absent("cycles").unit, cycles)))
                continue
            low, value, high = (each * per_cycle for each in cycles)
            quantity = Quantity(value, low, high, absent("cycles").unit, self.kind, self.source)
            layers.append(LayerCost(layer.name, layer.op, quantity))
        return NetworkCost(net.name, "tile", workload.isa, machine.name, tuple(layers))

    @property
    def source(self) -> str:
        """Who says so."""
        if self.correction is None:
            return "closed form of the tile"
        return f"closed form of the tile, against {self.correction.against} on {self.correction.points} layers"


def layer_cycles(
    net: Network, layouts: Mapping[str, Layout], tile: Tile, correction: Correction | None
) -> dict[str, tuple[float, float, float] | str]:
    """Cycles of the tile for every layer: least, likeliest and most; or why it cannot compute it."""
    result: dict[str, tuple[float, float, float] | str] = {}
    for layer in net.layers:
        try:
            shape = shape_of(net, layer, layouts)
        except Unmappable as reason:
            result[layer.name] = str(reason)
            continue
        closed = estimate([shape], [tile])
        if not math.isfinite(closed[0]):
            result[layer.name] = f"layer {layer.name} does not fit the tile"
            continue
        value = float(closed[0])
        if correction is None:
            result[layer.name] = (value, value, value)
            continue
        value *= float(correction.factor(features([shape], [tile], closed))[0])
        result[layer.name] = (correction.low * value, value, correction.high * value)
    return result
