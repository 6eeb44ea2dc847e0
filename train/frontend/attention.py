"""Attention of traced modules: PyTorch's own modules and function, and what is written by hand with two products."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from sysmol.train.frontend.convolutions import Convolutions
from sysmol.train.frontend.graph import Value
from sysmol.train.frontend.nodes import Parts
from sysmol.train.frontend.normalisations import Normalisations
from sysmol.train.frontend.tables import TABLES, WAYS, name_of
from sysmol.train.frontend.tensors import copied

MASKS = "attention with a mask; only over all tokens"


@dataclass(frozen=True)
class Heads:
    """A value whose channels are those of several heads, one head after the other."""

    value: Value
    count: int
    depth: int


@dataclass(frozen=True)
class Scores:
    """Products of queries and keys times a factor, and whether a softmax has made weights of them."""

    queries: Heads
    keys: Heads
    factor: float = 1.0
    weights: bool = False


class Attention(Convolutions, Normalisations):
    """One unit for each attention. Scores and weights exist only in between, so nothing else may read them."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.scores: dict[fx.Node, Scores] = {}

    # --- written by hand ---------------------------------------------------------------------------------------------

    def matmul(self, node: fx.Node) -> Parts | None:
        """A product of two activations: of queries and keys, or of weights and values."""
        a, b = (node.args[0], node.args[1] if len(node.args) > 1 else node.kwargs.get("mat2", node.kwargs.get("other")))
        if isinstance(a, fx.Node) and isinstance(b, fx.Node):
            if a in self.scores and self.scores[a].weights and b in self.values:
                return self.attended(node, self.scores[a], self.heads(node, b))
            if a in self.values and b in self.values:
                self.scores[node] = self.paired(node, self.heads(node, a), self.heads(node, b, transposed=True))
                return None
        raise self.refuse(node, "only queries times transposed keys, and softmax of that times values")

    def paired(self, node: fx.Node, queries: Heads, keys: Heads) -> Scores:
        if (queries.count, queries.depth) != (keys.count, keys.depth):
            raise self.refuse(
                node, f"queries of {queries.count} heads of {queries.depth} channels, keys of {keys.count} heads of "
                f"{keys.depth}"
            )  # fmt: skip
        return Scores(queries, keys)

    def heads(self, node: fx.Node, argument: Any, transposed: bool = False) -> Heads:
        """An activation ``[..., heads, tokens, depth]`` (transposed: its last axes changed)."""
        if not isinstance(argument, fx.Node) or argument not in self.values:
            raise self.refuse(node, self.why_no_activation(argument))
        parts, order = self.values[argument], self.order(argument)
        order = order.transpose(-1, -2) if transposed else order
        pixels = self.pixels(parts)
        if len(parts) == 1 and order.dim() >= 3 and order.shape[-2] == pixels:
            each = order.reshape(-1, pixels, order.shape[-1])
            channels = each[:, 0] // pixels
            if torch.equal(each, channels[:, None] * pixels + torch.arange(pixels)[:, None]):
                return Heads(self.select(node, parts[0], channels.flatten()), len(each), order.shape[-1])
        shape = list(argument.meta["shape"])
        raise self.refuse(node, f"it reads {shape}, which are no heads [n, heads, tokens, channels of a head]")

    def attended(self, node: fx.Node, scores: Scores, values: Heads) -> Parts:
        """The unit, of a node whose result is ``[..., heads, tokens, depth]``."""
        value = self.attention(node, scores, values)
        channels, height, width = self.unit(value).shape
        order = torch.arange(channels * height * width).view(values.count, values.depth, -1).transpose(1, 2)
        self.set_order(node, order.reshape(node.meta["shape"]))
        return (value,)

    def attention(self, node: fx.Node, scores: Scores, values: Heads, path: str = "") -> Value:
        keys, own = self.unit(scores.keys.value).shape, self.unit(values.value).shape
        if values.count != scores.queries.count or keys[1:] != own[1:]:
            raise self.refuse(
                node, f"{scores.queries.count} heads over {keys[1] * keys[2]} tokens, values of {values.count} heads "
                f"over {own[1] * own[2]}"
            )  # fmt: skip
        shape = (own[0], *self.unit(scores.queries.value).shape[1:])
        return self.new(
            node, "attention", shape, path, input=scores.queries.value, second=scores.keys.value, third=values.value,
            groups=values.count, factor=scores.factor,
        )  # fmt: skip

    def why_no_activation(self, found: Any) -> str:
        if found in self.scores:
            return "of attention's scores only multiples, a softmax over keys and a product with values are understood"
        return super().why_no_activation(found)

    def passed(self, node: fx.Node) -> Parts | None:
        source = self.source(node)
        if source in self.scores:
            self.scores[node] = self.scores[source]
            return None
        return super().passed(node)

    def operand(self, node: fx.Node, what: str) -> tuple[int, float | torch.Tensor]:
        for each in node.all_input_nodes:
            if each in self.scores:
                raise self.refuse(node, self.why_no_activation(each))
        return super().operand(node, what)

    def times(self, node: fx.Node) -> Parts | None:
        return None if self._scaled(node, False) else super().times(node)

    def divided(self, node: fx.Node) -> Parts | None:
        return None if self._scaled(node, True) else super().divided(node)

    def _scaled(self, node: fx.Node, divided: bool) -> bool:
        """Whether a node multiplies scores with a number, which they then note."""
        arguments = [*node.args, *(node.kwargs[key] for key in ("other",) if key in node.kwargs)]
        found = [each for each in arguments if isinstance(each, fx.Node) and each in self.scores]
        if not found:
            return False
        (number,) = (each for each in arguments if each is not found[0]) if len(arguments) == 2 else (None,)
        factor = self.constant(number)
        factor = float(factor) if isinstance(factor, torch.Tensor) and factor.numel() == 1 else factor
        scores = self.scores[found[0]]
        if not isinstance(factor, float) or factor == 0 or scores.weights or (divided and arguments[0] is not found[0]):
            raise self.refuse(node, "scores only times a number, or divided by one, in front of their softmax")
        self.scores[node] = replace(scores, factor=scores.factor * (1 / factor if divided else factor))
        return True

    def weighted(self, node: fx.Node) -> None:
        """A softmax of scores."""
        axis, scores = self.option(node, "dim", 1, None), self.scores[self.source(node)]
        log = "log" in (type(self.module(node)).__name__ if node.op == "call_module" else str(node.target)).lower()
        if axis is None or axis % len(node.meta["shape"]) != len(node.meta["shape"]) - 1 or scores.weights or log:
            raise self.refuse(node, "of scores only a softmax over the keys, the last axis")
        self.scores[node] = replace(scores, weights=True)

    # --- PyTorch's own -----------------------------------------------------------------------------------------------

    def dot_product_attention(self, node: fx.Node) -> Parts:
        """``F.scaled_dot_product_attention``."""
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        given = dict(zip(names, node.args, strict=False)) | node.kwargs
        if given.get("attn_mask") is not None or given.get("is_causal") or given.get("enable_gqa"):
            raise self.refuse(node, MASKS if not given.get("enable_gqa") else "keys that several heads share")
        queries, keys, values = (self.heads(node, given.get(name)) for name in names[:3])
        factor = given.get("scale")
        number = queries.depth**-0.5 if factor is None else self.constant(factor)
        if not isinstance(number, float):
            raise self.refuse(node, "only with a scale that is a number")
        return self.attended(node, replace(self.paired(node, queries, keys), factor=number), values)

    def multihead(self, node: fx.Node) -> None:
        """``nn.MultiheadAttention``: its result is the first of two."""
        module = self.module(node)
        names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask", "average", "is_causal")
        given = dict(zip(names, node.args, strict=False)) | node.kwargs
        self._check_masks(node, given)
        sources = [given.get(name) for name in names[:3]]
        tokens = [self.tokens(node, each, module.batch_first) for each in sources]
        value = self.multihead_of(node, module, str(node.target), *tokens)
        assert isinstance(sources[0], fx.Node)
        self.pieces[node] = (value,), (self.order_of_channels_last(value, sources[0].meta["shape"]), None)

    def _check_masks(self, node: fx.Node, given: dict[str, Any]) -> None:
        """Refuse a mask among the arguments of a call."""
        masks = [each for name, each in given.items() if "mask" in name or name == "is_causal"]
        if any(each is not None and each is not False for each in masks):
            raise self.refuse(node, MASKS)

    def tokens(self, node: fx.Node, argument: Any, batch_first: bool) -> Value:
        """A sequence ``[n, tokens, C]``, or ``[tokens, n, C]``, as a value of these channels."""
        if not isinstance(argument, fx.Node) or argument not in self.values:
            raise self.refuse(node, self.why_no_activation(argument))
        parts, order = self.values[argument], self.order(argument)
        channels = self.channels_last(parts, order)
        batch = 0 if batch_first else 1
        if channels is None or len(parts) > 1 or order.dim() != 3 or order.shape[batch] != 1:
            shape = "[n, tokens, channels]" if batch_first else "[tokens, n, channels] (batch_first=False)"
            raise self.refuse(node, f"it reads {list(argument.meta['shape'])}, which is no sequence {shape}")
        return self.select(node, parts[0], channels)

    def multihead_of(
        self, node: fx.Node, module: nn.MultiheadAttention, path: str, queries: Value, keys: Value, values: Value,
        residual: Value | None = None,
    ) -> Value:  # fmt: skip
        """What ``nn.MultiheadAttention`` makes of sequences, added to a ``residual``."""
        if module.bias_k is not None or module.bias_v is not None or module.add_zero_attn:
            raise self.refuse(node, "with add_bias_kv or add_zero_attn")
        if module.in_proj_weight is None:
            weights = [module.q_proj_weight, module.k_proj_weight, module.v_proj_weight]
        else:
            weights = list(module.in_proj_weight.chunk(3))
        biases = [None] * 3 if module.in_proj_bias is None else list(module.in_proj_bias.chunk(3))
        made = [
            Heads(self.projected(node, value, weight, bias, path), module.num_heads, module.head_dim)
            for value, weight, bias in zip((queries, keys, values), weights, biases, strict=True)
        ]
        scores = replace(self.paired(node, *made[:2]), factor=module.head_dim**-0.5)
        value = self.attention(node, scores, made[2], path)
        out = module.out_proj
        return self.projected(node, value, out.weight, out.bias, f"{path}.out_proj", residual)

    def projected(
        self, node: fx.Node, value: Value, weight: torch.Tensor, bias: torch.Tensor | None, path: str,
        residual: Value | None = None,
    ) -> Value:  # fmt: skip
        """A linear layer over the channels of every pixel, added to a ``residual``."""
        own = weight.detach().clone()[..., None, None]
        shape = (len(own), *self.unit(value).shape[1:])
        return self.new(
            node, "conv2d", shape, path, input=value, weight=own, bias=copied(bias), residual=residual
        )  # fmt: skip

    def encoder_layer(self, node: fx.Node) -> Parts:
        """``nn.TransformerEncoderLayer``."""
        return self._encoders(node, [("", self.module(node))])

    def encoder(self, node: fx.Node) -> Parts:
        """``nn.TransformerEncoder``."""
        module = self.module(node)
        for number, layer in enumerate(module.layers):
            if type(layer).forward is not nn.TransformerEncoderLayer.forward:
                raise self.refuse(node, f"its layer {number} is no nn.TransformerEncoderLayer")
        return self._encoders(node, [(f".layers.{n}", layer) for n, layer in enumerate(module.layers)], module.norm)

    def _encoders(
        self, node: fx.Node, layers: list[tuple[str, nn.TransformerEncoderLayer]], norm: nn.Module | None = None
    ) -> Parts:
        names = ("src", "src_mask", "src_key_padding_mask", "is_causal")
        given = dict(zip(names, node.args, strict=False)) | node.kwargs
        self._check_masks(node, given)
        value = self.tokens(node, given.get("src"), layers[0][1].self_attn.batch_first)
        for name, layer in layers:
            value = self._encoded(node, layer, f"{node.target}{name}", value)
        if norm is not None:
            if not isinstance(norm, nn.LayerNorm):
                raise self.refuse(node, f"its norm is {type(norm).__name__}; only LayerNorm")
            value = self.layer_norm_of(node, value, norm, f"{node.target}.norm")
        self.set_channels_last(node, value)
        return (value,)

    def _encoded(self, node: fx.Node, layer: nn.TransformerEncoderLayer, path: str, x: Value) -> Value:
        """An encoder layer of a sequence, normalised before or behind its two parts."""

        def normal(value: Value, name: str) -> Value:
            return self.layer_norm_of(node, value, getattr(layer, name), f"{path}.{name}")

        def attended(value: Value, residual: Value) -> Value:
            return self.multihead_of(node, layer.self_attn, f"{path}.self_attn", value, value, value, residual)

        def forward(value: Value, residual: Value) -> Value:
            first, last = layer.linear1, layer.linear2
            hidden = self.projected(node, value, first.weight, first.bias, f"{path}.linear1")
            hidden = self._activated_by(node, hidden, layer.activation, path)
            return self.projected(node, hidden, last.weight, last.bias, f"{path}.linear2", residual)

        if layer.norm_first:
            x = attended(normal(x, "norm1"), x)
            return forward(normal(x, "norm2"), x)
        x = normal(attended(x, x), "norm1")
        return normal(forward(x, x), "norm2")

    def _activated_by(self, node: fx.Node, value: Value, function: Any, path: str) -> Value:
        """A value behind the activation function of an encoder layer."""
        if function in (F.relu, torch.relu) or isinstance(function, nn.ReLU):
            return self.activated(node, value, "relu")
        known = {way for ways in WAYS.values() for way in ways}
        if function not in known and type(function) not in known:
            raise self.refuse(node, f"its activation {function} is none of relu, {', '.join(TABLES)}")
        name = name_of(function, getattr(function, "approximate", "none"))
        return self.looked_up(node, value, name, f"{path}.activation")
