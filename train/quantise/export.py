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
from sysmol.grid import ACC_UNIT, PRECISIONS, PRODUCT_SHIFT
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
from sysmol.network.operations.attend import MEAN_BITS, dividend
from sysmol.network.operations.heads import head_precisions
from sysmol.network.operations.lookup import ENTRIES
from sysmol.network.operations.normalisation import INPUT_BITS, fraction_bits
from sysmol.network.operations.softmax import STEPS
from sysmol.packing import filler_codes, pack
from sysmol.train.frontend.graph import ENDS, Unit, Value
from sysmol.train.frontend.tables import TABLES
from sysmol.train.quantise import integer
from sysmol.train.quantise.calibration import in_batches
from sysmol.train.quantise.fixed_point import CHOICES, Array, Wanted, best, check_sums, integers
from sysmol.train.quantise.heads import weights_cover
from sysmol.train.quantise.modes import FROZEN, SYMMETRIC
from sysmol.train.quantise.modules import (
    INDEX,
    VALUE,
    Activation,
    Key,
    LayerNormalisation,
    activate,
    norm_affine,
    stored,
)
from sysmol.train.quantise.prepared import Prepared
from sysmol.train.quantise.quantiser import codes
from sysmol.train.quantise.structure import NORMS
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


OWN_SUMS = (*NORMS, "lookup", "attention")
"""Units whose sums are in units of their own."""
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
        keys = self.prepared.keys
        largest = {key: 0.0 for key in keys if key[2] == "s16"}
        # Rounded codes take memory of their own, and batches of any size give the same.
        for results in in_batches(self.prepared, calibration, share=4):
            for key, value in largest.items():
                # Behind an activation function that leaves nothing, what is in front of it says what is small.
                bare = float(results[key[0]].abs().max()) * DEAD
                largest[key] = max(value, bare, float(activate(results[key[0]], key[1]).abs().max()))
        self.prepared.train(training)
        return {key: (value or 1.0) * WIDE_MARGIN / self._wide_range(key)[1] for key, value in largest.items()}

    def _wide_range(self, key: Key) -> tuple[int, int]:
        """Least and largest number of a 16-bit stream: 13 bits of it, where its channels are normalised."""
        for unit in self.graph.units.values():
            if unit.op in NORMS and unit.input is not None and self.prepared.key(unit.input, "s16") == key:
                return -(1 << INPUT_BITS - 1), (1 << INPUT_BITS - 1) - 1
        return RANGES["s16"]

    def build(self) -> Network:
        for unit in self.graph.units.values():
            if unit.data is not None:
                self._constant(unit)
            elif not unit.operation.requantises:
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
        tensor = Tensor(self.tensor_name(value, form), height, width, channels, stored(form))
        if tensor.format == "smol":
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
            if not later.operation.requantises:
                inner = later.input
                if inner is not None and inner.unit == unit.name:
                    forms = [(inner, form) for _, form in self.readers(later)]
            else:
                forms = [(value, form) for value, form in self.prepared.reads(later) if value.unit == unit.name]
            for value, form in forms:
                found[value, "f32" if self.prepared.is_float else form] = None
        return list(found)

    def input_form(self, unit: Unit) -> str:
        """Format that a unit's input has in the file."""
        return "f32" if self.prepared.is_float else self.prepared.reads(unit)[0][1]

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
        layer.begin, layer.table = unit.begin, self._table(unit)
        layer.function = unit.function if self.prepared.is_float else ""
        if unit.op == "attention":
            (self._real_weights if self.prepared.is_float else self._weights_of_values)(unit, layer)
        elif unit.second is not None:
            layer.second = self.tensor_name(unit.second, "f32" if self.prepared.is_float else "s16")
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
                    layer.outputs.append(_nothing(target))
                    layer.outputs[-1] = self._output(unit, layer, real, target, value, form)
                if made.name == self.graph.output.unit:
                    target = self._logits_tensor(unit, "s32")
                    layer.outputs.append(_nothing(target))
                    layer.outputs[-1] = self._logits(unit, layer, real, target)
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
        elif unit.op in NORMS:
            factor, addend = self._normalisation(unit)
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
        if unit.op in OWN_SUMS:
            return self._own_sums(unit, layer, residual)
        if not unit.has_weights:
            factor = np.full(channels, self.wide[key] / unit.divisor)
            if unit.second is not None:
                factor = factor * self.wide[self.prepared.key(unit.second, "s16")]
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

    # --- transformers' layers ----------------------------------------------------------------------------------------

    def _constant(self, unit: Unit) -> None:
        """A tensor that no layer writes."""
        (data,) = (self.prepared.constants[unit.name].detach().double().permute(1, 2, 0).numpy(),)
        for value, form in self.readers(unit):
            tensor = self.declare(value, form)
            if form == "f32":
                tensor.data = np.ascontiguousarray(activated(data, value), dtype=np.float32)
                continue
            key = self.prepared.key(value, form)
            numbers = np.rint(activated(data, value) / self.wide[key])
            tensor.data = np.ascontiguousarray(np.clip(numbers, *self._range(key)), dtype=np.int16)

    def _table(self, unit: Unit) -> tuple[int, ...]:
        """Entries of a unit that looks a function up, in steps of :meth:`_table_step`."""
        if unit.op != "lookup" or self.prepared.is_float:
            return ()
        return tuple(int(entry) for entry in np.rint(self._entries(unit) / self._table_step(unit)))

    def _entries(self, unit: Unit) -> Array:
        """The function of every place, real numbers."""
        activation = self.prepared.activation(self.prepared.key(_value(unit), INDEX))
        places = (
            torch.arange(ENTRIES).double() * activation.scale.detach().double() + activation.offset.detach().double()
        )
        return np.asarray(TABLES[unit.function](places).numpy())

    def _table_step(self, unit: Unit) -> float:
        return (float(np.abs(self._entries(unit)).max()) or 1.0) / RANGES["s16"][1]

    def _normalisation(self, unit: Unit) -> tuple[Array, Array]:
        """Gamma and beta of every channel."""
        module = self.prepared.normalisations[unit.name]
        assert isinstance(module, LayerNormalisation)
        gamma, beta = (np.broadcast_to(each.numpy(), unit.shape[:1]) for each in module.affine())
        return gamma, beta

    def _own_sums(self, unit: Unit, layer: Layer, residual: Array | None) -> Real:
        """How the accumulator of a normalisation, a table or attention reads as a real number."""
        if unit.op in NORMS:
            gamma, beta = self._normalisation(unit)
            return Real(gamma * 2.0 ** -fraction_bits(unit.shape[0]), beta, residual=residual)
        if unit.op == "lookup":
            step = np.full(unit.shape[0], self._table_step(unit))
            return Real(step, np.zeros(unit.shape[0]), residual=residual)
        assert unit.third is not None
        grid = self.prepared.activation(self.prepared.key(unit.third, VALUE))
        scale, offset = (
            each.detach().double().numpy() for each in grid.of_channels(self.prepared.domain(unit.third.unit))
        )
        bits = self.net.tensors[layer.second].precisions
        shares = np.array([(dividend(int(p)) << PRODUCT_SHIFT[int(p)]) for p in bits])
        factor = scale * np.exp2(1.0 - bits) * 2.0**MEAN_BITS / (2 * shares)
        return Real(factor, offset + factor / 2, residual=residual)  # acc is rounded down

    def _weights_of_values(self, unit: Unit, layer: Layer) -> None:
        """The layers of attention in front of its last one: scores, and their softmax."""
        names = [self.tensor_name(value, form) for value, form in self.prepared.reads(unit)[:3]]
        queries, values = (self.net.tensors[name] for name in (names[0], names[2]))
        tokens = values.height * values.width
        count = unit.groups * tokens
        layer.groups = unit.groups
        scores = Tensor(f"{unit.name}.scores", queries.height, queries.width, count, "s16")
        bits = head_precisions(layer, values)
        layout = weights_cover(bits, tokens)
        weights = Tensor(f"{unit.name}.weights", *scores.shape, "smol", layout.patterns, layout.slots)
        for tensor in (scores, weights):
            self.net.tensors[tensor.name] = tensor
        first = Layer(scores.name, "scores", names[0], second=names[1], groups=unit.groups)
        first.outputs = [_nothing(scores)]
        self.net.layers.append(first)
        real = Real(np.repeat(self._score_steps(unit), tokens), np.zeros(count))
        slope, shift = np.full(count, STEPS / np.log(2)), np.full(count, 0.5)
        wanted = self._wanted(first, scores, real, slope, shift, RANGES["s16"])
        first.outputs = [integers(wanted, f"layer {unit.path}")]
        self.net.layers.append(Layer(weights.name, "softmax", scores.name, output=weights.name, groups=unit.groups))
        layer.input, layer.second = weights.name, names[2]

    def _real_weights(self, unit: Unit, layer: Layer) -> None:
        """The same of floats: the factor of the scores is M."""
        names = [self.tensor_name(value, "f32") for value, _ in self.prepared.reads(unit)[:3]]
        queries, values = (self.net.tensors[name] for name in (names[0], names[2]))
        count = unit.groups * values.height * values.width
        layer.groups = unit.groups
        for part in ("scores", "weights"):
            name = f"{unit.name}.{part}"
            self.net.tensors[name] = Tensor(name, queries.height, queries.width, count, "f32")
        first = Layer(f"{unit.name}.scores", "scores", names[0], second=names[1], groups=unit.groups)
        factor = np.full(count, unit.factor, dtype=np.float32)
        first.outputs = [Output(first.name, np.zeros((1, 1, count), np.float32), -np.inf, np.inf, factor)]
        layer.input, layer.second = f"{unit.name}.weights", names[2]
        weights = Layer(layer.input, "softmax", first.name, output=layer.input, groups=unit.groups)
        self.net.layers += [first, weights]

    def _score_steps(self, unit: Unit) -> Array:
        """Real value of a unit of the scores' sums in every head."""
        factor = np.full(unit.groups, unit.factor * ACC_UNIT)
        for value, form in self.prepared.reads(unit)[:2]:
            grid = self.prepared.activation(self.prepared.key(value, form))
            scale, _ = grid.of_channels(self.prepared.domain(value.unit))
            factor = factor * scale.detach().double().numpy()[:: len(scale) // unit.groups]
        return factor

    def _slope(self, unit: Unit) -> Array:
        return np.asarray(self.prepared.slopes[unit.name].detach().double().numpy())

    def _output(self, unit: Unit, layer: Layer, real: Real, target: Tensor, value: Value, form: str) -> Output:
        """Constants of one requantisation."""
        key = self.prepared.key(value, form)
        count = target.channels
        low, high = self._range(key)
        if target.format == "smol":
            precisions = target.precisions
            grid = self.prepared.activation(key).of_channels(self.prepared.domain(value.unit))
            scales, offsets = (each.detach().double().numpy() for each in grid)
            slope = np.exp2(precisions - 2.0) / scales
            shift = np.exp2(precisions - 1.0) - offsets * slope
        else:
            if target.format == "s8":
                activation = self.prepared.activation(key)
                scale, offset = float(activation.scale.detach()[0]), float(activation.offset.detach()[0])
            else:
                scale, offset = max(self.wide[key], FINEST * self._reach(layer, real)), 0.0
                self.wide[key] = scale
            slope, shift = np.full(count, 1 / scale), np.full(count, 0.5 - offset / scale)
            least, most = ((end - offset) / scale + 0.5 for end in ENDS[value.act])
            ends = low, high
            low = low if np.isinf(least) else min(max(low, int(np.floor(least))), ends[1])
            high = high if np.isinf(most) else max(min(high, int(np.floor(most))), low)
        return integers(self._wanted(layer, target, real, slope, shift, (low, high)), f"layer {unit.path}")

    def _reach(self, layer: Layer, real: Real) -> float:
        """The largest real result that a layer's weights and formats allow."""
        total = accumulator_bound(self.net, layer) * np.abs(real.factor) + np.abs(real.addend)
        if real.residual is not None:
            total = total + magnitude(self.net.tensors[layer.residual]) * np.abs(real.residual)
        return float(total.max())

    def _range(self, key: Key) -> tuple[int, int]:
        """Least and largest element of a stored tensor."""
        if key[2] == "s16":
            return self._wide_range(key)
        if key[2] == INDEX:
            return 0, ENTRIES - 1
        return RANGES.get(stored(key[2]), (0, 15))

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


def _nothing(target: Tensor) -> Output:
    """An output whose constants are yet to be found: bounds ask for its tensor."""
    return Output(target.name, np.zeros((1, 1, target.channels)), 0, 0)


def activated(x: Array, value: Value) -> Array:
    """Numbers of a unit behind the activation function of a value of it."""
    return np.clip(x, *ENDS[value.act])


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
    count += sum(net.tensors[name].size for name in net.constants)
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
