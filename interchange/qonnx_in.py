"""QONNX models of linear layers as network files, exactly: FINN's and Brevitas' small classifiers.

Between two ``Quant`` (``BipolarQuant``) nodes a model computes a function of a whole number s, the sum of products of
integers. That function is run for every s that can occur, by onnxruntime itself, and integers M, B and a shift are
found that give the same codes for all of them.

Activations of n levels take the codes 0 .. n - 1 of 1, 2 or 4 bits. Weights take odd numbers of as many bits; where a
layer has even ones, zero among them, twice the weight is the sum of two odd numbers, and the layer becomes two, of
which the second adds the first's sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sysmol.errors import SysmolError
from sysmol.grid import PRODUCT_SHIFT
from sysmol.interchange.extras import extra
from sysmol.network import INT32_MAX, INT32_MIN, Array, Layer, Network, Output, Tensor, validate
from sysmol.packing import assign_slots, filler_codes, free_cover, pack

onnx: Any = extra("onnx", "reading QONNX models")

QUANT = ("Quant", "BipolarQuant")
VIEWS = ("Shape", "Gather", "Unsqueeze", "Concat", "Reshape", "Flatten")
ELEMENTWISE = ("BatchNormalization", "Add", "Sub", "Mul", "Div", "Relu", "Identity")
"""Operators between a sum and the next Quant that see every channel by itself."""
PIXEL = np.float32(1 / 255)
"""Real value of one step of a pixel: models take images of 0 .. 1."""
LARGEST_M = 1 << 12
MOST_SUMS = 1 << 25
"""Largest sum of products times outputs that a layer may have: each is looked at."""


@dataclass
class Grid:
    """Integers ``low .. low + levels - 1`` times a scale, as a Quant node gives them."""

    low: int
    levels: int
    scale: float
    step: int = 1

    @property
    def bits(self) -> int:
        """Bits of the codes that hold them: 1, 2 or 4."""
        found = [p for p in (1, 2, 4) if self.levels <= 1 << p]
        if not found:
            raise SysmolError(f"{self.levels} levels of an activation: at most 16 fit 4 bits")
        return found[0]


@dataclass
class Stage:
    """A layer: whole-number weights ``[K, C]`` (none of the input), elementwise nodes from ``source`` to ``result``,
    and the grid of its results (none of the last)."""

    weight: Array | None
    scale: float
    nodes: list[Any] = field(default_factory=list)
    source: str = ""
    result: str = ""
    grid: Grid | None = None


def read_qonnx(path: str | Path) -> Network:
    """The network of a QONNX model whose input is an image of 0 .. 1, ``[n, C, H, W]``.

    Its logits are whole numbers; ``provenance`` holds ``logit_scale`` and ``logit_offset`` of the model's. Raises
    :class:`SysmolError`, one line, where the model is damaged or cannot be mapped exactly.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
        return Reader(model).network(Path(path).name.split(".")[0])
    except SysmolError as error:
        raise SysmolError(f"{path}: {error}") from None
    except OSError as error:
        raise SysmolError(f"cannot read {path}: {error.strerror}") from None
    except Exception as error:  # protobuf, numpy and onnxruntime raise many kinds
        what = " ".join(str(error).split())[:120] or type(error).__name__
        raise SysmolError(f"{path} is no QONNX model that is understood: {what}") from None


