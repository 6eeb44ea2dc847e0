"""Spaces of networks, cores and tiles as data: choices, conditions, budgets."""

from sysmol.search.spaces.files import KNOWN, load_space
from sysmol.search.spaces.space import Budget, Gene, Point, Space

__all__ = ["KNOWN", "Budget", "Gene", "Point", "Space", "load_space"]
