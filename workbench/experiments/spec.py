"""What experiments cover: a TOML file.

==================  ===================================================================================================
field               meaning
==================  ===================================================================================================
``dataset``         digits, mnist, cifar10, or ``FILE.npz`` relative to the spec's folder
``model``           a built-in network, or ``FILE.py:CALLABLE`` relative to the spec's folder
``seeds``           of first weights and all randomness, a list
``variants``        names (:func:`sysmol.train.recipes.variants.variant`) in the order in which they are made
``weights``         optional: a file of trained weights to start from, relative to the spec's folder; environment
                    variables in its name are replaced (:func:`sysmol.train.frontend.checkpoint.start_from`)
``amp``             optional: whether products are computed in bfloat16 (default: on a GPU only)
``mean``, ``std``   optional: pixels stand for (x / 255 - mean) / std, one number each or a list, one per channel
``edges``           optional: bits of the first and the last layer, 8 (default), 4, 2, 1 or "same" as the others
``[layers]``        optional: bits of single layers by name
``[schedule]``      ``calibration``, ``statistics``, ``samples`` of :class:`sysmol.train.recipes.pipeline.Schedule`
``[phase]``         settings of :class:`sysmol.train.quantise.trainer.Phase` for all phases
``[phases.NAME]``   settings of one phase: fp32, int8, uniform (w4, w2, w1), noise or tune
==================  ===================================================================================================
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, create_model

from sysmol.errors import SysmolError
from sysmol.network import Normalisation
from sysmol.train.frontend.data import unit_normalisation
from sysmol.train.frontend.models import check_model
from sysmol.train.frontend.policy import LayerBits
from sysmol.train.frontend.user_files import label, located
from sysmol.train.quantise.trainer import Phase
from sysmol.train.recipes.pipeline import Schedule
from sysmol.train.recipes.variants import Variant, variant
from sysmol.workbench.spec_file import SEVERAL, Table, Texts, checked, read

PHASES = {"fp32": "float", "int8": "int8", "uniform": "uniform", "noise": "noise", "tune": "tune"}
"""Names of phases in a spec, and in :class:`sysmol.train.recipes.pipeline.Schedule`."""
_PHASE_NAMES = {"float": "fp32", "int8": "int8", "uniform": "w4", "noise": "mixed-noise", "tune": "mixed-tune"}


def _table_of(name: str, kind: type, chosen: Callable[[Any], bool]) -> type[Table]:
    """A table of a dataclass's fields, all optional and none negative; a batch has at least one image."""
    numbers: dict[str, Any] = {}
    for field in fields(kind):
        if not chosen(field):
            continue
        least = 1 if field.name == "batch" else 0
        kinds = {int: int, float: float, bool: bool}
        plain = int if field.name == "epochs" else kinds[type(field.default)]
        numbers[field.name] = (plain if plain is bool else Annotated[plain, Field(ge=least)], None)
    return create_model(name, __base__=Table, **numbers)


PhaseTable = _table_of("PhaseTable", Phase, lambda field: field.name != "name")
CountsTable = _table_of("CountsTable", Schedule, lambda field: isinstance(field.default, int))
PhasesTable = create_model("PhasesTable", __base__=Table, **{name: (PhaseTable, PhaseTable()) for name in PHASES})  # type: ignore[call-overload]


Numbers = Annotated[tuple[float, ...], *SEVERAL]


class SpecFile(Table):
    """The fields as they stand in the file."""

    dataset: str
    model: str
    seeds: Annotated[tuple[int, ...], *SEVERAL]
    variants: Texts
    weights: str | None = None
    amp: bool | None = None
    mean: Numbers | None = None
    std: Numbers | None = None
    edges: int | str = 8
    layers: dict[str, int | str] = Field(default_factory=dict)
    schedule: CountsTable = CountsTable()  # type: ignore[valid-type]
    phase: PhaseTable = PhaseTable()  # type: ignore[valid-type]
    phases: PhasesTable = PhasesTable()  # type: ignore[valid-type]


@dataclass(frozen=True)
class Spec:
    """A checked spec; fields as in the file, paths from where the program stands."""

    path: Path
    dataset: str
    model: str
    seeds: tuple[int, ...]
    variants: tuple[Variant, ...]
    schedule: Schedule
    weights: Path | None = None

    @property
    def network(self) -> str:
        """The model's name in rows and folders."""
        return label(self.model)

    @property
    def data_name(self) -> str:
        """The data set's name in rows and folders."""
        return label(self.dataset)


def load_spec(path: str | Path) -> Spec:
    """Read and check a spec; :class:`SysmolError` names what is wrong."""
    file = Path(path)
    found = checked(SpecFile, read(path, "docs/training.md"), str(path))
    try:
        check_model(found.model)
        variants = tuple(variant(name) for name in dict.fromkeys(found.variants))
        layer_bits, normalisation = LayerBits(found.edges, tuple(found.layers.items())), _normalisation(found)
    except SysmolError as error:
        raise SysmolError(f"{path}: {error}") from None
    dataset, model = (located(name, file.parent) for name in (found.dataset, found.model))
    schedule = replace(_schedule(found, path), layer_bits=layer_bits, normalisation=normalisation, amp=found.amp)
    weights = None if found.weights is None else file.parent / os.path.expandvars(found.weights)
    return Spec(file, dataset, model, found.seeds, variants, schedule, weights)


def _normalisation(found: SpecFile) -> Normalisation | None:
    if found.mean is None and found.std is None:
        return None
    if found.mean is None or found.std is None:
        raise SysmolError("mean and std belong together")
    return unit_normalisation(found.mean, found.std, "mean and std")


def _schedule(found: SpecFile, path: str | Path) -> Schedule:
    made: dict[str, Any] = {}
    for name, field in PHASES.items():
        settings = _given(found.phase) | _given(getattr(found.phases, name))
        if "epochs" not in settings:
            raise SysmolError(f"{path}: phases.{name}.epochs are missing")
        made[field] = Phase(_PHASE_NAMES[field], **settings)
    return Schedule(**made, **_given(found.schedule))


def _given(table: Any) -> dict[str, Any]:
    """The fields that stand in the file."""
    return dict(table.model_dump(exclude_unset=True))
