"""What a quantised network computes: full precision, noise with learned precisions, or rounded codes."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from sysmol.train.frontend.graph import Unit, Value
from sysmol.train.frontend.tables import TABLES
from sysmol.train.quantise.heads import joined, noisy_weights, rounded_weights, split
from sysmol.train.quantise.modes import CLAMP, FLOAT, NOISE, SYMMETRIC
from sysmol.train.quantise.modules import INDEX, Convolution, Domain, activate
from sysmol.train.quantise.quantiser import Levels, add_noise, byte_levels, index_levels, quantise, smol_levels
from sysmol.train.quantise.structure import NORMS, Structure
from sysmol.train.quantise.windows import WINDOWS, pad, plain


class ForwardPass(Structure):
    """A module from real images ``[n, C, H, W]`` to logits ``[n, classes]``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``[n, classes]`` of real images ``[n, C, H, W]``."""
        results = self.results(x)
        return results[self.graph.output.unit].flatten(1)

    def results(
        self, x: torch.Tensor, stored: dict[tuple[Value, str], torch.Tensor] | None = None
    ) -> dict[str, torch.Tensor]:
        """The real-valued result of every unit, before activation functions; what moves stored numbers has none of its
        own. ``x [n, C, H, W]``, or lines ``[n, C, L]``; ``stored`` is filled with what is read, by its form."""
        x = x.unsqueeze(2) if x.dim() == 3 else x
        results: dict[str, torch.Tensor] = {}
        stored = {} if stored is None else stored
        for unit in self.graph.units.values():
            if unit.name in self.constants:
                results[unit.name] = self.constants[unit.name][None]
            elif unit.input is None:
                results[unit.name] = x
            elif unit.operation.requantises:
                results[unit.name] = self.run_unit(unit, results, stored)
        return results

    def run_unit(
        self, unit: Unit, results: dict[str, torch.Tensor], stored: dict[tuple[Value, str], torch.Tensor]
    ) -> torch.Tensor:
        """The result of one unit from those of the units before it; ``stored`` keeps what is read of them."""
        assert unit.input is not None
        if unit.has_weights:
            form = self._own(self.input_format(unit))
            module = self.convolution(unit.name)
            y = self.convolve(
                unit, self.read(unit.input, form, results, stored), self._weight(unit, module), module.bias
            )
            if module.bn is not None:
                y = module.bn(y)
        elif unit.op == "attention":
            y = self._attend(unit, *(self.read(v, self._own(form), results, stored) for v, form in self.reads(unit)))
        elif unit.op == "lookup":
            y = TABLES[unit.function](self.read(unit.input, self._own(INDEX), results, stored))
        else:
            y = self.read(unit.input, "f32", results, stored)
            if unit.normalises:
                y = self.norms[unit.name](y)
            elif unit.op in NORMS:
                y = self.normalisations[unit.name](y)
            elif unit.op in WINDOWS:
                y = WINDOWS[unit.op](y, unit)
            elif unit.op == "slice":
                y = y[:, unit.begin : unit.begin + unit.shape[0]]
            elif unit.slope is not None:
                y = y * _channels(self.slopes[unit.name])
            if unit.second is not None:
                y = y * self.read(unit.second, "f32", results, stored)
        if unit.residual is not None:
            y = y + self.read(unit.residual, "f32", results, stored)
        return y

    def _own(self, form: str) -> str:
        """The form in which something is read, real numbers in full precision."""
        return "f32" if self.mode == FLOAT else form

    def _attend(self, unit: Unit, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Attention of what is read, ``[n, C, H, W]`` each."""
        q, k, v = (split(x, unit.groups) for x in (queries, keys, values))
        scores = q @ k.transpose(-1, -2) * unit.factor
        if self.mode == FLOAT:
            weights = scores.softmax(-1)
        else:
            assert unit.third is not None
            domain = self.domain(unit.third.unit)
            first = slice(None, None, len(domain.s) // unit.groups)  # of every head, whose channels are alike
            if self.mode == NOISE:
                weights = noisy_weights(scores, domain.noise()[first])
            else:
                weights = rounded_weights(scores, domain.precisions[first])
        return joined(weights @ v, (queries.shape[2], queries.shape[3]))

    def convolve(self, unit: Unit, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """A unit's convolution of ``x [n, C, H, W]``."""
        top, left, bottom, right = unit.padding
        x = plain(x)  # not the weight: with copies of it, resumed trainings differ in the last bits
        if (top, left) == (bottom, right):
            return F.conv2d(x, weight, bias, unit.stride, (top, left), unit.dilation, unit.groups)
        return F.conv2d(pad(x, unit.padding), weight, bias, unit.stride, 0, unit.dilation, unit.groups)

    def read(
        self, value: Value, form: str, results: dict[str, torch.Tensor], stored: dict[tuple[Value, str], torch.Tensor]
    ) -> torch.Tensor:
        """What a unit reads: ``f32`` the real value (the file's 16-bit integers are as good as that), else rounded."""
        if (value, form) in stored:
            return stored[value, form]
        unit = self.graph.units[value.unit]
        if not unit.operation.requantises:
            assert unit.input is not None
            x = WINDOWS[unit.op](self.read(unit.input, form, results, stored), unit)
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
        if form == INDEX:
            real = activate(x, value.act)
            return real if self.mode == NOISE else quantise(real, module.scale, module.offset, index_levels(x.device))
        domain = self.domain(value.unit)
        if self.mode == NOISE:
            scale, offset = (_channels(each) for each in module.of_noise(domain))
            return add_noise(self.code_input(x, value.act), scale, offset, _channels(domain.noise()))
        # The lower end of the grid plays the part of ReLU: it sees the sum before the activation function.
        x = activate(x, value.act) if self.grid == SYMMETRIC else x
        scale, offset = (_channels(each) for each in module.of_channels(domain))
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
            return add_noise(module.kept(), scale, zero, self.input_channels(unit, self.weight_domain(unit).noise()))
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
        return scale, smol_levels(self.input_channels(unit, self.weight_domain(unit).precisions))

    def weight_domain(self, unit: Unit) -> Domain:
        """The precisions of a convolution's weights: those of its input (:mod:`sysmol.train.quantise.untied` apart)."""
        assert unit.input is not None
        own = self.weight_domains[unit.name] if unit.name in self.weight_domains else self.domain(unit.input.unit)
        assert isinstance(own, Domain)
        return own


def _channels(x: torch.Tensor) -> torch.Tensor:
    return x.view(1, -1, 1, 1)


def _channel_levels(precisions: torch.Tensor) -> Levels:
    return smol_levels(_channels(precisions))
