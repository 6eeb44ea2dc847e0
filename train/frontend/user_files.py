"""A user's own network and data, where a name may stand for a built-in one: ``FILE.py:CALLABLE`` and ``FILE.npz``.

The callable is called with the numbers of image channels and of classes and returns an ``nn.Module`` (a class will do);
its file is imported, so it may do what the user may, and finds modules beside it.
:func:`sysmol.train.frontend.data.load_npz` has the arrays of a data file.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from typing import Any

from torch import nn

from sysmol.errors import SysmolError
from sysmol.files import content_key, sha256_file


def is_module(name: str) -> bool:
    """Whether a name is of a network in a user's file."""
    return ".py:" in name


def is_data(name: str) -> bool:
    """Whether a name is of a user's data."""
    return name.endswith(".npz")


def is_own(name: str) -> bool:
    """Whether a name is of a user's file."""
    return is_module(name) or is_data(name)


def located(name: str, folder: Path) -> str:
    """The name, a user's file in it relative to ``folder``."""
    return str(folder / name) if is_own(name) else name


def label(name: str) -> str:
    """A name for tables, folders and titles: a built-in one, ``file.callable``, ``file.npz``."""
    path, _, function = name.partition(".py:")
    return f"{Path(path).name}.{function}" if function else Path(path).name


def identity(name: str) -> str:
    """What a key of results holds of a name: itself, or the content of a user's file, wherever it lies."""
    if not is_own(name):
        return name
    path, function = _parts(name)
    return content_key([sha256_file(path), function])


def load_module(name: str, channels: int, classes: int) -> nn.Module:
    """The network that ``FILE.py:CALLABLE`` returns; :class:`SysmolError` says in a line what is wrong with it."""
    path, function = _parts(name)
    make = getattr(_imported(path), function, None)
    if not callable(make):
        raise SysmolError(f"{path} has no class or function '{function}'")
    try:
        module = make(channels, classes)
    except Exception as error:
        raise SysmolError(f"{name}, called with {channels} and {classes}, fails: {_brief(error, path)}") from error
    if not isinstance(module, nn.Module):
        raise SysmolError(f"{name} returns a {type(module).__name__}, no torch.nn.Module")
    return module


def _parts(name: str) -> tuple[Path, str]:
    """Path and callable (empty for data)."""
    stem, found, function = name.partition(".py:")
    return Path(stem + (".py" if found else "")), function


def _imported(path: Path) -> Any:
    if not path.is_file():
        raise SysmolError(f"there is no file {path}")
    name = f"own_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # behind everything, so that no file there hides a module of ours
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SysmolError(f"{path} cannot be imported: {_brief(error, path)}") from error
    return module


def _brief(error: Exception, path: Path) -> str:
    """Kind, message and the last line of the user's file that an error came through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    return f"{type(error).__name__}: {error}" + (f" (line {lines[-1]})" if lines else "")
