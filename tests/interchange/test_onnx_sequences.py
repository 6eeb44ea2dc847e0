"""Random networks with attention as ONNX: onnxruntime gives the reference's integers."""

import os

import numpy as np
import pytest

pytest.importorskip("onnx", reason="pip install 'sysmol[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'sysmol[onnx]'")

from sysmol.interchange import onnx_out  # noqa: E402
from sysmol.network import reference  # noqa: E402
from sysmol.network.sequences import any_transformer, plain_transformer  # noqa: E402

COUNT = int(os.environ.get("SYSMOL_TEST_NETWORKS", "4"))


def in_onnxruntime(net):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = onnx_out.to_onnx(net).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: net.samples.images})
    return found


@pytest.mark.parametrize("number", range(COUNT))
def test_onnxruntime_gives_the_reference_s_logits(number, seed):
    net = any_transformer(seed + number)
    found = in_onnxruntime(net)
    assert np.array_equal(found, net.samples.logits), f"SYSMOL_TEST_SEED={seed}, network {seed + number}"


@pytest.mark.parametrize("form", ["s8", "f32"])
@pytest.mark.parametrize("number", range(COUNT))
def test_bytes_and_floats(number, form, seed):
    net = plain_transformer(seed + number, form)
    found, wanted = in_onnxruntime(net), net.samples.logits
    near = 1e-4 * np.abs(wanted).max() if form == "f32" else 0
    assert np.abs(found.astype(np.float64) - wanted).max() <= near, f"SYSMOL_TEST_SEED={seed}, network {seed + number}"


def test_a_wrong_table_shows(seed):
    """Logits of a network whose tables are zero, where the reference's change with them."""
    for net in map(any_transformer, range(seed, seed + 200)):
        for layer in net.layers:
            if layer.op == "lookup":
                layer.table = (0,) * len(layer.table)
        changed = reference.evaluate(net, net.samples.images)
        if not np.array_equal(changed, net.samples.logits):
            break
    else:
        pytest.fail(f"SYSMOL_TEST_SEED={seed}: no table of 200 networks matters")
    found = in_onnxruntime(net)
    assert np.array_equal(found, changed)
    assert not np.array_equal(found, net.samples.logits)
