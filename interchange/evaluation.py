"""Logits of many images through onnxruntime: the reference's integers, many times faster than NumPy.

Networks go through :mod:`sysmol.interchange.onnx_out`. The extra ``onnx`` is needed; :func:`available` tells whether it
is installed.
"""

from __future__ import annotations

import importlib.util

import numpy as np

from sysmol.interchange.extras import extra
from sysmol.network import Network

BATCH = 64
"""Images at a time: the activations of small networks stay in the cache."""


def available() -> bool:
    """Whether the packages are installed; importing nothing."""
    return all(importlib.util.find_spec(package) for package in ("onnx", "onnxruntime"))


def evaluate(net: Network, images: np.ndarray, batch: int = BATCH) -> np.ndarray:
    """Logits of images uint8 ``[n, H, W, C]``: int32 (float32 for ``f32`` networks) ``[n, classes]``.

    Equal to :func:`sysmol.network.reference.evaluate` bit for bit; of ``f32`` networks within
    :data:`sysmol.interchange.onnx_out.FLOAT_TOLERANCE`. Raises :class:`SysmolError` where the extra is not installed.
    """
    return Evaluator(net).logits(images, batch)


def accuracy(net: Network, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images whose largest logit is their label's."""
    return float((evaluate(net, images).argmax(1) == labels).mean())


class Evaluator:
    """A network, loaded once. ``threads``: of onnxruntime, 0 for one per core."""

    def __init__(self, net: Network, threads: int = 0) -> None:
        runtime = extra("onnxruntime", "evaluating networks as ONNX")
        extra("onnx", "evaluating networks as ONNX")
        from sysmol.interchange.onnx_out import to_onnx

        self.net = net
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        content = to_onnx(net).SerializeToString()
        self.session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def logits(self, images: np.ndarray, batch: int = BATCH) -> np.ndarray:
        """Logits ``[n, classes]`` of images uint8 ``[n, H, W, C]``."""
        kind = np.float32 if self.net.is_float else np.int32
        parts = [np.zeros((0, self.net.classes), dtype=kind)]
        for start in range(0, len(images), batch):
            piece = np.ascontiguousarray(images[start : start + batch])
            parts += self.session.run(None, {self.input: piece})
        return np.concatenate(parts)
