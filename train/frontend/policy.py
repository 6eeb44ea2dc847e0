"""Which layer computes with how many bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from sysmol.errors import SysmolError
from sysmol.train.frontend.graph import Graph, Unit

LEARNED = "learned"
Bits = int | str
CHOICES: tuple[Bits, ...] = (LEARNED, 4, 2, 1, 8, 32)
WIDEST_ATTENTION = 4
"""Bits of attention's operands in networks of 8 bits."""


@dataclass(frozen=True)
class Policy:
    """Bits per convolution or linear layer: ``"learned"`` (1, 2 or 4 per input channel), 4, 2, 1, 8 (signed bytes)
    or 32 (float). Attention's queries, keys, weights and values have as many; 4 where it says 8, since products of two
    activations are computed of codes alone.

    ``edges`` holds for the first and the last layer, ``layers`` (shell patterns over the layers' names in the user's
    module, the first that matches counts) for everything else that is not ``default``.

    ``fallback``: bits of a convolution that SMOL codes cannot take, 8; None refuses it by name. Codes are odd numbers,
    so that is one with weights of exactly 0, whose groups read across the parts of a concatenation.
    """

    default: Bits = LEARNED
    edges: Bits = 8
    layers: dict[str, Bits] = field(default_factory=dict)
    fallback: int | None = None

    def bits(self, graph: Graph) -> dict[str, Bits]:
        """Bits of every convolution of a graph, by unit name."""
        for choice in (self.default, self.edges, *self.layers.values()):
            if choice not in CHOICES:
                raise SysmolError(
                    f"policy: {choice!r} bits is not supported; choose one of {', '.join(map(str, CHOICES))}"
                )
        if self.fallback not in (None, 8):
            raise SysmolError(f"policy: a fallback of {self.fallback!r} bits is not supported; choose 8, or None")
        units = graph.convolutions
        known = dict.fromkeys(unit.path for unit in (*units, *graph.attentions))
        for pattern in self.layers:
            if not any(fnmatchcase(path, pattern) for path in known):
                raise SysmolError(f"policy: no layer is called '{pattern}'; layers are {', '.join(known)}")
        chosen: dict[str, Bits] = {}
        for unit in units:
            named, edge = self._named(unit), unit.path in (units[0].path, units[-1].path)
            bits = named if named is not None else self.edges if edge else self.default
            chosen[unit.name] = bits if unit.mask is None else self._with_zeros(unit, bits)
        for unit in graph.attentions:
            named = self._named(unit)
            bits = self.default if named is None else named
            chosen[unit.name] = WIDEST_ATTENTION if bits == 8 else bits
        if 32 in chosen.values() and set(chosen.values()) != {32}:
            raise SysmolError("policy: 32 bits (float) cannot be mixed with integer layers in one network")
        return chosen

    def _named(self, unit: Unit) -> Bits | None:
        """Bits of a layer by its own name; None where the policy does not name it."""
        return next((b for pattern, b in self.layers.items() if fnmatchcase(unit.path, pattern)), None)

    def _with_zeros(self, unit: Unit, bits: Bits) -> Bits:
        """Bits of a convolution that needs weights of exactly 0."""
        if bits in (8, 32):
            return bits
        if self.fallback is None:
            raise SysmolError(
                f"layer '{unit.path}' needs weights of exactly 0 (groups across the parts of a concatenation), which "
                "SMOL codes cannot hold: leave it at 8 bits with Policy(fallback=8) or "
                f"Policy(layers={{'{unit.path}': 8}}), in commands with --layer {unit.path}=8"
            )
        return self.fallback


SAME = "same"
"""Bits of a layer: those that its policy gives to the layers between the first and the last."""


@dataclass(frozen=True)
class LayerBits:
    """Bits of single layers, whatever the policy of the others: of the first and the last layer (``edges``), and of
    ``layers`` by name, shell patterns with bits. 8, 4, 2, 1 or :data:`SAME`.
    """

    edges: Bits = 8
    layers: tuple[tuple[str, Bits], ...] = ()

    def __post_init__(self) -> None:
        for name, bits in (("edges", self.edges), *self.layers):
            if bits not in (8, 4, 2, 1, SAME):
                raise SysmolError(f"{name}: {bits} bits are not supported; choose 8, 4, 2, 1 or {SAME}")

    def applied(self, policy: Policy) -> Policy:
        """The policy with these layers; those of 8 and 32 bits everywhere, to compare with, stay as they are."""
        if policy.default in (8, 32):
            return policy
        own = {name: policy.default if bits == SAME else bits for name, bits in self.layers}
        return replace(policy, edges=policy.default if self.edges == SAME else self.edges, layers=own | policy.layers)

    @property
    def words(self) -> str:
        """For descriptions: of the first and last layer, and of those by name."""
        edges = "first and last layer " + ("as the others" if self.edges == SAME else f"at {_bits(self.edges)}")
        named = [f"{name} {'as the others' if bits == SAME else f'at {_bits(bits)}'}" for name, bits in self.layers]
        return "; ".join([edges, *named])


USUAL_LAYERS = LayerBits()
"""First and last layer at 8 bits."""


def _bits(count: Bits) -> str:
    return f"{count} bit{'' if count == 1 else 's'}"


def layer_bits(edges: str, layers: Sequence[str]) -> LayerBits:
    """Of texts, as on a command line: bits, and ``NAME=BITS``; :class:`SysmolError` says what is wrong."""
    found = []
    for text in layers:
        name, equals, bits = text.rpartition("=")
        if not (name and equals and bits):
            raise SysmolError(f"layer bits {text!r}: write NAME=BITS, such as features.0=8")
        found.append((name, _of_text(bits)))
    return LayerBits(_of_text(edges), tuple(found))


def _of_text(bits: str) -> Bits:
    return int(bits) if bits.isdecimal() and len(bits) < 3 else bits


POLICIES = {
    "mixed": Policy(),
    "w4": Policy(default=4),
    "w2": Policy(default=2),
    "w1": Policy(default=1),
    "int8": Policy(default=8),
    "fp32": Policy(default=32, edges=32),
}


def named_policy(policy: Policy | str) -> Policy:
    """A policy by its name (mixed, w4, w2, w1, int8, fp32), or the policy itself."""
    if isinstance(policy, Policy):
        return policy
    if policy not in POLICIES:
        raise SysmolError(f"unknown policy '{policy}': choose one of {', '.join(POLICIES)}")
    return POLICIES[policy]
