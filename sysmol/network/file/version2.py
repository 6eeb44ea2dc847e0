"""Version 2 of the network file: five byte arrays, every number in the smallest form that gives the network back.

The JSON description, deflated; pattern ids; slots; the constants M, B and R; and the weights.
"""

from typing import Any

import numpy as np
import safetensors.numpy

from sysmol.network.file.arrays import Reader, Writer, as_int32, put_constant, smallest_type, take_constant
from sysmol.network.file.container import PARTS, Arrays, Description, wrap
from sysmol.network.geometry import layer_classes
from sysmol.network.model import Array, Layer, Network, Output, need
from sysmol.network.operations import weighted
from sysmol.network.sums import border_constants, border_sums
from sysmol.packing import drop_fillers, restore_fillers, stored_bytes


def encode(net: Network, deploy: bool = False) -> bytes:
    """The version 2 file of a valid network; ``deploy`` as in :func:`sysmol.network.save`."""
    writers = {name: Writer() for name in PARTS if name != "description"}
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
                kind = writers["slots"].put(t.slots, smallest_type(t.slots, ("u1", "u2", "u4")) or "i8")
                layouts.append({"vectors": len(t.patterns), "channels": t.channels, "slots": kind})
            row["layout"] = known[key]
        tensors.append(row | ({"zero_point": t.zero_point} if t.zero_point else {}))
    return tensors, layouts


def _encode_layer(net: Network, layer: Layer, writers: dict[str, Writer]) -> Description:
    need(not layer.second, f"layer {layer.name}: version 2 of the file has no place for a second input")
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
    if out.M is not None:
        row["M"] = put_constant(writer, out.M, t)
    if out.R is not None:
        row["R"] = put_constant(writer, out.R, t)
    base = out.B
    if t.format != "f32":
        assert out.M is not None
        base = out.B.astype(np.int64) - border_constants(border_sums(net, layer), out.M)
    if (base == base[:1, :1]).all():
        row["B"] = put_constant(writer, base[0, 0], t)
    else:
        row["table"] = put_constant(writer, out.B, t)
    return row


class Version2:
    def __init__(self, description: Description, arrays: Arrays) -> None:
        self.readers = {name: Reader(title, arrays[name]) for name, title in PARTS.items() if name in arrays}
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
        reader, kind = self.readers["weights"], weighted(layer)
        if form == "codes":
            parts = []
            for shape, part, _ in kind.weight_parts(net, layer):
                slots = np.asarray(part.slots)
                codes = reader.take([stored_bytes(int(np.prod(shape)), part.patterns, slots)], "u1")
                parts.append(restore_fillers(codes, shape, part.patterns, slots))
            return np.concatenate(parts)
        shape = kind.weight_shape(layer, x, net.tensors[layer.targets[0]].channels)
        return reader.take(shape, "u1" if form == "registers" else form)

    def constants(self, net: Network, layer: Layer, number: int, row: Description) -> None:
        out, reader = layer.outputs[number], self.readers["constants"]
        t = net.tensors[out.tensor]
        (_, rows), (_, columns) = layer_classes(net, layer)
        if "M" in row:
            out.M = as_int32(take_constant(reader, row["M"], t, [t.channels]))
        if "R" in row:
            out.R = as_int32(take_constant(reader, row["R"], t, [t.channels]))
        if "table" in row:
            out.B = as_int32(take_constant(reader, row["table"], t, (len(rows), len(columns), t.channels)))
            return
        base = take_constant(reader, row["B"], t, [t.channels])
        if t.format == "f32":
            out.B = base.reshape(1, 1, -1)
        else:
            assert out.M is not None
            out.B = as_int32(base + border_constants(border_sums(net, layer), out.M))

    def finish(self) -> None:
        for reader in self.readers.values():
            reader.finish()
