"""Version 1 of the network file, which is only read: a safetensors array per layer and constant."""

from typing import Any

import numpy as np

from sysmol.network.file.container import Arrays, Description
from sysmol.network.model import Array, Layer, Network


class Version1:
    def __init__(self, description: Description, arrays: Arrays) -> None:
        self.arrays = arrays

    def network(self, net: Network) -> None:
        pass

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
