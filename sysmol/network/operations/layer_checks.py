"""Checks that several operations make; all refuse with :class:`SysmolError`."""

import numpy as np

from sysmol.network.model import Layer, Network, Tensor, need
from sysmol.network.values import group_tensor
from sysmol.packing import slot_precisions


def check_shared(layer: Layer, t: Tensor, part: str = "head") -> None:
    """Refuse channels that the layer's groups, called ``part``, do not share evenly, with :class:`SysmolError`."""
    need(layer.groups >= 1, f"layer {layer.name} has {layer.groups} groups")
    need(
        t.channels % layer.groups == 0,
        f"layer {layer.name}: {t.name} has {t.channels} channels, no multiple of its {layer.groups} {part}s",
    )


def check_own_vectors(layer: Layer, t: Tensor, part: str = "head") -> None:
    """Refuse a SMOL tensor whose groups, called ``part``, lack vectors of their own, equally many each, with
    :class:`SysmolError`."""
    where, groups = f"layer {layer.name}", layer.groups
    need(
        len(t.patterns) % groups == 0,
        f"{where}: {t.name} has {len(t.patterns)} vectors; each of {groups} {part}s needs as many of its own",
    )
    for number in range(groups):
        own = group_tensor(t, groups, number)
        slots, total = np.asarray(own.slots), len(slot_precisions(own.patterns))
        need(
            bool((slots >= 0).all() and (slots < total).all()),
            f"{where}: {part} {number} of {t.name} has channels outside its {len(own.patterns)} vectors",
        )


def check_formats(net: Network, layer: Layer, formats: tuple[str, ...]) -> None:
    """Refuse inputs of other formats than these, with :class:`SysmolError`."""
    for name in layer.inputs:
        form = net.tensors[name].format
        need(form in formats, f"layer {layer.name}: a {layer.op} reads {' and '.join(formats)}, not {form} as {name}")


def check_plain_window(layer: Layer) -> None:
    """Refuse kernels, strides and paddings, with :class:`SysmolError`."""
    plain = layer.kernel == layer.stride == (1, 1) and not any(layer.padding)
    need(plain, f"layer {layer.name}: a {layer.op} takes every pixel by itself")


def check_moved(net: Network, layer: Layer) -> None:
    """Refuse a layer that moves stored numbers into a tensor that holds them in another way, with
    :class:`SysmolError`."""
    x, t = net.tensors[layer.input], net.tensors[layer.output]
    same = (
        t.format == x.format
        and t.patterns == x.patterns
        and (t.slots is None or np.array_equal(t.slots, np.asarray(x.slots)))
    )
    need(
        same and not layer.residual,
        f"layer {layer.name}: a {layer.op} keeps format, patterns and slots of its input, and has no residual",
    )
