"""What an ISA says of a word that traps, and the program that asks it."""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Traps:
    """A bare-metal program (``frame``, with a ``case`` per word) and what its records must hold.

    ``stream``: a program that runs words in a row; ``look``, of ``look_bytes``: what stores all vector registers in
    it; ``bases``: scalar registers that hold the address of the middle of its memory.

    ``on``, ``off``: states of the vector unit in which words run, or trap; ``runs``: the state that a word leaves that
    ran; ``tried``: the one in which illegal words are tried. ``illegal_cause``, ``off_cause``: the trap's cause.
    ``illegal_value``, ``off_value``: its value, ``None`` where that is the word itself.
    """

    frame: str
    case: str
    stream: str
    look: str
    look_bytes: int
    bases: tuple[int, ...]
    on: tuple[int, ...]
    off: tuple[int, ...]
    runs: int
    tried: int
    illegal_cause: int
    off_cause: int
    illegal_value: int | None
    off_value: int | None


def draw(rng: random.Random, states: tuple[int, ...]) -> int:
    """One of some states; the only one without a draw."""
    return states[0] if len(states) == 1 else rng.choice(states)
