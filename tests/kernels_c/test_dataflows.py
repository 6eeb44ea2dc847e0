"""Every schedule that the generator knows gives exactly the reference's logits.

The schedules are enumerated from the generator's own lists: steps and anchors, YFlows' allocations, register tiles with
their options. Many small convolutions, each under a schedule of its own, are compiled into one executable.
"""

import itertools
import random
import re
from dataclasses import replace

import numpy as np
import pytest
from dataflow_networks import SHAPES, convolutions, scheduled

from sysmol.errors import SysmolError
from sysmol.isas import ISAS
from sysmol.kernels_c.build import compile_network, compile_program, run_executable
from sysmol.kernels_c.micro import STYLES
from sysmol.kernels_c.micro.step import STEPS
from sysmol.kernels_c.nest import SINGLE
from sysmol.kernels_c.plan.arena import allocate
from sysmol.kernels_c.plan.heuristic import LayerShape, caps, yflows_schedules
from sysmol.kernels_c.plan.layout import plan
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.kernels_c.toolchain import find_compiler
from sysmol.network import Network
from sysmol.schedule import Schedule

FORMS = [([4] * 23 + [2] * 13 + [1] * 37, ()), ("s8", ()), ([1] * 150, ())]
"""Inputs: SMOL vectors of different patterns, int8, uniform 1-bit."""
FORM_OF = {"vdot": 0, "vmac": 0, "sdot": 1, "dot": 1, "pop": 2}
TILES = {
    "vdot": ["8x1x1", "8x2x3", "8x3x1", "16x1x2", "8x1x8"],
    "vmac": ["8x1x1", "8x1x3", "8x3x1", "16x1x1"],
    "sdot": ["8x1x1", "8x1x3", "8x3x1", "16x1x1"],
}
SUFFIXES = ["", "-u2", "-p2", "-b1", "-u3-p1-b2"]


