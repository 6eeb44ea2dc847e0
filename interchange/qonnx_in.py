"""QONNX models as network files, exactly: FINN's and Brevitas' classifiers.

Linear layers, convolutions (depthwise too), maxima, averages, sums of two activations and what lies between them
(:data:`OPERATORS`), all on integers behind ``Quant`` and ``BipolarQuant`` nodes. What the model computes in between is
a function of whole numbers, which :mod:`sysmol.interchange.qonnx_layers` turns into the network file's constants.

The integers are mapped exactly. Scales that are no powers of two round in the model's own floats: a sum within that
rounding of a step may have the code of either side there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sysmol.errors import SysmolError
from sysmol.interchange.qonnx_layers import Activation, Layers, Sum
from sysmol.interchange.qonnx_nodes import ELEMENTWISE, QUANT, Grid, attributes, onnx, quant
from sysmol.network import Array, Network, validate
from sysmol.network.checks import MOST_CHANNELS, MOST_PIXELS

OPERATORS = {
    "Quant": "of weights, and of activations of at most 8 bits, without a zero point",
    "BipolarQuant": "the same, -1 and +1",
    "Conv": "with integer weights; stride, padding; depthwise, or groups on bytes",
    "MatMul": "with integer weights",
    "Gemm": "the same, and a bias",
    "Add": "of two activations whose scales are whole multiples, or of a constant per channel",
    "Sub, Mul, Div, BatchNormalization, Relu, Clip": "between a sum and the next Quant: in its constants",
    "MaxPool": "of an activation",
    "AveragePool, GlobalAveragePool, ReduceMean": "of an activation, without padding",
    "Flatten, Reshape, Squeeze": "of a whole image, in front of a linear layer",
    "Transpose, Shape, Gather, Unsqueeze, Concat, Pow, Constant": "of weights, constants and sizes",
    "Identity, Dropout": "left out",
}
"""What is understood, for the documentation."""
VIEWS = ("Flatten", "Reshape", "Squeeze")
SIZES = ("Shape", "Gather", "Unsqueeze", "Concat", "Cast", "Slice")
KEPT, FOLDED, DROPPED = "kept", "folded", "dropped"


@dataclass(frozen=True)
class Done:
    """What became of an operator: ``name`` is the model's for its result, ``layer`` the network file's."""

    operator: str
    name: str
    how: str
    layer: str = ""
    note: str = ""


def read_qonnx(path: str | Path) -> Network:
    """The network of a QONNX model whose input is an image of 0 .. 1, ``[n, C, H, W]``.

    Its logits are whole numbers; ``provenance`` holds ``logit_scale`` and ``logit_offset`` of the model's. Raises
    :class:`SysmolError`, one line, where the model is damaged or cannot be mapped exactly.
    """
    return import_qonnx(path)[0]


def import_qonnx(path: str | Path) -> tuple[Network, list[Done]]:
    """:func:`read_qonnx`, and what became of every operator."""
    try:
        model = onnx.load(str(path), load_external_data=False)
        reader = Reader(model, Path(path).name.split(".")[0])
        return reader.network(), reader.done
    except SysmolError as error:
        raise SysmolError(f"{path}: {error}") from None
    except OSError as error:
        raise SysmolError(f"cannot read {path}: {error.strerror}") from None
    except MemoryError:
        raise
    except Exception as error:  # protobuf, numpy and onnxruntime raise many kinds
        what = " ".join(str(error).split())[:120] or type(error).__name__
        raise SysmolError(f"{path} is no QONNX model that is understood: {what}") from None


@dataclass(frozen=True)
class Weights:
    """Whole numbers in the model's order, and the real value of one step: one for all, or along an axis."""

    integers: Array
    scale: Array


