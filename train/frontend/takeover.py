"""Weights of another tool's file in a module of the same shape, whose batch normalisation the file has folded.

The units of both networks (:mod:`sysmol.train.frontend.graph`) are matched from the logits to the image; terms of a sum
may stand in any order. What the module then computes is compared with the file.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from sysmol.errors import SysmolError
from sysmol.network import Normalisation
from sysmol.train.frontend.equivalence import DROPPED, TOLERANCE
from sysmol.train.frontend.graph import Graph, Unit, Value
from sysmol.train.frontend.readers.imported import Imported
from sysmol.train.frontend.trace import trace
from sysmol.train.quantise.modules import norm_affine

Term = Unit | Value
"""Of a sum: an accumulation, or what an activation function made of one."""
Pairs = dict[str, str]
"""Units of one network by those of another."""


def file_normalisation(file: Normalisation, usual: Normalisation) -> Normalisation:
    """What pixels stand for where a file's weights are trained on: zero, with which layers pad, stays the same pixel;
    the scale is the ``usual`` one, since a file that reads pixels 0 .. 255 has tiny weights in its first layer."""
    return Normalisation(file.mean, usual.scale)


@torch.no_grad()
def take_over(module: nn.Module, file: Imported, normalisation: Normalisation, pixels: torch.Tensor) -> None:
    """Put the weights of ``file`` into ``module``, which reads pixels by ``normalisation``.

    ``pixels`` float32 ``[n, C, H, W]`` from 0 to 255, of images as in training: batch normalisation gets the statistics
    of what they make, and changes nothing at first. Raises :class:`SysmolError` where the networks differ in shape,
    where zero stands for another pixel, or where the module's logits are not the file's.
    """
    real, factor = _real(file, normalisation, pixels)
    source, target = file.graph(), trace(module, real[:1])
    pairs = matched(target, source)
    if pairs is None:
        raise SysmolError(f"{file.source} is a network of another shape than {type(module).__name__}")
    module.eval()
    hooks = []
    for unit in target.units.values():
        if unit.has_weights:
            weight, bias = _folded(source.units[pairs[unit.name]])
            if unit.input is not None and target.units[unit.input.unit].op == "input":
                weight = weight * factor.view(1, -1, 1, 1)
            hooks += _fill(module, unit, weight, bias)
    found = module(real)
    for hook in hooks:
        hook.remove()
    _check(file, source.dropped, found, pixels)


def matched(target: Graph, source: Graph) -> Pairs | None:
    """Units of ``source`` by those of ``target``, where the networks have one shape; else None."""
    return _match_values(target, target.output, source, source.output, {})


def _terms(graph: Graph, value: Value) -> list[Term]:
    """What a sum is made of, sums in it taken apart."""
    if value.act != "none":
        return [value]
    unit = graph.units[value.unit]
    others = [] if unit.residual is None else _terms(graph, unit.residual)
    if unit.op == "add":
        assert unit.input is not None
        return _terms(graph, unit.input) + others
    return [unit, *others]


def _match_values(target: Graph, one: Value, source: Graph, other: Value, pairs: Pairs) -> Pairs | None:
    if one.act != other.act:
        return None
    return _match_sums(target, _terms(target, Value(one.unit)), source, _terms(source, Value(other.unit)), pairs)


def _match_sums(target: Graph, ones: list[Term], source: Graph, others: list[Term], pairs: Pairs) -> Pairs | None:
    if len(ones) != len(others):
        return None
    if not ones:
        return pairs
    for place, other in enumerate(others):
        found = _match_terms(target, ones[0], source, other, pairs)
        rest = others[:place] + others[place + 1 :]
        if found is not None and (whole := _match_sums(target, ones[1:], source, rest, found)) is not None:
            return whole
    return None


def _match_terms(target: Graph, one: Term, source: Graph, other: Term, pairs: Pairs) -> Pairs | None:
    if isinstance(one, Value) or isinstance(other, Value):
        both = isinstance(one, Value) and isinstance(other, Value)
        return _match_values(target, one, source, other, pairs) if both else None  # type: ignore[arg-type]
    if one.name in pairs or other.name in pairs.values():
        return pairs if pairs.get(one.name) == other.name else None
    if _geometry(one) != _geometry(other):
        return None
    pairs = pairs | {one.name: other.name}
    if one.input is None or other.input is None:
        return pairs
    return _match_values(target, one.input, source, other.input, pairs)


def _geometry(unit: Unit) -> tuple[object, ...]:
    """What two layers have in common; where the result has one row or column the stride says nothing."""
    stride = tuple(step if size > 1 else 1 for step, size in zip(unit.stride, unit.shape[1:], strict=True))
    return unit.op, unit.shape, unit.kernel, stride, unit.padding, unit.dilation, unit.groups


def _real(file: Imported, normalisation: Normalisation, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Real images, and by what the first layer's weights are to be multiplied, per channel."""
    means, scales = (torch.tensor(each) for each in normalisation.of_channels(file.shape[0]))
    own_means, own_scales = (torch.tensor(each) for each in file.normalisation.of_channels(file.shape[0]))
    if not torch.allclose(means, own_means, atol=1e-3):
        found, wanted = (" ".join(f"{each:g}" for each in every.tolist()) for every in (means, own_means))
        raise SysmolError(f"{file.source} pads with pixels of {wanted}, which are not zero here with a mean of {found}")
    return (pixels - means.view(1, -1, 1, 1)) * scales.view(1, -1, 1, 1), own_scales / scales