def vectors(form: int) -> int:
    """Activation registers of a pixel of FORMS[form], 19 channels where it is int8."""
    kind = FORMS[form][0]
    return 2 if isinstance(kind, str) else -(-sum(kind) // 128)


def single_schedules(style: str, shape: int, rng: random.Random) -> list[Schedule]:
    """YFlows' schedules of a shape, and one random allocation and block of rows for each anchor."""
    kernel, stride, padding = SHAPES[shape]
    height = (7 + padding[0] + padding[2] - kernel[0]) // stride[0] + 1
    width = (11 + padding[1] + padding[3] - kernel[1]) // stride[1] + 1
    facts = LayerShape(kernel, stride, height, width, vectors(FORM_OF[style]))
    result = list(yflows_schedules(facts, style).values())
    for basic in [s for s in result if str(s).count("-") == 2]:
        rows = rng.randint(1, height)
        most = caps(basic.anchor, facts._replace(height=rows), STEPS[style].channels)
        free = basic.free
        weights = rng.randint(0, min(most.weights, free))
        inputs = rng.randint(0, min(most.inputs, free - weights))
        outputs = 0 if basic.anchor == "ws" and inputs else rng.randint(0, min(most.outputs, free - weights - inputs))
        result.append(replace(basic, weights=weights, inputs=inputs, outputs=outputs, block=rows))
        # every input that an anchor may hold, those that meet no output too
        result.append(replace(basic, weights=0, inputs=min(most.inputs, free), outputs=0, block=rows))
    return list(dict.fromkeys(result))


def cases(seed: int) -> list[tuple[int, int, str]]:
    """(shape, form, schedule): every style, anchor and allocation, each on some of the shapes."""
    rng = random.Random(seed)
    result = []
    for style in STEPS:
        shape = rng.randrange(len(SHAPES))
        result += [(shape, FORM_OF[style], str(s)) for s in single_schedules(style, shape, rng)]
    for style, tile in ((style, tile) for style, tiles in TILES.items() for tile in tiles):
        suffix = rng.choice(SUFFIXES)
        # Wide tiles need the largest output; 1x1 has too few steps to unroll.
        shape = 0 if int(tile[2:].replace("x", "")) > 11 else rng.choice([0, 1, 3])
        result.append((shape, FORM_OF[style], f"os-{tile}-{style}{suffix}"))
    return result


def network(seed: int, chosen: list[tuple[int, int, str]], name: str) -> tuple[Network, Options]:
    """The network of some cases, and the options that schedule it."""
    net = convolutions(seed, FORMS, [(shape, form) for shape, form, _ in chosen], name)
    layers = scheduled(net)
    names = [schedule for _, _, schedule in chosen]
    schedules = {layer.name: Schedule.parse(s) for layer, s in zip(layers, names, strict=True)}
    return net, Options(schedules)


def logits(net: Network, options: Options, folder, change=lambda source: source):
    """What a host program answers to the network's samples."""
    target = TARGETS["host"]
    program = generate(net, target, "net.host", "a test", options)
    program.source = change(program.source)
    path, _ = compile_program(program, "net.host", folder, find_compiler(target), target, ("-O0", "-Werror"))
    return run_executable([str(path)], net.samples.images, net.classes, "int32")


@pytest.mark.parametrize("part", range(2))
def test_every_schedule(part, seed, tmp_path):
    chosen = cases(seed)[part::2]
    net, options = network(seed, chosen, f"flows{part}")
    got = logits(net, options, tmp_path)
    assert np.array_equal(got, net.samples.logits), f"SYSMOL_TEST_SEED={seed}: some of {chosen}"


def test_the_enumeration_is_complete(seed):
    """All steps with all anchors, basic and extended, are among the cases."""
    found = {tuple(s.split("-")[:3:2]) for _, _, s in cases(seed) if "1x1-" in s}
    assert found >= set(itertools.product(SINGLE, STEPS))
    assert set(FORM_OF) == set(STEPS) and set(STEPS) <= set(STYLES)


def test_a_wrong_weight_shows(seed, tmp_path):
    """The check above fires: flipped bits in the weights of one layer change the logits.

    Those of one output channel may stay behind its clamp, so several are tried.
    """
    net, options = network(seed, [(0, 0, "os-1x1x1-vmac-w5-i4"), (1, 2, "is-1x1x1-pop-w9-o1")], "fault")

    def shows(weight: np.ndarray) -> bool:
        weight ^= 1
        differs = not np.array_equal(logits(net, options, tmp_path), net.samples.logits)
        weight ^= 1
        return differs

    for layer in scheduled(net):
        parts = np.array_split(layer.weight.reshape(-1), 16)
        assert any(shows(part) for part in parts), f"SYSMOL_TEST_SEED={seed}"
    assert np.array_equal(logits(net, options, tmp_path), net.samples.logits)


def test_poison(seed, tmp_path):
    """What lies behind the buffers, and in the memory for sums, may be anything."""
    rng = random.Random(seed)
    chosen = rng.sample(cases(seed), 24)
    net, options = network(seed, chosen, "poison")
    options = replace(options, shared_memory=False)
    places = plan(net, set(net.tensors))
    memory = allocate(net, places, False)

    def poison(source: str) -> str:
        size = int(re.search(r"memset\(arena, 0, (\d+)\);", source).group(1))
        spans = [(memory.arena, size)]
        for place in places.values():
            if place.tensor.name != net.input:
                used = place.row_bytes * (place.tensor.height + place.pads[0] + place.pads[2])
                spans.append((place.offset + used, place.offset + place.bytes))
        fills = "\n".join(f"    memset(arena + {a}, 0xA5, {b - a});" for a, b in spans if b > a)
        return source.replace(f"    memset(arena, 0, {size});", f"    memset(arena, 0, {size});\n{fills}")

    got = logits(net, options, tmp_path, poison)
    assert np.array_equal(got, net.samples.logits), f"SYSMOL_TEST_SEED={seed}: some of {chosen}"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("os-8x2x4", "is no schedule"),
        ("xs-8x2x4-vdot", "is no schedule"),
        ("os-8x2x4-vdot-w0", "left out"),
        ("os-08x2x4-vdot", "leading zeros"),
        ("os-7x2x4-vdot", "multiple of 8"),
        ("os-8x3x3-vdot", "multiple of 8"),
        ("os-8x2x4-vdot-w3", "one accumulator"),
        ("ws-8x2x4-vdot", "one accumulator"),
        ("os-1x1x1-vmac-u2", "register tiles"),
        ("os-1x1x1-vmac-o2", "anchored tensor"),
        ("is-1x1x1-vmac-i1", "anchored tensor"),
        ("ws-1x1x1-vmac-i3-o3", "not both"),
        ("os-1x1x1-vmac-w20-i10", "29 vector registers"),
        ("ws-4x1x1-vdot-o27", "26 vector registers"),
    ],
)
def test_illegal_names(name, reason):
    with pytest.raises(SysmolError, match=reason):
        Schedule.parse(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("os-1x1x1-vdot", "holds 4 output channels"),
        ("os-4x1x1-vmac", "holds 1 output channels"),
        ("os-1x1x1-sdot", "no step 'sdot' for a smol input"),
        ("os-1x1x1-pop", "no step 'pop'"),
        ("os-1x1x1-vmac-i20", "this layer has use for 12"),
        ("is-1x1x1-vmac-o7", "this layer has use for 6"),
        ("is-1x1x1-vmac-b8", "the 7 that there are"),
        ("os-8x1x1-vdot-b8", "there are 7"),
        ("os-8x8x1-vdot", "larger than the output"),
        ("os-8x1x1-vdot-u19", "at most 18"),
        ("os-8x1x1-dot", "does not serve"),
        ("os-8x1x1-nothing", "does not serve"),
    ],
)
def test_illegal_for_the_layer(name, reason):
    net, options = network(1, [(0, 0, name)], "refused")
    with pytest.raises(SysmolError, match=reason):
        generate(net, TARGETS["host"], "net", "a test", options)


