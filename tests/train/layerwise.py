"""A network file's layers one by one against the rounded network that it was exported from.

Each layer reads the file's own integers, as the real numbers that they stand for, so that rounding in front of it does
not count: what it writes may differ by what rounding its constants explains, however noise grows from layer to layer.
"""

import copy
from collections.abc import Iterator
from typing import Self

import numpy as np
import torch

from sysmol.network import Layer, Network, reference
from sysmol.network.checks import validate
from sysmol.network.values import values_of
from sysmol.train.frontend.data import to_real
from sysmol.train.frontend.graph import Unit, Value
from sysmol.train.quantise.export import _Exporter
from sysmol.train.quantise.fixed_point import LEAST_BITS
from sysmol.train.quantise.modes import FLOAT
from sysmol.train.quantise.modules import Key, activate
from sysmol.train.quantise.prepared import Prepared
from sysmol.train.quantise.windows import WINDOWS

HALF = 0.5**LEAST_BITS
"""Relative error of a factor of so many bits."""


class Layerwise:
    """An exported network, not of floating point, beside the rounded one; ``images`` uint8 ``[n, H, W, C]``."""

    def __init__(self, prepared: Prepared, real: torch.Tensor, images: np.ndarray) -> None:
        self.exporter = _Exporter(prepared, "module", real)
        self.net: Network = self.exporter.build()
        validate(self.net)
        self.prepared = _rounded_in_double(prepared)
        self.graph = self.prepared.graph
        self.image = to_real(torch.from_numpy(images), prepared.normalisation).double()
        self.of_file(images)

    def of_file(self, images: np.ndarray) -> Self:
        """Take what the file, as it now is, computes of the images."""
        runs = [reference.run(self.net, image) for image in images]
        self.integers = {
            name: torch.from_numpy(np.stack([values_of(tensor, run[name]) for run in runs]))
            .permute(0, 3, 1, 2)
            .double()
            for name, tensor in self.net.tensors.items()
        }
        return self

    @torch.no_grad()
    def check(self) -> None:
        """Compare all layers; AssertionError names the first that is wrong."""
        for unit in self.graph.units.values():
            if not unit.operation.requantises:
                self._check_moved(unit)
            elif unit.input is not None and not self.exporter.folds(unit):
                self._check_layer(unit)

    # --- stored tensors as real numbers ------------------------------------------------------------------------------

    def _stored(self, value: Value, form: str) -> torch.Tensor:
        """What the file holds of a value, as real numbers ``[n, C, H, W]``."""
        if form == "image":
            return self.image
        x = self.integers[self.exporter.tensor_name(value, form)]
        step, offset = self._grid(self.prepared.key(value, form), x.shape[1])
        return x * step + offset

    def _grid(self, key: Key, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Real value of one step of the integers x of a tensor, and of 0: ``[1, C, 1, 1]``."""
        if key[2] == "s16":
            step, offset = torch.full((channels,), self.exporter.wide[key]).double(), torch.zeros(channels).double()
        else:
            activation = self.prepared.activation(key)
            step, offset = activation.scale, activation.offset
            if key[2] == "smol":
                domain = self.prepared.domain(key[0])
                rows = domain.row()
                # x is odd: the distance of two codes is 2.
                step, offset = step[rows] * torch.exp2(1.0 - domain.precisions.double()), offset[rows]
            times = channels // len(step)  # pixels that were made channels
            step, offset = step.repeat(times), offset.repeat(times)
        return step.view(1, -1, 1, 1), offset.view(1, -1, 1, 1)

    # --- comparisons -------------------------------------------------------------------------------------------------

    def _check_moved(self, unit: Unit) -> None:
        assert unit.input is not None
        for value, form in self.exporter.readers(unit):
            found, source = self._stored(value, form), self._stored(unit.input, form)
            wanted = WINDOWS[unit.op](source, unit)
            assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-12 * float(source.abs().max())), unit.name

    def _check_layer(self, unit: Unit) -> None:
        assert unit.input is not None
        form = "image" if self.prepared.reads_image(unit) else self.exporter.input_form(unit)
        stored = {(unit.input, form if unit.has_weights else "f32"): self._stored(unit.input, form)}
        residual = torch.zeros(())
        if unit.residual is not None:
            residual = stored[unit.residual, "f32"] = self._stored(unit.residual, "s16")
        y = self.prepared.run_unit(unit, {}, stored)
        layer = next(layer for layer in self.net.layers if layer.name == unit.name)
        for made, result, terms in self._results(unit, layer, y, residual):
            for value, wanted in self.exporter.readers(made):
                self._compare(unit, value, wanted, result, terms)
            if made.name == self.graph.output.unit:
                step = self.net.provenance["logit_scale"]
                off = (self.integers[self.net.output] * step - result).abs()
                assert bool((off <= 2 * step + HALF * terms).all()), f"{unit.name}: logits"

    def _results(
        self, unit: Unit, layer: Layer, y: torch.Tensor, residual: torch.Tensor
    ) -> Iterator[tuple[Unit, torch.Tensor, torch.Tensor]]:
        """A unit and the normalisations that its layer computes with it: results, and the size of their terms."""
        bare = self.exporter._real(unit, layer)
        for made in (unit, *self.exporter.folded(unit)):
            result = y if made is unit else self.prepared.norms[made.name](y)
            assert made is unit or made.bn is not None
            real = bare if made is unit else bare.behind(made.bn)  # type: ignore[arg-type]
            addend, factor = torch.from_numpy(real.addend), torch.from_numpy(real.factor)
            terms = result.abs() + addend.abs().view(1, -1, 1, 1)
            if real.residual is not None:
                scale = torch.from_numpy(np.abs(real.residual / bare.residual)).view(1, -1, 1, 1)
                terms = terms + residual.abs() * scale
            if real.mean_acc is not None:
                terms = terms + (torch.from_numpy(real.mean_acc) * factor).abs().view(1, -1, 1, 1)
            yield made, result, terms

    def _compare(self, unit: Unit, value: Value, form: str, y: torch.Tensor, terms: torch.Tensor) -> None:
        """What is stored of a result ``y`` is at most a code away, where factors of few bits do not explain more."""
        found = self._stored(value, form)
        step, _ = self._grid(self.prepared.key(value, form), y.shape[1])
        if form == "s16":
            wanted = activate(y, value.act).clamp(-32768 * step, 32767 * step)
        else:
            step = step * (2 if form == "smol" else 1)
            wanted = self.prepared.read(value, form, {unit.name: y, value.unit: y}, {})
        off = (found - wanted).abs()
        assert bool((off <= step * (1 + 1e-6) + HALF * terms).all()), (
            f"{unit.name}: {form} off by {float((off / step).max()):.2f} codes"
        )


@torch.no_grad()
def _rounded_in_double(prepared: Prepared) -> Prepared:
    """A copy whose weights are the rounded ones, in 64 bits: sums are exact but for rounding far below a step."""
    found = copy.deepcopy(prepared)
    for unit in found.graph.convolutions:
        found.convolution(unit.name).weight.copy_(found._weight(unit, found.convolution(unit.name)))
    return found.double()


@torch.no_grad()
def check_calibration(prepared: Prepared, real: torch.Tensor) -> None:
    """Grids of bytes hold all that the network gives in full precision on the images of its calibration, and weights in
    bytes are near the real ones."""
    prepared = copy.deepcopy(prepared).eval()
    weights = {
        unit.name: prepared._weight(unit, prepared.convolution(unit.name)) for unit in prepared.graph.convolutions
    }
    mode, prepared.mode = prepared.mode, FLOAT
    results = prepared.results(real)
    prepared.mode = mode
    for key in prepared.keys:
        if key[2] == "s8":
            x = activate(results[key[0]], key[1])
            scale = prepared.activation(key).scale
            off = (prepared.read(Value(key[0], key[1]), "s8", results, {}) - x).abs().max()
            assert off <= scale * 0.51, f"{key}: off by {float(off / scale):.2f} steps"
    for unit in prepared.graph.convolutions:
        if prepared.input_format(unit) == "s8":
            real_weight = prepared.convolution(unit.name).kept()
            off = (weights[unit.name] - real_weight).abs().amax((1, 2, 3))
            assert bool((off <= real_weight.abs().amax((1, 2, 3)) * (0.501 / 127)).all()), unit.name
