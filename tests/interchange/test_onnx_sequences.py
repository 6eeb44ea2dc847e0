"""Random networks with attention as ONNX: onnxruntime gives the reference's integers."""

import os

import numpy as np
import pytest

pytest.importorskip("onnx", reason="pip install 'sysmol[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'sysmol[onnx]'")

from sysmol.interchange import onnx_out  # noqa: E402
from sysmol.network.sequences import any_transformer  # noqa: E402

COUNT = int(os.environ.get("SYSMOL_TEST_NETWORKS", "4"))


@pytest.mark.parametrize("number", range(COUNT))
def test_onnxruntime_gives_the_reference_s_logits(number, seed):
    net = any_transformer(seed + number)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = onnx_out.to_onnx(net).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: net.samples.images})
    assert np.array_equal(found, net.samples.logits), f"SYSMOL_TEST_SEED={seed}, network {seed + number}"


def test_a_wrong_table_shows(seed):
    """A table whose entries are one larger gives other logits than the reference's."""
    net = next(n for n in map(any_transformer, range(seed, seed + 20)) if not np.array_equal(*n.samples.logits))
    for layer in net.layers:
        if layer.op == "lookup":
            layer.table = tuple(max(v - 500, -32_768) for v in layer.table)
    session = onnxruntime.InferenceSession(
        onnx_out.to_onnx(net).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {session.get_inputs()[0].name: net.samples.images})
    assert not np.array_equal(found, net.samples.logits)
