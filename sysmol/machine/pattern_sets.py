"""Sets of patterns that hardware may support, by name or spelt out."""

from sysmol.errors import SysmolError
from sysmol.pattern import PATTERNS, Pattern, parse_pattern, pattern_id


def _ids(*patterns: Pattern) -> tuple[int, ...]:
    return tuple(sorted(pattern_id(*pattern) for pattern in patterns))


PATTERN_SETS: dict[str, tuple[int, ...]] = {
    "P1": _ids((8, 0, 0)),
    "P4": _ids((8, 0, 0), (0, 8, 0), (0, 0, 8), (2, 4, 2)),
    "P8": _ids((8, 0, 0), (0, 8, 0), (0, 0, 8), (4, 4, 0), (0, 4, 4), (4, 2, 2), (2, 4, 2), (2, 2, 4)),
    "P45": tuple(range(len(PATTERNS))),
}
"""Named sets of patterns that hardware may support. The published work found four patterns to be enough; which four
could not be read, so the P4 and P8 that stand here are this project's starting points, the three uniform patterns and
mixtures around the middle, until training chooses them. P1 is the uniform 4-bit machine."""


def pattern_set(text: str) -> tuple[int, ...]:
    """Ids of a named set (``"P4"``) or of a list of ids or patterns (``"0,12,44"``, ``"(8,0,0) (2,4,2)"``), ascending.

    Raises :class:`SysmolError` where the text is neither.
    """
    if text.strip().upper() in PATTERN_SETS:
        return PATTERN_SETS[text.strip().upper()]
    if "(" in text:
        items = [f"({item}" for item in text.replace(")", " ").split("(") if item.strip(" ,;")]
        items = [item.strip(" ,;") for item in items]
    else:
        items = text.replace(",", " ").split()
    if not items:
        raise SysmolError(f"{text!r} names no pattern: give one of {', '.join(PATTERN_SETS)}, or ids like 0,12,44")
    try:
        return tuple(sorted({parse_pattern(item) for item in items}))
    except SysmolError as error:
        raise SysmolError(f"pattern set {text!r}: {error}; or give one of {', '.join(PATTERN_SETS)}") from None


def pattern_set_name(ids: tuple[int, ...]) -> str:
    """Name of a set where it has one, else its ids: the inverse of :func:`pattern_set`."""
    for name, members in PATTERN_SETS.items():
        if tuple(sorted(ids)) == members:
            return name
    return ",".join(str(i) for i in sorted(ids))
