"""The network file: what is saved comes back, in few bytes; what a loader must refuse; files of older versions."""

import json
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from sysmol import network
from sysmol.errors import SysmolError
from sysmol.network import builder, reference
from sysmol.network import file as network_file
from sysmol.network.checks import validate
from sysmol.network.file import container, version2
from sysmol.packing import drop_fillers, free_cover, restore_fillers, slot_precisions

EDGES = {"kernel": (3, 3), "padding": (1, 1, 1, 1)}


def _grouped(rng):
    b = builder.Builder(rng, 5, 5, 3, "grouped")
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, [builder.random_precisions(rng, 12)], 12, apart=3, **EDGES)
    (x,) = b.layer("conv2d", x, ["s8"], 6, groups=3, **EDGES)
    (x,) = b.layer("conv2d", x, ["s8"], 4, groups=2, stride=(2, 1), **EDGES)
    b.classifier(x)
    return b.finish()


def _floating(rng):
    b = builder.Builder(rng, 6, 5, 3, "floating")
    (x,) = b.layer("rescale", "image", ["f32"])
    (stream,) = b.layer("conv2d", x, ["f32"], 5, **EDGES)
    (x,) = b.layer("conv2d", stream, ["f32"], 5, residual=stream, **EDGES)
    (x,) = b.layer("depthwise", x, ["f32"], **EDGES)
    (x,) = b.layer("maxpool", x, [], kernel=(2, 2), stride=(2, 2))
    b.classifier(x)
    return b.finish()


def as_exported(net, rng):
    """The network with what an export has and the builder has not: zero points, B from them, usual fillers."""
    for layer in net.layers:
        x = net.tensors[layer.input]
        if layer.op in ("conv2d", "depthwise") and x.format in ("smol", "s8"):
            reach = np.array([15, 3, 1] if x.format == "smol" else [128])
            x.zero_point = tuple(int(z) for z in rng.uniform(-1, 1, len(reach)) * (reach << network.ZERO_POINT_SHIFT))
        for out in layer.outputs:
            if out.M is not None and net.tensors[out.tensor].format != "f32":
                sums = network.border_sums(net, layer)
                border = network.border_constants(sums, out.M, out.multiply, out.pre)
                out.B = (out.B[:1, :1] + border).astype(np.int32)
        if x.format == "smol" and layer.weight is not None and layer.groups == 1:
            codes = drop_fillers(layer.weight, x.patterns, x.slots)
            layer.weight = restore_fillers(codes, layer.weight.shape[:-2], x.patterns, x.slots)
    validate(net)
    net.samples.logits = reference.evaluate(net, net.samples.images)
    return net


def make(kind, seed):
    """A random network; ``derived`` ones as :func:`as_exported`."""
    rng = np.random.default_rng(seed)
    if kind == "floating":
        return _floating(rng)
    if kind.startswith("any"):
        net = builder.any_network(seed)
    elif kind.startswith("grouped"):
        net = _grouped(rng)
    else:
        mix = rng.dirichlet([1, 1, 1])
        net = builder.random_network(seed, int(rng.integers(5, 9)), [int(w) for w in rng.integers(3, 70, 2)], mix)
    return as_exported(net, rng) if kind.endswith("derived") else net


def assert_same(a, b):
    """Equal to the last integer and type."""
    assert (a.name, a.input, a.output) == (b.name, b.input, b.output)
    assert list(a.tensors) == list(b.tensors) and len(a.layers) == len(b.layers)
    assert a.normalisation == b.normalisation
    for t, u in zip(a.tensors.values(), b.tensors.values(), strict=True):
        assert (t.shape, t.format, t.patterns, t.zero_point) == (u.shape, u.format, u.patterns, u.zero_point)
        assert t.slots is u.slots is None or np.array_equal(t.slots, u.slots)
    for layer, other in zip(a.layers, b.layers, strict=True):
        for key in ("name", "op", "input", "residual", "output", "kernel", "stride", "padding", "groups"):
            assert getattr(layer, key) == getattr(other, key), key
        assert layer.weight is other.weight is None or np.array_equal(layer.weight, other.weight)
        for out, again in zip(layer.outputs, other.outputs, strict=True):
            for key in ("tensor", "lo", "hi", "shift", "multiply", "residual_multiply", "pre"):
                assert getattr(out, key) == getattr(again, key), (layer.name, key)
            for key in "MBR":
                x, y = getattr(out, key), getattr(again, key)
                assert x is y is None or np.array_equal(x, y), (layer.name, key)
                assert y is None or y.dtype in (np.int32, np.float32)


