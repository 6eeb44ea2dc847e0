"""What a user's ``forward`` may consist of: the one table from which nodes are understood, refused and documented."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from sysmol.train.frontend.tables import WAYS


@dataclass(frozen=True)
class Accepted:
    """One thing that a network may do.

    ``handler`` is the method of :class:`sysmol.train.frontend.trace.Builder` that understands it, whether it is written
    as a module, a function or a method of a tensor (by name). ``layers`` and ``note`` are its row in the
    documentation; a row without ``layers`` only steers the others (sizes).
    """

    handler: str
    layers: str = ""
    note: str = ""
    modules: tuple[type[nn.Module], ...] = ()
    functions: tuple[Any, ...] = ()


RMS_NORM = ((nn.RMSNorm, F.rms_norm),) if hasattr(nn, "RMSNorm") else ()
"""From PyTorch 2.4 on."""

TABLE = (
    Accepted(
        "conv", "Conv2d, Conv1d", "any kernel, stride, dilation, padding of zeros, groups; depthwise where groups = "
        "channels; lines are images of height 1", (nn.Conv2d, nn.Conv1d),
    ),
    Accepted("linear", "Linear", "over channels, or over a flattened image", (nn.Linear,)),
    Accepted(
        "multihead", "MultiheadAttention", "self- and cross-attention over all tokens; no masks",
        (nn.MultiheadAttention,),
    ),
    Accepted(
        "dot_product_attention", "scaled_dot_product_attention", "the same, of heads [n, heads, tokens, channels]", (),
        (F.scaled_dot_product_attention,),
    ),
    Accepted(
        "matmul", "products of two activations", "queries times transposed keys, softmax over the keys, times values: "
        "attention by hand", (), (operator.matmul, torch.matmul, "matmul", torch.bmm, "bmm"),
    ),
    Accepted(
        "encoder_layer", "TransformerEncoderLayer", "normalised before or behind; relu, or a function of a table",
        (nn.TransformerEncoderLayer,),
    ),
    Accepted("encoder", "TransformerEncoder", "of such layers", (nn.TransformerEncoder,)),
    Accepted("layer_norm", "LayerNorm", "over the channels of every pixel or token", (nn.LayerNorm,), (F.layer_norm,)),
    *(Accepted("rms_norm", "RMSNorm", "the same", (kind,), (function,)) for kind, function in RMS_NORM),
    Accepted(
        "tabled", "GELU, SiLU, Hardswish, Sigmoid, Hardsigmoid, Tanh", "tables of 64 values",
        tuple(way for way in chain(*WAYS.values()) if isinstance(way, type)),
        tuple(way for way in chain(*WAYS.values()) if not isinstance(way, type)),
    ),
    Accepted(
        "batch_norm", "BatchNorm", "folded into the convolution in front of it, elsewhere a layer of its own",
        (nn.BatchNorm1d, nn.BatchNorm2d),
    ),
    Accepted(
        "relu", "ReLU", "folded", (nn.ReLU,), (F.relu, torch.relu, "relu", torch.relu_, "relu_"),
    ),
    Accepted(
        "leaky_relu", "LeakyReLU", "a layer more, which adds the two halves", (nn.LeakyReLU,),
        (F.leaky_relu, F.leaky_relu_),
    ),
    Accepted("prelu", "PReLU", "the same; its slopes are trained", (nn.PReLU,), (F.prelu, torch.prelu)),
    Accepted("relu6", "ReLU6", "folded", (nn.ReLU6,), (F.relu6,)),
    Accepted("hardtanh", "Hardtanh(0, 6)", "folded, as ReLU6", (nn.Hardtanh,), (F.hardtanh, F.hardtanh_)),
    Accepted(
        "clamp", "clamp, clip", "from 0 on, or to 0 .. 6: folded", (),
        (torch.clamp, "clamp", torch.clip, "clip", "clamp_", "clip_", torch.clamp_),
    ),
    Accepted(
        "max_pool", "MaxPool2d, MaxPool1d", "padding and ceil_mode, no dilation", (nn.MaxPool2d, nn.MaxPool1d),
        (F.max_pool2d, torch.max_pool2d, F.max_pool1d, torch.max_pool1d),
    ),
    Accepted(
        "avg_pool", "AvgPool2d, AvgPool1d", "padding that is counted; ceil_mode where every window lies in the image",
        (nn.AvgPool2d, nn.AvgPool1d), (F.avg_pool2d, F.avg_pool1d),
    ),
    Accepted(
        "adaptive_pool", "AdaptiveAvgPool2d, AdaptiveAvgPool1d", "to sizes that divide the image's",
        (nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool1d), (F.adaptive_avg_pool2d, F.adaptive_avg_pool1d),
    ),
    Accepted(
        "upsample", "Upsample, interpolate", "nearest, by whole factors", (nn.Upsample, nn.UpsamplingNearest2d),
        (F.interpolate,),
    ),
    Accepted("mean", "mean", "over all pixels or tokens", (), (torch.mean, "mean")),
    Accepted(
        "moves", "flatten, reshape, permute, chunk", "and what else moves elements, where layers read channels, tokens "
        "or heads of it", (nn.Flatten, nn.Unflatten),
        (
            *(torch.flatten, "flatten", "view", "reshape", torch.reshape, torch.squeeze, "squeeze"),
            *(torch.unsqueeze, "unsqueeze", torch.permute, "permute", torch.transpose, "transpose", "t"),
            *(torch.swapaxes, "swapaxes", torch.movedim, "movedim", torch.unflatten, "unflatten"),
            *(torch.chunk, "chunk", torch.split, "split", torch.unbind, "unbind", torch.narrow, "narrow"),
            *(torch.select, "select"),
        ),
    ),
    Accepted(
        "add", "addition", "of two tensors of one shape: residual connections; of a constant, also one per pixel "
        "(positions)", (),
        (operator.add, operator.iadd, torch.add, "add", "add_"),
    ),
    Accepted(
        "subtract", "subtraction", "the same", (),
        (operator.sub, operator.isub, torch.sub, "sub", "sub_"),
    ),
    Accepted(
        "times", "multiplication", "by a constant, a number or one per channel: folded where a convolution made the "
        "other factor for nothing else; of two activations of one shape, or with one factor per channel (gates)", (),
        (operator.mul, torch.mul, "mul", "mul_", operator.imul),
    ),
    Accepted(
        "divided", "division by a constant", "as multiplication", (),
        (operator.truediv, torch.div, "div", "div_", operator.itruediv),
    ),
    Accepted("negated", "negation", "the same", (), (operator.neg, torch.neg, "neg")),
    Accepted(
        "concatenate", "concatenation", "of channels", (), (torch.cat, torch.concat, torch.concatenate)
    ),
    Accepted(
        "pad", "ZeroPad2d, pad", "zeros, each side its own, in front of convolutions: folded",
        (nn.ZeroPad2d, nn.ConstantPad2d, nn.ZeroPad1d, nn.ConstantPad1d), (F.pad,),
    ),
    Accepted(
        "passed", "Dropout, Identity, contiguous", "left out",
        (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity),
        (F.dropout, F.dropout2d, "contiguous"),
    ),
    Accepted(
        "softmax", "Softmax, LogSoftmax", "over the logits, at the end: left out", (nn.Softmax, nn.LogSoftmax),
        (F.softmax, torch.softmax, "softmax", F.log_softmax, torch.log_softmax, "log_softmax"),
    ),
    Accepted("shape_query", functions=("size", getattr, operator.getitem)),
    Accepted("size_arithmetic", functions=(operator.floordiv, operator.mod, operator.pow)),
)  # fmt: skip

MODULES = {module: row.handler for row in TABLE for module in row.modules}
"""Handler of every module that is understood as a whole."""
FUNCTIONS = {function: row.handler for row in TABLE for function in row.functions}
"""Handler of every function, and of every method of a tensor by its name."""
SUPPORTED = ", ".join(row.layers for row in TABLE if row.layers)
"""For error messages."""


def markdown() -> str:
    """The table for the documentation."""
    rows = [f"| {row.layers} | {row.note} |" for row in TABLE if row.layers]
    return "\n".join(["| in `forward` | how |", "|---|---|", *rows])
