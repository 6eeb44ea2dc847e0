"""Spaces: conditions, canonical points, budgets, sizes, and files that are wrong."""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from sysmol.cli import run_command_line
from sysmol.errors import SysmolError
from sysmol.search.spaces import KNOWN, Space, load_space
from sysmol.search.spaces.expression import Expression
from sysmol.search.spaces.files import parse_space

SEED = int(os.environ.get("SYSMOL_TEST_SEED", "20261130"))

TOY: dict[str, Any] = {
    "format": "sysmol-space",
    "version": 1,
    "name": "toy",
    "kind": "network",
    "description": "a toy",
    "fixed": {"base": 2},
    "derived": {"area": "width * base"},
    "gene": [
        {"name": "depth", "choices": [1, 2], "meaning": "blocks"},
        {"name": "kernel", "choices": [3, 5, 7], "meaning": "of the second block", "when": "depth >= 2"},
        {"name": "width", "choices": [8, 16, 24], "meaning": "channels"},
        {"name": "rows", "choices": [1, 2, 4], "meaning": "rows"},
    ],
    "budget": [{"name": "cells", "unit": "cells", "value": "area * rows", "equals": 32.0}],
}


@pytest.fixture
def toy() -> Space:
    return parse_space(TOY, "toy")


def test_points_are_those_that_a_loop_finds(toy: Space):
    """(1, -) and (2, three kernels), times the pairs with 2 * width * rows = 32: (8, 2) and (16, 1)."""
    points = list(toy.points())
    assert len(points) == toy.size() == 4 * 2
    assert len({toy.key(point) for point in points}) == 8
    for point in points:
        assert ("kernel" in point) == (point["depth"] == 2)
        assert point["width"] * 2 * point["rows"] == 32
        assert toy.decode(toy.encode(point)) == point
        toy.check(point)


def test_what_does_not_exist_makes_no_difference(toy: Space):
    point = {"depth": 1, "width": 8, "rows": 2}
    assert toy.canonical({**point, "kernel": 5}) == point
    assert toy.key({**point, "kernel": 5}) == toy.key(point) != toy.key({**point, "depth": 2, "kernel": 5})
    assert toy.features(point) == [0.0, -1.0, 0.0, 0.5]


def test_a_budget_that_is_not_kept_is_named(toy: Space):
    with pytest.raises(SysmolError, match="toy: cells is 64 cells, 32 is due"):
        toy.check({"depth": 1, "width": 8, "rows": 4})


@pytest.mark.parametrize("values", [{"depth": 3}, {"depth": True}, {"depth": "1"}, {}])
def test_values_that_are_no_choices(toy: Space, values: dict[str, Any]):
    with pytest.raises(SysmolError, match=r"depth is .*, none of 1, 2"):
        toy.canonical({"width": 8, "rows": 2, **values})


@pytest.mark.parametrize("name", KNOWN)
def test_spaces_of_the_package(name: str):
    """Each says how large it is, and random points keep its budgets and come back from their indices."""
    print(f"seed {SEED}")
    space, rng = load_space(name), random.Random(SEED)
    assert space.name == name and space.size() > 50
    for _ in range(3):
        point = space.random(rng)
        space.check(point)
        assert space.decode(space.encode(point)) == point


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gene": []}, "gene must be a list with at least one entry"),
        ({"kind": "cloud"}, "kind must be 'network', 'core' or 'tile'"),
        ({"gene": [{"name": "a", "choices": [1, 1], "meaning": ""}], "budget": [], "derived": {}}, "choices of a"),
        ({"gene": [{"name": "a", "choices": [1, 2.5], "meaning": ""}], "budget": [], "derived": {}}, "of one type"),
        ({"budget": [{"name": "b", "unit": "", "value": "height", "equals": 1.0}]}, "reads height"),
        ({"budget": [{"name": "b", "unit": "", "value": "width"}]}, "either equals or at_most"),
        ({"derived": {"area": "later", "later": "1"}}, "area reads later"),
        ({"derived": {"width": "1"}, "budget": []}, "the name width is used twice"),
        ({"fixed": {"base": "x"}}, "area calculates with base, which is a text"),
        ({"derived": {"a": "'x' or 1", "b": "a", "area": "width * b"}}, "area calculates with b, which is a text"),
        ({"budget": [{"name": "b", "unit": "", "value": "width or 'x'", "equals": 1.0}]}, "the budget b is a text"),
    ],
)
def test_files_that_are_wrong(change: dict[str, Any], said: str):
    with pytest.raises(SysmolError, match=said):
        parse_space({**TOY, **change}, "toy.toml")


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')", "a.b", "a[0]", "lambda: 1", "2 ** 9999", "open('x')", "(", "a if b else c", "max()",
        "'x' * 9999999999", "9999999999 * max('x', 'y')", "'%9999999999d' % a",
    ],
)  # fmt: skip
def test_nothing_but_arithmetic_is_evaluated(text: str):
    with pytest.raises(SysmolError, match="is no expression"):
        Expression(text)


def test_expressions():
    assert Expression("a * 2 - 1 // b")({"a": 3, "b": 1}) == 5
    assert Expression("1 < a <= 3 and not b == 'x' or max(a, 9) == log2(512)")({"a": 3, "b": "y"})
    assert Expression("2 * (b == 'x') + 1")({"b": "x"}) == 3
    with pytest.raises(SysmolError, match="has no value: division by zero"):
        Expression("1 / a")({"a": 0})
    with pytest.raises(SysmolError, match="has no value: more than 256 bits"):
        Expression("a * a")({"a": 1 << 200})


def test_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run_command_line(["space", "show", "tile-4k", "resnet-digits"]) == 0
    said = capsys.readouterr().out
    assert "arrays * rows * columns" in said and "depth1 >= 2" in said
    assert f"{load_space('tile-4k').size() * load_space('resnet-digits').size():,} combinations" in said
    file = tmp_path / "bad.toml"
    file.write_text("format = 3")
    assert run_command_line(["space", "show", str(file)]) == 2
    assert "bad.toml" in capsys.readouterr().err
