"""What the standard instructions do to a state: the functions that :mod:`sysmol.verify.operations` names."""

from collections.abc import Callable, Sequence

from sysmol.verify.state import WORD, State, signed

Meaning = Callable[[State, Sequence[int], int], None]


def lane_by_lane(function: Callable[[int, int, int, int], int]) -> Meaning:
    """vd[i] = function(vd[i], vn[i], vm[i], width), elements unsigned."""

    def run(state: State, args: Sequence[int], named: int) -> None:
        width = state.width(named)
        columns = zip(*(state.lanes(register, width) for register in args), strict=True)
        values = [function(d, n, m, width) for d, n, m in columns]
        state.put(args[0], width, values[: state.active(width)])

    return run


def shift(function: Callable[[int, int, int], int]) -> Meaning:
    def run(state: State, args: Sequence[int], named: int) -> None:
        width = state.width(named)
        values = [function(n, args[2], width) for n in state.lanes(args[1], width)]
        state.put(args[0], width, values[: state.active(width)])

    return run


def dup(state: State, args: Sequence[int], named: int) -> None:
    width = state.width(named)
    state.put(args[0], width, [state.scalars[args[1]]] * state.active(width))


def get(state: State, args: Sequence[int], named: int) -> None:
    width = state.width(named)
    state.scalars[args[0]] = signed(state.lanes(args[1], width)[0], width) & WORD


def insert(state: State, args: Sequence[int], named: int) -> None:
    width = state.width(named)
    state.put(args[0], width, [state.scalars[args[1]]])


def ext(state: State, args: Sequence[int], _width: int) -> None:
    pair = state.vectors[args[1]] + state.vectors[args[2]]
    state.vectors[args[0]] = pair[args[3] : args[3] + 16]


def zip1(state: State, args: Sequence[int], width: int) -> None:
    n, m = state.lanes(args[1], width), state.lanes(args[2], width)
    state.put(args[0], width, [x for pair in zip(n, m, strict=True) for x in pair][: len(n)])


def sdot(state: State, args: Sequence[int], _width: int) -> None:
    d = state.lanes(args[0], 32)
    n, m = ([signed(x, 8) for x in state.lanes(r, 8)] for r in args[1:3])
    state.put(args[0], 32, [d[i] + sum(n[4 * i + j] * m[4 * i + j] for j in range(4)) for i in range(4)])


def addv(state: State, args: Sequence[int], width: int) -> None:
    total = sum(state.lanes(args[1], width)) & ((1 << width) - 1)
    state.vectors[args[0]] = total.to_bytes(state.size, "little")


def add_scalar(state: State, args: Sequence[int], named: int) -> None:
    width = state.width(named)
    values = [n + state.scalars[args[2]] for n in state.lanes(args[1], width)]
    state.put(args[0], width, values[: state.active(width)])


def slide(state: State, args: Sequence[int], named: int) -> None:
    """Elements beyond the register read as zero."""
    width = state.width(named)
    moved = state.lanes(args[1], width)[args[2] :]
    state.put(args[0], width, (moved + [0] * args[2])[: state.active(width)])


def reduction(state: State, args: Sequence[int], named: int) -> None:
    width = state.width(named)
    values = state.lanes(args[1], width)[: state.active(width)]
    state.put(args[0], width, [state.lanes(args[2], width)[0] + sum(values)])


def merge(state: State, args: Sequence[int], named: int) -> None:
    """Bit i of v0 set: vm[i], else vn[i]."""
    width = state.width(named)
    mask = int.from_bytes(state.vectors[0], "little")
    n, m = state.lanes(args[1], width), state.lanes(args[2], width)
    state.put(args[0], width, [m[i] if mask >> i & 1 else n[i] for i in range(state.active(width))])


def scalar(function: Callable[[int, int], int]) -> Meaning:
    def run(state: State, args: Sequence[int], _width: int) -> None:
        state.scalars[args[0]] = function(state.scalars[args[1]], state.scalars[args[2]]) & WORD

    return run


def scalar_immediate(function: Callable[[int, int], int]) -> Meaning:
    def run(state: State, args: Sequence[int], _width: int) -> None:
        state.scalars[args[0]] = function(state.scalars[args[1]], args[2]) & WORD

    return run


def load(size: int, extend: bool, dynamic: int = 0) -> Meaning:
    def run(state: State, args: Sequence[int], _width: int) -> None:
        address = state.scalars[args[1]] & dynamic if dynamic else args[1]
        value = state.load(address, size)
        state.scalars[args[0]] = signed(value, 8 * size) & WORD if extend else value

    return run


def store(size: int, dynamic: int = 0) -> Meaning:
    def run(state: State, args: Sequence[int], _width: int) -> None:
        address = state.scalars[args[1]] & dynamic if dynamic else args[1]
        state.store(address, size, state.scalars[args[0]])

    return run


def load_vector(dynamic: int = 0) -> Meaning:
    def run(state: State, args: Sequence[int], _width: int) -> None:
        address = state.scalars[args[1]] & dynamic if dynamic else args[1]
        state.vectors[args[0]] = bytes(state.memory[address : address + state.size])

    return run


def store_vector(dynamic: int = 0) -> Meaning:
    def run(state: State, args: Sequence[int], _width: int) -> None:
        address = state.scalars[args[1]] & dynamic if dynamic else args[1]
        state.memory[address : address + state.size] = state.vectors[args[0]]

    return run


def load_low(state: State, args: Sequence[int], _width: int) -> None:
    """16 bytes; what lies above in a longer register becomes zero."""
    state.vectors[args[0]] = bytes(state.memory[args[1] : args[1] + 16]) + bytes(state.size - 16)


def store_low(state: State, args: Sequence[int], _width: int) -> None:
    state.memory[args[1] : args[1] + 16] = state.vectors[args[0]][:16]


def load_elements(state: State, args: Sequence[int], width: int) -> None:
    """RISC-V: vset to ``width`` and the full length, then a unit-stride load of that width."""
    set_type(state, (0,), width)
    step = width // 8
    state.put(args[0], width, [state.load(args[1] + step * i, step) for i in range(state.vl)])


def store_elements(state: State, args: Sequence[int], width: int) -> None:
    set_type(state, (0,), width)
    state.memory[args[1] : args[1] + state.size] = state.vectors[args[0]]


def set_type(state: State, args: Sequence[int], width: int) -> None:
    """``args[0]``: 0 for the full length, else that many elements less."""
    state.sew = width
    state.vl = state.size * 8 // width - args[0]
