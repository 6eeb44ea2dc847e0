"""Version 2 of the network file, which is only read: five byte arrays, every number in the smallest form that gives
the network back.

The JSON description, deflated; pattern ids; slots; the constants M, B and R; and the weights.
"""

from typing import Any

import numpy as np

from sysmol.network.file.arrays import Reader, as_int32, take_constant
from sysmol.network.file.container import PARTS, Arrays, Description
from sysmol.network.geometry import layer_classes
from sysmol.network.model import Array, Layer, Network, need
from sysmol.network.operations import weighted
from sysmol.network.sums import border_constants, border_sums
from sysmol.packing import restore_fillers, stored_bytes


class Version2:
    def __init__(self, description: Description, arrays: Arrays) -> None:
        self.readers = {name: Reader(title, arrays[name]) for name, title in PARTS.items() if name in arrays}
        self.layouts = []
        for row in description["layouts"]:
            patterns = self.readers["patterns"].take([int(row["vectors"])], "u1")
            slots = self.slots(row)
            self.layouts.append({"patterns": tuple(map(int, patterns)), "slots": slots.astype(np.int64)})

    def slots(self, row: Description) -> Array:
        """Slots of a layout's channels."""
        return self.readers["slots"].take([int(row["channels"])], row["slots"])

    def network(self, net: Network) -> None:
        pass

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
            need(out.M is not None, f"layer {layer.name}, output {out.tensor} has no M")
            assert out.M is not None
            out.B = as_int32(base + border_constants(border_sums(net, layer), out.M, out.multiply, out.pre))

    def finish(self) -> None:
        for reader in self.readers.values():
            reader.finish()
