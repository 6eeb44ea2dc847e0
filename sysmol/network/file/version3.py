"""Version 3 of the network file, which is written: version 2 with high products, the image's normalisation, and the
fields of :data:`RESERVED`. A reader refuses what it does not know, where versions 1 and 2 left it unread.
"""

from typing import Any

import numpy as np
import safetensors.numpy

from sysmol.network.checks import CONSTANT_TYPES
from sysmol.network.file.arrays import Writer, put_constant, smallest_type
from sysmol.network.file.container import PARTS, Arrays, Description, wrap
from sysmol.network.file.version2 import Version2
from sysmol.network.model import Array, Layer, Network, Normalisation, Output, need
from sysmol.network.operations import weighted
from sysmol.network.sums import border_constants, border_sums
from sysmol.packing import drop_fillers, restore_fillers
from sysmol.pattern import REGISTER_BYTES

DATA = tuple(np.dtype(kind).str[1:] for kind in CONSTANT_TYPES.values())
"""Types of the elements of constant tensors."""
IN_ORDER = "in order"
"""In place of the type of a layout's slots: they are 0, 1, 2, ... and take no bytes."""
PRODUCTS = ("multiply", "residual_multiply", "pre")
USUAL = Output("", np.zeros((1, 1, 0)), 0, 0)

KNOWN = {
    "network": {
        *("format", "version", "crc32", "name", "description", "input", "output", "layouts", "tensors", "layers"),
        *("provenance", "metrics", "normalisation", "tables"),
    },
    "layout": {"vectors", "channels", "slots"},
    "tensor": {"name", "shape", "format", "layout", "zero_point", "data"},
    "layer": {
        *("name", "op", "input", "residual", "output", "kernel", "stride", "padding", "dilation", "groups", "weight"),
        *("outputs", "second", "begin", "table", "function"),
    },
    "output": {"tensor", "shift", "lo", "hi", "M", "R", "B", "table", *PRODUCTS},
}
"""Fields of every part of a description."""
RESERVED: dict[str, dict[str, Any]] = {
    "network": {},
    "layout": {},
    "tensor": {"planes": False},
    "layer": {"sums": 32, "residual_codes": False, "ones_row": False},
    "output": {},
}
"""Fields that later versions fill, with the only values that this one understands: 64-bit pixels in bit planes; bits
of a layer's sums, residuals as SMOL codes, an output row of ones."""


def encode(net: Network, deploy: bool = False) -> bytes:
    """The version 3 file of a valid network; ``deploy`` as in :func:`sysmol.network.save`."""
    writers = {name: Writer() for name in PARTS if name != "description"}
    tensors, layouts = _encode_tensors(net, writers)
    tables = sorted({layer.table for layer in net.layers if layer.table})
    description: dict[str, Any] = {
        "name": net.name,
        "input": net.input,
        "output": net.output,
        "layouts": layouts,
        "tensors": tensors,
        "layers": [_encode_layer(net, layer, writers, tables) for layer in net.layers],
        "provenance": net.provenance,
    }
    if tables:
        description["tables"] = tables
    if net.normalisation is not None:
        description["normalisation"] = {"mean": net.normalisation.mean, "scale": net.normalisation.scale}
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


def _encode_tensors(net: Network, writers: dict[str, Writer]) -> tuple[list[Description], list[Description]]:
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
                kind = _put_slots(t.slots, writers["slots"])
                layouts.append({"vectors": len(t.patterns), "channels": t.channels, "slots": kind})
            row["layout"] = known[key]
        if t.data is not None:
            row["data"] = writers["weights"].put(t.data, t.data.dtype.str[1:])
        tensors.append(row | ({"zero_point": t.zero_point} if t.zero_point else {}))
    return tensors, layouts


def _put_slots(slots: Array, writer: Writer) -> str:
    """Store a layout's slots, but for those in order; returns their type."""
    if np.array_equal(slots, np.arange(len(slots))):
        return IN_ORDER
    return writer.put(slots, smallest_type(slots, ("u1", "u2", "u4")) or "i8")


def _encode_layer(net: Network, layer: Layer, writers: dict[str, Writer], tables: list[tuple[int, ...]]) -> Description:
    row: Description = {"name": layer.name, "op": layer.op, "input": layer.input}
    for key, usual in (("residual", ""), ("output", ""), ("groups", 1), ("second", ""), ("begin", 0), ("function", "")):
        if getattr(layer, key) != usual:
            row[key] = getattr(layer, key)
    for key, default in (("kernel", (1, 1)), ("stride", (1, 1)), ("padding", (0, 0, 0, 0)), ("dilation", (1, 1))):
        if getattr(layer, key) != default:
            row[key] = getattr(layer, key)
    if layer.table:
        row["table"] = tables.index(layer.table)
    if layer.weight is not None:
        row["weight"] = _put_weight(net, layer, writers["weights"])
    if layer.outputs:
        row["outputs"] = [_encode_output(net, layer, out, writers["constants"]) for out in layer.outputs]
    return row