def test_prefetch_needs_the_instruction():
    net, options = network(1, [(0, 0, "os-8x1x1-vdot-p1")], "prefetch")
    with pytest.raises(SysmolError, match="prefetches"):
        generate(net, TARGETS["riscv"], "net", "a test", options)


def test_options_name_what_is_there():
    net, _ = network(1, [(0, 0, "os-8x1x1-vdot")], "names")
    for options in (Options({"nowhere": Schedule.parse("os-8x1x1-vdot")}), Options(styles={"u8": "dot"})):
        with pytest.raises(SysmolError, match="no convolution"):
            generate(net, TARGETS["host"], "net", "a test", options)


def test_yflows_rule():
    """The allocations that the rule gives for its own example: 3x3, stride 1, one vector."""
    shape = LayerShape((3, 3), (1, 1), 56, 56, 1)
    names = {name: str(schedule) for name, schedule in yflows_schedules(shape, "sdot").items()}
    assert names["os-weights"] == names["os-inputs"] == "os-1x1x1-sdot-w9-i6"
    assert names["is-weights"] == names["is-outputs"] == "is-1x1x1-sdot-w9-o6"
    assert names["ws-outputs"] == "ws-1x1x1-sdot-o29" and names["ws-inputs"] == "ws-1x1x1-sdot-i29"
    wide = yflows_schedules(shape._replace(kernel=(5, 5)), "pop")
    assert str(wide["os-weights"]) == "os-1x1x1-pop-w25-i4" and str(wide["os-inputs"]) == "os-1x1x1-pop-w9-i20"


@pytest.mark.gem5
@pytest.mark.parametrize("isa", ISAS)
def test_words_in_gem5(isa, seed, tmp_path):
    """Each step's data flows and the tiles of vmac as real instructions."""
    from sysmol.configs_gem5.launch import find_gem5, run_gem5, why_no_gem5
    from sysmol.configs_gem5.request import Simulation
    from sysmol.network import save

    if find_gem5(isa) is None:
        pytest.skip(why_no_gem5(isa))
    styles = [s for s in STEPS if isa == "arm" or s in ("vdot", "vmac")]
    chosen = [
        (shape, FORM_OF[s], f"{a}-{STEPS[s].channels}x1x1-{s}") for s in styles for a in SINGLE for shape in (1, 3)
    ]
    chosen += [(0, 0, "os-8x1x3-vmac-u2"), (1, 0, "os-8x2x2-vdot-u15")]
    net, options = network(seed, chosen, "gem5")
    manifest = compile_network(save(tmp_path / "n.safetensors", net), isa, tmp_path, options=options)
    run = run_gem5(manifest, tmp_path / "run", Simulation(isa, "atomic"))
    assert run["logits_match"] is True, f"SYSMOL_TEST_SEED={seed}"
