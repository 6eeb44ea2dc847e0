"""The bytes of a network file, versions 1 and 2 (docs/network-format.md). :func:`sysmol.network.save` and
:func:`sysmol.network.load` are the way in.

Version 2 holds everything in five byte arrays: the JSON description, deflated; pattern ids; slots; the constants M, B
and R; and the weights. Every array has the smallest form that gives the network back exactly. Version 1, which is only
read, has a safetensors array per layer and constant.
"""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import safetensors
import safetensors.numpy

from sysmol.errors import SysmolError
from sysmol.files import check_version
from sysmol.grid import PRECISIONS
from sysmol.network import (
    Array,
    Layer,
    Network,
    Output,
    Samples,
    Tensor,
    border_constants,
    border_sums,
    group_tensor,
    layer_classes,
)
from sysmol.network_check import check_geometry, check_tensor
from sysmol.packing import drop_fillers, restore_fillers, stored_bytes
from sysmol.pattern import REGISTER_BYTES

FORMAT = "sysmol-network"
VERSION = 2

PARTS = {
    "weights": "weights",
    "constants": "scales and biases",
    "slots": "permutations",
    "patterns": "pattern ids",
    "description": "description",
}
"""Byte arrays of a file, and what people call them."""

Description = dict[str, Any]
Arrays = dict[str, Array]


# --- container -------------------------------------------------------------------------------------------------------


def wrap(description: Description, arrays: Arrays) -> bytes:
    """The file of a description and its arrays."""
    text = json.dumps(description, separators=(",", ":")).encode()
    arrays = {"description": np.frombuffer(zlib.compress(text, 9), dtype=np.uint8)} | arrays
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    head = {"format": FORMAT, "version": VERSION, "crc32": _checksum(arrays)}
    return safetensors.numpy.save(arrays, {"sysmol": json.dumps(head, separators=(",", ":"))})


