"""Names of layers that stay different in C.

Characters that C does not know become ``_`` (:func:`sysmol.kernels_c.plan.constants.identifier`), and a layer's arrays
and functions are called after it. Two layers whose symbols could be the same are numbered.
"""

import re
from dataclasses import replace

from sysmol.kernels_c.plan.constants import identifier
from sysmol.kernels_c.plan.options import Options
from sysmol.network import Network

_OUTPUT = r"_(m|b|r|f|k|rf|rk|at|hi|p)"
_PART = r"(_sums|_to\d+)?"
_ARRAY = r"w|order|row|column|blob|list|symbols|at|r_at|r_p|in_at|in_p|m|b|of|table|root|(at|from|mask|ones|token|w)\d+"
SUFFIX = re.compile(rf"{_PART}(|_(clear\d+|shift\d+|{_ARRAY}|out\d+{_OUTPUT}))")
"""What a layer's symbols have behind its identifier."""
SUFFIXES = [
    "",
    "_clear0",
    "_shift0",
    "_w",
    "_order",
    "_row",
    "_column",
    "_at",
    "_r_at",
    "_r_p",
    "_in_at",
    "_in_p",
    "_of",
]
SUFFIXES += ["_blob", "_list", "_symbols", "_table", "_root", "_at0", "_from0", "_mask0", "_ones0", "_token0", "_w4"]
SUFFIXES += ["_m", "_b", *(f"_out0_{key}" for key in ("m", "b", "r", "f", "k", "rf", "rk", "at", "hi", "p"))]
"""One of every kind."""


def collide(short: str, long: str) -> bool:
    """Whether two identifiers, the first not longer than the second, can have a symbol in common."""
    rest = long[len(short) :]
    return long.startswith(short) and any(SUFFIX.fullmatch(rest + suffix) for suffix in SUFFIXES)


def distinct(net: Network, options: Options) -> tuple[Network, Options]:
    """The network, and the options' schedules, with a number behind the names that collide with others."""
    taken: dict[str, str] = {}
    chosen: dict[str, str] = {}
    for layer in net.layers:
        name, number = layer.name, 1
        while _taken(identifier(name), taken):
            number += 1
            name = f"{layer.name}__{number}"
        taken[identifier(name)] = layer.name
        chosen[layer.name] = name
    if all(name == other for name, other in chosen.items()):
        return net, options
    layers = [replace(layer, name=chosen[layer.name]) for layer in net.layers]
    schedules = {chosen[name]: schedule for name, schedule in options.schedules.items()}
    on_tile = frozenset(chosen[name] for name in options.on_tile)
    return replace(net, layers=layers), replace(options, schedules=schedules, on_tile=on_tile)


def _taken(found: str, taken: dict[str, str]) -> bool:
    if found in taken:
        return True
    parts = [found[:end] for end in range(len("layer_"), len(found))]
    if any(part in taken and collide(part, found) for part in parts):
        return True
    return any(collide(found, other) for other in taken if other.startswith(found))
