"""Circuits as lists of gates, evaluated bit-parallel in NumPy: 64 vectors per machine word, no tool needed.

A node is an integer; node 0 is the constant 0 and node 1 the constant 1. Gates with constant inputs are folded.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sysmol.errors import SysmolError
from sysmol.rtl.compress import Tree

Planes = npt.NDArray[np.uint64]
"""Bits of many vectors, uint64 ``[bits, words]``: bit ``v % 64`` of word ``v // 64`` is vector ``v``'s."""

ZERO, ONE = 0, 1


class Circuit:
    """Gates in topological order, named input and output buses (lowest bit first)."""

    def __init__(self) -> None:
        self.gates: list[tuple[str, tuple[int, ...]]] = [("const", ()), ("const", ())]
        self.inputs: dict[str, list[int]] = {}
        self.outputs: dict[str, list[int]] = {}

    def _gate(self, kind: str, *operands: int) -> int:
        self.gates.append((kind, operands))
        return len(self.gates) - 1

    def input(self, name: str, width: int) -> list[int]:
        """New input bus."""
        self.inputs[name] = [self._gate("input") for _ in range(width)]
        return self.inputs[name]

    def inv(self, a: int) -> int:
        """NOT a."""
        return 1 - a if a < 2 else self._gate("not", a)

    def and_(self, a: int, b: int) -> int:
        """a AND b."""
        if ZERO in (a, b):
            return ZERO
        return b if a == ONE else a if b == ONE else self._gate("and", a, b)

    def or_(self, a: int, b: int) -> int:
        """a OR b."""
        if ONE in (a, b):
            return ONE
        return b if a == ZERO else a if b == ZERO else self._gate("or", a, b)

    def xor(self, a: int, b: int) -> int:
        """a XOR b."""
        if a < 2 or b < 2:
            constant, other = (a, b) if a < 2 else (b, a)
            return self.inv(other) if constant else other
        return self._gate("xor", a, b)

    def maj(self, a: int, b: int, c: int) -> int:
        """Majority of three."""
        if min(a, b, c) < 2:
            constant, *others = sorted((a, b, c))
            return self.or_(*others) if constant else self.and_(*others)
        return self._gate("maj", a, b, c)

    def any(self, bits: Iterable[int]) -> int:
        """OR of bits."""
        result = ZERO
        for bit in bits:
            result = self.or_(result, bit)
        return result

    def all(self, bits: Iterable[int]) -> int:
        """AND of bits."""
        result = ONE
        for bit in bits:
            result = self.and_(result, bit)
        return result

    def select(self, *choices: tuple[int, Sequence[int]]) -> list[int]:
        """AND-OR of equally wide buses, each with the bit that selects it."""
        width = len(choices[0][1])
        return [self.any(self.and_(chosen, bus[i]) for chosen, bus in choices) for i in range(width)]

    def add(self, a: Sequence[int], b: Sequence[int], carry: int = ZERO) -> list[int]:
        """Sum modulo 2^len(a)."""
        total = []
        for x, y in zip(a, b, strict=True):
            half = self.xor(x, y)
            total.append(self.xor(half, carry))
            carry = self.maj(x, y, carry)
        return total

    def tree(self, tree: Tree, named: Mapping[str, int]) -> list[int]:
        """Sum of a compressor tree whose leaves are ``named``, modulo 2^width."""
        bits = dict(named)
        for adder in tree.adders:
            a, b, c = (bits[name] for name in adder.inputs)
            bits[adder.sum] = self.xor(self.xor(a, b), c)
            if adder.carry:
                bits[adder.carry] = self.maj(a, b, c)
        rows = [[bits[row[i]] if i < len(row) else ZERO for row in tree.rows] for i in range(2)]
        return self.add(rows[0], rows[1])

    def decode(self, bus: Sequence[int], values: Iterable[int]) -> int:
        """Whether the number on ``bus`` is one of ``values``."""
        return self.any(
            self.all(bit if value >> i & 1 else self.inv(bit) for i, bit in enumerate(bus)) for value in values
        )

    def used_gates(self) -> list[int]:
        """Gates that an output depends on."""
        used: set[int] = set()
        rest = [node for bus in self.outputs.values() for node in bus]
        while rest:
            node = rest.pop()
            if node not in used:
                used.add(node)
                rest += self.gates[node][1]
        return sorted(node for node in used if self.gates[node][0] not in ("const", "input"))

    def evaluate(self, inputs: Mapping[str, Planes], fault: int | None = None) -> dict[str, Planes]:
        """Output buses for input planes; ``fault`` inverts the gate with that number (fault injection)."""
        words = next(iter(inputs.values())).shape[1]
        full = np.full(words, np.iinfo(np.uint64).max, dtype=np.uint64)
        values: list[Planes] = [np.zeros(words, dtype=np.uint64), full]
        given = {node: inputs[name][i] for name, bus in self.inputs.items() for i, node in enumerate(bus)}
        for node, (kind, operands) in enumerate(self.gates[2:], start=2):
            x = [values[operand] for operand in operands]
            if kind == "input":
                value = given[node]
            elif kind == "not":
                value = ~x[0]
            elif kind == "and":
                value = x[0] & x[1]
            elif kind == "or":
                value = x[0] | x[1]
            elif kind == "xor":
                value = x[0] ^ x[1]
            else:
                value = (x[0] & x[1]) | (x[2] & (x[0] | x[1]))
            values.append(~value if node == fault else value)
        return {name: np.stack([values[node] for node in bus]) for name, bus in self.outputs.items()}


def to_planes(numbers: npt.ArrayLike, width: int) -> Planes:
    """Bit planes of byte vectors uint8 ``[vectors, bytes]`` or of integers ``[vectors]``, ``width`` bits of each.

    Vectors are filled up to a multiple of 64 with zeros.
    """
    array = np.asarray(numbers)
    if array.ndim == 1:
        array = array.astype("<u8")[:, None].view(np.uint8)
    array = array.astype(np.uint8, copy=False)
    if array.shape[1] * 8 < width:
        raise SysmolError(f"{array.shape[1]} bytes hold no {width} bits")
    padding = -len(array) % 64
    array = np.concatenate([array, np.zeros((padding, array.shape[1]), np.uint8)]) if padding else array
    planes = np.empty((width, len(array) // 64), dtype=np.uint64)
    columns = np.ascontiguousarray(array.T)
    for bit in range(width):
        packed = np.packbits(columns[bit // 8] >> np.uint8(bit % 8) & np.uint8(1), bitorder="little")
        planes[bit] = packed.view("<u8")
    return planes


def from_planes(planes: Planes, vectors: int) -> npt.NDArray[np.uint8]:
    """Byte vectors uint8 ``[vectors, ceil(bits / 8)]``; the inverse of :func:`to_planes`."""
    result = np.zeros((vectors, -(-len(planes) // 8)), dtype=np.uint8)
    for bit, plane in enumerate(planes):
        bits = np.unpackbits(plane.astype("<u8").view(np.uint8), bitorder="little")[:vectors]
        result[:, bit // 8] |= bits << np.uint8(bit % 8)
    return result
