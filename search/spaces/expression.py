"""Expressions of a space's file: arithmetic, comparisons and logic over named numbers; nothing else is evaluated."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from typing import Any

from sysmol.errors import SysmolError

LONGEST = 500
"""Characters of an expression."""
MOST_BITS = 256
"""Of a whole number that an expression gives."""

BINARY = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod)
COMPARE = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)
FUNCTIONS: Mapping[str, Callable[..., Any]] = {"min": min, "max": max, "log2": math.log2, "ceil": math.ceil}
_GLOBALS = {"__builtins__": {}, **FUNCTIONS}


class Expression:
    """A checked expression. ``names``: what it reads; ``calculated``: what its arithmetic reads; ``passed``: what its
    value may be, names and texts. :class:`SysmolError` where the text is none."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            if len(text) > LONGEST:
                raise ValueError(f"longer than {LONGEST} characters")
            tree = ast.parse(text, mode="eval")
            self.names = frozenset(_names(tree.body))
            self.passed = frozenset(_operands(tree.body))
            self.calculated = frozenset(_calculated(tree.body))
            self._code = compile(tree, "<expression>", "eval")  # of the nodes that _names allows, nothing else
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise SysmolError(f"{text[:80]!r} is no expression: {error}") from None

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """The value; :class:`SysmolError` where it has none (a division by zero, a comparison of text with numbers)."""
        try:
            found = eval(self._code, _GLOBALS, values)
            if isinstance(found, int) and found.bit_length() > MOST_BITS:
                raise OverflowError(f"more than {MOST_BITS} bits")
            return found
        except (ArithmeticError, TypeError, ValueError) as error:
            raise SysmolError(f"{self.text!r} has no value: {error}") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def _names(node: ast.expr) -> set[str]:
    """Names below a node; ValueError for what expressions do not have."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str):
        return set()
    if isinstance(node, ast.Name):
        return {node.id}
    return set().union(*(_names(part) for part in _parts(node)))


def _operands(node: ast.expr) -> set[str | ast.Constant]:
    """Names, and constants that are texts, whose value is not only compared."""
    if isinstance(node, ast.Constant):
        return {node} if isinstance(node.value, str) else set()
    if isinstance(node, ast.Name):
        return {node.id}
    if isinstance(node, ast.Compare):
        return set()
    return set().union(*(_operands(part) for part in _parts(node)))


def _calculated(node: ast.expr) -> set[str]:
    """Names below arithmetic; ValueError where a text stands there, since times a number it has any length."""
    arithmetic = [inner for inner in ast.walk(node) if isinstance(inner, ast.BinOp)]
    found = set().union(*map(_operands, arithmetic))
    texts = [each.value for each in found if isinstance(each, ast.Constant)]
    if texts:
        raise ValueError(f"{texts[0]!a:.40} is no number")
    return {each for each in found if isinstance(each, str)}


def _parts(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, BINARY):
        return [node.left, node.right]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        return [node.operand]
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.Compare) and all(isinstance(op, COMPARE) for op in node.ops):
        return [node.left, *node.comparators]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
        if node.keywords or not node.args:
            raise ValueError(f"{node.func.id} takes values")
        return node.args
    raise ValueError(f"{ast.unparse(node)[:40]!r} is not allowed")
