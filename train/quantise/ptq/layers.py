"""Layer after layer rounded: each reads what the rounded layers in front of it give, and should give what it gave in
full precision.

Two runs of the same images go through the network side by side. Before a convolution reads an activation for the first
time, the activation's grid is fitted to its values; then the weights are rounded
(:mod:`sysmol.train.quantise.ptq.rounding`), and the bias takes back by how much their sums are off on average.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import nn

from sysmol.errors import SysmolError
from sysmol.train.frontend.graph import Unit, Value
from sysmol.train.quantise.calibration import batches, channels_by_bits, fit_bytes, fit_codes, fit_weight
from sysmol.train.quantise.modes import FLOAT, FROZEN
from sysmol.train.quantise.modules import Convolution, activate
from sysmol.train.quantise.prepared import Prepared
from sysmol.train.quantise.ptq.moments import Gathered
from sysmol.train.quantise.ptq.rounding import WeightGrid, reconstruct
from sysmol.train.quantise.quantiser import Levels, sample

MOST_VALUES = 200_000
"""Values of an activation that its grid is fitted to."""


@dataclass
class Run:
    """Results of all images so far, a dictionary per batch, in one mode."""

    mode: str
    parts: list[dict[str, torch.Tensor]] = field(default_factory=list)


@torch.no_grad()
def reconstruct_layers(prepared: Prepared, images: torch.Tensor, said: Callable[[str], None] = lambda _: None) -> None:
    """Round the weights of a frozen network whose weights are those of full precision, for real ``images [n, C, H,
    W]``; ``said`` is told the name of every layer before it begins.

    Raises :class:`SysmolError` where a layer gives no finite numbers.
    """
    if prepared.mode != FROZEN:
        raise SysmolError("freeze the prepared module before its layers are rounded")
    _Layers(prepared.eval(), images, said).round()


class _Layers:
    def __init__(self, prepared: Prepared, images: torch.Tensor, said: Callable[[str], None]) -> None:
        self.prepared, self.said = prepared, said
        self.units = prepared.graph.units
        parts = batches(prepared, len(images), share=8)
        source = next(iter(self.units))
        constants = {name: data[None] for name, data in prepared.constants.items()}
        self.exact = Run(FLOAT, [{source: images[part]} | constants for part in parts])
        self.rounded = Run(FROZEN, [dict(part) for part in self.exact.parts])
        self.fitted: set[tuple[str, str, str]] = set()
        self.last = self._last_readers()

    def _last_readers(self) -> dict[str, str]:
        """The last unit that reads every unit's result."""
        last = {self.prepared.graph.output.unit: ""}
        for unit in self.units.values():
            for value in unit.reads if unit.operation.requantises else ():
                last[self.prepared.graph.root(value).unit] = unit.name
        return last

    def round(self) -> None:
        for unit in self.units.values():
            if unit.input is None or not unit.operation.requantises:
                continue
            if unit.has_weights:
                self.said(unit.path or unit.name)
                self._activation(unit, unit.input)
                weights = self._weights(unit)
                self._advance(self.exact, unit)
                module = self.prepared.convolution(unit.name)
                module.weight.copy_(weights[0])
                module.log_scale.copy_(weights[1].log())
                shift_sums(module, weights[2])
            else:
                self._advance(self.exact, unit)
            self._advance(self.rounded, unit)
            self._forget(unit)

    def _advance(self, run: Run, unit: Unit) -> None:
        """Add a unit's results to a run."""
        self.prepared.mode = run.mode
        for part in run.parts:
            part[unit.name] = self.prepared.run_unit(unit, part, {})
            if not bool(part[unit.name].isfinite().all()):
                raise SysmolError(f"layer {unit.path or unit.name} gives NaN or infinite numbers on the images")
        self.prepared.mode = FROZEN

    def _forget(self, unit: Unit) -> None:
        for run in (self.exact, self.rounded):
            for part in run.parts:
                for name in [n for n in part if self.last.get(n, unit.name) == unit.name]:
                    del part[name]

    # --- activations -------------------------------------------------------------------------------------------------

    def _activation(self, unit: Unit, value: Value) -> None:
        """Fit the grid of what a convolution reads, once."""
        key = self.prepared.key(value, self.prepared.input_format(unit))
        module = self.prepared.activation(key)
        if key in self.fitted or not module.log_scale.requires_grad:
            return
        self.fitted.add(key)
        parts = [part[key[0]] for part in self.rounded.parts]
        if key[2] == "s8":
            fit_bytes(self.prepared, key, torch.cat([sample(activate(x, key[1]), MOST_VALUES) for x in parts]))
            return
        values = {}
        for bits, channels in channels_by_bits(self.prepared, key, frozen=True).items():
            own = [self.prepared.code_input(x[:, channels], key[1]) for x in parts]
            values[bits] = torch.cat([sample(x, MOST_VALUES // len(parts)) for x in own])
        fit_codes(self.prepared, key, True, values)

    # --- weights -----------------------------------------------------------------------------------------------------

    def _weights(self, unit: Unit) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rounded weights, their scale ``[K]``, and by how much their sums are too small on average, ``[K]``."""
        module = self.prepared.convolution(unit.name)
        gathered = Gathered(unit)
        for x, y in self._sums(unit, module):
            gathered.add(x, y)
        moments = gathered.moments()
        shape = (unit.groups, len(module.weight) // unit.groups, -1)
        weight = module.kept().double().reshape(shape)
        fit_weight(self.prepared, unit)
        scale = module.log_scale.exp().double().reshape(shape[:2])
        grid = self._grid(unit, module)
        found, scale, _ = reconstruct(weight, scale, grid, moments)
        missing = moments.mean_y - (found @ moments.mean_x[..., None])[..., 0]
        return found.float().reshape(module.weight.shape), scale.float().flatten(), missing.float().flatten()

    def _sums(self, unit: Unit, module: Convolution) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """A convolution's rounded input and its sums in full precision, batch after batch."""
        assert unit.input is not None
        form = self.prepared.input_format(unit)
        for exact, rounded in zip(self.exact.parts, self.rounded.parts, strict=True):
            self.prepared.mode = FLOAT
            real = self.prepared.read(unit.input, "f32", exact, {})
            y = self.prepared.convolve(unit, real, module.kept(), None)
            self.prepared.mode = FROZEN
            yield self.prepared.read(unit.input, form, rounded, {}), y

    def _grid(self, unit: Unit, module: Convolution) -> WeightGrid:
        scale, levels = self.prepared.weight_grid(unit)
        column = scale / module.log_scale.exp().view(-1, 1, 1, 1)

        def like_weights(x: torch.Tensor) -> torch.Tensor:
            return x.expand(module.weight.shape).double().reshape(unit.groups, len(module.weight) // unit.groups, -1)

        kept = None if module.mask is None else like_weights(module.mask.double())
        return WeightGrid(like_weights(column), Levels(*map(like_weights, vars(levels).values())), kept)


def shift_sums(module: Convolution, missing: torch.Tensor) -> None:
    """Add to the sums of a convolution, in front of its batch normalisation."""
    if module.bias is None:
        module.bias = nn.Parameter(missing.clone())
    else:
        module.bias.add_(missing)
