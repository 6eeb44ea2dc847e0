"""Does a prepared network compute what the user's module computes?

A tracer sees the operations of ``forward``, and not hooks, overridden helper methods, or values that depend on the
images. So both are run on the example images, and a difference is refused before anything is trained.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from sysmol.errors import SysmolError

TOLERANCE = 1e-3
"""Difference of logits, relative to the largest of them, that summation orders in float32 may explain."""
IMAGES = 8
"""Example images that are compared: a difference that depends on values shows on a few."""

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def as_float(model: nn.Module) -> nn.Module:
    """A copy of the module in float32 and evaluation mode.

    Raises :class:`SysmolError` that names the first layer with weights that are no finite numbers.
    """
    model = copy.deepcopy(model).eval().float()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            layer, _, what = name.rpartition(".")
            raise SysmolError(f"layer '{layer}' has NaN or infinite numbers in its {what}: train it again")
    return model


DROPPED = {"": lambda x: x, "softmax": lambda x: x.softmax(1), "log_softmax": lambda x: x.log_softmax(1)}
"""Functions behind the logits that a prepared network leaves out (``Graph.dropped``)."""


@torch.no_grad()
def check_equal(
    model: nn.Module, network: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, dropped: str = ""
) -> None:
    """Compare logits ``[n, classes]`` of the user's ``model`` and of a ``network`` made of it, which leaves out the
    function ``dropped``, on real images ``[n, C, H, W]``, both in evaluation mode.

    Raises :class:`SysmolError` where they differ, or are no finite numbers.
    """
    # Strides as the shape has them: with others PyTorch's convolutions misread a single channel.
    batch = images[:IMAGES].float().clone(memory_format=torch.contiguous_format)
    if not bool(batch.isfinite().all()):
        raise SysmolError("the example images hold NaN or infinite numbers")
    expected = model(batch.clone()).flatten(1)
    if not bool(expected.isfinite().all()):
        raise SysmolError(f"{type(model).__name__} gives NaN or infinite logits on the example images")
    found = DROPPED[dropped](network(batch.clone()))
    if found.shape != expected.shape:
        shapes = f"{list(found.shape)} instead of {list(expected.shape)}"
        raise SysmolError(f"{type(model).__name__} cannot be followed: its logits would have the shape {shapes}")
    largest = float(expected.abs().max()) or 1.0
    difference = float((found - expected).abs().max()) / largest
    if not difference <= TOLERANCE:
        raise SysmolError(
            f"{type(model).__name__} cannot be followed: logits of the prepared network differ by {difference:.1%} of "
            f"the largest. {_suspects(model)}"
        )


def _suspects(model: nn.Module) -> str:
    """What a tracer does not see, by the names of the layers."""
    hooked = [name or "the module" for name, m in model.named_modules() if any(getattr(m, hook) for hook in HOOKS)]
    own = [
        name
        for name, m in model.named_modules()
        if isinstance(m, nn.Conv2d) and type(m)._conv_forward is not nn.Conv2d._conv_forward
    ]
    found = [f"'{name}' has hooks" for name in hooked] + [f"'{name}' overrides _conv_forward" for name in own]
    if found:
        return f"Not followed: {', '.join(found)}; write what they do in forward()"
    return "Does forward() depend on the images' values, or on anything but its argument?"
