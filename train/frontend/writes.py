"""In-place operations of a traced module, as what they mean without them.

``torch.fx`` notes ``relu(t, inplace=True)`` as a new value beside ``t``, while in PyTorch every later reader of ``t``,
and of what shares its memory, sees the new numbers. :class:`Observer` runs the module once and notes what each node
writes; :func:`make_pure` then lets the later readers read the new value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from sysmol.errors import SysmolError


def constant_nodes(graph: fx.Graph) -> set[fx.Node]:
    """The nodes that depend on no input of the module: its parameters and buffers, and functions of them alone."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        computed = node.op in ("call_function", "call_method") and bool(node.all_input_nodes)
        if node.op == "get_attr" or (computed and found.issuperset(node.all_input_nodes)):
            found.add(node)
    return found


class Observer(fx.Interpreter):
    """Runs a traced module and notes in its nodes' ``meta``:

    ========== =======================================================================================================
    ``shape``  of a tensor, a tuple
    ``tensor`` the numbers of a constant (:func:`constant_nodes`)
    ``value``  every other result (sizes), ``several`` saying whether it consists of tensors
    ``place``  (storage, offset, shape, strides) of a tensor: equal for two names of the same numbers
    ``writes`` places of the arguments that the node changed
    ========== =======================================================================================================
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)  # memory that is free again would look shared
        self.constants = constant_nodes(module.graph)

    def run_node(self, n: fx.Node) -> Any:
        """Run a node as :class:`torch.fx.Interpreter` does, and note what it did."""
        arguments = [self.env[a] for a in n.all_input_nodes if isinstance(self.env.get(a), torch.Tensor)]
        versions = [tensor._version for tensor in arguments]
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            n.meta["shape"] = tuple(result.shape)
            n.meta["place"] = _place(result)
            if n in self.constants:
                n.meta["tensor"] = result.detach().clone()
        else:
            n.meta["value"] = result
            n.meta["several"] = isinstance(result, (tuple, list)) and any(isinstance(t, torch.Tensor) for t in result)
        n.meta["writes"] = [_place(t) for t, v in zip(arguments, versions, strict=True) if t._version != v]
        return result


Place = tuple[int, int, tuple[int, ...], tuple[int, ...]]


def _place(tensor: torch.Tensor) -> Place:
    return tensor.untyped_storage().data_ptr(), int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride()


def make_pure(graph: fx.Graph, refuse: Callable[[fx.Node, str], SysmolError]) -> None:
    """Let the readers of a tensor that a node has written read the node's result, in an observed graph.

    ``refuse`` makes the error for a node whose effect cannot be said so: one that writes into a part of a tensor, or
    through another shape of it.
    """
    order = {node: number for number, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        for written in node.meta.get("writes", ()):
            for other in list(graph.nodes):
                place = other.meta.get("place")
                if other is node or place is None or place[0] != written[0] or order[other] > order[node]:
                    continue
                later = [user for user in other.users if order[user] > order[node]]
                if later and not place == written == node.meta.get("place"):
                    raise refuse(node, f"it writes into '{other.name}' through another shape or a part of it")
                for user in later:
                    user.replace_input_with(other, node)