KINDS = ("mixed", "mixed-derived", "grouped", "grouped-derived", "floating", "any", "any-derived")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(3))
def test_round_trip_keeps_everything(kind, number, tmp_path, seed):
    net = make(kind, seed + number)
    path = network.save(tmp_path / "a.safetensors", net)
    again = network.load(path)
    assert_same(net, again)
    assert np.array_equal(reference.evaluate(again, again.samples.images), net.samples.logits)
    assert network.save(tmp_path / "b.safetensors", again).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_deployment_file_infers_the_same_and_its_parts_add_up(kind, tmp_path, seed):
    net = make(kind, seed)
    net.provenance = {"phases": ["long log"] * 1000, "logit_scale": 0.25}
    net.metrics = {"accuracy_integer": 0.5}
    path = network.save(tmp_path / "a.safetensors", net, deploy=True)
    again = network.load(path)
    assert_same(net, again)
    assert again.samples is None and not again.metrics and again.provenance == {"logit_scale": 0.25}
    assert np.array_equal(reference.evaluate(again, net.samples.images), net.samples.logits)
    assert sum(network_file.breakdown(net).values()) == path.stat().st_size


def test_derived_files_hold_no_border_table_and_no_fillers(tmp_path, seed):
    """Against the same file with one number changed that keeps the short forms from holding."""
    net = make("mixed-derived", seed)
    layer = next(la for la in net.layers if any(la.padding) and net.tensors[la.input].format == "smol")
    short = network_file.breakdown(net)
    rows = {row["name"]: row for row in _description(network_file.encode(net))["layers"]}
    assert rows[layer.name]["weight"] == "codes" and "table" not in rows[layer.name]["outputs"][0]
    layer.outputs[0].B[0, 0, 0] += 1
    layer.weight = layer.weight.copy()
    x = net.tensors[layer.input]
    unused = len(x.slots) < len(slot_precisions(x.patterns))
    if unused:
        layer.weight[...] = 0
    rows = {row["name"]: row for row in _description(network_file.encode(net))["layers"]}
    assert "table" in rows[layer.name]["outputs"][0]
    assert rows[layer.name]["weight"] == ("registers" if unused else "codes")
    assert network_file.breakdown(net)["scales and biases"] > short["scales and biases"]


def _description(data):
    return json.loads(zlib.decompress(safetensors.numpy.load(data)["description"].tobytes()))


@pytest.mark.parametrize("fault", ["lost", "one step"])
def test_a_fault_in_the_derivation_changes_the_logits(fault, tmp_path, monkeypatch, seed):
    """The loader must derive what the exporter derived: samples in the file tell."""
    net = make("mixed-derived", seed)
    path = network.save(tmp_path / "a.safetensors", net)
    right = version2.border_constants
    step = max(1 << out.shift for layer in net.layers for out in layer.outputs)
    wrong = (lambda *a: right(*a) * 0) if fault == "lost" else (lambda *a: right(*a) + step)
    monkeypatch.setattr(version2, "border_constants", wrong)
    bad = network.load(path)
    assert not np.array_equal(reference.evaluate(bad, bad.samples.images), net.samples.logits)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_slots_in_order_take_no_bytes(bits, tmp_path, seed):
    """Those of one precision; others come back from theirs."""
    b = builder.Builder(np.random.default_rng(seed), 1, 1, 300)
    (x,) = b.layer("rescale", "image", [[bits] * 300])
    (y,) = b.layer("rescale", x, [[4, 1] * 150])
    b.classifier(y)
    net = b.finish()
    assert network_file.breakdown(net)["permutations"] == 2 * len(net.tensors[y].slots)
    assert np.array_equal(net.tensors[x].slots, np.arange(300))
    assert_same(net, network.load(network.save(tmp_path / "a.safetensors", net)))