def _put_weight(net: Network, layer: Layer, writer: Writer) -> str:
    """Store weights, SMOL weights without fillers where the fillers are the usual ones; returns their form."""
    assert layer.weight is not None
    if net.tensors[layer.input].format != "smol":
        return writer.put(layer.weight, layer.weight.dtype.str[1:])
    stripped = []
    for shape, part, own in weighted(layer).weight_parts(net, layer):
        codes = drop_fillers(layer.weight[own], part.patterns, np.asarray(part.slots))
        if not np.array_equal(restore_fillers(codes, shape, part.patterns, np.asarray(part.slots)), layer.weight[own]):
            writer.put(layer.weight, "u1")
            return "registers"
        stripped.append(codes)
    writer.put(np.concatenate(stripped), "u1")
    return "codes"


def _encode_output(net: Network, layer: Layer, out: Output, writer: Writer) -> Description:
    t = net.tensors[out.tensor]
    row: Description = {"tensor": out.tensor, "shift": out.shift}
    row |= {key: value for key, value in (("lo", out.lo), ("hi", out.hi)) if not np.isinf(value)}
    row |= {key: getattr(out, key) for key in PRODUCTS if getattr(out, key) != getattr(USUAL, key)}
    if out.M is not None:
        row["M"] = put_constant(writer, out.M, t)
    if out.R is not None:
        row["R"] = put_constant(writer, out.R, t)
    base = out.B
    if t.format != "f32":
        assert out.M is not None
        base = out.B.astype(np.int64) - border_constants(border_sums(net, layer), out.M, out.multiply, out.pre)
    if (base == base[:1, :1]).all():
        row["B"] = put_constant(writer, base[0, 0], t)
    else:
        row["table"] = put_constant(writer, out.B, t)
    return row


class Version3(Version2):
    def __init__(self, description: Description, arrays: Arrays) -> None:
        self.normalisation = description.get("normalisation")
        self.tables = [tuple(table) for table in description.get("tables", [])]
        self.used: set[int] = set()
        whole = all(type(value) is int for table in self.tables for value in table)
        need(whole, "a table holds something else than whole numbers")
        _check_fields("network", "the network", description)
        for number, row in enumerate(description["layouts"]):
            _check_fields("layout", f"layout {number}", row)
        for row in description["tensors"]:
            _check_fields("tensor", f"tensor {row['name']}", row)
        for row in description["layers"]:
            _check_fields("layer", f"layer {row['name']}", row)
            for out in row.get("outputs", []):
                _check_fields("output", f"layer {row['name']}, output {out['tensor']}", out)
        super().__init__(description, arrays)

    def slots(self, row: Description) -> Array:
        channels, vectors = int(row["channels"]), int(row["vectors"])
        if row["slots"] != IN_ORDER:
            return super().slots(row)
        need(0 <= channels <= 8 * REGISTER_BYTES * vectors, f"{channels} slots in order, in {vectors} vectors")
        return np.arange(channels)

    def network(self, net: Network) -> None:
        if self.normalisation is not None:
            mean, scale = (tuple(float(v) for v in self.normalisation[key]) for key in ("mean", "scale"))
            net.normalisation = Normalisation(mean, scale)

    def finish(self) -> None:
        super().finish()
        need(self.used == set(range(len(self.tables))), "it has a table that no layer uses")

    def tensor(self, row: Description) -> dict[str, Any]:
        found = super().tensor(row)
        if "data" in row:
            need(row["data"] in DATA, f"tensor {row['name']} holds elements of type {row['data']!r}")
            found["data"] = self.readers["weights"].take([int(v) for v in row["shape"]], row["data"])
        return found

    def weight(self, net: Network, layer: Layer, row: Description) -> Array | None:
        if "table" in row:
            number = int(row["table"])
            need(0 <= number < len(self.tables), f"layer {layer.name} has table {number} of {len(self.tables)}")
            layer.table = self.tables[number]
            self.used.add(number)
        return super().weight(net, layer, row)

    def constants(self, net: Network, layer: Layer, number: int, row: Description) -> None:
        out = layer.outputs[number]
        out.multiply, out.residual_multiply = (str(row.get(key, "low")) for key in PRODUCTS[:2])
        out.pre = int(row.get("pre", 0))
        need(0 <= out.pre <= 31, f"layer {layer.name}, output {out.tensor}: a shift of sums by {out.pre}")
        super().constants(net, layer, number, row)


def _check_fields(kind: str, where: str, row: Description) -> None:
    """Refuse fields that this version does not know, and reserved ones that hold something."""
    for key, value in row.items():
        if key in RESERVED[kind]:
            need(value == RESERVED[kind][key], f"{where[:200]!r} has {key}: that needs a newer sysmol")
        else:
            need(key in KNOWN[kind], f"{where[:200]!r} has the unknown field {key[:50]!r}: that needs a newer sysmol")