class Reader:
    """Walks through the nodes in order. Every name is a constant, weights, a sum or an activation."""

    def __init__(self, model: Any, name: str) -> None:
        self.model, self.name = model, name
        self.constants: dict[str, Array] = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
        images = [value for value in model.graph.input if value.name not in self.constants]
        if len(images) != 1 or len(model.graph.output) != 1:
            raise SysmolError(f"{len(images)} inputs and {len(model.graph.output)} outputs; one of each is understood")
        self.image = images[0].name
        sides = [d.dim_value for d in images[0].type.tensor_type.shape.dim]
        shown, self.is_vector = list(sides), len(sides) == 2
        sides += [1, 1] if self.is_vector else []
        if len(sides) != 4 or min(sides[1:]) < 1 or max(sides[2:]) > MOST_PIXELS or sides[1] > MOST_CHANNELS:
            raise SysmolError(f"its input has shape {shown}; only [n, C, H, W] and [n, C] of a fixed size")
        shape = (sides[1], sides[2], sides[3])
        self.opset = next((o.version for o in model.opset_import if o.domain == ""), 13)
        self.layers = Layers(name, shape, self.constants, self.opset)
        self.values: dict[str, Sum | Activation] = {}
        self.weights: dict[str, Weights] = {}
        self.sizes: set[str] = set()
        self.flat_image = False
        self.done: list[Done] = []
        self.node: Any = None

    def network(self) -> Network:
        for node in self.model.graph.node:
            self.node = node
            if len(node.output) != 1:
                raise SysmolError(f"{node.op_type} has {len(node.output)} results; only one is understood")
            try:
                self._read(node, node.output[0])
            except SysmolError as error:
                raise SysmolError(f"{node.op_type} '{node.output[0]}': {error}") from None
        result = self.values.get(self.model.graph.output[0].name)
        if isinstance(result, Activation):
            result = self.layers.elements("logits.codes", result.name, result)
        if result is None or result.maker.layer.name == "input":
            raise SysmolError("it must end in a linear layer, a convolution or an average")
        self.layers.finish(result)
        net = self.layers.net
        net.layers = [layer for layer in net.layers if layer.outputs or layer.output]
        validate(net)
        return net

    def _note(self, how: str, layer: str = "", note: str = "") -> None:
        self.done.append(Done(self.node.op_type, self.node.output[0], how, layer, note))

    # --- one node ----------------------------------------------------------------------------------------------------

    def _read(self, node: Any, name: str) -> None:
        kind, reads = node.op_type, list(node.input)
        if self._constant(node, name, kind, reads):
            return
        if kind in SIZES and all(self._is_size(each) for each in reads):
            self.sizes.add(name)
            self._note(DROPPED, note="sizes of a view")
            return
        if kind in ELEMENTWISE and not (kind == "Add" and all(each in self.values for each in reads)):
            self.values[name] = self._chained(node)
            return
        x = self._value(reads[0])
        if kind in QUANT:
            self.values[name] = self._quantised(x, node, name)
        elif kind in ("Identity", "Dropout"):
            self.values[name] = x
            self._note(DROPPED)
        elif kind in VIEWS:
            self.values[name] = self._view(x)
        elif kind in ("Conv", "MatMul", "Gemm"):
            self.values[name] = self._product(x, node, name)
        elif kind == "Add":
            self.values[name] = self._added(x, self._value(reads[1]), name)
        elif kind == "MaxPool":
            geometry = self._windows(attributes(node), self._activation(x))
            self.values[name] = self.layers.maximum(f"maxpool{len(self.done)}", self._activation(x), geometry)
            self._note(KEPT, f"maxpool{len(self.done)}")
        elif kind in ("AveragePool", "GlobalAveragePool", "ReduceMean"):
            self.values[name] = self._average(self._activation(x), node, name)
        else:
            raise SysmolError(f"is not understood: {', '.join(OPERATORS)} are")

    def _constant(self, node: Any, name: str, kind: str, reads: list[str]) -> bool:
        """Whether the node's result is a constant or weights, remembered as such."""
        known = all(each in self.constants for each in reads if each)
        if kind == "Constant":
            self.constants[name] = onnx.numpy_helper.to_array(attributes(node)["value"])
        elif kind in QUANT and known:
            grid, scale = quant(node, self.constants)
            with np.errstate(all="ignore"):  # numbers beyond the grid are clipped, others refused
                constant = self.constants[reads[0]].astype(np.float32)
                real = constant / scale.astype(np.float32)
            if not np.isfinite(constant).all():
                raise SysmolError("it rounds constants that are no finite numbers")
            integers = grid.codes(real) * grid.step + grid.low
            self.weights[name] = Weights(integers, scale)
        elif kind == "Transpose" and reads[0] in self.weights and self.weights[reads[0]].integers.ndim == 2:
            held = self.weights[reads[0]]
            scale = held.scale.T if held.scale.ndim == 2 else held.scale
            self.weights[name] = Weights(held.integers.T, scale)
        elif kind == "Pow" and known:
            self.constants[name] = np.power(*(self.constants[each] for each in reads))
        else:
            return False
        self._note(FOLDED, note="weights" if name in self.weights else "a constant")
        return True

    def _is_size(self, name: str) -> bool:
        return name in self.sizes or name in self.constants or self.node.op_type == "Shape"

    def _value(self, name: str) -> Sum | Activation:
        if name == self.image and name not in self.values:
            self.values[name] = self.layers.image(name, self.is_vector)
        if name not in self.values:
            raise SysmolError(f"it reads '{name}', which is no activation")
        return self.values[name]

    @staticmethod
    def _activation(x: Sum | Activation) -> Activation:
        if isinstance(x, Sum):
            raise SysmolError("it reads real numbers: only integers behind a Quant node are understood")
        return x

    # --- activations -------------------------------------------------------------------------------------------------

    def _quantised(self, x: Sum | Activation, node: Any, name: str) -> Activation:
        grid, scale = quant(node, self.constants)
        if scale.size != 1:
            raise SysmolError("an activation with a scale per channel")
        grid = replace(grid, scale=float(scale.reshape(-1)[0]))
        if isinstance(x, Activation):
            if x.grid == grid:
                self._note(FOLDED, note="the grid that it has already")
                return x
            x = self.layers.elements(f"rescale{len(self.done)}", x.name, x)
        self._note(FOLDED, x.maker.layer.name, f"{grid.levels} levels: {describe_grid(grid)}")
        return Activation(name, grid, x.maker.shape, x, flat=x.maker.flat)

    def _view(self, x: Sum | Activation) -> Sum | Activation:
        self._note(DROPPED, note="a view")
        if isinstance(x, Activation):
            return replace(x, flat=True)
        if x.maker.layer.op == "rescale" and x.maker.layer.input == "image" and not x.chain:
            return self.layers.image(self.node.output[0], True)
        if x.maker.shape[1:] != (1, 1):
            raise SysmolError("an image of real numbers as a vector; put a Quant node in front of it")
        maker = replace(x.maker, flat=True)
        if x.chain:
            raise SysmolError("in the middle of what lies between two Quant nodes")
        return Sum(maker, self.node.output[0])

    def _chained(self, node: Any) -> Sum:
        """A sum behind one more node, whose other operands are constants."""
        reads = [n for n, name in enumerate(node.input) if name in self.values or name == self.image]
        if len(reads) != 1 or any(
            name and name not in self.constants for name in set(node.input) - {node.input[reads[0]]}
        ):
            raise SysmolError("it reads one activation or sum, and constants")
        x = self._value(node.input[reads[0]])
        if isinstance(x, Activation):
            x = self.layers.elements(f"rescale{len(self.done)}", x.name, x)
        # What stands between may have been left out: the chain's last result goes by its own name.
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[reads[0]] = x.chain[-1].output[0] if x.chain else x.source
        self._note(FOLDED, x.maker.layer.name, "into its constants")
        return replace(x, chain=(*x.chain, copy))

    def _added(self, a: Sum | Activation, b: Sum | Activation, name: str) -> Sum:
        label = f"add{len(self.done)}"
        found = self.layers.sum_of_two(label, name, self._activation(a), self._activation(b))
        self._note(KEPT, label)
        return found

    # --- layers ------------------------------------------------------------------------------------------------------

    def _product(self, value: Sum | Activation, node: Any, name: str) -> Sum:
        x, options = self._activation(value), attributes(node)
        if node.input[1] not in self.weights:
            raise SysmolError(f"its weights '{node.input[1]}' stand behind no Quant node")
        held, label = self.weights[node.input[1]], f"{node.op_type.lower()}{len(self.done)}"
        integers, scale = held.integers, held.scale
        geometry: dict[str, Any] = {}
        if node.op_type == "Conv":
            geometry = self._convolution_geometry(options, integers, x)
            scale = _per_output(scale, len(integers), 0)
        else:
            by_rows = node.op_type == "Gemm" and bool(options.get("transB", 0))
            if integers.ndim != 2:
                raise SysmolError(f"weights of shape {list(integers.shape)}")
            scale = _per_output(scale, integers.shape[0 if by_rows else 1], 0 if by_rows else -1)
            integers = self._linear_weights(integers if by_rows else integers.T, x)
            geometry = {"kernel": (x.shape[1], x.shape[2])}
        if integers.shape[1] * geometry.get("groups", 1) != x.shape[0]:
            raise SysmolError(f"weights for {integers.shape[1] * geometry.get('groups', 1)} channels of {x.shape[0]}")
        found = self.layers.convolution(label, name, x, integers, scale, geometry)
        found.maker.flat = node.op_type != "Conv"
        parts = [layer.name for layer in self.layers.net.layers if layer.name.startswith(f"{label}.")]
        self._note(KEPT, label, "with a second layer for zeros among its weights" if parts else "")
        return self._biased(found, node, name, options)

    def _linear_weights(self, weight: Array, x: Activation) -> Array:
        """``[K, features]`` as ``[K, C, H, W]``: vectors of images have their channels first, those of the image itself
        are flattened pixel by pixel in the network file."""
        channels, height, width = x.shape
        image = self.layers.net.tensors["image"]
        if x.sum is not None and x.sum.maker.layer.op == "flatten":
            planes = weight.reshape(len(weight), image.channels, image.height, image.width)
            weight = planes.transpose(0, 2, 3, 1).reshape(len(weight), -1)
        if weight.shape[1] != channels * height * width:
            raise SysmolError(f"weights for {weight.shape[1]} of {channels * height * width} values")
        return weight.reshape(len(weight), channels, height, width)

    def _biased(self, found: Sum, node: Any, name: str, options: dict[str, Any]) -> Sum:
        """The sum behind the node's own bias."""
        if any(options.get(key, 1.0) != 1.0 for key in ("alpha", "beta")):
            raise SysmolError("factors of its own (alpha, beta)")
        if len(node.input) < 3 or not node.input[2]:
            return found
        if node.input[2] in self.weights:
            held = self.weights[node.input[2]]
            bias = (held.integers * held.scale).astype(np.float32)
        elif node.input[2] in self.constants:
            bias = self.constants[node.input[2]].astype(np.float32)
        else:
            raise SysmolError("its bias is no constant")
        key = f"{name}.bias"
        self.constants[key] = bias.reshape(1, -1, 1, 1) if node.op_type == "Conv" else bias.reshape(1, -1)
        before = f"{name}.sums"
        add = onnx.helper.make_node("Add", [before, key], [name])
        return Sum(found.maker, before, (add,))

    def _convolution_geometry(self, options: dict[str, Any], weight: Array, x: Activation) -> dict[str, Any]:
        if weight.ndim != 4 or x.flat:
            raise SysmolError("only two-dimensional convolutions of images")
        if any(each != 1 for each in options.get("dilations", [])):
            raise SysmolError("a dilated convolution")
        found = self._windows({"kernel_shape": list(weight.shape[2:])} | options, x)
        groups = int(options.get("group", 1))
        if groups < 1 or len(weight) % groups:
            raise SysmolError(f"{groups} groups for {len(weight)} outputs")
        return found | {"groups": groups} if groups > 1 else found

    def _windows(self, options: dict[str, Any], x: Activation) -> dict[str, Any]:
        """Kernel, stride and padding."""
        if options.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or options.get("ceil_mode", 0):
            raise SysmolError("padding or sizes that are not stated")
        if any(each != 1 for each in options.get("dilations", [])):
            raise SysmolError("dilated windows")
        kernel, stride = (tuple(int(n) for n in options.get(key, (1, 1))) for key in ("kernel_shape", "strides"))
        pads = tuple(int(n) for n in options.get("pads", (0, 0, 0, 0)))
        if len(kernel) != 2 or len(stride) != 2 or len(pads) != 4 or min(*kernel, *stride) < 1 or min(pads) < 0:
            raise SysmolError(f"a window of {list(kernel)}, steps of {list(stride)}, padding of {list(pads)}")
        if any(pad >= k for pad, k in zip(pads, kernel * 2, strict=True)):
            raise SysmolError(f"padding of {list(pads)} for a window of {list(kernel)}; it must be smaller")
        if any(k > size + a + b for k, size, a, b in zip(kernel, x.shape[1:], pads[:2], pads[2:], strict=True)):
            raise SysmolError(f"a window of {list(kernel)} on an image of {list(x.shape[1:])}")
        return {"kernel": kernel, "stride": stride, "padding": pads}

    def _average(self, x: Activation, node: Any, name: str) -> Sum:
        options = attributes(node)
        if node.op_type == "AveragePool":
            geometry = self._windows(options, x)
            if any(geometry["padding"]):
                raise SysmolError("an average with padding")
        else:
            axes = sorted(int(axis) % 4 for axis in options.get("axes", (2, 3)))
            if len(node.input) > 1:
                axes = sorted(int(axis) % 4 for axis in np.ravel(self.constants[node.input[1]]))
            if axes != [2, 3]:
                raise SysmolError(f"a mean over axes {axes}; only over height and width")
            geometry = {"kernel": x.shape[1:]}
        label = f"average{len(self.done)}"
        found = self.layers.average(label, name, x, geometry)
        found.maker.flat = node.op_type == "ReduceMean" and not options.get("keepdims", 1)
        self._note(KEPT, label)
        return found


def _per_output(scale: Array, outputs: int, axis: int) -> Array:
    """Scales of weights, one per output along that axis, float64 ``[K]``."""
    if scale.size == 1:
        return np.full(outputs, float(scale.reshape(-1)[0]))
    if scale.size != outputs or scale.shape[axis] != outputs:
        raise SysmolError(f"weights with scales of shape {list(scale.shape)}; one for all, or one per output")
    return scale.reshape(-1)


def describe_grid(grid: Grid) -> str:
    """How an activation is stored."""
    return "bytes" if grid.bits == 8 else f"codes of {grid.bits} bits"


def markdown() -> str:
    """The table of operators for the documentation."""
    rows = [f"| {name} | {note} |" for name, note in OPERATORS.items()]
    return "\n".join(["| operator | how |", "|---|---|", *rows])