@pytest.mark.parametrize("count", [1, 7, 8, 100])
def test_fillers_come_back(count, seed):
    rng = np.random.default_rng(seed)
    precisions = builder.random_precisions(rng, count)
    b = builder.Builder(rng, 1, 1, 1)
    t = b.net.tensors[b.tensor("x", 1, 1, count, precisions, free_cover(precisions))]
    data = rng.integers(0, 256, -(-3 * int(precisions.sum()) // 8)).astype(np.uint8)
    data[-1] &= (1 << ((3 * int(precisions.sum()) - 1) % 8 + 1)) - 1
    registers = restore_fillers(data, (3, 1), t.patterns, t.slots)
    assert registers.shape == (3, 1, len(t.patterns), 16)
    assert np.array_equal(drop_fillers(registers, t.patterns, t.slots), data)


# --- what a loader refuses -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def net():
    return make("mixed-derived", 3)


def _rewrite(source, target, change):
    """Copy a network file with its description or arrays changed, its checksum right."""
    description, arrays = network_file.read(source)
    arrays = {name: array.copy() for name, array in arrays.items()}
    change(description, arrays)
    target.write_bytes(network_file.wrap(description, arrays))
    return target


@pytest.mark.parametrize("keep", [0, 7, 100, -1, -1000])
def test_truncated_file(net, tmp_path, keep):
    data = network.save(tmp_path / "a.safetensors", net).read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[:keep])
    with pytest.raises(SysmolError, match="cut short"):
        network.load(tmp_path / "cut.safetensors")


def test_any_flipped_byte_is_refused_in_one_line(net, tmp_path, seed):
    data = network.save(tmp_path / "a.safetensors", net, deploy=True).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for place in np.random.default_rng(seed).integers(0, len(data), 100):
        flipped = bytearray(data)
        flipped[place] ^= 0x41
        (tmp_path / "bad.safetensors").write_bytes(flipped)
        with pytest.raises(SysmolError) as caught:
            network.load(tmp_path / "bad.safetensors")
        assert "\n" not in str(caught.value) and "bad.safetensors" in str(caught.value)
        assert place < start or "damaged" in str(caught.value)


def test_newer_foreign_and_missing_files(tmp_path):
    newer = tmp_path / "newer.safetensors"
    head = {"format": network_file.FORMAT, "version": network_file.VERSION + 1}
    newer.write_bytes(safetensors.numpy.save({"x": np.zeros(3)}, {"sysmol": json.dumps(head)}))
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


def _short_weights(_, arrays):
    arrays["weights"] = arrays["weights"][:-1]


def _long_constants(_, arrays):
    arrays["constants"] = np.append(arrays["constants"], np.uint8(0))


def _no_slots(_, arrays):
    del arrays["slots"]


def _unknown_op(d, _):
    d["layers"][1]["op"] = "attention"


def _backwards(d, _):
    d["layers"].reverse()


def _overflow(d, _):
    d["layers"][1]["outputs"][0]["M"] = {"each": [2**30] * 3}


def _no_32_bits(d, _):
    d["layers"][1]["outputs"][0]["M"] = {"each": [2**40] * 3}


def _double_slot(_, arrays):
    arrays["slots"][:2] = 0


def _slot_outside(_, arrays):
    arrays["slots"][0] = 255


def _too_many_in_order(d, arrays):
    row = d["layouts"][0]
    arrays["slots"] = arrays["slots"][row["channels"] * np.dtype(row["slots"]).itemsize :]
    row |= {"slots": "in order", "channels": 1 << 50}


def _wide_clamp(d, _):
    d["layers"][0]["outputs"][0]["hi"] = 128


def _huge_zero_point(d, _):
    next(t for t in d["tensors"] if t.get("zero_point"))["zero_point"][0] = 2**80


def _no_stride(d, _):
    d["layers"][1]["stride"] = [0, 1]


def _unknown_type(d, _):
    next(row for row in d["layers"] if row.get("weight") == "codes")["weight"] = "registered"


@pytest.mark.parametrize(
    "change",
    [
        *(_drop_layers, _short_weights, _long_constants, _no_slots, _unknown_op, _backwards, _overflow, _no_32_bits),
        *(_double_slot, _slot_outside, _wide_clamp, _huge_zero_point, _no_stride, _unknown_type, _too_many_in_order),
    ],
)
def test_garbled_content_is_refused_in_one_line(net, tmp_path, change):
    path = network.save(tmp_path / "a.safetensors", net)
    with pytest.raises(SysmolError) as caught:
        network.load(_rewrite(path, tmp_path / "bad.safetensors", change))
    assert "\n" not in str(caught.value)
    assert "bad.safetensors" in str(caught.value)


def _newer(where, key, value):
    def change(d, _):
        row = {"network": d, "layer": d["layers"][1], "tensor": d["tensors"][1], "output": d["layers"][1]["outputs"][0]}
        row[where][key] = value

    return change


@pytest.mark.parametrize(
    ("where", "key", "usual", "value"),
    [
        ("tensor", "planes", False, True),
        ("layer", "sums", 32, 16),
        ("layer", "residual_codes", False, True),
        ("layer", "ones_row", False, True),
        ("layer", "gate", None, 1),
        ("output", "scale", None, 1),
    ],
)
def test_fields_of_later_versions_are_known_by_their_usual_value_alone(net, tmp_path, where, key, usual, value):
    path = network.save(tmp_path / "a.safetensors", net)
    if usual is not None:
        assert_same(net, network.load(_rewrite(path, tmp_path / "usual.safetensors", _newer(where, key, usual))))
    with pytest.raises(SysmolError, match=f"{key}.* needs a newer sysmol"):
        network.load(_rewrite(path, tmp_path / "bad.safetensors", _newer(where, key, value)))


def _repeated(text, count):
    return zlib.compress(text * count, 9)


@pytest.mark.parametrize(
    "packed", [_repeated(b"0" * 1024, 1 << 16), _repeated(b"[", 200_000), _repeated(b'{"a":', 200_000), b"no zlib"]
)
def test_a_description_cannot_take_memory_or_the_stack(net, tmp_path, packed):
    description, arrays = network_file.read(network.save(tmp_path / "a.safetensors", net))
    whole = safetensors.numpy.load(network_file.wrap(description, arrays))
    whole["description"] = np.frombuffer(packed, np.uint8)
    head = {"format": network_file.FORMAT, "version": network_file.VERSION, "crc32": container.checksum(whole)}
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(safetensors.numpy.save(whole, {"sysmol": json.dumps(head)}))
    tracemalloc.start()
    with pytest.raises(SysmolError) as caught:
        network.load(bad)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value) and peak < 64 << 20


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 201, "\x1b[31m", 5, None])
def test_names_that_are_no_names_are_refused(net, tmp_path, name):
    def change(d, _):
        d["layers"][0]["name"] = name

    path = network.save(tmp_path / "a.safetensors", net)
    with pytest.raises(SysmolError) as caught:
        network.load(_rewrite(path, tmp_path / "bad.safetensors", change))
    assert str(caught.value).isprintable()


