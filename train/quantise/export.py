"""From a prepared module to a network file: every real constant becomes an integer here, once.

A unit's real result is ``factor * acc + addend`` (weight, activation and batch-normalisation scales in ``factor``;
bias and activation offsets in ``addend``) where every tap counts. At an image's border taps add nothing: what they lack
is derived from the zero points of the input (:func:`sysmol.network.border_constants`), here as when a file is read. A
target asks for ``floor(slope * real + shift)``. The product of the two, times ``2**S``, rounded, gives M, B and R; S is
the largest that provably fits 32 bits and 16 bits of M.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from sysmol.errors import SysmolError
from sysmol.grid import ACC_UNIT, PRECISIONS
from sysmol.network import (
    INT32_MAX,
    RANGES,
    ZERO_POINT_SHIFT,
    Layer,
    Network,
    Output,
    Tensor,
    accumulator_bound,
    border_constants,
    border_sums,
    group_tensor,
    magnitude,
    operation,
    requantised_bound,
    save,
    zero_point_taps,
)
from sysmol.network.checks import validate
from sysmol.network.file import breakdown
from sysmol.packing import filler_codes, pack
from sysmol.train.frontend.data import PIXEL_SCALE, PIXEL_ZERO
from sysmol.train.frontend.graph import Unit, Value
from sysmol.train.quantise.modes import FROZEN, SYMMETRIC
from sysmol.train.quantise.modules import Activation, Key, activate, norm_affine
from sysmol.train.quantise.prepared import Prepared
from sysmol.train.quantise.quantiser import codes
from sysmol.train.quantise.windows import WINDOWS

WIDE_MARGIN = 1.25
"""A 16-bit stream spans this many times the largest value seen in calibration; beyond it saturates."""

Array = np.ndarray[Any, Any]


@dataclass
class Real:
    """A unit's real result per channel where every tap counts, float64: ``factor[c] * acc + addend[c]``, and
    ``residual[c] * r`` with a residual input r.

    ``mean_acc`` is the accumulator's mean in training where batch normalisation knows it, else None.
    """

    factor: Array
    addend: Array
    mean_acc: Array | None = None
    residual: Array | None = None

    def behind(self, norm: nn.BatchNorm2d) -> Real:
        """The result behind batch normalisation."""
        factor, addend = (x.numpy() for x in norm_affine(norm))
        residual = None if self.residual is None else self.residual * factor
        return Real(self.factor * factor, self.addend * factor + addend, self.mean_acc, residual)


def export(prepared: Prepared, name: str, calibration: torch.Tensor, description: str = "") -> Network:
    """The network of a frozen (or int8, or fp32) prepared module, validated; ``calibration`` are real images.

    They set the range of the 16-bit streams. Samples, metrics and provenance are the caller's.
    """
    if not prepared.is_float and prepared.mode != FROZEN:
        raise SysmolError("freeze the prepared module before the export")
    if prepared.weight_domains or prepared.grid == SYMMETRIC:
        raise SysmolError(
            "a network with precisions of their own for weights, or with activation functions on a symmetric grid, is "
            "for comparison only: no SMOL instruction computes it"
        )
    net = _Exporter(prepared, name, calibration).build()
    net.description = description
    validate(net)
    return net


class _Exporter:
    def __init__(self, prepared: Prepared, name: str, calibration: torch.Tensor) -> None:
        self.prepared = prepared
        self.graph = prepared.graph
        channels, height, width = next(iter(self.graph.units.values())).shape
        self.net = Network(name, {"image": Tensor("image", height, width, channels, "u8")}, [], "image", "logits")
        self.wide = {} if prepared.is_float else self._wide_scales(calibration)

    @torch.no_grad()
    def _wide_scales(self, calibration: torch.Tensor) -> dict[Key, float]:
        """Real value of one step of every 16-bit stream."""
        training = self.prepared.training
        self.prepared.eval()
        results = self.prepared.results(calibration)
        self.prepared.train(training)
        return {
            key: max(float(activate(results[key[0]], key[1]).abs().max()), 1e-6) * WIDE_MARGIN / 32767
            for key in self.prepared.keys
            if key[2] == "s16"
        }

    def build(self) -> Network:
        for unit in self.graph.units.values():
            if not unit.operation.requantises:
                self._moves(unit)
            elif not self.folds(unit):
                self._layer(unit)
        return self.net

    def folds(self, unit: Unit) -> bool:
        """Whether a normalisation needs no layer: whoever makes its input writes what it makes of that as well."""
        if not unit.normalises:
            return False
        assert unit.input is not None
        maker = self.graph.units[unit.input.unit]
        # Floating point knows no factor for a residual.
        scaled = maker.residual is None or not self.prepared.is_float
        return unit.input.act == "none" and maker.operation.requantises and not maker.normalises and scaled

    def folded(self, unit: Unit) -> list[Unit]:
        """The normalisations that a unit's layer computes with it."""
        return [
            u for u in self.graph.units.values() if self.folds(u) and u.input is not None and u.input.unit == unit.name
        ]

    # --- tensors -----------------------------------------------------------------------------------------------------

    def tensor_name(self, value: Value, form: str) -> str:
        """Name of a value's tensor in a format."""
        act = "" if value.act == "none" else f".{value.act}"
        return f"{value.unit}{act}.{form}"

    def declare(self, value: Value, form: str) -> Tensor:
        """Add the tensor of a value in a format."""
        channels, height, width = self.graph.units[value.unit].shape
        tensor = Tensor(self.tensor_name(value, form), height, width, channels, form)
        if form == "smol":
            domain = self.prepared.domain(value.unit)
            tensor.patterns, tensor.slots = domain.patterns, domain.slots.numpy().astype(np.int64)
        if form in ("smol", "s8"):
            tensor.zero_point = self._zero_point(tensor, self.prepared.activation(self.prepared.key(value, form)))
        self.net.tensors[tensor.name] = tensor
        return tensor

    def _zero_point(self, tensor: Tensor, activation: Activation) -> tuple[int, ...]:
        """The integers that stand for the real 0: ``-offset`` over the real value of one step of x."""
        points = -(activation.offset.detach().double() / activation.scale.detach().double()).numpy()
        if tensor.format == "smol":
            bits = np.array(PRECISIONS)
            points = points * np.exp2(bits - 1.0) * np.isin(bits, tensor.precisions)
        return tuple(int(point) for point in np.rint(points * 2.0**ZERO_POINT_SHIFT))

    def readers(self, unit: Unit) -> list[tuple[Value, str]]:
        """The (value, format) pairs of a unit's result that later units read, max pooling passing on its own
        readers'.
        """
        found: dict[tuple[Value, str], None] = {}
        for later in self.graph.units.values():
            for value in () if self.folds(later) else (later.input, later.residual):
                if value is not None and value.unit == unit.name:
                    for form in self._forms(later) if value is later.input else ["s16"]:
                        found[value, "f32" if self.prepared.is_float else form] = None
        return list(found)

    def _forms(self, unit: Unit) -> list[str]:
        if not unit.operation.requantises:
            return [form for _, form in self.readers(unit)]
        return [self.prepared.input_format(unit)] if unit.has_weights else ["s16"]

    def input_form(self, unit: Unit) -> str:
        """Format that a unit's input has in the file."""
        return "f32" if self.prepared.is_float else self._forms(unit)[0]

    # --- layers ------------------------------------------------------------------------------------------------------

    def _moves(self, unit: Unit) -> None:
        """One layer per format that is read, of an operation that moves stored numbers and never requantises."""
        assert unit.input is not None
        for value, form in self.readers(unit):
            target = self.declare(value, form)
            self.net.layers.append(
                Layer(
                    f"{unit.name}.{form}",
                    unit.operation.name,
                    self.tensor_name(unit.input, form),
                    output=target.name,
                    kernel=unit.kernel,
                    stride=unit.stride,
                    padding=unit.padding,
                )
            )

    def _layer(self, unit: Unit) -> None:
        source = "image" if unit.input is None else self.tensor_name(unit.input, self.input_form(unit))
        layer = Layer(
            unit.name, unit.operation.name, source, kernel=unit.kernel, stride=unit.stride, padding=unit.padding
        )
        layer.groups = unit.groups if unit.operation.mixes_channels else 1
        if unit.residual is not None:
            layer.residual = self.tensor_name(unit.residual, "f32" if self.prepared.is_float else "s16")
        if self.prepared.is_float:
            self._float_layer(unit, layer)
        else:
            if unit.has_weights:
                layer.weight = self._weight(unit, layer)
            bare = self._real(unit, layer)
            for made in (unit, *self.folded(unit)):
                real = bare if made is unit else bare.behind(_norm(made))
                for value, form in self.readers(made):
                    target = self.declare(value, form)
                    layer.outputs.append(self._output(unit, layer, real, target, value, form))
                if made.name == self.graph.output.unit:
                    layer.outputs.append(self._logits(unit, layer, real, self._logits_tensor(unit, "s32")))
        self.net.layers.append(layer)

    def _logits_tensor(self, unit: Unit, form: str) -> Tensor:
        tensor = Tensor("logits", 1, 1, unit.shape[0], form)
        self.net.tensors["logits"] = tensor
        return tensor

    def _float_layer(self, unit: Unit, layer: Layer) -> None:
        channels = unit.shape[0]
        factor: Array | None = None
        addend = np.zeros(channels)
        if unit.input is None:
            factor, addend = np.full(channels, PIXEL_SCALE), np.full(channels, -PIXEL_ZERO * PIXEL_SCALE)
        elif unit.normalises:
            factor, addend = (x.numpy() for x in norm_affine(_norm(unit)))
        elif unit.has_weights:
            module = self.prepared.convolution(unit.name)
            scale, shift = module.affine()
            weight = module.weight.detach().double() * scale.view(-1, 1, 1, 1)
            layer.weight = _kernel_last(unit, weight).astype(np.float32)
            addend = shift.numpy()
        elif unit.op in WINDOWS:
            factor = np.full(channels, 1.0 / unit.divisor)
        for made in (unit, *self.folded(unit)):
            multiplier, bias = factor, addend
            if made is not unit:
                scale, shift = norm_affine(_norm(made))
                multiplier = scale.numpy() if factor is None else factor * scale.numpy()
                bias = addend * scale.numpy() + shift.numpy()
            B = bias.astype(np.float32).reshape(1, 1, -1)
            M = None if multiplier is None else multiplier.astype(np.float32)
            for value, form in self.readers(made):
                low = 0.0 if value.act != "none" else -np.inf
                high = 6.0 if value.act == "relu6" else np.inf
                layer.outputs.append(Output(self.declare(value, form).name, B, low, high, M))
            if made.name == self.graph.output.unit:
                layer.outputs.append(Output(self._logits_tensor(unit, "f32").name, B, -np.inf, np.inf, M))

    def _weight(self, unit: Unit, layer: Layer) -> Array:
        """Integer weights as the file stores them."""
        logical = _kernel_last(unit, self._weight_codes(unit))
        tensor = self.net.tensors[layer.input]
        if tensor.format == "s8":
            return logical.astype(np.int8)
        packed = []
        for number, own in enumerate(np.split(logical.astype(np.int64), layer.groups)):
            part = group_tensor(tensor, layer.groups, number)
            filler = filler_codes(part.patterns)
            slots = np.broadcast_to(filler, (*own.shape[:-1], len(filler))).copy()
            slots[..., np.asarray(part.slots)] = own
            packed.append(pack(slots, part.patterns))
        return np.concatenate(packed)

    def _weight_codes(self, unit: Unit) -> torch.Tensor:
        module = self.prepared.convolution(unit.name)
        with torch.no_grad():
            scale, levels = self.prepared.weight_grid(unit)
            return codes(module.kept(), scale, torch.zeros(()), levels)

    # --- constants ---------------------------------------------------------------------------------------------------

    def _real(self, unit: Unit, layer: Layer) -> Real:
        """How a unit's accumulator reads as a real number."""
        channels = unit.shape[0]
        if unit.input is None:
            return Real(np.full(channels, PIXEL_SCALE), np.full(channels, -PIXEL_ZERO * PIXEL_SCALE))
        assert unit.input is not None
        key = self.prepared.key(unit.input, self.input_form(unit))
        residual = None
        if unit.residual is not None:
            residual = np.full(channels, self.wide[self.prepared.key(unit.residual, "s16")])
        if not unit.has_weights:
            real = Real(np.full(channels, self.wide[key] / unit.divisor), np.zeros(channels), residual=residual)
            return real.behind(_norm(unit)) if unit.normalises else real
        module = self.prepared.convolution(unit.name)
        step = float(self.prepared.activation(key).scale.detach()[0]) if key[2] == "s8" else ACC_UNIT
        factor = module.log_scale.detach().exp().double().numpy() * step
        unit_of_sums = factor * 2.0**-ZERO_POINT_SHIFT
        addend = -zero_point_taps(self.net, layer).sum((1, 2)) * unit_of_sums
        scale, shift = (x.numpy() for x in module.affine())
        mean_acc = None
        if module.bn is not None and module.bn.running_mean is not None:
            bias = 0.0 if module.bias is None else module.bias.detach().double().numpy()
            sums = border_sums(self.net, layer)
            # The class with the most pixels stands for all of them in this correction.
            inner = addend + sums[sums.shape[0] // 2, sums.shape[1] // 2] * unit_of_sums
            mean_acc = (module.bn.running_mean.double().numpy() - bias - inner) / factor
        return Real(factor * scale, addend * scale + shift, mean_acc, residual)

    def _output(self, unit: Unit, layer: Layer, real: Real, target: Tensor, value: Value, form: str) -> Output:
        """Constants of one requantisation."""
        key = self.prepared.key(value, form)
        count = target.channels
        low, high = RANGES.get(form, (0, 15))
        if form == "smol":
            precisions = target.precisions
            activation = self.prepared.activation(key)
            row = self.prepared.domain(value.unit).row().numpy()
            scale = activation.scale.detach().double().numpy()[row]
            offset = activation.offset.detach().double().numpy()[row]
            slope = np.exp2(precisions - 2.0) / scale
            shift = np.exp2(precisions - 1.0) - offset * slope
        else:
            scale, offset = self.wide.get(key, 1.0), 0.0
            if form == "s8":
                activation = self.prepared.activation(key)
                scale, offset = float(activation.scale.detach()[0]), float(activation.offset.detach()[0])
            slope, shift = np.full(count, 1 / scale), np.full(count, 0.5 - offset / scale)
            if value.act != "none":
                low = max(low, int(np.floor(shift[0])))
            if value.act == "relu6":
                high = min(high, int(np.floor(6 / scale + shift[0])))
            low, high = min(low, RANGES[form][1]), max(high, low)
        R = None if real.residual is None else slope * real.residual
        return self._integers(unit, layer, target, real, slope, shift, R, (low, high))

    def _integers(
        self, unit: Unit, layer: Layer, target: Tensor, real: Real, slope: Array, shift: Array, R: Array | None,
        clamp: tuple[int, int], shifts: range = range(31, -1, -1),
    ) -> Output:  # fmt: skip
        """Round constants at the largest shift whose proof of 32 bits (:func:`sysmol.network.checks.validate`) goes
        through, and at which M fits 16 bits (logits apart, whose shift is 0).
        """
        multiplier, addend = real.factor * slope, real.addend * slope + shift
        bound, sums = accumulator_bound(self.net, layer), border_sums(self.net, layer)
        widest = INT32_MAX if target.format == "s32" else 32767
        reach = None if R is None else magnitude(self.net.tensors[layer.residual])
        for S in shifts:
            M = np.rint(multiplier * 2.0**S)
            if np.abs(M).max() > widest:
                continue
            base = addend * 2.0**S
            if real.mean_acc is not None:
                # Rounding M moves the mean; B takes that back.
                base = base + (multiplier * 2.0**S - M) * real.mean_acc
            B = _rounded(base, S, target.format) + border_constants(sums, M)
            scaled = None if R is None else np.rint(R * 2.0**S)
            if requantised_bound(2 * bound, M, B, reach, scaled).max() <= INT32_MAX:
                return Output(
                    target.name, B.astype(np.int32), clamp[0], clamp[1], M.astype(np.int32),
                    None if scaled is None else scaled.astype(np.int32), S,
                )  # fmt: skip
        raise SysmolError(
            f"layer {unit.path}: its scales do not fit 32-bit integers "
            f"(largest factor {np.abs(multiplier).max():.3g}): "
            "train longer or give the layer another precision"
        )

    def _logits(self, unit: Unit, layer: Layer, real: Real, target: Tensor) -> Output:
        """Logits as 32-bit integers without a shift, in the finest real unit that provably fits."""
        R = real.residual
        reach = None if R is None else magnitude(self.net.tensors[layer.residual])
        total = requantised_bound(2 * accumulator_bound(self.net, layer), real.factor, real.addend, reach, R)
        unit_value = max(float(total.max()), 1e-30) / (INT32_MAX * 0.98)
        # Rounding M adds at most half a step per accumulator step: coarsen the unit until the proof holds.
        while True:
            slope, half = np.full(target.channels, 1 / unit_value), np.full(target.channels, 0.5)
            steps = None if R is None else R / unit_value
            try:
                out = self._integers(unit, layer, target, real, slope, half, steps, RANGES["s32"], range(1))
            except SysmolError:
                unit_value *= 1.1
                continue
            self.net.provenance["logit_scale"] = unit_value
            return out


def _rounded(base: Array, shift: int, form: str) -> Array:
    """Biases as whole numbers: multiples of a power of two that leaves 16 bits of them, where that moves an output by
    at most 1/256 of a code (of a 16-bit stream: half a step)."""
    spare = shift if form == "s16" else shift - 7
    zeros = next(z for z in range(64) if np.abs(np.rint(base / 2.0**z)).max() <= 32767)
    zeros = zeros if zeros <= spare else 0
    return np.rint(base / 2.0**zeros) * 2.0**zeros


def _norm(unit: Unit) -> nn.BatchNorm2d:
    assert unit.bn is not None
    return unit.bn


def _kernel_last(unit: Unit, weight: torch.Tensor) -> Array:
    """``[K, C, KH, KW]`` to ``[K, KH, KW, C]``; depthwise ``[C, 1, KH, KW]`` to ``[KH, KW, C]``."""
    if not unit.operation.mixes_channels:
        return weight[:, 0].permute(1, 2, 0).contiguous().numpy()
    return weight.permute(0, 2, 3, 1).contiguous().numpy()


def sizes(net: Network, parameters: int) -> dict[str, float]:
    """Size metrics of a network whose fp32 original has ``parameters`` parameters (batch normalisation folded).

    ``weight_bytes``: all weight arrays as registers hold them, fillers of unused slots included, and
    ``register_bits``: their bits over the number of weights. ``file_bytes``: the whole deployment file
    (:func:`sysmol.network.save`), which has no fillers, and ``bits_per_parameter``: the bits of its weights alone
    over their number. ``compression``: 4 bytes per parameter over ``file_bytes``.
    """
    weights = sum(layer.weight.nbytes for layer in net.layers if layer.weight is not None)
    count = sum(operation(layer).weights(net, layer) for layer in net.layers)
    parts = breakdown(net)
    file_bytes = sum(parts.values())
    return {
        "parameters": parameters,
        "weight_bytes": weights,
        "register_bits": 8 * weights / count,
        "file_bytes": file_bytes,
        "bits_per_parameter": 8 * parts["weights"] / count,
        "compression": 4 * parameters / file_bytes,
    }


__all__ = ["export", "save", "sizes"]
