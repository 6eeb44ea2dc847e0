"""Settings files: TOML or JSON, checked by pydantic; what is wrong becomes one line that names file and field."""

import json
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sysmol.errors import SysmolError
from sysmol.files import read_text


class Table(BaseModel):
    """A table of a settings file: known fields only, and no value is taken for one of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Checked = TypeVar("Checked", bound=Table)


def one_of(known: Iterable[str]) -> AfterValidator:
    """A text of these."""
    names = tuple(known)

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"{value!r} is none of {', '.join(names)}")
        return value

    return AfterValidator(check)


def as_tuple(value: Any) -> Any:
    """A list, or a single value, as a tuple."""
    return tuple(value) if isinstance(value, list) else (value,)


SEVERAL = (BeforeValidator(as_tuple), Field(min_length=1))
"""One value, or a list of at least one."""
Texts = Annotated[tuple[str, ...], *SEVERAL]
Counts = Annotated[tuple[Annotated[int, Field(ge=1)], ...], *SEVERAL]


def read(path: str | Path, page: str) -> dict[str, Any]:
    """The fields of a file; :class:`SysmolError` where it cannot be read. ``page`` has the fields."""
    file = Path(path)
    kind = "JSON" if file.suffix == ".json" else "TOML"
    try:
        text = read_text(file)
        data = json.loads(text) if kind == "JSON" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SysmolError(f"{path} is no {kind}: {ascii(str(error)[:200])[1:-1]}") from None
    if not isinstance(data, dict):
        raise SysmolError(f"{path}: a spec is a table of fields, see {page}")
    return data


def checked(model: type[Checked], data: Any, where: str) -> Checked:
    """The fields as a table; :class:`SysmolError` of the first that is wrong."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise SysmolError(f"{where}: {_line(model, error.errors(include_url=False)[0])}") from None


def _line(model: type[Table], error: Any) -> str:
    """The field, what is wrong with it, and what may stand there."""
    field = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        inner, *_ = error["loc"][:-1] or [None]
        known = ", ".join(_table_at(model, inner).model_fields)
        return f"unknown field '{field}': choose from {known}"
    if error["type"] == "missing":
        return f"{field} is missing"
    if error["type"] == "too_short":
        return f"{field} must be a list with at least one entry"
    text = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{field} {text}, not {_short(error['input'])}" if text.startswith("must") else f"{field}: {text}"


def _table_at(model: type[Table], name: Any) -> type[Table]:
    kind = model.model_fields[name].annotation if name in model.model_fields else None
    return kind if isinstance(kind, type) and issubclass(kind, Table) else model


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def each(check: Callable[[str], object], values: Iterable[str], where: str) -> None:
    """Apply a check that raises :class:`SysmolError`, which then names the field."""
    for value in values:
        try:
            check(value)
        except SysmolError as error:
            raise SysmolError(f"{where}: {error}") from None
