"""QONNX models, run by that format's own executor."""

import numpy as np
import pytest

pytest.importorskip("qonnx", reason="needs the package qonnx")

from kernel_networks import all_networks
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from sysmol.errors import SysmolError
from sysmol.interchange.qonnx_out import to_qonnx
from sysmol.network import Network, save


def executed(net: Network, image: np.ndarray, model: ModelWrapper) -> np.ndarray:
    found = execute_onnx(model, {model.graph.input[0].name: image[None]})
    return np.asarray(found[model.graph.output[0].name])[0]


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("grouped", "depthwise", "narrow")]


@pytest.mark.parametrize("name", ["vectors", *SLOW])
def test_logits_in_its_own_executor(name, seed):
    net = all_networks(seed)[name]()
    assert net.samples is not None
    model = ModelWrapper(to_qonnx(net)).transform(InferShapes())
    operators = {node.op_type for node in model.graph.node}
    assert operators >= {"Quant", "BipolarQuant"}
    for image, wanted in zip(net.samples.images, net.samples.logits, strict=True):
        assert np.array_equal(executed(net, image, model), wanted)


def test_weights_lie_on_the_grid_that_is_stated(seed):
    """A weight off the grid is rounded by the executor: the nodes do their work."""
    net = all_networks(seed)["vectors"]()
    model = ModelWrapper(to_qonnx(net)).transform(InferShapes())
    assert net.samples is not None
    (name, *_) = [tensor.name for tensor in model.graph.initializer if tensor.name.endswith("1.weight")]
    weight = model.get_initializer(name)
    model.set_initializer(name, weight + np.float32(0.01))
    assert np.array_equal(executed(net, net.samples.images[0], model), net.samples.logits[0])
    model.set_initializer(name, -weight)
    assert not np.array_equal(executed(net, net.samples.images[0], model), net.samples.logits[0])


def test_what_would_not_be_exact_is_refused(seed, tmp_path, run):
    net = all_networks(seed)["float"]()
    with pytest.raises(SysmolError, match="full-precision network"):
        to_qonnx(net)
    status, _, wrong = run("export", save(tmp_path / "a.network.safetensors", net), "--qonnx", tmp_path / "a.onnx")
    assert status == 2 and wrong.count("\n") == 1 and not (tmp_path / "a.onnx").exists()
    net = all_networks(seed)["grouped"]()
    status, said, _ = run("export", save(tmp_path / "b.network.safetensors", net), "--qonnx", tmp_path / "b.onnx")
    assert status == 0 and "b.onnx" in said and (tmp_path / "b.onnx").exists()
