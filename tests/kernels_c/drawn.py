"""Networks and machines drawn from a seed, which together reach every kernel of both pages of instructions."""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

from test_depthwise import random_taps
from test_matrix_wide import limit_network, streams_network
from test_nibbles import stem_network

from sysmol import isa
from sysmol.errors import SysmolError
from sysmol.kernels_c.plan.lanes16 import LANE_MOST
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.program import Program, generate
from sysmol.kernels_c.targets import Target
from sysmol.machine import Machine, load_machine
from sysmol.network import Network
from sysmol.network.builder import any_network, random_network
from sysmol.pattern import PATTERNS

PRODUCTS = ("vmul", "vmla")
CORES: dict[str, tuple[str, ...]] = {
    "vdot": ("vdot",),
    "vmac": ("vmac",),
    "first page": isa.STANDARD_NAMES,
    "vmm.w": ("vmm.w",),
    "matrix form": ("vmm.w", "vmm.h", "vqpk.h", "vqpk.s", "vunp.h"),
    "vdot and vmm.w": ("vdot", "vmm.w"),
    "vdot and the matrix form": ("vdot", "vmm.w", "vmm.h", "vqpk.h"),
    "everything": isa.ALL_NAMES,
}
"""Instructions that a machine has at least; any of the others may join."""
TRIES = 50
"""Machines that are drawn for one network before one must serve it."""


def limit_of(bits: int, beyond: int) -> int:
    """A total of weights of :func:`limit_network` for which the largest sum of 16 bits is just held (0), or the total
    of as many odd numbers that is next below (-2) or above (2)."""
    count = (5 * 5 if bits == 4 else 11 * 11) * 64 // bits
    largest = LANE_MOST // ((1 << bits) - 1)
    return largest - (largest - count) % 2 + beyond


def _limits(seed: int) -> Network:
    rng = random.Random(seed)
    bits = rng.choice((4, 2))
    return limit_network(seed, bits, limit_of(bits, rng.choice((-2, 0, 2))))


def _random(seed: int) -> Network:
    rng = random.Random(seed)
    widths = rng.randrange(1, 40), rng.randrange(1, 80)
    return random_network(seed, rng.randrange(5, 9), widths, [rng.random() for _ in range(3)], rng.choice((0, 0, 0.5)))


KINDS: dict[str, tuple[int, Callable[[int], Network]]] = {
    "any": (10, any_network),
    "random": (3, _random),
    "streams": (2, lambda seed: streams_network(seed, (4, 2, 1)[seed % 3])),
    "stem": (2, stem_network),
    "taps": (2, random_taps),
    "limit": (1, _limits),
}
"""Kinds of networks: how often, and what makes one of a seed."""


def draw_kind(seed: int) -> str:
    """The kind of a seed's network."""
    (kind,) = random.Random(f"network {seed}").choices(list(KINDS), [weight for weight, _ in KINDS.values()])
    return kind


def draw_smol(rng: random.Random, used: Collection[int]) -> str:
    """The unit of a machine with instructions, pieces and forms at random, the patterns ``used`` and others; as
    :func:`sysmol.machine.smol_option.change_smol` reads it."""
    core = rng.choice(list(CORES))
    share = rng.choice((0.2, 0.5, 0.8))
    others = [name for name in isa.ALL_NAMES if name not in PRODUCTS and rng.random() < share]
    # Products of depthwise layers come together.
    names = {*CORES[core], *others, *(PRODUCTS if rng.random() < 0.7 else ())}
    patterns = {*used, *(number for number in range(len(PATTERNS)) if rng.random() < 0.3)} or {0}
    option = [
        "instructions=" + "+".join(name for name in isa.ALL_NAMES if name in names),
        "patterns=" + "+".join(map(str, sorted(patterns))),
        *(["pieces=" + _some(rng, len(isa.PIECES))] if "vmm.w" in names else []),
        *(["forms=" + _some(rng, len(isa.FORMS))] if "vmm.h" in names else []),
    ]
    return ",".join(option)


def _some(rng: random.Random, count: int) -> str:
    """Numbers below ``count``: all, most, or few."""
    share = rng.choice((1.0, 0.8, 0.3))
    chosen = [number for number in range(count) if rng.random() < share] or [rng.randrange(count)]
    return "+".join(map(str, chosen))


@dataclass
class Drawn:
    """A network, a machine that serves it, its code for one target, and machines that were refused before."""

    kind: str
    net: Network
    machine: Machine
    program: Program
    options: Options
    refused: int


def draw(seed: int, target: Target) -> Drawn:
    """The same for one seed and target. Machines that lack what a network needs are refused with a reason."""
    kind = draw_kind(seed)
    net = KINDS[kind][1](seed)
    net.name = f"{net.name}_{kind}_{seed}"
    rng = random.Random(f"machine {seed}")
    for refused in range(TRIES):
        machine = load_machine("o3-n1-matrix").with_smol(draw_smol(rng, net.patterns))
        options = Options(has=machine.smol.capabilities)
        try:
            program = generate(net, target, f"net.{target.name}", "a test", options)
        except SysmolError as error:
            assert "the hardware has no " in str(error), f"SYSMOL_TEST_SEED={seed}: {error}"
            assert not serves_all(options.has), f"SYSMOL_TEST_SEED={seed}: {error}"
            continue
        return Drawn(kind, net, machine, program, options, refused)
    raise AssertionError(f"SYSMOL_TEST_SEED={seed}: no machine of {TRIES} serves network {net.name}")


def serves_all(has: isa.Capabilities) -> bool:
    """Whether hardware with all patterns that a network uses must serve it."""
    return all(map(has.has, ("vdot", *PRODUCTS)))
