"""From a prepared module to a network file: every real constant becomes an integer here, once.

A unit's real result is ``factor * acc + addend`` (weight, activation and batch-normalisation scales in ``factor``;
bias and activation offsets in ``addend``) where every tap counts. At an image's border taps add nothing: what they lack
is derived from the zero points of the input (:func:`sysmol.network.border_constants`), here as when a file is read. A
target asks for ``floor(slope * real + shift)``. :mod:`sysmol.train.quantise.fixed_point` makes the product of the two
integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    Samples,
    Tensor,
    accumulator_bound,
    border_sums,
    group_tensor,
    magnitude,
    operation,
    save,
    zero_point_taps,
)
from sysmol.network.checks import validate
from sysmol.network.file import breakdown
from sysmol.packing import filler_codes, pack
from sysmol.train.frontend.graph import ENDS, Unit, Value
from sysmol.train.quantise import integer
from sysmol.train.quantise.calibration import in_batches
from sysmol.train.quantise.fixed_point import CHOICES, Array, Wanted, best, check_sums, integers
from sysmol.train.quantise.modes import FROZEN, SYMMETRIC
from sysmol.train.quantise.modules import Activation, Key, activate, norm_affine
from sysmol.train.quantise.prepared import Prepared
from sysmol.train.quantise.quantiser import codes
from sysmol.train.quantise.windows import WINDOWS

WIDE_MARGIN = 1.25
"""A 16-bit stream spans this many times the largest value seen in calibration; beyond it saturates."""


DEAD = 2.0**-12
"""What part of a sum's largest value a 16-bit stream spans at least, if the activation function leaves less."""
FINEST = 2.0**-27
"""Least step of a 16-bit stream, in parts of what its sums can reach: with finer ones the sums may not fit 32 bits,
and what sums are made of is rounded far more coarsely."""


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


SAMPLES = 16
"""Images that a network file holds unless something else is asked for."""


def export(
    prepared: Prepared,
    name: str,
    calibration: torch.Tensor,
    description: str = "",
    samples: int = SAMPLES,
    labels: Sequence[int] | np.ndarray | None = None,
) -> Network:
    """The network of a frozen (or int8, or fp32) prepared module, validated; ``calibration`` are real images.

    They set the range of the 16-bit streams, and so many of the first of them become the network's ``samples``: the
    pixels that they were made of, with what the exported integers answer. ``labels`` of these images are -1 where they
    are not given. Metrics and provenance are the caller's.
    """
    if not prepared.is_float and prepared.mode != FROZEN:
        raise SysmolError("freeze the prepared module before the export")
    if prepared.weight_domains or prepared.grid == SYMMETRIC:
        raise SysmolError(
            "a network with precisions of their own for weights, or with activation functions on a symmetric grid, is "
            "for comparison only: no SMOL instruction computes it"
        )
    check_finite(prepared)
    net = _Exporter(prepared, name, calibration).build()
    net.description = description
    validate(net)
    if samples:
        net.samples = _samples(net, calibration[:samples], labels)
    return net


def _samples(net: Network, images: torch.Tensor, labels: Sequence[int] | np.ndarray | None) -> Samples:
    """Real images as pixels, with the network's logits."""
    images = images.unsqueeze(2) if images.dim() == 3 else images
    assert net.normalisation is not None
    mean, scale = (torch.tensor(each).view(-1, 1, 1) for each in net.normalisation.of_channels(images.shape[1]))
    pixels = (images / scale + mean).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    known = np.full(len(pixels), -1) if labels is None else np.asarray(labels)[: len(pixels)]
    if known.shape != (len(pixels),):
        raise SysmolError(f"{len(known)} labels for {len(pixels)} sample images")
    # Few at a time: all activations of a batch are held as 64-bit integers.
    return Samples(pixels, known.astype(np.int64), integer.evaluate(net, pixels, batch=2))


def check_finite(prepared: Prepared) -> None:
    """Refuse weights, scales and statistics that are no finite numbers, by the name of their layer."""
    for name, tensor in (*prepared.named_parameters(), *prepared.named_buffers()):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            parts = name.split(".")
            unit = prepared.graph.units.get(parts[1].split("/")[0]) if len(parts) > 1 else None
            layer = name if unit is None else unit.path or unit.name
            raise SysmolError(f"layer {layer}: NaN or infinite numbers in its {parts[-1]}: train it again")