def read(path: str | Path) -> tuple[Description, Arrays]:
    """Description and arrays of a file, its format, version and (version 2) checksum checked.

    Raises :class:`SysmolError` where the file is absent, cut short, damaged, something else, or too new.
    """
    try:
        with safetensors.safe_open(str(path), framework="numpy") as stream:
            text = (stream.metadata() or {}).get("sysmol")
            names = list(stream.keys())
            arrays = {name: stream.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise SysmolError(f"there is no network file {path}") from None
    except OSError as error:
        raise SysmolError(f"cannot read {path}: {error.strerror or error}") from None
    except (safetensors.SafetensorError, TypeError):
        raise SysmolError(f"{path} is no network file, or was cut short: export it again") from None
    head = _json(text or "")
    if head.get("format") != FORMAT:
        raise SysmolError(f"{path} is a safetensors file, but no sysmol network")
    check_version(path, FORMAT, head.get("version"), VERSION)
    if head["version"] == 1:
        return head, arrays
    if head.get("crc32") != _checksum(arrays) or "description" not in arrays:
        raise SysmolError(f"{path} is damaged (its checksum differs): export it again")
    try:
        return head | _json(zlib.decompress(arrays.pop("description").tobytes())), arrays
    except zlib.error:
        raise SysmolError(f"{path}: its description cannot be unpacked: export it again") from None


def _checksum(arrays: Arrays) -> int:
    crc = 0
    for name in sorted(arrays):
        crc = zlib.crc32(arrays[name].tobytes(), zlib.crc32(name.encode(), crc))
    return crc


def _json(text: str | bytes) -> Description:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


# --- numbers ---------------------------------------------------------------------------------------------------------


class _Writer:
    """Arrays end to end, little-endian, each in a type that its place in the description names."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def put(self, array: Array, kind: str) -> str:
        self.parts.append(array.astype(f"<{kind}").tobytes())
        return kind

    def bytes(self) -> Array:
        return np.frombuffer(b"".join(self.parts), dtype=np.uint8)


class _Reader:
    """The arrays of a :class:`_Writer`, in the same order."""

    def __init__(self, name: str, data: Array) -> None:
        self.name = name
        self.data = data.tobytes()
        self.position = 0

    def take(self, shape: Sequence[int], kind: str) -> Array:
        dtype = np.dtype(f"<{kind}")
        start, size = self.position, int(np.prod(shape, dtype=object)) * dtype.itemsize
        self.position += size
        if size < 0 or self.position > len(self.data):
            raise SysmolError(f"its {self.name} hold fewer bytes than its layers ask for")
        found = np.frombuffer(self.data[start : self.position], dtype=dtype).reshape(shape)
        return found.astype(dtype.newbyteorder("="))

    def finish(self) -> None:
        if self.position != len(self.data):
            raise SysmolError(f"its {self.name} hold {len(self.data)} bytes, its layers use {self.position}")


def _kind(values: Array, kinds: Sequence[str]) -> str | None:
    """The first of these integer types that holds all values."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    limits = ((kind, np.iinfo(np.dtype(kind))) for kind in kinds)
    return next((kind for kind, limit in limits if limit.min <= low and high <= limit.max), None)


def _put_constant(writer: _Writer, values: Array, tensor: Tensor) -> Any:
    """Store one of M, B, R; returns its place in the description.

    A list has the values of channels of 4, 2 and 1 bits (of all channels where the tensor is no SMOL tensor);
    ``[type, shift]`` names integers that are to be shifted left; ``["f4", 0]`` floats.
    """
    if values.dtype.kind == "f":
        return [writer.put(values, "f4"), 0]
    values = values.astype(np.int64)
    if values.ndim == 1:
        groups = [values[tensor.precisions == p] for p in PRECISIONS] if tensor.format == "smol" else [values]
        if all((group == group[:1]).all() for group in groups):
            return {"each": [int(group[0]) if len(group) else 0 for group in groups]}
    common = int(np.bitwise_or.reduce(values, axis=None))
    zeros = max((common & -common).bit_length() - 1, 0)
    kind = _kind(values >> zeros, ("i1", "i2", "i4")) or "i8"
    shift = 0 if _kind(values, ("i1", "i2", "i4")) == kind else zeros
    return [writer.put(values >> shift, kind), shift]


def _take_constant(reader: _Reader, place: Any, tensor: Tensor, shape: Sequence[int]) -> Array:
    """Inverse of :func:`_put_constant`: int64 or float32."""
    if isinstance(place, dict):
        each = [int(value) for value in place["each"]]
        by_bits = dict(zip(PRECISIONS, each, strict=True)) if tensor.format == "smol" else {}
        rows = tensor.precisions if tensor.format == "smol" else np.zeros(tensor.channels, dtype=np.int64)
        return np.array([by_bits.get(int(p), each[0]) for p in rows], dtype=np.int64).reshape(shape)
    kind, shift = place
    values = reader.take(shape, kind)
    return values if kind == "f4" else values.astype(np.int64) << int(shift)


def _int32(values: Array) -> Array:
    if values.dtype.kind != "f" and _kind(values, ["i4"]) is None:
        raise SysmolError("a constant does not fit 32 bits")
    return values if values.dtype.kind == "f" else values.astype(np.int32)


# --- version 2, writing ----------------------------------------------------------------------------------------------


def encode(net: Network, deploy: bool = False) -> bytes:
    """The version 2 file of a valid network; ``deploy`` as in :func:`sysmol.network.save`."""
    writers = {name: _Writer() for name in PARTS if name != "description"}
    tensors, layouts = _encode_tensors(net, writers)
    description = {
        "name": net.name,
        "input": net.input,
        "output": net.output,
        "layouts": layouts,
        "tensors": tensors,
        "layers": [_encode_layer(net, layer, writers) for layer in net.layers],
        "provenance": net.provenance,
    }
    samples: Arrays = {}
    if deploy:
        description["provenance"] = {k: v for k, v in net.provenance.items() if k == "logit_scale"}
    else:
        description |= {"description": net.description, "metrics": net.metrics}
        if net.samples is not None:
            samples = {
                "samples.images": net.samples.images,
                "samples.labels": net.samples.labels.astype(np.int64),
                "samples.logits": net.samples.logits,
            }
    return wrap(description, {name: writer.bytes() for name, writer in writers.items()} | samples)


def breakdown(net: Network) -> dict[str, int]:
    """Bytes of every part of a network's deployment file; their sum is the file's size."""
    data = encode(net, deploy=True)
    arrays = safetensors.numpy.load(data)
    sizes = {title: int(arrays[name].nbytes) for name, title in PARTS.items()}
    return sizes | {"header": len(data) - sum(sizes.values())}


def _encode_tensors(net: Network, writers: dict[str, _Writer]) -> tuple[list[Description], list[Description]]:
    """Rows of tensors and of the layouts (patterns and slots) that they share."""
    tensors: list[Description] = []
    layouts: list[Description] = []
    known: dict[tuple[tuple[int, ...], bytes], int] = {}
    for t in net.tensors.values():
        row: Description = {"name": t.name, "shape": t.shape, "format": t.format}
        if t.slots is not None:
            key = t.patterns, t.slots.tobytes()
            if key not in known:
                known[key] = len(layouts)
                writers["patterns"].put(np.array(t.patterns), "u1")
                kind = writers["slots"].put(t.slots, _kind(t.slots, ("u1", "u2", "u4")) or "i8")
                layouts.append({"vectors": len(t.patterns), "channels": t.channels, "slots": kind})
            row["layout"] = known[key]
        tensors.append(row | ({"zero_point": t.zero_point} if t.zero_point else {}))
    return tensors, layouts


def _encode_layer(net: Network, layer: Layer, writers: dict[str, _Writer]) -> Description:
    row: Description = {"name": layer.name, "op": layer.op, "input": layer.input}
    for key, usual in (("residual", ""), ("output", ""), ("groups", 1)):
        if getattr(layer, key) != usual:
            row[key] = getattr(layer, key)
    for key, default in (("kernel", (1, 1)), ("stride", (1, 1)), ("padding", (0, 0, 0, 0))):
        if getattr(layer, key) != default:
            row[key] = getattr(layer, key)
    if layer.weight is not None:
        row["weight"] = _put_weight(net, layer, writers["weights"])
    if layer.outputs:
        row["outputs"] = [_encode_output(net, layer, out, writers["constants"]) for out in layer.outputs]
    return row


def _put_weight(net: Network, layer: Layer, writer: _Writer) -> str:
    """Store weights, SMOL weights without fillers where the fillers are the usual ones; returns their form."""
    assert layer.weight is not None
    if net.tensors[layer.input].format != "smol":
        return writer.put(layer.weight, layer.weight.dtype.str[1:])
    stripped = []
    for shape, part, own in _smol_parts(net, layer):
        codes = drop_fillers(layer.weight[own], part.patterns, np.asarray(part.slots))
        if not np.array_equal(restore_fillers(codes, shape, part.patterns, np.asarray(part.slots)), layer.weight[own]):
            writer.put(layer.weight, "u1")
            return "registers"
        stripped.append(codes)
    writer.put(np.concatenate(stripped), "u1")
    return "codes"


def _smol_parts(net: Network, layer: Layer) -> list[tuple[tuple[int, ...], Tensor, slice]]:
    """Per group of a SMOL layer its rows of weights, its input, and where its weights begin and end."""
    x, count = net.tensors[layer.input], net.tensors[layer.targets[0]].channels // layer.groups
    if layer.op == "depthwise":
        return [(layer.kernel, x, slice(None))]
    parts = [group_tensor(x, layer.groups, g) for g in range(layer.groups)]
    return [((count, *layer.kernel), part, slice(g * count, (g + 1) * count)) for g, part in enumerate(parts)]


def _encode_output(net: Network, layer: Layer, out: Output, writer: _Writer) -> Description:
    t = net.tensors[out.tensor]
    row: Description = {"tensor": out.tensor, "shift": out.shift}
    row |= {key: value for key, value in (("lo", out.lo), ("hi", out.hi)) if not np.isinf(value)}
    if out.M is not None:
        row["M"] = _put_constant(writer, out.M, t)
    if out.R is not None:
        row["R"] = _put_constant(writer, out.R, t)
    base = out.B
    if t.format != "f32":
        assert out.M is not None
        base = out.B.astype(np.int64) - border_constants(border_sums(net, layer), out.M)
    if (base == base[:1, :1]).all():
        row["B"] = _put_constant(writer, base[0, 0], t)
    else:
        row["table"] = _put_constant(writer, out.B, t)
    return row


# --- reading ---------------------------------------------------------------------------------------------------------


class _Source(Protocol):
    """Where a version keeps its arrays; called once per tensor, layer and output, in the description's order."""

    def tensor(self, row: Description) -> dict[str, Any]:
        """``patterns``, ``slots`` and ``zero_point``, where the tensor has them."""

    def weight(self, net: Network, layer: Layer, row: Description) -> Array | None:
        """Weights of a layer whose shapes are known to fit."""

    def constants(self, net: Network, layer: Layer, number: int, row: Description) -> None:
        """Fill in M, B and R of the layer's output of that number."""

    def finish(self) -> None:
        """Refuse what is left over."""


class _Version1:
    def __init__(self, description: Description, arrays: Arrays) -> None:
        self.arrays = arrays

    def tensor(self, row: Description) -> dict[str, Any]:
        slots = self.arrays.get(f"{row['name']}.slots")
        found = {} if slots is None else {"slots": slots.astype(np.int64)}
        return found | {"patterns": tuple(int(p) for p in row["patterns"])}

    def weight(self, net: Network, layer: Layer, row: Description) -> Array | None:
        return self.arrays.get(f"{layer.name}.weight")

    def constants(self, net: Network, layer: Layer, number: int, row: Description) -> None:
        out, name = layer.outputs[number], f"{layer.name}.out{number}"
        out.B, out.M, out.R = self.arrays[f"{name}.B"], self.arrays.get(f"{name}.M"), self.arrays.get(f"{name}.R")

    def finish(self) -> None:
        pass


class _Version2:
    def __init__(self, description: Description, arrays: Arrays) -> None:
        self.readers = {name: _Reader(title, arrays[name]) for name, title in PARTS.items() if name in arrays}
        self.layouts = []
        for row in description["layouts"]:
            patterns = self.readers["patterns"].take([int(row["vectors"])], "u1")
            slots = self.readers["slots"].take([int(row["channels"])], row["slots"])
            self.layouts.append({"patterns": tuple(map(int, patterns)), "slots": slots.astype(np.int64)})

    def tensor(self, row: Description) -> dict[str, Any]:
        found = self.layouts[row["layout"]] if "layout" in row else {}
        return found | {"zero_point": tuple(int(z) for z in row.get("zero_point", ()))}

    def weight(self, net: Network, layer: Layer, row: Description) -> Array | None:
        form, x = row.get("weight"), net.tensors[layer.input]
        if form is None:
            return None
        reader, channels = self.readers["weights"], net.tensors[layer.targets[0]].channels
        outer = (channels, *layer.kernel) if layer.op == "conv2d" else layer.kernel
        if form == "codes":
            parts = []
            for shape, part, _ in _smol_parts(net, layer):
                slots = np.asarray(part.slots)
                codes = reader.take([stored_bytes(int(np.prod(shape)), part.patterns, slots)], "u1")
                parts.append(restore_fillers(codes, shape, part.patterns, slots))
            return np.concatenate(parts)
        if form == "registers":
            return reader.take((*outer, len(x.patterns) // layer.groups, REGISTER_BYTES), "u1")
        return reader.take((*outer, x.channels // layer.groups), form)

    def constants(self, net: Network, layer: Layer, number: int, row: Description) -> None:
        out, reader = layer.outputs[number], self.readers["constants"]
        t = net.tensors[out.tensor]
        (_, rows), (_, columns) = layer_classes(net, layer)
        if "M" in row:
            out.M = _int32(_take_constant(reader, row["M"], t, [t.channels]))
        if "R" in row:
            out.R = _int32(_take_constant(reader, row["R"], t, [t.channels]))
        if "table" in row:
            out.B = _int32(_take_constant(reader, row["table"], t, (len(rows), len(columns), t.channels)))
            return
        base = _take_constant(reader, row["B"], t, [t.channels])
        if t.format == "f32":
            out.B = base.reshape(1, 1, -1)
        else:
            assert out.M is not None
            out.B = _int32(base + border_constants(border_sums(net, layer), out.M))

    def finish(self) -> None:
        for reader in self.readers.values():
            reader.finish()


def decode(description: Description, arrays: Arrays) -> Network:
    """The network of what :func:`read` found; :func:`sysmol.network_check.validate` is left to the caller.

    Raises :class:`SysmolError` on content that fits no network.
    """
    try:
        kind = _Version1 if description["version"] == 1 else _Version2
        return _assemble(description, arrays, kind(description, arrays))
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise SysmolError(f"the description lacks or garbles {error}") from None


def _assemble(description: Description, arrays: Arrays, source: _Source) -> Network:
    net = Network(description["name"], {}, [], description["input"], description["output"])
    net.description, net.metrics = description.get("description", ""), description.get("metrics", {})
    net.provenance = description["provenance"]
    for row in description["tensors"]:
        height, width, channels = (int(v) for v in row["shape"])
        t = Tensor(row["name"], height, width, channels, row["format"], **source.tensor(row))
        check_tensor(t)
        net.tensors[t.name] = t
    known = {net.input}
    for row in description["layers"]:
        layer = _layer(row)
        check_geometry(net, layer, known)
        known.update(layer.targets)
        layer.weight = source.weight(net, layer, row)
        for number, out in enumerate(row.get("outputs", [])):
            source.constants(net, layer, number, out)
        net.layers.append(layer)
    source.finish()
    if "samples.images" in arrays:
        net.samples = Samples(arrays["samples.images"], arrays["samples.labels"], arrays["samples.logits"])
    return net


def _layer(row: Description) -> Layer:
    """A layer without its arrays."""
    top, left, bottom, right = (int(v) for v in row.get("padding", (0, 0, 0, 0)))
    layer = Layer(row["name"], row["op"], row["input"], padding=(top, left, bottom, right))
    layer.residual, layer.output = row.get("residual", ""), row.get("output", "")
    layer.groups = int(row.get("groups", 1))
    layer.kernel, layer.stride = _pair(row.get("kernel", (1, 1))), _pair(row.get("stride", (1, 1)))
    for out in row.get("outputs", []):
        lo, hi = (otherwise if out.get(k) is None else out[k] for k, otherwise in (("lo", -np.inf), ("hi", np.inf)))
        layer.outputs.append(Output(out["tensor"], np.zeros((1, 1, 0)), lo, hi, shift=int(out["shift"])))
    return layer


def _pair(values: Sequence[int]) -> tuple[int, int]:
    first, second = (int(v) for v in values)
    return first, second
