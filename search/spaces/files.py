"""Files of spaces: TOML with the fields of docs/search.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StrictFloat, StrictInt, StrictStr

from sysmol.errors import SysmolError
from sysmol.search.spaces.expression import FUNCTIONS, Expression
from sysmol.search.spaces.space import Budget, Gene, Space
from sysmol.workbench.spec_file import Table, checked, read

PAGE = "docs/search.md"
FOLDER = Path(__file__).parent
KNOWN = tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))
"""Names of the spaces that come with the package."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
Scalar = StrictInt | StrictFloat | StrictStr
Texts = Annotated[list[Scalar], Field(min_length=1, max_length=64)]


class GeneTable(Table):
    """``[[gene]]``."""

    name: Name
    choices: Texts
    meaning: str
    when: str = ""


class BudgetTable(Table):
    """``[[budget]]``."""

    name: str
    unit: str
    value: str
    equals: float | None = None
    at_most: float | None = None


class SpaceTable(Table):
    """A whole file."""

    format: Literal["sysmol-space"]
    version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.+-]{0,60}$")]
    kind: Literal["network", "core", "tile"]
    description: str
    fixed: Annotated[dict[Name, Scalar], Field(default_factory=dict)]
    derived: Annotated[dict[Name, str], Field(default_factory=dict)]
    gene: Annotated[list[GeneTable], Field(min_length=1, max_length=200)]
    budget: Annotated[list[BudgetTable], Field(default_factory=list)]


def load_space(named: str | Path) -> Space:
    """The space of that name, or of a file; :class:`SysmolError` where it is wrong."""
    path = FOLDER / f"{named}.toml" if str(named) in KNOWN else Path(named)
    if not path.is_file():
        raise SysmolError(f"there is no space {str(named)!r}: name a TOML file, or one of {', '.join(KNOWN)}")
    return parse_space(read(path, PAGE), str(named))


def parse_space(data: dict[str, Any], where: str) -> Space:
    """The space of a file's fields."""
    table: SpaceTable = checked(SpaceTable, data, where)
    try:
        space = Space(
            table.name,
            table.kind,
            table.description,
            tuple(
                Gene(g.name, tuple(g.choices), g.meaning, Expression(g.when) if g.when else None) for g in table.gene
            ),
            tuple(_budget(each) for each in table.budget),
            dict(table.fixed),
            {name: Expression(text) for name, text in table.derived.items()},
        )
        _check_names(space)
    except SysmolError as error:
        raise SysmolError(f"{where}: {error}") from None
    return space


def _budget(table: BudgetTable) -> Budget:
    limits = [limit for limit in (table.equals, table.at_most) if limit is not None]
    if len(limits) != 1:
        raise SysmolError(f"the budget {table.name} has to be either equals or at_most a number")
    return Budget(table.name, table.unit, Expression(table.value), limits[0], table.equals is not None)


def _check_names(space: Space) -> None:
    """Names stand once, and expressions read what stands before them."""
    names = [*space.fixed, *(gene.name for gene in space.genes), *space.derived]
    twice = sorted({name for name in names if names.count(name) > 1} | (set(names) & FUNCTIONS.keys()))
    if twice:
        raise SysmolError(f"the name {twice[0]} is used twice")
    before = set(space.fixed)
    texts = {name for name, value in space.fixed.items() if isinstance(value, str)}
    texts |= {gene.name for gene in space.genes if isinstance(gene.choices[0], str)}
    for gene in space.genes:
        if len(set(gene.choices)) != len(gene.choices) or len({type(choice) for choice in gene.choices}) != 1:
            raise SysmolError(f"the choices of {gene.name} are not different values of one type")
        _check_reads(gene.when, before, texts, f"the condition of {gene.name}")
        before.add(gene.name)
    for name, expression in space.derived.items():
        _check_reads(expression, before, texts, name)
        before.add(name)
        if _is_text(expression, texts):
            texts.add(name)
    for budget in space.budgets:
        _check_reads(budget.value, before, texts, f"the budget {budget.name}")
        if _is_text(budget.value, texts):
            raise SysmolError(f"the budget {budget.name} is a text")


def _is_text(expression: Expression, texts: set[str]) -> bool:
    """Whether its value may be a text."""
    return any(each in texts or not isinstance(each, str) for each in expression.passed)


def _check_reads(expression: Expression | None, known: set[str], texts: set[str], what: str) -> None:
    if expression is None:
        return
    if unknown := sorted(expression.names - known):
        raise SysmolError(f"{what} reads {unknown[0]}, which does not stand before it")
    if calculated := sorted(expression.calculated & texts):
        raise SysmolError(f"{what} calculates with {calculated[0]}, which is a text")