# --- older versions --------------------------------------------------------------------------------------------------


OLD = sorted((Path(__file__).parent / "data").glob("version*.safetensors"))


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.name.split(".")[0])
def test_files_of_every_version_are_read_and_their_logits_hold(path, tmp_path):
    """Files that sysmol wrote when the version was the newest."""
    net = network.load(path)
    assert np.array_equal(reference.evaluate(net, net.samples.images), net.samples.logits)
    again = network.load(network.save(tmp_path / "again.safetensors", net))
    assert_same(net, again)


def test_there_is_a_file_of_every_version():
    assert {int(path.name[len("version")]) for path in OLD} == set(network_file.VERSIONS)


def _version_1(net):
    """The file as version 1 had it: an array per layer and constant."""
    arrays = {"samples.images": net.samples.images, "samples.labels": net.samples.labels}
    arrays["samples.logits"] = net.samples.logits
    tensors = []
    for t in net.tensors.values():
        tensors.append({"name": t.name, "shape": t.shape, "format": t.format, "patterns": t.patterns})
        if t.slots is not None:
            arrays[f"{t.name}.slots"] = t.slots.astype(np.int32)
    layers = []
    for layer in net.layers:
        keys = ("name", "op", "input", "residual", "output", "kernel", "stride", "padding", "groups")
        outputs = []
        for number, out in enumerate(layer.outputs):
            limits = [None if np.isinf(limit) else limit for limit in (out.lo, out.hi)]
            outputs.append({"tensor": out.tensor, "shift": out.shift, "lo": limits[0], "hi": limits[1]})
            for key in "MBR":
                if getattr(out, key) is not None:
                    kind = np.float32 if net.is_float else np.int32
                    arrays[f"{layer.name}.out{number}.{key}"] = getattr(out, key).astype(kind)
        layers.append({key: getattr(layer, key) for key in keys} | {"outputs": outputs})
        if layer.weight is not None:
            arrays[f"{layer.name}.weight"] = layer.weight
    description = {"format": "sysmol-network", "version": 1, "name": net.name, "description": "", "input": net.input}
    description |= {"output": net.output, "tensors": tensors, "layers": layers, "provenance": {}, "metrics": {}}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(arrays, {"sysmol": json.dumps(description)})


@pytest.mark.parametrize("kind", ["mixed", "grouped", "floating"])
def test_version_1_is_read_and_becomes_smaller(kind, tmp_path, seed):
    net = make(kind, seed)
    old = tmp_path / "old.safetensors"
    old.write_bytes(_version_1(net))
    found = network.load(old)
    assert_same(net, found)
    assert np.array_equal(found.samples.logits, net.samples.logits)
    assert network.save(tmp_path / "new.safetensors", found).stat().st_size < old.stat().st_size
