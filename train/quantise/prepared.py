"""A user's module made ready for SMOL: noise with learned precisions, freezing, fine-tuning (docs/training.md)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from sysmol.errors import SysmolError
from sysmol.grid import PRECISIONS
from sysmol.pattern import UNIFORM
from sysmol.patterns.slots import Cover, cover, vector_instructions
from sysmol.train.frontend.data import PIXEL_SCALE
from sysmol.train.frontend.equivalence import as_float, check_equal
from sysmol.train.frontend.graph import Graph, Unit, Value
from sysmol.train.frontend.policy import LEARNED, Bits, Policy, named_policy
from sysmol.train.frontend.trace import trace
from sysmol.train.quantise.allocate import allocate, learned_scores
from sysmol.train.quantise.calibration import calibrate
from sysmol.train.quantise.modes import CLAMP, FLOAT, FROZEN, GRIDS, NOISE, OFFSET, SYMMETRIC
from sysmol.train.quantise.modules import Activation, Convolution, Domain, Key, activate
from sysmol.train.quantise.quantiser import (
    Levels,
    add_noise,
    byte_levels,
    nearest_precision,
    precision_of,
    quantise,
    smol_levels,
)

if TYPE_CHECKING:
    from sysmol.patterns.selection import Demand

CHANNELWISE = ("depthwise", "avgpool", "maxpool", "add", "norm")
"""What keeps every channel by itself."""


class Prepared(nn.Module):
    """The network of :func:`prepare`: an ``nn.Module`` from real images ``[n, C, H, W]`` to logits ``[n, classes]``.

    ``mode`` says what the forward pass computes. The usual order is :meth:`calibrate`, :meth:`start_noise`, training
    with :meth:`size_penalty`, :meth:`freeze`, :meth:`calibrate`, training, export.
    """

    def __init__(self, graph: Graph, bits: dict[str, Bits], supported: Sequence[int], grid: str = OFFSET) -> None:
        super().__init__()
        if grid not in GRIDS:
            raise SysmolError(f"unknown activation grid '{grid}': choose one of {', '.join(GRIDS)}")
        self.grid = grid
        self.graph = graph
        self.bits = bits
        self.supported = tuple(supported)
        self.costs: dict[str, float] = {}
        """Cycles of a register of a layer's input, by the layer's name in the network file (``sysmol costs``)."""
        self.mode = FLOAT
        self.is_float = set(bits.values()) == {32}
        self.convolutions = nn.ModuleDict({u.name: Convolution(u) for u in graph.convolutions})
        self.norms = nn.ModuleDict({u.name: u.bn for u in graph.units.values() if u.op == "norm" and u.bn is not None})
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

    # --- structure ---------------------------------------------------------------------------------------------------

    def _keys(self) -> list[Key]:
        """The tensors that must be stored, in order of their units, from what reads them."""
        found: dict[Key, None] = {}

        def need(value: Value | None, form: str) -> None:
            if value is not None:
                found[self.key(value, form)] = None

        for unit in self.graph.units.values():
            if unit.has_weights:
                need(unit.input, self.input_format(unit))
            elif unit.op in ("avgpool", "add", "norm"):
                need(unit.input, "s16")
            if unit.op != "maxpool":
                need(unit.residual, "s16")
        order = {name: number for number, name in enumerate(self.graph.units)}
        return sorted(found, key=lambda key: order[key[0]])

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
            tied += [unit.input] if unit.op in CHANNELWISE and unit.input else []
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
            groups = math.lcm(*(unit.groups for unit in units if unit.op == "conv2d"))
            domain = Domain(self.graph.units[name].shape[0], bits.pop(), groups)
            if domain.bits != LEARNED:
                pattern = UNIFORM[int(domain.bits)]
                domain.place(cover(domain.precisions.numpy(), [pattern], groups=groups))
            self.domains[name] = domain

    def _activation(self, key: Key) -> Activation:
        if key[2] == "s8" and self.graph.units[key[0]].op == "input":
            fixed = Activation(1, learned=False)
            fixed.set(0, PIXEL_SCALE, 0.0)
            return fixed
        if key[2] == "smol":
            return Activation(3, shifted=self.grid == OFFSET)
        return Activation(1)

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

    def _weight_domain(self, unit: Unit) -> Domain:
        """The precisions of a convolution's weights: those of its input (:mod:`sysmol.train.quantise.untied` apart)."""
        assert unit.input is not None
        own = self.weight_domains[unit.name] if unit.name in self.weight_domains else self.domain(unit.input.unit)
        assert isinstance(own, Domain)
        return own

    # --- forward -----------------------------------------------------------------------------------------------------

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``[n, classes]`` of real images ``[n, C, H, W]``."""
        results = self.results(x)
        return results[self.graph.output.unit].flatten(1)

    def results(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The real-valued result of every unit, before activation functions; max pooling has none of its own."""
        results: dict[str, torch.Tensor] = {}
        stored: dict[tuple[Value, str], torch.Tensor] = {}
        for unit in self.graph.units.values():
            if unit.op == "input":
                results[unit.name] = x
            elif unit.op != "maxpool":
                results[unit.name] = self._run(unit, results, stored)
        return results

    def _run(
        self, unit: Unit, results: dict[str, torch.Tensor], stored: dict[tuple[Value, str], torch.Tensor]
    ) -> torch.Tensor:
        assert unit.input is not None
        if unit.has_weights:
            form = "f32" if self.mode == FLOAT else self.input_format(unit)
            module = self.convolution(unit.name)
            y = self._convolve(
                unit, self._read(unit.input, form, results, stored), self._weight(unit, module), module.bias
            )
            if module.bn is not None:
                y = module.bn(y)
        else:
            y = self._read(unit.input, "f32", results, stored)
            if unit.op == "norm":
                y = self.norms[unit.name](y)
            elif unit.op == "avgpool":
                y = F.avg_pool2d(_pad(y, unit.padding), unit.kernel, unit.stride, divisor_override=unit.divisor)
        if unit.residual is not None:
            y = y + self._read(unit.residual, "f32", results, stored)
        return y

    def _convolve(self, unit: Unit, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        top, left, bottom, right = unit.padding
        if (top, left) == (bottom, right):
            return F.conv2d(x, weight, bias, unit.stride, (top, left), 1, unit.groups)
        return F.conv2d(_pad(x, unit.padding), weight, bias, unit.stride, 0, 1, unit.groups)

    def _read(
        self, value: Value, form: str, results: dict[str, torch.Tensor], stored: dict[tuple[Value, str], torch.Tensor]
    ) -> torch.Tensor:
        """What a unit reads: ``f32`` the real value (the file's 16-bit integers are as good as that), else rounded."""
        if (value, form) in stored:
            return stored[value, form]
        unit = self.graph.units[value.unit]
        if unit.op == "maxpool":
            assert unit.input is not None
            inner = _pad(self._read(unit.input, form, results, stored), unit.padding, float("-inf"))
            x = F.max_pool2d(inner, unit.kernel, unit.stride)
        else:
            x = self._round(results[value.unit], value, form)
        stored[value, form] = x
        return x

    def _round(self, x: torch.Tensor, value: Value, form: str) -> torch.Tensor:
        if form == "f32":
            return activate(x, value.act)
        module = self.activation((value.unit, value.act, form))
        if form == "s8":
            real = activate(x, value.act)
            if self.mode == NOISE:
                return real
            return quantise(real, module.scale, module.offset, byte_levels(device=x.device))
        domain = self.domain(value.unit)
        if self.mode == NOISE:
            sigma = _channels(domain.noise())
            return add_noise(self.code_input(x, value.act), module.scale[:1], module.offset[:1], sigma)
        # The lower end of the grid plays the part of ReLU: it sees the sum before the activation function.
        x = activate(x, value.act) if self.grid == SYMMETRIC else x
        row = domain.row()
        scale, offset = _channels(module.scale[row]), _channels(module.offset[row])
        return quantise(x, scale, offset, _channel_levels(domain.precisions))

    def code_input(self, x: torch.Tensor, act: str) -> torch.Tensor:
        """What a SMOL grid is fitted to, and what noise is added to."""
        return x if self.grid == CLAMP else activate(x, act)

    def _weight(self, unit: Unit, module: Convolution) -> torch.Tensor:
        if self.mode == FLOAT or (self.mode == NOISE and self.input_format(unit) == "s8"):
            return module.kept()
        scale, levels = self.weight_grid(unit)
        zero = torch.zeros(())
        if self.mode == NOISE:
            return add_noise(module.kept(), scale, zero, self.input_channels(unit, self._weight_domain(unit).noise()))
        return quantise(module.kept(), scale, zero, levels)

    def input_channels(self, unit: Unit, x: torch.Tensor) -> torch.Tensor:
        """A vector over a convolution's input channels, shaped to meet its weight."""
        if unit.groups == 1:
            return x.view(1, -1, 1, 1)
        per_group = x.view(unit.groups, -1)
        return per_group.repeat_interleave(unit.shape[0] // unit.groups, 0)[..., None, None]

    def unit_scale(self, unit: Unit) -> torch.Tensor:
        """Scale of a convolution's input per channel, shaped to meet its weight (1 for bytes, whose scale is one
        number).
        """
        assert unit.input is not None
        if self.input_format(unit) == "s8":
            return self.convolution(unit.name).weight.new_ones(1, 1, 1, 1)
        scales = self.activation(self.key(unit.input, "smol")).scale
        domain = self.domain(unit.input.unit)
        per_channel = scales[:1].expand(len(domain.precisions)) if self.mode == NOISE else scales[domain.row()]
        return self.input_channels(unit, per_channel)

    def weight_grid(self, unit: Unit) -> tuple[torch.Tensor, Levels]:
        """Scale (real units, broadcastable over the weight) and levels of a convolution's weights.

        One accumulator unit must stand for the same real number in every input channel, so the scale of a weight is
        that of its output channel divided by that of the activations it meets.
        """
        scale = self.convolution(unit.name).log_scale.exp().view(-1, 1, 1, 1) / self.unit_scale(unit)
        if self.input_format(unit) == "s8":
            return scale, byte_levels(-127, scale.device)
        return scale, smol_levels(self.input_channels(unit, self._weight_domain(unit).precisions))

    # --- phases ------------------------------------------------------------------------------------------------------

    def calibrate(self, images: torch.Tensor) -> None:
        """First guesses of all scales and offsets from real images ``[n, C, H, W]``, the present precisions and
        weights; in full precision, or with noise during phase 1.
        """
        calibrate(self, images)

    def start_noise(self) -> None:
        """Phase 1: scales stand still, weights, batch normalisation and precisions learn."""
        if not any(d.bits == LEARNED for d in self._all_domains()):
            raise SysmolError("the policy learns no precision: use 'mixed', or fine-tune at once")
        self.mode = NOISE

    def freeze(
        self,
        bits: float | None = None,
        cost: float | None = None,
        patterns: Sequence[int] | None = None,
        scores: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Phase 2: round the learned precisions and lay them out in patterns.

        ``bits``, ``cost``: limits of the stored bits per parameter (:func:`sysmol.train.quantise.allocate.stored_bits`)
        and of the cost of all vectors (:func:`sysmol.train.quantise.allocate.vector_cost`). ``patterns``: ids that the
        hardware supports from now on. ``scores``: real-valued precisions ``[C]`` by learned domain instead of the
        trained ones.
        """
        if patterns is not None:
            self.supported = tuple(patterns)
        chosen = allocate(self, self.supported, learned_scores(self) if scores is None else scores, bits, cost)
        self.lay_out(chosen)

    def lay_out(self, covers: Mapping[str, Cover]) -> None:
        """Phase 2 in these layouts, by learned domain: what :meth:`freeze` ends with, for layouts from elsewhere."""
        for name, domain in self.learned_domains().items():
            domain.place(covers[name])
        self.mode = FROZEN

    def learned_domains(self) -> dict[str, Domain]:
        """The domains whose precisions are learned, by the name of their first unit."""
        return {n: d for n, d in self.domains.items() if isinstance(d, Domain) and d.bits == LEARNED}

    def domain_costs(self) -> dict[str, float]:
        """What one register of every learned domain costs in the convolutions that read it: cycles where :attr:`costs`
        know, else multiply-accumulate instructions.
        """
        return self._over_readers(
            lambda unit: self.costs.get(unit.name, 0.0) if self.costs else vector_instructions(
                unit.op == "depthwise", unit.kernel, unit.shape[0] // unit.groups, unit.shape[1] * unit.shape[2]
            )
        )  # fmt: skip

    def domain_weights(self) -> dict[str, float]:
        """How many weights read a channel of every learned domain."""
        return self._over_readers(self._weights_per_channel)

    def penalty_weights(self) -> dict[str, float]:
        """What :meth:`size_penalty` weighs a channel of every learned domain with."""
        return self._over_readers(self._penalty_weight)

    def _over_readers(self, amount: Callable[[Unit], float]) -> dict[str, float]:
        """An amount per SMOL convolution, summed over those that read each learned domain."""
        found: dict[str, float] = dict.fromkeys(self.learned_domains(), 0.0)
        for unit in self._smol_convolutions():
            assert unit.input is not None
            name = self.domain_of[unit.input.unit]
            if name in found:
                found[name] += amount(unit)
        return found

    def demands(
        self, scores: Mapping[str, torch.Tensor] | None = None, gains: Mapping[str, torch.Tensor] | None = None
    ) -> list[Demand]:
        """What every learned domain asks of a set of patterns, for :func:`sysmol.patterns.selection.choose`; one with
        groups asks for each of them, whose vectors are its own.

        ``scores`` as in :meth:`freeze`; ``gains``: loss that one more bit saves per channel
        (:func:`sysmol.train.quantise.allocate.sensitivity`), by domain. A vector costs what :attr:`costs` say.
        """
        from sysmol.patterns.selection import tensor_demand

        costs = self.domain_costs()
        found = []
        for name, real in (learned_scores(self) if scores is None else scores).items():
            groups = self.learned_domains()[name].groups
            gain = torch.zeros_like(real) if gains is None else gains[name]
            for number, (own, slopes) in enumerate(zip(real.chunk(groups), gain.chunk(groups), strict=True)):
                precisions = nearest_precision(own)
                c4, c2, c1 = (int((precisions == p).sum()) for p in PRECISIONS)
                by_two, by_one = (
                    max(float(slopes[precisions == p].mean()), 0.0) if n else 0.0 for p, n in ((2, c2), (1, c1))
                )
                label = name if groups == 1 else f"{name}/{number}"
                saved = (2 * by_two, 3 * by_one, by_one)
                found.append(tensor_demand(label, (c4, c2, c1), costs[name], saved, groups))
        return found

    def _all_domains(self) -> list[Domain]:
        return [d for d in self.domains.values() if isinstance(d, Domain)]

    # --- size --------------------------------------------------------------------------------------------------------

    def _smol_convolutions(self) -> list[Unit]:
        return [] if self.is_float else [u for u in self.graph.convolutions if self.input_format(u) == "smol"]

    @staticmethod
    def _weights_per_channel(unit: Unit) -> float:
        """Weights of a convolution per input channel."""
        assert unit.weight is not None
        return float(unit.kernel[0] * unit.kernel[1] * (unit.weight.shape[0] // unit.groups))

    def _penalty_weight(self, unit: Unit) -> float:
        return self.costs.get(unit.name, 0.0) if self.costs else self._weights_per_channel(unit)

    def size_penalty(self) -> torch.Tensor:
        """``sum n_c log2(1 + e**-s_c) / sum n_c`` over input channels: mean learned bits minus 1, every channel
        weighted by what a register of such channels costs (:attr:`costs`), without costs by the weights that read it.
        """
        total, count = torch.zeros(()), 0.0
        for unit in self._smol_convolutions():
            assert unit.input is not None
            domain, cost = self.domain(unit.input.unit), self._penalty_weight(unit)
            if domain.bits == LEARNED:
                for s in (domain.s, self._weight_domain(unit).s):
                    total = total + cost / 2 * (precision_of(s) - 1).sum()
                count += cost * len(domain.s)
        return total / max(count, 1e-9)

    def mean_bits(self) -> float:
        """Mean bits per weight of the SMOL layers: learned (phase 1) or frozen."""
        total = count = 0.0
        for unit in self._smol_convolutions():
            assert unit.input is not None
            domain, weights = self.domain(unit.input.unit), self._weights_per_channel(unit)
            learned = self.mode == NOISE and domain.bits == LEARNED
            p = precision_of(domain.s.detach()) if learned else domain.precisions.float()
            total += weights * float(p.sum())
            count += weights * len(p)
        return total / count if count else 8.0

    def get_extra_state(self) -> str:
        return self.mode

    def set_extra_state(self, state: Any) -> None:
        self.mode = str(state)


def prepare(
    model: nn.Module,
    example_input: torch.Tensor,
    policy: Policy | str = "mixed",
    pattern_set: str | Sequence[int] = "P4",
    grid: str = OFFSET,
) -> Prepared:
    """Make a module ready for SMOL; the module itself is not changed, its weights are copied.

    ``example_input`` is a real image batch ``[n, C, H, W]`` (:func:`sysmol.train.frontend.data.to_real`), ``policy`` a
    :class:`Policy` or one of mixed, w4, w2, w1, int8, fp32, ``pattern_set`` the patterns that the hardware supports:
    P4, P8, P45 or ids, ``grid`` one of :data:`sysmol.train.quantise.modes.GRIDS`. A layer that cannot be exported
    raises one :class:`SysmolError` that names it, and so does a module whose logits on the example images the prepared
    network does not have in full precision.
    """
    graph = trace(model, example_input)
    bits = named_policy(policy).bits(graph)
    prepared = Prepared(graph, bits, resolve_patterns(pattern_set), grid)
    training = prepared.training
    check_equal(as_float(model), prepared.eval(), example_input, graph.dropped)
    return prepared.train(training)


def resolve_patterns(pattern_set: str | Sequence[int]) -> tuple[int, ...]:
    """Pattern ids of a named set, or the ids themselves."""
    if not isinstance(pattern_set, str):
        return tuple(int(i) for i in pattern_set)
    from sysmol.machine import pattern_set as named

    return tuple(named(pattern_set))


def _channels(x: torch.Tensor) -> torch.Tensor:
    return x.view(1, -1, 1, 1)


def _channel_levels(precisions: torch.Tensor) -> Levels:
    return smol_levels(_channels(precisions))


def _pad(x: torch.Tensor, padding: tuple[int, int, int, int], value: float = 0.0) -> torch.Tensor:
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom), value=value) if any(padding) else x