class Reader:
    """Cuts the model, a chain, into stages and maps each."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
        self.image = next(value for value in model.graph.input if value.name not in self.constants)
        sides = [d.dim_value for d in self.image.type.tensor_type.shape.dim]
        if len(sides) != 4 or min(sides[1:]) < 1:
            raise SysmolError(f"its input has shape {sides}; only images [n, C, H, W] of a fixed size")
        self.channels, self.height, self.width = sides[1:]
        if self.channels != 1:
            raise SysmolError(f"its input has {self.channels} channels; only grey images are understood")
        self.stages = self._stages()

    # --- the chain ---------------------------------------------------------------------------------------------------

    def _stages(self) -> list[Stage]:
        stage = Stage(None, float(PIXEL), source=self.image.name)
        stages, current, weights, views = [stage], self.image.name, {}, set()
        for node in self.model.graph.node:
            reads = list(node.input)
            known = all(name in self.constants or name in weights for name in reads)
            if node.op_type in QUANT and known:
                weights[node.output[0]] = self._integers(node)
            elif node.op_type == "Transpose" and reads[0] in weights:
                integers, scale = weights[reads[0]]
                weights[node.output[0]] = integers.T, scale
            elif node.op_type == "Pow" and known:
                self.constants[node.output[0]] = np.power(*(self.constants[name] for name in reads))
            elif node.op_type in VIEWS and not weights and stage is stages[0] and not stage.nodes:
                views.add(node.output[0])
                current = stage.source = node.output[0] if node.op_type in ("Reshape", "Flatten") else current
            elif node.op_type in QUANT and reads[0] == current:
                stage.grid, stage.result = self._grid(node), current
                current = node.output[0]
            elif node.op_type == "MatMul" and reads[0] == current and reads[1] in weights and stage.grid:
                integers, scale = weights[reads[1]]
                stage = Stage(integers.T, scale * stage.grid.scale, source=node.output[0])
                stages.append(stage)
                current = node.output[0]
            elif node.op_type in ELEMENTWISE and reads[0] == current and stage.grid is None:
                stage.nodes.append(node)
                current = node.output[0]
            else:
                raise SysmolError(f"{node.op_type} '{node.output[0]}' does not continue a chain of linear layers")
        stage.result = current
        if stage.grid is not None or stage.weight is None:
            raise SysmolError("it must end in a linear layer")
        return stages

    def _quant(self, node: Any) -> tuple[float, int, int, str]:
        """Scale, lowest integer, levels and rounding of a Quant node."""
        scale = self.constants[node.input[1]]
        if scale.size != 1 or np.frexp(scale.reshape(-1)[0])[0] != 0.5:
            raise SysmolError(f"{node.op_type} '{node.output[0]}' has a scale that is no power of two")
        if node.op_type == "BipolarQuant":
            return float(scale.reshape(-1)[0]), -1, 2, "BIPOLAR"
        options = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        zero, bits = (self.constants[name] for name in node.input[2:4])
        if zero.size != 1 or float(zero.reshape(-1)[0]) != 0 or bits.size != 1:
            raise SysmolError(f"Quant '{node.output[0]}' has a zero point")
        width, rounding = int(bits.reshape(-1)[0]), options.get("rounding_mode", b"ROUND").decode()
        if not 2 <= width <= 8 or rounding.upper() not in ("ROUND", "HALF_EVEN"):
            raise SysmolError(f"Quant '{node.output[0]}' has {width} bits, rounding {rounding}")
        low = -(1 << (width - 1)) + int(options.get("narrow", 0)) if options.get("signed", 1) else 0
        levels = (1 << width) - int(options.get("narrow", 0))
        return float(scale.reshape(-1)[0]), low, levels, "ROUND"

    def _integers(self, node: Any) -> tuple[Array, float]:
        """Weights as whole numbers, and their scale."""
        scale, low, levels, rounding = self._quant(node)
        return self._rounded(self.constants[node.input[0]], scale, low, levels, rounding), scale

    @staticmethod
    def _rounded(x: Array, scale: float, low: int, levels: int, rounding: str) -> Array:
        """Integers of a Quant node (of a BipolarQuant -1 and +1), int64."""
        if rounding == "BIPOLAR":
            return np.where(x >= 0, 1, -1).astype(np.int64)
        return np.round(np.clip(x / np.float32(scale), low, low + levels - 1)).astype(np.int64)

    def _grid(self, node: Any) -> Grid:
        scale, low, levels, rounding = self._quant(node)
        return Grid(low, levels, scale, 2 if rounding == "BIPOLAR" else 1)

    # --- functions of whole numbers ----------------------------------------------------------------------------------

    def _values(self, stage: Stage, sums: Array) -> Array:
        """What the stage's nodes make of the real numbers of ``sums [n, K]``, by onnxruntime: float32 ``[n, K]``."""
        real = (sums.astype(np.float64) * stage.scale).astype(np.float32)
        if stage.weight is None:
            real = sums.astype(np.float32) * PIXEL
        if not stage.nodes:
            return real
        runtime = extra("onnxruntime", "reading QONNX models")
        needed = {name for node in stage.nodes for name in node.input} & self.constants.keys()
        held = [onnx.numpy_helper.from_array(self.constants[name], name) for name in sorted(needed)]
        kind, shape = onnx.TensorProto.FLOAT, list(real.shape)
        ends = [onnx.helper.make_tensor_value_info(name, kind, shape) for name in (stage.source, stage.result)]
        graph = onnx.helper.make_graph(stage.nodes, "stage", ends[:1], ends[1:], held)
        opsets = [onnx.helper.make_opsetid("", self.model.opset_import[0].version)]
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
        session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, {stage.source: real})[0])

    def _codes(self, stage: Stage, sums: Array) -> Array:
        """Codes of the stage's grid for ``sums [n, K]``."""
        grid, values = stage.grid, self._values(stage, sums)
        assert grid is not None
        if grid.step == 2:
            return (values >= 0).astype(np.int64)
        return self._rounded(values, grid.scale, grid.low, grid.levels, "ROUND") - grid.low

    # --- the network -------------------------------------------------------------------------------------------------

    def network(self, name: str) -> Network:
        """All stages as layers."""
        net = Network(name, {"image": Tensor("image", self.height, self.width, 1, "u8")}, [], "image", "")
        first, count = self.stages[0], self.height * self.width
        if self.stages[1].weight is None or self.stages[1].weight.shape[1] != count:
            raise SysmolError(f"its first layer does not read the {count} pixels of its input")
        pixels = np.arange(256)
        M, B, shift = integer_steps(pixels, self._codes(first, pixels[:, None]).T, LARGEST_M)
        x = self._tensor(net, "x0", count, first)
        out = Output(x.name, np.full((1, 1, count), B[0]), 0, self._top(first), np.full(count, M[0]), None, shift)
        net.layers.append(Layer("flatten", "flatten", "image", [out], kernel=(self.height, self.width)))
        for number, stage in enumerate(self.stages[1:], 1):
            x = self._linear(net, number, x, self.stages[number - 1], stage)
        net.output = x.name
        validate(net)
        return net

    @staticmethod
    def _top(stage: Stage) -> int:
        assert stage.grid is not None
        return stage.grid.levels - 1

    @staticmethod
    def _tensor(net: Network, name: str, channels: int, stage: Stage) -> Tensor:
        """A SMOL tensor with the bits of the stage's grid."""
        assert stage.grid is not None
        bits = np.full(channels, stage.grid.bits)
        ids = free_cover(bits)
        net.tensors[name] = Tensor(name, 1, 1, channels, "smol", ids, assign_slots(bits, ids))
        return net.tensors[name]

    def _linear(self, net: Network, number: int, x: Tensor, before: Stage, stage: Stage) -> Tensor:
        """A linear layer, or two that make one."""
        assert stage.weight is not None and before.grid is not None
        weight, grid, bits = stage.weight, before.grid, before.grid.bits
        if weight.shape[1] != x.channels:
            raise SysmolError(f"a layer reads {weight.shape[1]} channels of {x.channels}")
        parts = odd_parts(weight, bits)
        # x holds g = 2 * u - (2**p - 1) of the integer low + step * u; sums add up w * g << align, once or twice.
        align, times = PRODUCT_SHIFT[bits], len(parts)
        total = weight.sum(1)
        reach = np.abs(weight).sum(1) * max(abs(grid.low), abs(grid.low + grid.step * (grid.levels - 1)))
        if int(reach.max()) * len(weight) > MOST_SUMS:
            raise SysmolError(f"a layer has {len(weight)} sums of up to {int(reach.max()):,}, too many to look at each")
        shift_of_zero = ((1 << bits) - 1) * grid.step + 2 * grid.low
        # acc = unit * s - moved, where s is the sum of the model's integers, in steps of the grid.
        unit = (2 * times << align) // grid.step
        moved = (times << align) * shift_of_zero * total // grid.step
        sums = np.arange(-int(reach.max()), int(reach.max()) + 1)
        residual = ""
        if times == 2:
            residual = f"part{number}"
            net.tensors[residual] = Tensor(residual, 1, 1, len(weight), "s16")
            ones, zeros = np.ones(len(weight), dtype=np.int64), np.zeros((1, 1, len(weight)), dtype=np.int64)
            out = Output(residual, zeros, -32768, 32767, ones, None, align)
            net.layers.append(self._layer(f"linear{number}a", x, parts[0], [out]))
        if stage.grid is None:
            y = Tensor("logits", 1, 1, len(weight), "s32")
            net.tensors[y.name] = y
            M, B, shift = np.ones(len(weight), dtype=np.int64), moved, 0
            self._scale_logits(net, stage, sums, unit)
            low, high = float(INT32_MIN), float(INT32_MAX)
        else:
            y = self._tensor(net, f"x{number}", len(weight), stage)
            codes = self._codes(stage, np.repeat(sums[:, None], len(weight), 1)).T
            possible = np.abs(sums) <= reach[:, None]
            largest = INT32_MAX // (16 * unit * int(reach.max() + np.abs(moved).max() // unit + 1))
            M, B, shift = integer_steps(unit * sums, codes, max(1, min(LARGEST_M, largest)), possible)
            B = B + M * moved
            low, high = 0.0, float(self._top(stage))
        R = M << align if residual else None
        out = Output(y.name, B.reshape(1, 1, -1), low, high, M, R, shift)
        layer = self._layer(f"linear{number}", x, parts[-1], [out])
        layer.residual = residual
        net.layers.append(layer)
        return y

    @staticmethod
    def _layer(name: str, x: Tensor, weight: Array, outputs: list[Output]) -> Layer:
        """A linear layer of odd weights ``[K, C]``."""
        bits = x.precisions
        codes = np.tile(filler_codes(x.patterns), (len(weight), 1))
        codes[:, x.slots] = (weight + (1 << bits) - 1) // 2
        return Layer(name, "conv2d", x.name, outputs, weight=pack(codes[:, None, None], x.patterns))

    def _scale_logits(self, net: Network, stage: Stage, sums: Array, unit: int) -> None:
        """The real value of the logits; refuses a model that scales its classes differently."""
        assert stage.weight is not None
        real = self._values(stage, np.repeat(sums[:, None], len(stage.weight), 1)).astype(np.float64)
        slope = (real[-1] - real[0]) / (sums[-1] - sums[0])
        offset = real[len(sums) // 2]
        spread = max(np.ptp(slope) * abs(sums[0]), np.ptp(offset))
        if slope.min() <= 0 or spread > 1e-5 * np.abs(real).max():
            raise SysmolError("what follows the last layer differs by class")
        net.provenance |= {"logit_scale": float(slope.mean()) / unit, "logit_offset": float(offset.mean())}


def odd_parts(weight: Array, bits: int) -> list[Array]:
    """Whole-number weights as themselves where all are odd, else as two of odd numbers whose sum is twice each."""
    largest = (1 << bits) - 1
    if np.abs(weight).max() > largest:
        raise SysmolError(f"weights of up to {np.abs(weight).max()} on activations of {bits} bits, at most {largest}")
    if (weight % 2 == 1).all():
        return [weight]
    even = weight % 2 == 0
    return [weight + even, weight - even]


def integer_steps(
    sums: Array, codes: Array, largest: int, possible: Array | None = None
) -> tuple[Array, Array, int]:  # fmt: skip
    """M and B, int64 ``[K]``, and one shift such that ``(sum * M + B) >> shift``, clamped to the codes' range, is the
    code for every sum: ``sums`` int64 ``[n]`` ascending, ``codes`` ``[K, n]`` monotone; ``possible`` bool ``[K, n]``
    says which sums a channel can have. ``|M|`` is at most ``largest``.

    Raises :class:`SysmolError` where there are none.
    """
    top = int(codes.max())
    possible = np.ones(codes.shape, dtype=bool) if possible is None else possible
    factors = np.arange(-largest, largest + 1)
    for shift in range(24):
        found = [
            _feasible(sums[own], code[own], top, factors, shift) for code, own in zip(codes, possible, strict=True)
        ]
        if all(pair is not None for pair in found):
            M, B = np.array(found, dtype=np.int64).T
            return M, B, shift
    raise SysmolError("no integers give the codes of a layer: it is not monotone, or its steps differ too much")


def _feasible(sums: Array, codes: Array, top: int, factors: Array, shift: int) -> tuple[int, int] | None:
    """A factor and the middle of the range of its offsets that give the codes; the smallest factor there is."""
    lower = np.full(len(factors), -(1 << 31), dtype=np.int64)
    upper = np.full(len(factors), (1 << 31) - 1, dtype=np.int64)
    for step in range(1, top + 1):
        at, under = sums[codes >= step], sums[codes < step]
        for some, bound in ((at, lower), (under, upper)):
            if len(some) == 0:
                continue
            # The line's smallest value at or above the step, and its largest below, lie at the ends of the sums.
            ends = factors * int(some.min()), factors * int(some.max())
            if bound is lower:
                np.maximum(lower, (step << shift) - np.minimum(*ends), out=lower)
            else:
                np.minimum(upper, (step << shift) - 1 - np.maximum(*ends), out=upper)
    good = np.flatnonzero(lower <= upper)
    if len(good) == 0:
        return None
    best = good[np.argmin(np.abs(factors[good]))]
    return int(factors[best]), int((lower[best] + upper[best]) // 2)
