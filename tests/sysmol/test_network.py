"""The network file: round trip, the arbiter's exactness, and what a loader must refuse."""

import json

import numpy as np
import pytest
import safetensors.numpy

from sysmol import builder, network, reference
from sysmol.errors import SysmolError
from sysmol.grid import PRODUCT_SHIFT, integer
from sysmol.packing import slot_precisions, unpack


@pytest.fixture(scope="module")
def net():
    return builder.random_network(3)


def _rewrite(source, target, change):
    """Copy a network file with its description changed."""
    description = network.read_description(source)
    arrays = safetensors.numpy.load_file(str(source))
    change(description, arrays)
    target.write_bytes(safetensors.numpy.save(arrays, {"sysmol": json.dumps(description)}))
    return target


def test_round_trip_keeps_everything(net, tmp_path):
    path = network.save(tmp_path / "a.safetensors", net)
    again = network.load(path)
    assert (reference.evaluate(again, again.samples.images) == net.samples.logits).all()
    assert network.save(tmp_path / "b.safetensors", again).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("keep", [0, 7, 100, -1, -1000])
def test_truncated_file(net, tmp_path, keep):
    data = network.save(tmp_path / "a.safetensors", net).read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[:keep])
    with pytest.raises(SysmolError, match="cut short"):
        network.load(tmp_path / "cut.safetensors")


def test_newer_foreign_and_missing_files(net, tmp_path):
    path = network.save(tmp_path / "a.safetensors", net)
    newer = _rewrite(path, tmp_path / "newer.safetensors", lambda d, _: d.update(version=network.VERSION + 1))
    with pytest.raises(SysmolError, match="newer than version"):
        network.load(newer)
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(safetensors.numpy.save({"x": np.zeros(3)}))
    with pytest.raises(SysmolError, match="no sysmol network"):
        network.load(foreign)
    with pytest.raises(SysmolError, match="no network file"):
        network.load(tmp_path / "absent.safetensors")


def _drop_layers(d, _):
    del d["layers"]


def _drop_weight(_, arrays):
    del arrays["conv2d1.weight"]


def _unknown_op(d, _):
    d["layers"][1]["op"] = "attention"


def _backwards(d, _):
    d["layers"].reverse()


def _overflow(_, arrays):
    arrays["conv2d1.out0.M"][:] = 2**30


def _double_slot(_, arrays):
    arrays["t2_0.slots"][:2] = 0


def _wide_clamp(d, _):
    d["layers"][0]["outputs"][0]["hi"] = 128


@pytest.mark.parametrize(
    "change", [_drop_layers, _drop_weight, _unknown_op, _backwards, _overflow, _double_slot, _wide_clamp]
)
def test_garbled_content_is_refused_in_one_line(net, tmp_path, change):
    path = network.save(tmp_path / "a.safetensors", net)
    with pytest.raises(SysmolError) as caught:
        network.load(_rewrite(path, tmp_path / "bad.safetensors", change))
    assert "\n" not in str(caught.value)
    assert "bad.safetensors" in str(caught.value)


def test_padding_with_code_zero_is_a_known_constant(net):
    """What a generator does: full vectors, code 0 outside the image and in unused slots, the constant taken from B."""
    layer = next(la for la in net.layers if la.op == "conv2d" and net.tensors[la.input].format == "smol")
    x = net.tensors[layer.input]
    stored = reference.run(net, net.samples.images[0])
    acc = reference.accumulate(net, layer, reference.values(net, layer.input, stored))
    precisions = slot_precisions(x.patterns)
    shifts = np.array([PRODUCT_SHIFT[int(p)] for p in precisions])
    weights = integer(unpack(layer.weight, x.patterns), precisions) << shifts
    slots = np.zeros((x.height, x.width, len(precisions)), dtype=np.int64)
    slots[..., x.slots] = stored[layer.input]
    top, left, bottom, right = layer.padding
    padded = integer(np.pad(slots, ((top, bottom), (left, right), (0, 0))), precisions)
    zero = integer(np.zeros(len(precisions), dtype=np.int64), precisions)
    used = np.zeros(len(precisions), dtype=bool)
    used[x.slots] = True
    (rows, row_taps), (columns, column_taps) = network.layer_classes(net, layer)
    for oy, row in enumerate(rows):
        for ox, column in enumerate(columns):
            y, x0 = oy * layer.stride[0], ox * layer.stride[1]
            physical = np.tensordot(weights, padded[y : y + layer.kernel[0], x0 : x0 + layer.kernel[1]], axes=3)
            inside = np.zeros(layer.kernel, dtype=bool)
            inside[slice(*row_taps[row]), slice(*column_taps[column])] = True
            known = (weights * zero * ~(inside[..., None] & used)).sum(axis=(1, 2, 3))
            assert (physical - known == acc[oy, ox]).all()


def test_border_classes_of_a_padded_3x3():
    index, classes = network.border_classes(8, 3, 1, 1, 1)
    assert index == [0, 1, 1, 1, 1, 1, 1, 2]
    assert classes == [(1, 3), (0, 3), (0, 2)]
    assert network.border_classes(5, 3, 2, 1, 1) == ([0, 1, 2], [(1, 3), (0, 3), (0, 2)])
    assert network.border_classes(1, 3, 1, 1, 1) == ([0], [(1, 2)])
