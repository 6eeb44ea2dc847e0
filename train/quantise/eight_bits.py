"""8-bit TensorFlow Lite files as network files: the same weights, the same sums, no new quantisation.

A tensor holds the file's own integers q, which stand for ``scale * (q - zero_point)``; the zero point of the network
file is the same. A layer's sums of w * x are those of the file, whose ``sum of w * (q - zero_point) + bias`` differs by
constants alone, which go into B. What the file multiplies them with, a real number in 31 bits, becomes M in up to 30
bits.

The file's interpreter rounds such a product twice: to a unit far below the output's step, then to a step. What lies
less than half a unit below the middle of two steps goes up, too. The network file rounds once and adds that half a
unit. Two things are left: the interpreter's plain kernels (not those that it uses by default) mirror this below the
zero point and round linear layers once, and an average in the middle of two integers goes away from 0 in the file, here
down where the zero point is negative and else up. Such a result differs by one step.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sysmol.errors import SysmolError
from sysmol.network import (
    HIGH,
    LOW,
    RANGES,
    ZERO_POINT_SHIFT,
    Array,
    Layer,
    Network,
    Normalisation,
    Output,
    Tensor,
    accumulator_bound,
    border_sums,
    magnitude,
    validate,
)
from sysmol.train.frontend.readers.tflite_integers import Image, IntegerFile, Integers, read_integers
from sysmol.train.quantise.fixed_point import Products, Wanted, best, integers

PIXEL_SHIFT = 128
"""A byte of an image less this is the integer that the file reads."""
PRECISE = (Products(HIGH, HIGH), Products(HIGH, LOW))
"""How results are made where that fits: factors of 30 bits, whose rounding moves no result."""
OPERATIONS = {
    "CONV_2D": "conv2d",
    "DEPTHWISE_CONV_2D": "depthwise",
    "FULLY_CONNECTED": "conv2d",
    "ADD": "rescale",
    "AVERAGE_POOL_2D": "avgpool",
    "MEAN": "avgpool",
    "MAX_POOL_2D": "maxpool",
    "RELU": "rescale",
    "RELU6": "rescale",
}
"""Operations of the network file by the operator's name."""


def import_eight_bits(path: str | Path) -> tuple[Network, IntegerFile]:
    """The network of an 8-bit ``.tflite`` file, validated, and what was read.

    Its image is bytes, the file's int8 input plus 128; its logits are the file's int8 results. Raises
    :class:`SysmolError`, one line.
    """
    file = read_integers(path)
    try:
        return Mapping(file, Path(path).name.split(".")[0]).network(), file
    except SysmolError as error:
        raise SysmolError(f"{path}: {error}") from None


