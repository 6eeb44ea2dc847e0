"""The whole network as C: one function per layer, constant arrays, and the function that runs one image."""

import re
from dataclasses import dataclass, field

from sysmol.errors import SysmolError
from sysmol.kernels_c.emitter import CLASSES, Emitter
from sysmol.kernels_c.nest.kernel import Kernel
from sysmol.kernels_c.nest.many_outputs import kernel_of, kernels_of
from sysmol.kernels_c.nest.tile import TileKernel
from sysmol.kernels_c.plan.arena import Memory, allocate, clear_name, emit_clear
from sysmol.kernels_c.plan.constants import array_text, comment_text, identifier
from sysmol.kernels_c.plan.layout import SLACK, Place, plan
from sysmol.kernels_c.plan.names import distinct
from sysmol.kernels_c.plan.options import DEFAULT, Options
from sysmol.kernels_c.plan.planes import in_planes, reads_halves
from sysmol.kernels_c.plan.schedule_file import convolutions
from sysmol.kernels_c.shared import functions, share
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network, operation
from sysmol.pattern import REGISTER_BYTES

PER_TOKEN = ("layernorm", "rmsnorm", "attend")
"""Operations whose functions call those of smol_sequence.h."""
NARROW_STYLES = ("run", "vmm", "vmmh")
"""Styles that read narrow tensors."""


@dataclass
class Region:
    """One layer's entry in the manifest (see docs/kernels.md)."""

    name: str
    op: str
    schedule: str
    macs: int
    bytes_weights: int
    bytes_in: int
    bytes_out: int
    bytes_code: int = 0
    unit: str = "core"
    """What computes it: the core or the tile."""
    mix: dict[str, int] = field(default_factory=dict)


@dataclass
class Program:
    """Generated C: ``source`` includes ``constants`` under the name ``<stem>.constants.h``. ``functions``: the C
    functions that compute a region, by its name."""

    source: str
    constants: str
    regions: list[Region]
    memory: Memory
    functions: dict[str, list[str]]


def _region(net: Network, layer: Layer, made: Kernel, em: Emitter, places: dict[str, Place]) -> Region:
    mix = {kind: em.mix[kind] for kind in CLASSES}
    mix["chains"], mix["chain_len"] = made.chains, made.chain_length

    def size(name: str) -> int:
        t = net.tensors[name]
        return places[name].pixel_bytes * max(1, places[name].planes) * t.height * t.width

    return Region(
        name=layer.name,
        op=layer.op,
        schedule=str(made.schedule or ""),
        macs=operation(layer).macs(net, layer),
        bytes_weights=0 if layer.weight is None else layer.weight.nbytes,
        bytes_in=sum(size(name) for name in layer.reads),
        bytes_out=sum(size(name) for name in layer.targets),
        mix=mix,
        unit="tile" if isinstance(made, TileKernel) else "core",
    )


def kept_wide(net: Network, options: Options) -> set[str]:
    """Tensors that cannot be stored narrow: ``options`` want them read in a style that cannot, or operations read whole
    vectors of them."""
    if options.styles.get("smol", "run") not in NARROW_STYLES:
        return set(net.tensors)
    chosen = options.schedules
    vectors = {name for layer in net.layers if operation(layer).whole_vectors for name in layer.inputs}
    wide = {x.input for x in convolutions(net) if x.name in chosen and chosen[x.name].style not in NARROW_STYLES}
    return vectors | wide


def places_of(net: Network, options: Options) -> dict[str, Place]:
    """Where every tensor lies, without its offset in the arena."""
    return plan(net, kept_wide(net, options), in_planes(net, options), reads_halves(options))


def _check_options(net: Network, options: Options) -> None:
    known = [layer.name for layer in convolutions(net)]
    for name in options.schedules:
        if name not in known:
            raise SysmolError(f"there is no convolution {name!r} to schedule; the network has {', '.join(known)}")
    layers = [layer.name for layer in net.layers]
    for name in sorted(options.on_tile):
        if name not in layers:
            raise SysmolError(f"there is no layer {name!r} for the tile; the network has {', '.join(layers)}")
    for form in options.styles:
        if form not in ("smol", "s8", "f32"):
            raise SysmolError(f"no convolution reads {form!r} tensors; give styles for smol, s8 and f32")


def region_of(net: Network, layer: Layer, places: dict[str, Place], target: Target, options: Options) -> Region:
    """One layer's region, for estimates: generated, but not kept."""
    target = target.on(options.has)
    em = Emitter(target.costs)
    made = kernel_of(net, layer, places, target, options)
    made.emit(em)
    return _region(net, layer, made, em, places)


