"""The arena: which tensors share memory, and which bytes must be cleared again because of that.

Two tensors may share bytes when no layer needs both. Offsets are assigned greedily, one tensor after the other at the
lowest offset that its neighbours in time leave free; of several orders the best is taken (Pisarchyk and Lee, 2020,
"Efficient memory management for deep neural net inference", greedy by size, among them).

Kernels rely on code 0 in borders and in unused elements, which no layer writes. Where another tensor has left something
there, a small function in front of the producing layer clears them; which tensors need one is found by following all
writes over two images.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import plus, times
from sysmol.kernels_c.plan.constants import identifier
from sysmol.kernels_c.plan.layout import ELEMENT_BYTES, SLACK, Place
from sysmol.network import Array, Network
from sysmol.pattern import REGISTER_BYTES

ATTEMPTS = 64
"""Further orders that are tried where the first ones miss the lower bound."""


@dataclass(frozen=True)
class Buffer:
    """``size`` bytes that are needed from step ``first`` to step ``last``, both included."""

    size: int
    first: int
    last: int


@dataclass
class Memory:
    """An arena of ``arena`` bytes, of ``unplanned`` bytes with a buffer of its own for every tensor.

    ``bound``: bytes that the tensors of some layer need together. ``cleared``: tensors to be cleared, by the name of
    the layer that then writes them.
    """

    arena: int
    unplanned: int
    bound: int
    cleared: dict[str, list[str]] = field(default_factory=dict)


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """The most bytes in use at one step."""
    steps = range(max((b.last for b in buffers), default=-1) + 1)
    return max((sum(b.size for b in buffers if b.first <= step <= b.last) for step in steps), default=0)


def _place(buffers: Sequence[Buffer], order: Sequence[int]) -> list[int]:
    """Offset of every buffer, placed in this order, each as low as possible."""
    sizes, firsts, lasts = (np.array([getattr(b, key) for b in buffers], int) for key in ("size", "first", "last"))
    offsets = np.zeros(len(buffers), int)
    done = np.zeros(len(buffers), bool)
    for index in order:
        beside = np.flatnonzero(done & (firsts <= lasts[index]) & (firsts[index] <= lasts))
        starts, ends = offsets[beside], offsets[beside] + sizes[beside]
        by_start = np.argsort(starts, kind="stable")
        # Behind each of them the lowest offset that all before it leave free.
        free = np.concatenate([[0], np.maximum.accumulate(ends[by_start])])
        fits = np.append(starts[by_start] - free[:-1] >= sizes[index], True)
        offsets[index] = free[np.argmax(fits)]
        done[index] = True
    return [int(at) for at in offsets]


def assign(buffers: Sequence[Buffer]) -> list[int]:
    """Offsets of ``buffers`` such that those that are in use at the same step share no byte."""

    def peak(offsets: Sequence[int]) -> int:
        return max((at + b.size for at, b in zip(offsets, buffers, strict=True)), default=0)

    indices = range(len(buffers))
    keys = [
        lambda i: (-buffers[i].size, buffers[i].first),
        lambda i: (-buffers[i].size * (1 + buffers[i].last - buffers[i].first), i),
        lambda i: (buffers[i].first, -buffers[i].size),
        lambda i: (buffers[i].first - buffers[i].last, -buffers[i].size),
    ]
    orders = [sorted(indices, key=key) for key in keys]
    best = min((_place(buffers, order) for order in orders), key=peak)
    goal = lower_bound(buffers)
    rng = np.random.default_rng(0)
    order = min(orders, key=lambda o: peak(_place(buffers, o)))
    for _ in range(ATTEMPTS):
        if peak(best) <= goal or len(buffers) < 2:
            break
        a, b = rng.choice(len(buffers), 2, replace=False)
        other = list(order)
        other[a], other[b] = other[b], other[a]
        offsets = _place(buffers, other)
        if peak(offsets) <= peak(best):
            best, order = offsets, other
    return best


def _lifetimes(net: Network) -> dict[str, tuple[int, int]]:
    """First and last layer that needs every tensor; the output is needed until its logits are copied."""
    result: dict[str, tuple[int, int]] = {}
    given = net.given
    for number, layer in enumerate(net.layers):
        for name in layer.targets:
            result[name] = (number, number)
        for name in layer.reads:
            if name not in given:
                result[name] = (result[name][0], number)
    result[net.output] = (result[net.output][0], len(net.layers))
    return result


def _filled(place: Place) -> Array:
    """bool ``[pixel_bytes, 8]``: the bits of a pixel that hold channels; of planes all: nothing else is used."""
    t = place.tensor
    if place.planes:
        return np.ones((place.pixel_bytes, 8), dtype=bool)
    bits = np.zeros(8 * place.pixel_bytes, dtype=bool)
    element = 8 * ELEMENT_BYTES.get(t.format, 0)
    widths = t.precisions if t.format == "smol" else [element] * t.channels
    for position, width in zip(place.positions(), widths, strict=True):
        start = position * (element or 1)
        bits[start : start + width] = True
    return bits.reshape(-1, 8)


def trusted(place: Place, written: bool = False) -> Array:
    """bool ``[pixel_bytes]``: bytes of a pixel that kernels rely on although channels do not fill them.

    Unused elements of integer tensors meet zero weights and may hold anything. ``written``: a pixel is written whole.
    """
    if written or place.tensor.format not in ("smol", "f32"):
        return np.zeros(place.pixel_bytes, dtype=bool)
    return np.logical_not(_filled(place).all(axis=1))


def _image(place: Place, border: bool, pixel: Array) -> Array:
    """bool ``[bytes]`` of a buffer: ``pixel`` in every pixel, ``border`` around them."""
    t, pads = place.tensor, place.pads
    shape = (t.height + pads[0] + pads[2], t.width + pads[1] + pads[3], place.pixel_bytes)
    result = np.full(shape, border)
    result[pads[0] : pads[0] + t.height, pads[1] : pads[1] + t.width] = pixel
    return np.tile(result.reshape(-1), max(1, place.planes))


def _cleared(net: Network, places: dict[str, Place], arena: int, written: Collection[str]) -> dict[str, list[str]]:
    """Tensors to clear, by layer: follow what every byte holds over two images, from an arena of zeros."""
    dirty = np.zeros(arena, dtype=bool)
    own = {name: places[name] for name in places.keys() - net.given}
    needs = {name: _image(place, True, trusted(place, name in written)) for name, place in own.items()}
    # Unused elements of integer tensors are written with anything.
    left = {name: _image(place, False, _filled(place).any(axis=1) | ~trusted(place)) for name, place in own.items()}
    found: dict[str, list[str]] = {}
    for layer in [*net.layers, *net.layers]:
        for name in layer.targets:
            need = needs[name]
            part = dirty[places[name].offset : places[name].offset + len(need)]
            if (part & need).any() and name not in found.get(layer.name, []):
                found.setdefault(layer.name, []).append(name)
            part[:] = left[name]
    return found


def allocate(net: Network, places: dict[str, Place], shared: bool = True, written: Collection[str] = ()) -> Memory:
    """Set the offset of every place; ``shared`` or not, an arena that starts as zeros serves any number of images.

    ``written``: tensors whose pixels are written whole, unused elements as code 0.
    """
    lifetimes = _lifetimes(net)
    given = net.given
    names = [name for name in places if name not in given]
    for name in names:
        lifetimes.setdefault(name, (0, len(net.layers)))
    sizes = {name: places[name].bytes for name in names}
    unplanned = sum(sizes.values()) + SLACK
    buffers = [Buffer(sizes[name], *lifetimes[name]) for name in names]
    apart = [sum(b.size for b in buffers[:i]) for i in range(len(buffers))]
    offsets = assign(buffers) if shared else apart
    for name, offset in zip(names, offsets, strict=True):
        places[name].offset = offset
    arena = max((at + b.size for at, b in zip(offsets, buffers, strict=True)), default=0) + SLACK
    return Memory(
        arena, unplanned, lower_bound(buffers) + SLACK, _cleared(net, places, arena, written) if shared else {}
    )


# --- code ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """``length`` bytes from ``start`` on, again ``counts[i]`` times every ``steps[i]`` bytes."""

    start: int
    length: int
    counts: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()

    @property
    def stores(self) -> int:
        """Stores that clear it."""
        return int(np.prod(self.counts, initial=1)) * len(_stores(self.length))


def _stores(length: int) -> list[tuple[int, int]]:
    """(offset, bytes) of the stores that clear ``length`` bytes; long runs are a loop of whole registers."""
    if length >= REGISTER_BYTES:
        full = [(at, REGISTER_BYTES) for at in range(0, length - REGISTER_BYTES + 1, REGISTER_BYTES)]
        return full if length % REGISTER_BYTES == 0 else [*full, (length - REGISTER_BYTES, REGISTER_BYTES)]
    result, at = [], 0
    while at < length:
        size = next(size for size in (4, 2, 1) if size <= length - at)
        result.append((at, size))
        at += size
    return result


def runs(place: Place, written: bool = False) -> list[Run]:
    """What to clear in a buffer: borders, and bytes of pixels that kernels rely on; all of it where that is less.

    ``written``: the layer that writes the tensor writes its pixels whole.
    """
    t, pads = place.tensor, place.pads
    pixel, row = place.pixel_bytes, place.row_bytes
    first = place.start()
    result = [
        Run(0, first),
        Run(first + t.width * pixel, (pads[1] + pads[3]) * pixel, (t.height - 1,), (row,)),
        Run(first + (t.height - 1) * row + t.width * pixel, pads[3] * pixel + pads[2] * row),
    ]
    need = np.flatnonzero(trusted(place, written))
    if t.format == "smol" and not place.narrow:
        # Whole vectors: what channels fill is written afterwards.
        need = np.unique(need // REGISTER_BYTES * REGISTER_BYTES)[:, None] + np.arange(REGISTER_BYTES)
        need = need.reshape(-1)
    for span in np.split(need, np.flatnonzero(np.diff(need) > 1) + 1) if len(need) else []:
        start, length = first + int(span[0]), len(span)
        if length == pixel:
            result.append(Run(start, t.width * pixel, (t.height,), (row,)))
        else:
            result.append(Run(start, length, (t.height, t.width), (row, pixel)))
    if place.planes:
        result = [replace(r, counts=(place.planes, *r.counts), steps=(place.plane_bytes, *r.steps)) for r in result]
    result = [run for run in result if run.length and all(run.counts)]
    whole = Run(0, place.plane_bytes * max(1, place.planes))
    return [whole] if sum(run.stores for run in result) >= whole.stores else result


def clear_name(layer: str, number: int) -> str:
    """C function that clears the layer's ``number``-th output."""
    return f"{identifier(layer)}_clear{number}"


def emit_clear(em: Emitter, name: str, place: Place, written: bool = False) -> None:
    """Write the function ``name(buffer)`` that sets borders and unused elements to code 0; see :func:`runs`."""
    with em.block(f"SMOL_KERNEL {name}(uint8_t *buffer)"):
        em.line("v_begin();")
        em.line("const vec zero = v_zero();")
        em.line("(void)zero;")
        for run in runs(place, written):
            _emit_run(em, run, [])
    em.line()


def _emit_run(em: Emitter, run: Run, terms: list[str]) -> None:
    if len(terms) < len(run.counts):
        level = len(terms)
        with em.loop(f"i{level}", run.counts[level]):
            _emit_run(em, run, [*terms, times(f"i{level}", run.steps[level])])
        return
    stores = _stores(run.length)
    if len(stores) > 4:
        with em.loop("k", len(stores) - 1):
            em.line(f"v_store(buffer + {plus(run.start, *terms, times('k', REGISTER_BYTES))}, zero);")
        stores = stores[-1:]
    for at, size in stores:
        where = f"buffer + {plus(run.start + at, *terms)}"
        em.line(f"v_store({where}, zero);" if size == REGISTER_BYTES else f"m_store{8 * size}({where}, 0);")
