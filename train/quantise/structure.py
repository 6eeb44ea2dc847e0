"""What a quantised network consists of: stored tensors, channel orders that layers share, what a vector costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from sysmol.errors import SysmolError
from sysmol.network import Normalisation
from sysmol.pattern import UNIFORM
from sysmol.patterns.slots import vector_instructions
from sysmol.train.frontend.data import USUAL
from sysmol.train.frontend.graph import Graph, Unit, Value
from sysmol.train.frontend.policy import LEARNED, Bits
from sysmol.train.frontend.tensors import Affine
from sysmol.train.quantise.modes import FLOAT, GRIDS, OFFSET
from sysmol.train.quantise.modules import (
    INDEX,
    KEY,
    QUERY,
    VALUE,
    Activation,
    Convolution,
    Domain,
    Key,
    LayerNormalisation,
    SpreadActivation,
    norm_affine,
    stored,
)


def byte_grid(normalisation: Normalisation, channels: int) -> tuple[float, float]:
    """Scale and offset of the signed bytes that an image is stored as: exact where all channels have one scale and
    mean, else one grid over what all of them can be."""
    mean, scale = normalisation.of_channels(channels)
    low = min(-m * s for m, s in zip(mean, scale, strict=True))
    high = max((255 - m) * s for m, s in zip(mean, scale, strict=True))
    step = (high - low) / 255
    return step, low + 128 * step


NORMS = ("layernorm", "rmsnorm")
"""Units that normalise over channels."""


class Structure(nn.Module):
    """A graph's weights, its stored tensors with their quantisers, and its channel orders (domains). ``mode`` says what
    the forward pass computes (:mod:`sysmol.train.quantise.modes`); ``supported`` are the pattern ids of the hardware.
    """

    def __init__(
        self,
        graph: Graph,
        bits: dict[str, Bits],
        supported: Sequence[int],
        grid: str = OFFSET,
        normalisation: Normalisation = USUAL,
    ) -> None:
        super().__init__()
        if grid not in GRIDS:
            raise SysmolError(f"unknown activation grid '{grid}': choose one of {', '.join(GRIDS)}")
        self.grid = grid
        self.normalisation = normalisation
        self.image_channels = next(iter(graph.units.values())).shape[0]
        normalisation.of_channels(self.image_channels)
        self.graph = graph
        self.bits = bits
        self.supported = tuple(supported)
        self.costs: dict[str, float] = {}
        """Cycles of a register of a layer's input, by the layer's name in the network file (``sysmol costs``)."""
        self.mode = FLOAT
        self.is_float = set(bits.values()) == {32}
        self.convolutions = nn.ModuleDict({u.name: Convolution(u) for u in graph.convolutions})
        self.slopes = nn.ParameterDict({
            u.name: nn.Parameter(u.slope.clone(), requires_grad=u.learned_slope)
            for u in graph.units.values() if u.slope is not None
        })  # fmt: skip
        units = graph.units.values()
        self.normalisations = nn.ModuleDict({u.name: LayerNormalisation(u) for u in units if u.op in NORMS})
        self.constants = nn.ParameterDict({
            u.name: nn.Parameter(u.data.clone(), requires_grad=u.learned_data)
            for u in graph.units.values() if u.data is not None
        })  # fmt: skip
        self.norms = nn.ModuleDict({u.name: u.bn for u in graph.units.values() if u.normalises and u.bn is not None})
        self.keys = self._keys()
        self.domain_of = self._domains()
        self.domains = nn.ModuleDict()
        self.weight_domains = nn.ModuleDict()
        self.activations = nn.ModuleDict()
        if not self.is_float:
            self._add_domains()
            for key in self.keys:
                if key[2] != "s16":
                    self.activations["/".join(key)] = self._activation(key)

    # --- tensors and domains ---

    def _keys(self) -> list[Key]:
        """The tensors that must be stored, in order of their units, from what reads them."""
        found: dict[Key, None] = {}
        for unit in self.graph.units.values():
            if unit.operation.requantises:
                found |= {self.key(value, form): None for value, form in self.reads(unit)}
        order = {name: number for number, name in enumerate(self.graph.units)}
        return sorted(found, key=lambda key: order[key[0]])

    def reads(self, unit: Unit) -> list[tuple[Value, str]]:
        """What a unit reads and in which form; of what moves stored numbers see its own readers."""
        found: list[tuple[Value | None, str]] = []
        if unit.has_weights:
            found.append((unit.input, self.input_format(unit)))
        elif unit.op == "attention":
            found += [(unit.input, QUERY), (unit.second, KEY), (unit.third, VALUE)]
        elif not self.reads_image(unit):
            found += [(unit.input, INDEX if unit.op == "lookup" else "s16"), (unit.second, "s16")]
        found.append((unit.residual, "s16"))
        return [(value, form) for value, form in found if value is not None]

    def reads_image(self, unit: Unit) -> bool:
        """Whether a unit's layer reads the image itself, not what the image's conversion makes of it."""
        if unit.input is None or unit.input.act != "none" or self.graph.units[unit.input.unit].input is not None:
            return False
        return unit.operation.reads_image and not unit.operation.keeps_channels

    def key(self, value: Value, form: str) -> Key:
        """The stored tensor behind a value in a format."""
        root = self.graph.root(value)
        return root.unit, root.act, form

    def input_format(self, unit: Unit) -> str:
        """Format that a convolution reads."""
        return "s8" if self.bits[unit.name] == 8 else "smol"

    def _domains(self) -> dict[str, str]:
        """Name of the domain (its first unit) of every unit."""
        parent = {name: name for name in self.graph.units}

        def find(name: str) -> str:
            while parent[name] != name:
                name = parent[name]
            return name

        order = list(self.graph.units)
        for unit in self.graph.units.values():
            tied = [unit.residual] if unit.residual else []
            keeps = unit.operation.keeps_channels and not unit.operation.mixes_channels
            # Keys have the precisions and slots of queries.
            tied += [v for v in (unit.input, unit.second) if v is not None and (keeps or unit.op == "attention")]
            for value in tied:
                a, b = sorted((find(unit.name), find(value.unit)), key=order.index)
                parent[b] = a
        return {name: find(name) for name in parent}

    def _add_domains(self) -> None:
        readers: dict[str, list[Unit]] = {}
        for unit, name in self.smol_reads():
            readers.setdefault(name, []).append(unit)
        for name, units in readers.items():
            bits = {self.bits[unit.name] for unit in units}
            if len(bits) > 1:
                listed = ", ".join(f"{unit.path}: {self.bits[unit.name]}" for unit in units)
                raise SysmolError(
                    f"policy: layers that read one residual stream must share their bits, but have {listed}"
                )
            # Every reader's groups are unions of those that the least common multiple makes, its heads parts of those
            # of the greatest common divisor.
            attentions = [(unit, self._reads_values(unit, name)) for unit in units if unit.op == "attention"]
            groups = [unit.groups for unit in units if unit.operation.mixes_channels]
            groups += [unit.groups for unit, values in attentions if not values]
            heads = math.gcd(*(unit.groups for unit, values in attentions if values))
            domain = Domain(self.graph.units[name].shape[0], bits.pop(), math.lcm(*groups), heads)
            if domain.bits != LEARNED:
                pattern = UNIFORM[int(domain.bits)]
                domain.place(domain.cover(domain.precisions.numpy(), [pattern]))
            self.domains[name] = domain

    def _reads_values(self, unit: Unit, domain: str) -> bool:
        """Whether an attention reads its values in a domain."""
        return unit.third is not None and self.domain_of[unit.third.unit] == domain

    def smol_reads(self) -> list[tuple[Unit, str]]:
        """The units that read SMOL tensors, each with the name of the domain; attention reads two, or one twice."""
        found = []
        for unit in [] if self.is_float else self.graph.units.values():
            if unit.op == "attention":
                assert unit.input is not None and unit.third is not None
                found += [(unit, self.domain_of[value.unit]) for value in (unit.input, unit.third)]
            elif unit.has_weights and self.input_format(unit) == "smol":
                assert unit.input is not None
                found.append((unit, self.domain_of[unit.input.unit]))
        return found

    def _activation(self, key: Key) -> Activation:
        pixels = self._pixels_of(self.graph.units[key[0]])
        if key[1:] == ("none", "s8") and pixels is not None:
            fixed = Activation(1, learned=False)
            fixed.set(0, *byte_grid(pixels, self.image_channels))
            return fixed
        if key[2] == "smol":
            return Activation(3, shifted=self.grid == OFFSET)
        if stored(key[2]) == "smol":
            channels = self.graph.units[key[0]].shape[0]
            return SpreadActivation(channels if key[2] == VALUE else self._heads_of(key), shifted=key[2] == VALUE)
        return Activation(1)

    def _heads_of(self, key: Key) -> int:
        """Heads of queries or keys whose scales differ."""
        found = self.graph.attentions
        return math.gcd(*(u.groups for u in found if key in [self.key(value, form) for value, form in self.reads(u)]))

    def _pixels_of(self, unit: Unit) -> Normalisation | None:
        """What pixels stand for in the image, or in what constants of the user's make of it; None elsewhere."""
        if unit.input is None:
            return self.normalisation
        of_image = self.graph.units[unit.input.unit].input is None and unit.input.act == "none"
        if not of_image or not isinstance(unit.bn, Affine) or not bool((unit.bn.weight > 0).all()):
            return None
        factor, addend = (x.tolist() for x in norm_affine(unit.bn))
        mean, scale = self.normalisation.of_channels(self.image_channels)
        moved = zip(mean, scale, factor, addend, strict=True)
        means = tuple(m - a / (f * s) for m, s, f, a in moved)
        return Normalisation(means, tuple(f * s for f, s in zip(factor, scale, strict=True)))

    def convolution(self, name: str) -> Convolution:
        """The convolution of a unit."""
        module = self.convolutions[name]
        assert isinstance(module, Convolution)
        return module

    def activation(self, key: Key) -> Activation:
        """The quantiser of a stored tensor."""
        module = self.activations["/".join(key)]
        assert isinstance(module, Activation)
        return module

    def domain(self, unit: str) -> Domain:
        """The domain of a unit's channels; only where a SMOL tensor of it is stored."""
        module = self.domains[self.domain_of[unit]]
        assert isinstance(module, Domain)
        return module

    def all_domains(self) -> list[Domain]:
        return [d for d in self.domains.values() if isinstance(d, Domain)]

    def learned_domains(self) -> dict[str, Domain]:
        """The domains whose precisions are learned, by the name of their first unit."""
        return {n: d for n, d in self.domains.items() if isinstance(d, Domain) and d.bits == LEARNED}

    # --- what reads them ---

    def domain_costs(self) -> dict[str, float]:
        """What one register of every learned domain costs in the convolutions that read it: cycles where :attr:`costs`
        know, else multiply-accumulate instructions.
        """
        return self._over_readers(lambda unit: self._cycles(unit) if self.costs else self.instructions(unit))

    def instruction_costs(self) -> dict[str, float]:
        """Multiply-accumulate instructions of a register of what every unit reads in SMOL codes, as :attr:`costs` take
        them."""
        return {unit.name: self.instructions(unit) for unit, _ in self.smol_reads()}

    def instructions(self, unit: Unit) -> float:
        """Multiply-accumulate instructions per register of a convolution's input, for one image; of attention per
        register of any operand, which meets every pair of tokens once."""
        pixels = unit.shape[1] * unit.shape[2]
        if unit.op == "attention":
            return pixels * self.weights_per_channel(unit)
        return vector_instructions(unit.operation, unit.kernel, unit.shape[0] // unit.groups, pixels)

    def domain_weights(self) -> dict[str, float]:
        """How many weights read a channel of every learned domain."""
        return self._over_readers(lambda unit: self.weights_per_channel(unit) if unit.has_weights else 0.0)

    def penalty_weights(self) -> dict[str, float]:
        """What :meth:`size_penalty` weighs a channel of every learned domain with."""
        return self._over_readers(self.penalty_weight)

    def _over_readers(self, amount: Callable[[Unit], float]) -> dict[str, float]:
        """An amount per unit that reads SMOL codes, summed over those that read each learned domain."""
        found: dict[str, float] = dict.fromkeys(self.learned_domains(), 0.0)
        for unit, name in self.smol_reads():
            if name in found:
                found[name] += amount(unit)
        return found

    def smol_convolutions(self) -> list[Unit]:
        return [] if self.is_float else [u for u in self.graph.convolutions if self.input_format(u) == "smol"]

    def weights_per_channel(self, unit: Unit) -> float:
        """Weights of a convolution per input channel; of attention, where tokens take their place, those."""
        if unit.op == "attention":
            assert unit.second is not None
            return float(math.prod(self.graph.units[unit.second.unit].shape[1:]))
        assert unit.weight is not None
        return float(unit.kernel[0] * unit.kernel[1] * (unit.weight.shape[0] // unit.groups))

    def penalty_weight(self, unit: Unit) -> float:
        return self._cycles(unit) if self.costs else self.weights_per_channel(unit)

    def _cycles(self, unit: Unit) -> float:
        """Cycles of a register of what a unit reads, where they are known."""
        return self.costs.get(unit.name, 0.0)

    def get_extra_state(self) -> str:
        return self.mode

    def set_extra_state(self, state: Any) -> None:
        self.mode = str(state)