def generate(net: Network, target: Target, stem: str, command: str, options: Options = DEFAULT) -> Program:
    """C for ``net`` on ``target``; ``stem`` names the files, ``command`` is written into their headers."""
    if target.width != 8 * REGISTER_BYTES:
        raise SysmolError(f"kernels work on registers of {8 * REGISTER_BYTES} bits; {target.name} has {target.width}")
    _check_options(net, options)
    target = target.on(options.has)
    net, options = distinct(net, options)
    places = places_of(net, options)
    kernels = kernels_of(net, places, target, options)
    written = {name for made in kernels for name in made.written}
    memory = allocate(net, places, options.shared_memory, written)
    header = f"/* {comment_text(f'Generated from the network {net.name!r} for {target.name} by: {command}')} */"
    source = [
        header,
        "/*",
        " * One function per layer over padded buffers in the caller's arena. Loops: t = tile of output channels,",
        " * ty/tx = tile of output pixels with corner oy/ox, ky/kx = kernel taps, i = registers of input channels.",
        " * a<group>_<pixel> are accumulators: four output channels (lanes) of one pixel.",
        " */",
        *(f"#define {name}" for name in target.defines),
        f'#include "{target.header}"',
        '#include "smol_net.h"',
        *(['#include "smol_sequence.h"'] if any(layer.op in PER_TOKEN for layer in net.layers) else []),
        '#include "smol_roi.h"',
        *([f"#define SMOL_TILE_READS {options.tile_reads}"] if options.tile_reads else []),
        *(['#include "smol_tile.h"'] if options.on_tile else []),
        "",
        f'#include "{stem}.constants.h"',
        "",
    ]
    constants = [header, f"#define SMOL_SLACK {SLACK}", ""]
    given = {net.input: "image"}
    for number, name in enumerate(sorted(net.constants)):
        given[name] = f"smol_constant{number}"
        constants.append(array_text(given[name], places[name].filled(), f"the constant tensor {name}"))
    regions = []
    texts = []
    calls = []
    most = 0
    for layer, made in zip(net.layers, kernels, strict=True):
        em = Emitter(target.costs)
        out = net.tensors[layer.targets[0]]
        em.comment(
            f"{layer.name}: {layer.op} {layer.kernel[0]}x{layer.kernel[1]} stride {layer.stride[0]}x{layer.stride[1]}, "
            + (f"dilation {layer.dilation[0]}x{layer.dilation[1]}, " if layer.dilation != (1, 1) else "")
            + f"{net.tensors[layer.input].format} -> {', '.join(net.tensors[n].format for n in layer.targets)} "
            f"[{out.height}, {out.width}, {out.channels}]" + (f"; schedule {made.schedule}" if made.schedule else "")
        )
        for text in made.describe():
            em.comment(text)
        for number, name in enumerate(memory.cleared.get(layer.name, [])):
            emit_clear(em, clear_name(layer.name, number), places[name], name in written)
            calls.append(f"    {clear_name(layer.name, number)}(arena + {places[name].offset});")
        constants.extend(made.emit(em))
        texts.append(em.text())
        regions.append(_region(net, layer, made, em, places))
        operands = [*layer.reads, *layer.targets]
        most = max(most, made.scratch)
        buffers = [given.get(name, f"arena + {places[name].offset}") for name in operands]
        buffers += [f"arena + {memory.arena}"] if made.scratch else []
        calls.append(f"    {identifier(layer.name)}({', '.join(buffers)});")
        calls.append("    smol_region_end(regions);")
    once, shared = share(texts, constants)
    source += [*once, _entry(net, stem, places, memory.arena + most, calls)]
    memory.arena += most
    memory.unplanned += most
    return Program("\n".join(source), "\n".join(constants), regions, memory, _functions(net, texts, shared))


def _functions(net: Network, texts: list[str], shared: dict[str, str]) -> dict[str, list[str]]:
    """The functions of every layer, those that it shares among them, without those that clear memory."""
    own = [[name for name in functions(text) if not re.search(r"_clear\d+$", name)] for text in texts]
    return {
        layer.name: [*names, *sorted({shared[name] for name in names if name in shared})]
        for layer, names in zip(net.layers, own, strict=True)
    }


def _entry(net: Network, stem: str, places: dict[str, Place], arena: int, calls: list[str]) -> str:
    image = net.tensors[net.input]
    final = places[net.output]
    positions = final.positions()
    copies = [
        f"    memcpy(logits + {4 * c}, arena + {final.offset + final.start() + 4 * at}, 4);"
        for c, at in enumerate(positions)
    ]
    if positions == list(range(len(positions))):
        copies = [f"    memcpy(logits, arena + {final.offset + final.start()}, {4 * len(positions)});"]
    return "\n".join(
        [
            f'const smol_net_info smol_net = {{"{stem}", {arena}, '
            f"{image.height * image.width * image.channels}, {4 * net.classes}, {net.classes}}};",
            "",
            "void smol_net_init(uint8_t *arena)",
            "{",
            f"    memset(arena, 0, {arena});",
            "}",
            "",
            "void smol_net_run(uint8_t *arena, const uint8_t *image, uint8_t *logits, int regions)",
            "{",
            "    smol_regions_begin(regions);",
            *calls,
            *copies,
            "}",
            "",
        ]
    )