class Mapping:
    """Maps operator by operator; tensors are called ``t`` and their number in the file."""

    def __init__(self, file: IntegerFile, name: str) -> None:
        self.file = file
        height, width, channels = file.input.shape
        image = Tensor("image", height, width, channels, "u8")
        self.net = Network(name, {image.name: image}, [], image.name, "")
        grid = file.input.grid
        real = file.imported.normalisation.of_channels(channels)
        # The file's own normalisation, of its real input, comes behind the input's grid.
        means = tuple((mean / grid.scale + grid.zero_point + PIXEL_SHIFT) for mean in real[0])
        self.net.normalisation = Normalisation(means, tuple(scale * grid.scale for scale in real[1]))

    def network(self) -> Network:
        source = self._tensor(self.file.input)
        ones = np.ones(source.channels, dtype=np.int32)
        shifted = Output(source.name, np.full((1, 1, source.channels), -PIXEL_SHIFT, np.int32), *RANGES["s8"], ones)
        self.net.layers.append(Layer("input", "rescale", "image", [shifted]))
        for found in self.file.operators:
            self._layer(found)
        last = self.file.operators[-1]
        self.net.output = self._name(last.output)
        self.net.provenance |= {
            "source": Path(self.file.imported.source).name,
            "logit_scale": last.output.grid.scale,
            "logit_zero_point": last.output.grid.zero_point,
        }
        validate(self.net)
        return self.net

    def _name(self, image: Image) -> str:
        return f"t{image.tensor}"

    def _tensor(self, image: Image) -> Tensor:
        last = self.file.operators[-1].output
        form = "s32" if image == last else "s8"
        tensor = Tensor(self._name(image), *image.shape, form)
        if form == "s8":
            tensor.zero_point = (image.grid.zero_point << ZERO_POINT_SHIFT,)
        self.net.tensors[tensor.name] = tensor
        return tensor

    def _layer(self, found: Integers) -> None:
        layer = Layer(
            found.name, OPERATIONS[found.kind], self._name(found.inputs[0]), kernel=found.kernel, stride=found.stride,
            padding=found.padding, weight=found.weight, groups=found.groups,
        )  # fmt: skip
        if found.kind == "DEPTHWISE_CONV_2D" and found.groups > 1:
            layer.op = "conv2d"  # several outputs per channel
        target = self._tensor(found.output)
        if found.kind == "MAX_POOL_2D":
            self._maximum(found, layer, target)
            return
        if len(found.inputs) == 2:
            layer.residual = self._name(found.inputs[1])
        self.net.layers.append(layer)
        layer.outputs.append(self._output(found, layer, target))

    def _maximum(self, found: Integers, layer: Layer, target: Tensor) -> None:
        """A maximum moves numbers; only on one grid and without an activation function is that all."""
        if found.inputs[0].grid != found.output.grid or found.activation:
            raise SysmolError(f"{found.name}: a maximum onto another grid, or with an activation function")
        layer.output = target.name
        self.net.layers.append(layer)

    def _output(self, found: Integers, layer: Layer, target: Tensor) -> Output:
        """``floor(real + 1/2)`` of what the file rounds."""
        x, out, count = found.inputs[0].grid, found.output.grid, target.channels
        # A tensor is declared before the layer that writes it is looked at.
        bound, residual, reach, residual_format = accumulator_bound(self.net, layer), None, None, ""
        multiplier, early = factors(found)
        constants = np.asarray(-x.zero_point * taps(found)) if found.weight is None else found.bias - offsets(found)
        addend = multiplier * constants + out.zero_point + 0.5 + early
        if len(found.inputs) == 2:
            second = found.inputs[1].grid
            residual = np.full(count, second.scale / out.scale)
            addend = addend - residual * second.zero_point
            reach, residual_format = magnitude(self.net.tensors[layer.residual]), "s8"
        wanted = Wanted(
            target.name, target.format, limits(found), multiplier, addend, bound, border_sums(self.net, layer),
            None, residual, reach, residual_format,
        )  # fmt: skip
        precise = (best(wanted, how, finest=True) for how in PRECISE)
        return next((each for each in precise if each is not None), None) or integers(wanted, f"layer {found.name}")


def factors(found: Integers) -> tuple[Array, Array]:
    """What the file's interpreter multiplies an operator's sums with, in steps of the output, and by how much less than
    half a step it rounds up; float64 ``[K]`` each, what is the same for all channels too."""
    x, out, count = found.inputs[0].grid, found.output.grid, taps(found)
    if found.weight is not None:
        assert found.weight_scale is not None
        multiplier, unit = in_31_bits(x.scale * found.weight_scale / out.scale)
        return multiplier, unit / 2
    multiplier = np.full(found.output.shape[2], x.scale / out.scale)
    if found.kind == "MEAN":
        multiplier, unit = in_31_bits(multiplier, count)
        return multiplier, unit / 2
    # An average between two integers goes away from 0: down where most are negative, which is a little later.
    down = found.kind == "AVERAGE_POOL_2D" and out.zero_point < 0
    return multiplier / count, multiplier * (-0.5 / count if down else 0.0)


def in_31_bits(real: Array, count: int = 1) -> tuple[Array, Array]:
    """``real / count`` as ``m * 2**e`` with m in 31 bits, as the file's interpreter has it, and the unit to which it
    rounds a product at first, in steps of the output: 2**e, or 0 where that is all. float64 ``[K]``."""
    fraction, exponent = np.frexp(real)
    # The interpreter divides m by the count, which it moves to between a half and 1 before.
    shift = count.bit_length() - 1
    m = (np.rint(fraction * 2.0**31).astype(np.int64) << shift) // count
    exponent = exponent - shift
    return m * np.exp2(exponent - 31.0), np.where(exponent < 0, np.exp2(exponent), 0.0)


def taps(found: Integers) -> int:
    """Elements of a window."""
    return found.kernel[0] * found.kernel[1]


def offsets(found: Integers) -> Array:
    """What the input's zero point adds to each output's sum, int64 ``[K]``."""
    assert found.weight is not None
    depthwise = found.weight.ndim == 3
    sums = found.weight.astype(np.int64).sum((0, 1) if depthwise else (1, 2, 3))
    return np.asarray(found.inputs[0].grid.zero_point * sums)


def limits(found: Integers) -> tuple[int, int]:
    """Least and largest integer behind the fused activation function."""
    low, high = RANGES["s8"]
    grid = found.output.grid
    if found.activation:
        low = max(low, grid.zero_point)
    if found.activation == "relu6":
        high = min(high, grid.zero_point + round(6 / grid.scale))
    return low, high
