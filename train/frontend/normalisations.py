"""LayerNorm and RMSNorm of traced modules."""

from __future__ import annotations

import torch
from torch import fx, nn

from sysmol.network.operations.normalisation import MOST_CHANNELS
from sysmol.train.frontend.arithmetic import Arithmetic
from sysmol.train.frontend.graph import Value
from sysmol.train.frontend.nodes import Parts
from sysmol.train.frontend.tensors import copied


class Normalisations(Arithmetic):
    """They normalise the channels of every pixel, which lie on the last axis."""

    def layer_norm(self, node: fx.Node) -> Parts:
        return self._normalised(node, "layernorm")

    def rms_norm(self, node: fx.Node) -> Parts:
        return self._normalised(node, "rmsnorm")

    def _normalised(self, node: fx.Node, op: str) -> Parts:
        sizes = tuple(self.option(node, "normalized_shape", 1, ()))
        gamma, beta, epsilon = self._constants(node, op)
        value = self.sequence(node)
        channels = self.channels(value)
        if sizes != (channels,):
            raise self.refuse(node, f"it normalises {list(sizes)}; only the {channels} channels of every pixel")
        self.set_channels_last(node, value)
        return (self.normal(node, value, op, gamma, beta, epsilon),)

    def _constants(self, node: fx.Node, op: str) -> tuple[torch.Tensor | None, torch.Tensor | None, float | None]:
        """Gamma, beta and epsilon."""
        if node.op == "call_module":
            module = self.module(node)
            return copied(module.weight), copied(getattr(module, "bias", None)), module.eps
        names = ("weight", "bias", "eps") if op == "layernorm" else ("weight", "eps")
        found = {name: self._argument(node, name, index) for index, name in enumerate(names, 2)}
        numbers = {name: self.constant(found.get(name)) for name in ("weight", "bias", "eps")}
        if any(numbers[name] is None and each is not None for name, each in found.items()):
            raise self.refuse(node, "with a gamma, beta or epsilon that is not the module's")
        gamma, beta, epsilon = numbers["weight"], numbers["bias"], numbers["eps"]
        usual = 1e-5 if op == "layernorm" else None
        assert not isinstance(gamma, float) and not isinstance(beta, float)
        return gamma, beta, usual if epsilon is None else float(epsilon)

    @staticmethod
    def _argument(node: fx.Node, name: str, index: int) -> object:
        return node.kwargs.get(name, node.args[index] if len(node.args) > index else None)

    def normal(
        self, node: fx.Node, value: Value, op: str, gamma: torch.Tensor | None, beta: torch.Tensor | None,
        epsilon: float | None, path: str = "",
    ) -> Value:  # fmt: skip
        """The channels of every pixel of a value normalised by ``op``, times gamma plus beta, both ``[C]``."""
        channels = self.channels(value)
        if channels > MOST_CHANNELS:
            raise self.refuse(node, f"it normalises {channels} channels, at most {MOST_CHANNELS} are understood")
        small = torch.finfo(torch.float32).eps if epsilon is None else epsilon
        fields = {"gamma": gamma, "beta": beta, "epsilon": small}
        return self.new(node, op, self.unit(value).shape, path, input=value, **fields)

    def layer_norm_of(self, node: fx.Node, value: Value, module: nn.LayerNorm, path: str) -> Value:
        """A value behind a layer normalisation of the user's."""
        return self.normal(
            node, value, "layernorm", copied(module.weight), copied(module.bias), module.eps, path
        )  # fmt: skip