class _Exporter:
    def __init__(self, prepared: Prepared, name: str, calibration: torch.Tensor) -> None:
        self.prepared = prepared
        self.graph = prepared.graph
        channels, height, width = next(iter(self.graph.units.values())).shape
        self.net = Network(name, {"image": Tensor("image", height, width, channels, "u8")}, [], "image", "logits")
        self.net.normalisation = prepared.normalisation
        self.wide = {} if prepared.is_float else self._wide_scales(calibration)

    @torch.no_grad()
    def _wide_scales(self, calibration: torch.Tensor) -> dict[Key, float]:
        """Real value of one step of every 16-bit stream."""
        training = self.prepared.training
        self.prepared.eval()
        largest = {key: 0.0 for key in self.prepared.keys if key[2] == "s16"}
        # Rounded codes take memory of their own, and batches of any size give the same.
        for results in in_batches(self.prepared, calibration, share=4):
            for key, value in largest.items():
                # Behind an activation function that leaves nothing, what is in front of it says what is small.
                bare = float(results[key[0]].abs().max()) * DEAD
                largest[key] = max(value, bare, float(activate(results[key[0]], key[1]).abs().max()))
        self.prepared.train(training)
        return {key: (value or 1.0) * WIDE_MARGIN / 32767 for key, value in largest.items()}

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
            if self.folds(later):
                continue
            forms = []
            if later.input is not None and later.input.unit == unit.name and not self.prepared.reads_image(later):
                forms += [(later.input, form) for form in self._forms(later)]
            if later.residual is not None and later.residual.unit == unit.name:
                forms.append((later.residual, "s16"))
            for value, form in forms:
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
        of_image = unit.input is None or self.prepared.reads_image(unit)
        if unit.input is None and not self.readers(unit) and not self.folded(unit):
            return
        source = "image" if of_image else self.tensor_name(_value(unit), self.input_form(unit))
        layer = Layer(
            unit.name, unit.operation.name, source, kernel=unit.kernel, stride=unit.stride, padding=unit.padding
        )
        layer.groups, layer.dilation = unit.groups if unit.operation.mixes_channels else 1, unit.dilation
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
        if unit.input is None or self.prepared.reads_image(unit):
            factor, addend = self._pixels(channels)
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
        elif unit.slope is not None:
            factor = self._slope(unit)
        for made in (unit, *self.folded(unit)):
            multiplier, bias = factor, addend
            if made is not unit:
                scale, shift = norm_affine(_norm(made))
                multiplier = scale.numpy() if factor is None else factor * scale.numpy()
                bias = addend * scale.numpy() + shift.numpy()
            B = bias.astype(np.float32).reshape(1, 1, -1)
            M = None if multiplier is None else multiplier.astype(np.float32)
            for value, form in self.readers(made):
                layer.outputs.append(Output(self.declare(value, form).name, B, *ENDS[value.act], M))
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

    def _pixels(self, count: int) -> tuple[Array, Array]:
        """Factor and addend, float64 ``[count]``, that make pixels real numbers: of channels, or of flattened images,
        where they repeat."""
        channels = self.net.tensors["image"].channels
        mean, scale = (np.array(each) for each in self.prepared.normalisation.of_channels(channels))
        return np.tile(scale, count // channels), np.tile(-mean * scale, count // channels)

    def _real(self, unit: Unit, layer: Layer) -> Real:
        """How a unit's accumulator reads as a real number."""
        channels = unit.shape[0]
        if unit.input is None or self.prepared.reads_image(unit):
            return Real(*self._pixels(channels))
        key = self.prepared.key(unit.input, self.input_form(unit))
        residual = None
        if unit.residual is not None:
            residual = np.full(channels, self.wide[self.prepared.key(unit.residual, "s16")])
        if not unit.has_weights:
            factor = np.full(channels, self.wide[key] / unit.divisor)
            factor = factor if unit.slope is None else factor * self._slope(unit)
            real = Real(factor, np.zeros(channels), residual=residual)
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

    def _slope(self, unit: Unit) -> Array:
        return np.asarray(self.prepared.slopes[unit.name].detach().double().numpy())

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
            if form == "s8":
                activation = self.prepared.activation(key)
                scale, offset = float(activation.scale.detach()[0]), float(activation.offset.detach()[0])
            else:
                scale, offset = max(self.wide[key], FINEST * self._reach(layer, real)), 0.0
                self.wide[key] = scale
            slope, shift = np.full(count, 1 / scale), np.full(count, 0.5 - offset / scale)
            least, most = (end / scale + shift[0] for end in ENDS[value.act])
            low = low if np.isinf(least) else max(low, int(np.floor(least)))
            high = high if np.isinf(most) else min(high, int(np.floor(most)))
            low, high = min(low, RANGES[form][1]), max(high, low)
        return integers(self._wanted(layer, target, real, slope, shift, (low, high)), f"layer {unit.path}")

    def _reach(self, layer: Layer, real: Real) -> float:
        """The largest real result that a layer's weights and formats allow."""
        total = accumulator_bound(self.net, layer) * np.abs(real.factor) + np.abs(real.addend)
        if real.residual is not None:
            total = total + magnitude(self.net.tensors[layer.residual]) * np.abs(real.residual)
        return float(total.max())

    def _wanted(
        self, layer: Layer, target: Tensor, real: Real, slope: Array, shift: Array, clamp: tuple[int, int]
    ) -> Wanted:
        """``floor(slope * real + shift)`` as what integers are to be found for."""
        residual = self.net.tensors[layer.residual] if layer.residual else None
        return Wanted(
            target.name, target.format, clamp, real.factor * slope, real.addend * slope + shift,
            accumulator_bound(self.net, layer), border_sums(self.net, layer), real.mean_acc,
            None if real.residual is None else slope * real.residual,
            None if residual is None else magnitude(residual), "" if residual is None else residual.format,
        )  # fmt: skip

    def _logits(self, unit: Unit, layer: Layer, real: Real, target: Tensor) -> Output:
        """Logits as 32-bit integers without a shift, in the finest real unit that provably fits."""
        bound, where = accumulator_bound(self.net, layer), f"layer {unit.path}"
        check_sums(bound, where)
        total = 2 * bound * np.abs(real.factor) + np.abs(real.addend)
        if real.residual is not None:
            total = total + 32768 * real.residual
        # Where weights are all zero, factors still have to fit.
        finest = max(float(total.max()), float(np.abs(real.factor).max()), 1e-30) / (INT32_MAX * 0.98)
        for how in CHOICES:
            # Rounding M adds at most half a step per accumulator step: coarsen the unit until the proof holds.
            for unit_value in finest * 1.1 ** np.arange(80):
                slope, half = np.full(target.channels, 1 / unit_value), np.full(target.channels, 0.5)
                wanted = self._wanted(layer, target, real, slope, half, RANGES["s32"])
                out = best(wanted, how, (0,))
                if out is not None:
                    self.net.provenance["logit_scale"] = float(unit_value)
                    return out
        raise SysmolError(f"{where}: no 32-bit logits hold its scales: train longer")


def _value(unit: Unit) -> Value:
    assert unit.input is not None
    return unit.input


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
