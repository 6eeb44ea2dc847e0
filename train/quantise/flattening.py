"""Linear layers over images in SMOL codes: pixels of few channels fill a small part of a register each, and all pixels
share the precisions of those channels. Made channels by a ``flatten``, they fill registers and have one each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sysmol.train.frontend.graph import Graph, Unit, Value
from sysmol.train.frontend.policy import Bits

FEWEST = 16
"""Channels of a pixel from which on a linear layer reads the image as it is: at 4 bits half a register."""


def flatten_images(graph: Graph, bits: Mapping[str, Bits]) -> Graph:
    """The graph, with a ``flatten`` in front of each linear layer over images of few channels that reads SMOL codes;
    ``bits`` by the unit's name.
    """
    units: dict[str, Unit] = {}
    for unit in graph.units.values():
        if bits.get(unit.name) in (None, 8, 32) or not _reads_whole_image(graph, unit):
            units[unit.name] = unit
            continue
        assert unit.input is not None and unit.weight is not None
        channels, height, width = graph.units[unit.input.unit].shape
        flat = Unit(f"{unit.name}_flat", "flatten", (channels * height * width, 1, 1), unit.path, unit.input)
        flat.kernel = (height, width)
        units[flat.name] = flat
        weight = unit.weight.permute(0, 2, 3, 1).reshape(len(unit.weight), -1, 1, 1).contiguous()
        units[unit.name] = replace(unit, input=Value(flat.name), kernel=(1, 1), weight=weight)
    return replace(graph, units=units)


def _reads_whole_image(graph: Graph, unit: Unit) -> bool:
    """Whether a unit is a linear layer over more than a pixel of few channels."""
    if unit.input is None or not unit.operation.mixes_channels or unit.groups > 1 or unit.mask is not None:
        return False
    channels, height, width = graph.units[unit.input.unit].shape
    whole = unit.kernel == (height, width) and not any(unit.padding)
    return whole and height * width > 1 and channels < FEWEST
