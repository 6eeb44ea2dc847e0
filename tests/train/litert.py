"""TensorFlow Lite's own interpreter, where the package is installed."""

import numpy as np
import pytest


class LiteRT:
    """The format's own interpreter; what operators make can be read, too."""

    def __init__(self, content: bytes, reference: bool = False) -> None:
        """``reference``: with its plain kernels, whose roundings are the same on every processor."""
        litert = pytest.importorskip("ai_edge_litert.interpreter", reason="needs the package ai-edge-litert")
        kinds = litert.OpResolverType
        kernels = kinds.BUILTIN_REF if reference else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self.interpreter = litert.Interpreter(
            model_content=content, experimental_op_resolver_type=kernels, experimental_preserve_all_tensors=True
        )
        self.interpreter.allocate_tensors()
        self.source = self.interpreter.get_input_details()[0]
        self.result = self.interpreter.get_output_details()[0]

    def run(self, x: np.ndarray) -> np.ndarray:
        """The result for one input ``[H, W, C]``."""
        self.interpreter.set_tensor(self.source["index"], x[None])
        self.interpreter.invoke()
        return np.asarray(self.interpreter.get_tensor(self.result["index"]))[0]

    def tensor(self, index: int) -> np.ndarray:
        return np.asarray(self.interpreter.get_tensor(index))
