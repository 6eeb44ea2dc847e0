"""Old places of functions say the new ones."""

import importlib

import pytest

from sysmol.analysis.moved import MOVED

PLACES = [(module, name, new) for module, names in MOVED.items() for name, new in names.items()]


@pytest.mark.parametrize(("module", "name", "new"), PLACES)
def test_an_old_place_says_the_new_one(module: str, name: str, new: str) -> None:
    old = importlib.import_module(module)
    with pytest.raises(ImportError, match=rf"{module}\.{name} is now in {new}"):
        getattr(old, name)
    with pytest.raises(AttributeError, match="no attribute 'nobody'"):
        old.nobody  # noqa: B018
    there = importlib.import_module(new.split(",")[0])
    renamed = {"page": "render", "table": "Table", "image": "Figure", "LayerCost": "VectorCost"}
    assert hasattr(there, renamed.get(name, name)), "no line leads nowhere"
