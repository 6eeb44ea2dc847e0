"""Text of C functions, with a count of what they execute.

Every line that is written is searched for the operations of the vector headers (``v_dot``, ``v_load``, ...); each
counts with its target's cost, times the trip counts of the loops around it. The accounting therefore follows the loop
nest that was generated, not a formula beside it.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

CLASSES = ("smol", "vload", "vstore", "simd", "scalar", "branch")
"""Classes of the instruction mix: SMOL words, vector loads, vector stores, other vector operations (128 bits each),
scalar instructions (loads and stores among them), branches."""

_OPERATION = re.compile(r"\b[vm]_[a-z0-9_]+(?=\()")

Costs = Mapping[str, Mapping[str, int]]


class Emitter:
    """Collects lines of C and the mix of one region. ``costs`` maps an operation to counts by class."""

    def __init__(self, costs: Costs) -> None:
        self.costs = costs
        self.lines: list[str] = []
        self.mix: Counter[str] = Counter()
        self._depth = 0
        self._times = 1

    def line(self, text: str = "", scalar: int = 0) -> None:
        """Append one line; ``scalar`` counts instructions that the text does not name (address arithmetic)."""
        self.lines.append("    " * self._depth + text if text else "")
        self.count("scalar", scalar)
        for operation in _OPERATION.findall(text):
            for kind, number in self.costs[operation].items():
                self.count(kind, number)

    def comment(self, text: str) -> None:
        """Append a comment line, whose text cannot end it."""
        inside = text.replace("*/", "* /").replace("/*", "/ *")
        self.lines.append("    " * self._depth + f"/* {inside} */")

    def count(self, kind: str, number: int = 1) -> None:
        """Count ``number`` instructions of a class at this place of the loop nest."""
        if number:
            self.mix[kind] += number * self._times

    @contextmanager
    def block(self, head: str = "") -> Iterator[None]:
        """``head { ... }`` executed once."""
        self.line(f"{head} {{" if head else "{")
        self._depth += 1
        yield
        self._depth -= 1
        self.line("}")

    @contextmanager
    def loop(self, variable: str, times: int) -> Iterator[None]:
        """``for (int variable = 0; variable < times; variable++) { ... }``; a constant where it runs once."""
        if times == 1:
            with self.block():
                self.line(f"const int {variable} = 0;")
                self.line(f"(void){variable};")
                yield
            return
        outer = self._times
        self._times *= times
        with self.block(f"for (int {variable} = 0; {variable} < {times}; {variable}++)"):
            self.count("scalar")
            self.count("branch")
            yield
        self._times = outer

    def text(self) -> str:
        """Everything so far."""
        return "\n".join(self.lines) + "\n"