def _folded(unit: Unit) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and bias of a file's layer, its batch normalisation in them."""
    assert unit.weight is not None
    bias = torch.zeros(len(unit.weight)) if unit.bias is None else unit.bias
    if unit.bn is None:
        return unit.weight, bias
    factor, addend = (each.float() for each in norm_affine(unit.bn))
    return unit.weight * factor.view(-1, 1, 1, 1), bias * factor + addend


def _fill(
    module: nn.Module, unit: Unit, weight: torch.Tensor, bias: torch.Tensor
) -> list[torch.utils.hooks.RemovableHandle]:
    """Fill one layer; its batch normalisation when it next sees data, by the hook that is returned."""
    layer = module.get_submodule(unit.path)
    assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear)
    if weight.numel() != layer.weight.numel():
        raise SysmolError(f"layer '{unit.path}' reads a concatenation: files cannot fill it")
    layer.weight.copy_(weight.reshape(layer.weight.shape))
    norm = module.get_submodule(unit.norm_path) if unit.norm_path else None
    if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
        if not norm.affine:
            raise SysmolError(
                f"layer '{unit.norm_path}' has no weights of its own (affine=False): files cannot fill it"
            )
        if layer.bias is not None:
            layer.bias.zero_()
        return [norm.register_forward_pre_hook(lambda each, inputs: _neutral(each, inputs[0], bias))]  # type: ignore[arg-type]
    if layer.bias is not None:
        layer.bias.copy_(bias)
    elif bias.any():
        raise SysmolError(f"layer '{unit.path}' has no bias, and that of the file's has")
    return []


def _neutral(norm: nn.BatchNorm2d, x: torch.Tensor, bias: torch.Tensor) -> None:
    """The statistics of ``x [n, C, ...]``, and weights that make ``x + bias`` of it."""
    assert norm.running_mean is not None and norm.running_var is not None
    axes = tuple(axis for axis in range(x.dim()) if axis != 1)
    norm.running_mean.copy_(x.mean(axes))
    norm.running_var.copy_(x.var(axes, unbiased=False))
    norm.weight.copy_((norm.running_var + norm.eps).sqrt())
    norm.bias.copy_(bias + norm.running_mean)


def _check(file: Imported, dropped: str, found: torch.Tensor, pixels: torch.Tensor) -> None:
    """Compare with the file's own logits."""
    expected = file.module(file.normalised(pixels)).flatten(1)
    found = DROPPED[dropped](found.flatten(1))
    difference = float((found - expected).abs().max()) / (float(expected.abs().max()) or 1.0)
    if not difference <= TOLERANCE:
        raise SysmolError(f"{Path(file.source).name}: the network filled with its weights gives other logits")
