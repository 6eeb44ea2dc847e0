"""A space: genes with their choices, when each exists, what follows from them, and the budgets that points keep.

A *point* gives every gene that exists a value, and no other gene any: two descriptions of the same thing are then
equal, and so are their keys. Genes stand in an order in which conditions read only genes before them.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sysmol.errors import SysmolError
from sysmol.files import content_key
from sysmol.search.spaces.expression import Expression

Value = int | float | str
Point = Mapping[str, Value]
"""Values of the genes that exist."""

MOST_COMBINATIONS = 4_000_000
"""Values of genes that depend on one another, counted one by one."""
MARGIN = 1e-9
"""Relative difference within which a budget counts as met exactly."""


@dataclass(frozen=True)
class Gene:
    """``choices`` in order; ``when``: the condition under which the gene exists."""

    name: str
    choices: tuple[Value, ...]
    meaning: str
    when: Expression | None = None


@dataclass(frozen=True)
class Budget:
    """``value`` of a point ``equals`` a number or is ``at_most`` that, in ``unit``."""

    name: str
    unit: str
    value: Expression
    limit: float
    exact: bool

    def met(self, values: Mapping[str, Any]) -> bool:
        """Whether a point with these values keeps it."""
        found, margin = self.value(values), MARGIN * abs(self.limit)
        return abs(found - self.limit) <= margin if self.exact else bool(found <= self.limit + margin)


class _Values(dict[str, Any]):
    """Values by name; those that are derived are calculated when they are asked for."""

    def __init__(self, derived: Mapping[str, Expression], known: Mapping[str, Any]) -> None:
        super().__init__(known)
        self._derived = derived

    def __missing__(self, name: str) -> Any:
        self[name] = self._derived[name](self)
        return self[name]


@dataclass(frozen=True)
class Space:
    """``fixed``: numbers and texts that all points share; ``derived``: what follows from a point, by name, in order."""

    name: str
    kind: str
    description: str
    genes: tuple[Gene, ...]
    budgets: tuple[Budget, ...] = ()
    fixed: Mapping[str, Value] = field(default_factory=dict)
    derived: Mapping[str, Expression] = field(default_factory=dict)
    _lists: dict[tuple[str, ...], list[Point]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def gene(self, name: str) -> Gene:
        """:class:`SysmolError` where there is none of that name."""
        for gene in self.genes:
            if gene.name == name:
                return gene
        raise SysmolError(f"the space {self.name} has no gene {name!r}")

    def canonical(self, values: Mapping[str, Value]) -> Point:
        """The point that these values describe: genes that do not exist left out. :class:`SysmolError` where a gene
        that exists has no value, or one that is none of its choices."""
        point: dict[str, Value] = {}
        for gene in self.genes:
            if not self.exists(gene, point):
                continue
            value = values.get(gene.name)
            if not any(value == choice and type(value) is type(choice) for choice in gene.choices):
                choices = ", ".join(map(str, gene.choices))
                raise SysmolError(f"{self.name}: {gene.name} is {value!r}, none of {choices}")
            assert value is not None
            point[gene.name] = value
        return point

    def exists(self, gene: Gene, point: Point) -> bool:
        """Whether a gene exists beside these values of those before it. What does not exist counts as 0."""
        return gene.when is None or bool(gene.when(self._all(point)))

    def _all(self, point: Point) -> dict[str, Any]:
        return _Values(self.derived, {gene.name: 0 for gene in self.genes} | dict(self.fixed) | dict(point))

    def values(self, point: Point) -> dict[str, Any]:
        """Genes (0 where they do not exist), fixed values and what follows from them."""
        values = self._all(point)
        return {**values, **{name: values[name] for name in self.derived}}

    def check(self, point: Point) -> None:
        """:class:`SysmolError` that names the budget that a point does not keep."""
        values = self.values(point)
        for budget in self.budgets:
            if not budget.met(values):
                relation = "" if budget.exact else "at most "
                raise SysmolError(
                    f"{self.name}: {budget.name} is {budget.value(values):g} {budget.unit}, {relation}"
                    f"{budget.limit:g} is due"
                )

    def keeps_budgets(self, point: Point) -> bool:
        """Whether all budgets are kept."""
        values = self.values(point)
        return all(budget.met(values) for budget in self.budgets)

    def key(self, point: Point) -> str:
        """A text that points share only if they are equal."""
        return content_key({"space": self.name, "point": dict(sorted(self.canonical(point).items()))})

    # --- vectors of numbers ---

    def encode(self, point: Point) -> list[int]:
        """Index of the choice of every gene, 0 where it does not exist."""
        return [gene.choices.index(point[gene.name]) if gene.name in point else 0 for gene in self.genes]

    def decode(self, indices: Iterable[int]) -> Point:
        """The point of indices as :meth:`encode` gives them."""
        values = {gene.name: gene.choices[int(index)] for gene, index in zip(self.genes, indices, strict=True)}
        return self.canonical(values)

    def features(self, point: Point) -> list[float]:
        """For predictors: place of every choice among its gene's, 0 to 1, and -1 where the gene does not exist."""
        return [
            gene.choices.index(point[gene.name]) / max(len(gene.choices) - 1, 1) if gene.name in point else -1.0
            for gene in self.genes
        ]

    # --- all points ---

    def random(self, rng: random.Random) -> Point:
        """A point that keeps the budgets: genes that share a budget are drawn together, all their points alike, every
        other gene by itself, all its choices alike."""
        point: dict[str, Value] = {}
        for group in self.groups():
            if any(self._checks(group)):
                point |= rng.choice(self._listed(group))
                continue
            for gene in group:
                if self.exists(gene, point):
                    point[gene.name] = rng.choice(gene.choices)
        return self.canonical(point)

    def _listed(self, group: Sequence[Gene]) -> list[Point]:
        names = tuple(gene.name for gene in group)
        if names not in self._lists:
            self._lists[names] = list(self._points_of(group))
        if not self._lists[names]:
            raise SysmolError(f"the space {self.name} is empty: nothing keeps its budgets on {', '.join(names)}")
        return self._lists[names]

    def groups(self) -> list[list[Gene]]:
        """Genes that conditions and budgets tie to one another, each group in the order of the genes."""
        parent = {gene.name: gene.name for gene in self.genes}

        def root(name: str) -> str:
            while parent[name] != name:
                name = parent[name]
            return name

        def tie(names: Sequence[str]) -> None:
            for name in names[1:]:
                parent[root(name)] = root(names[0])

        for gene in self.genes:
            if gene.when is not None:
                tie([gene.name, *sorted(gene.when.names & parent.keys())])
        for budget in self.budgets:
            tie(self.genes_of(budget.value))
        groups: dict[str, list[Gene]] = {}
        for gene in self.genes:
            groups.setdefault(root(gene.name), []).append(gene)
        return list(groups.values())

    def genes_of(self, expression: Expression) -> list[str]:
        """Genes that an expression depends on, also through what is derived, in order."""
        names, waiting = set(), set(expression.names)
        while waiting:
            name = waiting.pop()
            names.add(name)
            if name in self.derived:
                waiting |= self.derived[name].names - names
        return [gene.name for gene in self.genes if gene.name in names]

    def _checks(self, group: Sequence[Gene]) -> list[list[Budget]]:
        """The budgets of a group's genes, by the index of the last gene that they depend on."""
        names = [gene.name for gene in group]
        checks: list[list[Budget]] = [[] for _ in group]
        for budget in self.budgets:
            places = [names.index(name) for name in self.genes_of(budget.value) if name in names]
            if places:
                checks[max(places)].append(budget)
        return checks

    @staticmethod
    def _combinations(group: Sequence[Gene]) -> int:
        return math.prod(len(gene.choices) for gene in group)

    def _points_of(self, group: Sequence[Gene]) -> Iterator[Point]:
        """Every combination of a group that keeps its budgets, once; each budget is looked at as soon as it can be."""
        checks = self._checks(group)

        def extend(index: int, point: dict[str, Value]) -> Iterator[Point]:
            if index == len(group):
                yield point
                return
            gene = group[index]
            exists = self.exists(gene, point)
            for more in [{gene.name: choice} for choice in gene.choices] if exists else [{}]:
                found = {**point, **more}
                values = self._all(found) if checks[index] else {}
                if all(budget.met(values) for budget in checks[index]):
                    yield from extend(index + 1, found)

        return extend(0, {})

    def size(self) -> int:
        """Number of points that keep the budgets, counted exactly: groups of genes multiply, within a group every
        combination is looked at. :class:`SysmolError` where a group has too many."""
        total = 1
        for group in self.groups():
            if all(gene.when is None for gene in group) and not self.budgets:
                total *= self._combinations(group)
                continue
            if self._combinations(group) > MOST_COMBINATIONS:
                names = ", ".join(gene.name for gene in group)
                raise SysmolError(f"the space {self.name}: more than {MOST_COMBINATIONS:,} combinations of {names}")
            total *= len(self._listed(group)) if any(self._checks(group)) else sum(1 for _ in self._points_of(group))
        return total

    def points(self) -> Iterator[Point]:
        """All points, for small spaces."""
        for parts in itertools.product(*(list(self._points_of(group)) for group in self.groups())):
            yield self.canonical({name: value for part in parts for name, value in part.items()})
