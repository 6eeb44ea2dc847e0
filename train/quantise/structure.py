"""What a quantised network consists of: stored tensors, channel orders that layers share, what a vector costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from sysmol.errors import SysmolError
from sysmol.network import Normalisation
from sysmol.pattern import UNIFORM
from sysmol.patterns.slots import cover, vector_instructions
from sysmol.train.frontend.data import USUAL
from sysmol.train.frontend.graph import Graph, Unit, Value
from sysmol.train.frontend.policy import LEARNED, Bits
from sysmol.train.frontend.tensors import Affine
from sysmol.train.quantise.modes import FLOAT, GRIDS, OFFSET
from sysmol.train.quantise.modules import Activation, Convolution, Domain, Key, norm_affine


def byte_grid(normalisation: Normalisation, channels: int) -> tuple[float, float]:
    """Scale and offset of the signed bytes that an image is stored as: exact where all channels have one scale and
    mean, else one grid over what all of them can be."""
    mean, scale = normalisation.of_channels(channels)
    low = min(-m * s for m, s in zip(mean, scale, strict=True))
    high = max((255 - m) * s for m, s in zip(mean, scale, strict=True))
    step = (high - low) / 255
    return step, low + 128 * step


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

        def need(value: Value | None, form: str) -> None:
            if value is not None:
                found[self.key(value, form)] = None

        for unit in self.graph.units.values():
            if unit.has_weights:
                need(unit.input, self.input_format(unit))
            elif unit.operation.requantises and not self.reads_image(unit):
                need(unit.input, "s16")
            need(unit.residual, "s16")
        order = {name: number for number, name in enumerate(self.graph.units)}
        return sorted(found, key=lambda key: order[key[0]])

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
            tied += [unit.input] if unit.input and keeps else []
            for value in tied:
                a, b = sorted((find(unit.name), find(value.unit)), key=order.index)
                parent[b] = a
        return {name: find(name) for name in parent}

    def _add_domains(self) -> None:
        readers: dict[str, list[Unit]] = {}
        for unit in self.graph.convolutions:
            if self.input_format(unit) == "smol":
                assert unit.input is not None
                readers.setdefault(self.domain_of[unit.input.unit], []).append(unit)
        for name, units in readers.items():
            bits = {self.bits[unit.name] for unit in units}
            if len(bits) > 1:
                listed = ", ".join(f"{unit.path}: {self.bits[unit.name]}" for unit in units)
                raise SysmolError(
                    f"policy: layers that read one residual stream must share their bits, but have {listed}"
                )
            # Every convolution's groups are unions of those that the least common multiple makes.
            groups = math.lcm(*(unit.groups for unit in units if unit.operation.mixes_channels))
            domain = Domain(self.graph.units[name].shape[0], bits.pop(), groups)
            if domain.bits != LEARNED:
                pattern = UNIFORM[int(domain.bits)]
                domain.place(cover(domain.precisions.numpy(), [pattern], groups=groups))
            self.domains[name] = domain

    def _activation(self, key: Key) -> Activation:
        pixels = self._pixels_of(self.graph.units[key[0]])
        if key[1:] == ("none", "s8") and pixels is not None:
            fixed = Activation(1, learned=False)
            fixed.set(0, *byte_grid(pixels, self.image_channels))
            return fixed
        if key[2] == "smol":
            return Activation(3, shifted=self.grid == OFFSET)
        return Activation(1)

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
        return self._over_readers(
            lambda unit: self.costs.get(unit.name, 0.0) if self.costs else self.instructions(unit)
        )

    def instruction_costs(self) -> dict[str, float]:
        """Multiply-accumulate instructions of a register of every SMOL convolution's input, as :attr:`costs` take
        them."""
        return {unit.name: self.instructions(unit) for unit in self.smol_convolutions()}

    @staticmethod
    def instructions(unit: Unit) -> float:
        """Multiply-accumulate instructions of a convolution per register of its input, for one image."""
        return vector_instructions(
            unit.operation, unit.kernel, unit.shape[0] // unit.groups, unit.shape[1] * unit.shape[2]
        )

    def domain_weights(self) -> dict[str, float]:
        """How many weights read a channel of every learned domain."""
        return self._over_readers(self.weights_per_channel)

    def penalty_weights(self) -> dict[str, float]:
        """What :meth:`size_penalty` weighs a channel of every learned domain with."""
        return self._over_readers(self.penalty_weight)

    def _over_readers(self, amount: Callable[[Unit], float]) -> dict[str, float]:
        """An amount per SMOL convolution, summed over those that read each learned domain."""
        found: dict[str, float] = dict.fromkeys(self.learned_domains(), 0.0)
        for unit in self.smol_convolutions():
            assert unit.input is not None
            name = self.domain_of[unit.input.unit]
            if name in found:
                found[name] += amount(unit)
        return found

    def smol_convolutions(self) -> list[Unit]:
        return [] if self.is_float else [u for u in self.graph.convolutions if self.input_format(u) == "smol"]

    @staticmethod
    def weights_per_channel(unit: Unit) -> float:
        """Weights of a convolution per input channel."""
        assert unit.weight is not None
        return float(unit.kernel[0] * unit.kernel[1] * (unit.weight.shape[0] // unit.groups))

    def penalty_weight(self, unit: Unit) -> float:
        return self.costs.get(unit.name, 0.0) if self.costs else self.weights_per_channel(unit)

    def get_extra_state(self) -> str:
        return self.mode

    def set_extra_state(self, state: Any) -> None:
        self.mode = str(state)
