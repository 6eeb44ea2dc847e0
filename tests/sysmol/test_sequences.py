"""Transformers' operations in the reference: their exact arithmetic, what a network file keeps of them, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from sysmol.errors import SysmolError
from sysmol.network import load, reference, save, validate
from sysmol.network.model import Layer
from sysmol.network.operations import operation
from sysmol.network.operations.attend import MEAN_BITS, dividend
from sysmol.network.operations.heads import by_heads, from_heads
from sysmol.network.operations.normalisation import (
    fraction_bits,
    magnitude_bits,
    normalised,
    reciprocal_root,
)
from sysmol.network.operations.softmax import weight_table, weights
from sysmol.network.sequences import FUNCTIONS, SequenceBuilder, any_gate, any_transformer, table_of


@pytest.fixture(scope="module")
def net():
    return any_transformer(2)


@pytest.mark.parametrize("bits", [4, 2, 1])
def test_weights_of_a_softmax_are_the_nearest_codes(bits):
    """Of every difference that two scores of 16 bits can have; halves go up, with 1 bit down."""
    distance = -np.arange(1 << 16)
    exact = ((1 << bits) - 1) * np.exp2(distance / 16)
    nearest = np.ceil(exact - 0.5) if bits == 1 else np.floor(exact + 0.5)
    assert np.array_equal(weights(distance, bits), nearest)
    assert weights(np.zeros(1, dtype=np.int64), bits) == (1 << bits) - 1
    table = weight_table(bits)
    assert np.array_equal(table, nearest[: len(table)]) and not nearest[len(table) :].any()


def test_reciprocal_roots_err_by_less_than_six_hundred_thousandths():
    """Of every mantissa."""
    V = np.arange(1 << 14, 1 << 16)
    r, e = reciprocal_root(V)
    assert np.abs(r * np.sqrt(V) / 2.0**22 - 1).max() < 6e-5
    assert not e.any() and r.min() >= 1 << 14 and r.max() <= 1 << 15


def rows(rng, n):
    """Rows of 13 bits: normal ones of all sizes, a single outlier, extremes, two values side by side."""
    yield np.clip(np.round(rng.normal(rng.uniform(-100, 100), 10 ** rng.uniform(0, 3.5), n)), -4096, 4095)
    yield np.where(np.arange(n) == rng.integers(n), rng.choice([-4096, 4095]), 0)
    yield rng.choice([-4096, 4095], n)
    yield rng.integers(-4096, 4096, n)
    yield rng.integers(-4096, 4095) + (np.arange(n) < rng.integers(1, n + 1))


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("n", [1, 2, 3, 15, 64, 96, 257, 768, 1023])
def test_normalised_rows(n, centred, seed):
    """Every result is within 1.5 steps, within the bound, and what is multiplied fits 16 bits."""
    rng = np.random.default_rng(seed + n)
    kind = operation("layernorm" if centred else "rmsnorm")
    builder = SequenceBuilder(rng, 1, 1, n)
    builder.net.tensors["image"].format = "s16"
    bound = kind.accumulator_bound(builder.net, Layer("", kind.name, "image"))[0]
    for _ in range(8):
        for row in rows(rng, n):
            x = row.astype(np.int64)
            y = normalised(x, centred)
            centre = x - x.mean() if centred else x
            real = centre / np.sqrt((centre**2).mean() + 1 / n) * 2.0 ** fraction_bits(n)
            assert np.abs(y - real).max() <= 1.5
            assert np.abs(y).max() <= bound
            assert np.abs(_multiplied(x, centred)).max() <= 1 << 15


def _multiplied(x, centred):
    """``c - h`` in floating point."""
    n = len(x)
    total = int(x.sum()) if centred else 0
    _, e = reciprocal_root(np.array([n * int((x * x).sum()) - total**2 + n]))
    return (x - total / n) * 2.0 ** (magnitude_bits(n) - 7 - int(e[0]) + fraction_bits(n))


def test_heads_are_consecutive_channels():
    x = np.arange(2 * 3 * 8).reshape(2, 3, 8)
    heads = by_heads(x, 4)
    assert heads.shape == (4, 6, 2)
    assert np.array_equal(heads[1, 5], x[1, 2, 2:4])
    assert np.array_equal(from_heads(heads, 2, 3), x)


@pytest.mark.parametrize("bits", [4, 2, 1])
def test_equal_weights_give_the_mean(bits):
    """Of one token, of 197, and of values at both ends of the grid."""
    rng = np.random.default_rng(bits)
    for count in (1, 2, 15, 197):
        b = SequenceBuilder(rng, 1, count, 1)
        p = b.tensor("p", 1, count, count, [bits] * count)
        v = b.tensor("v", 1, count, 3, [bits] * 3)
        layer = Layer("a", "attend", p, second=v)
        top = (1 << bits) - 1
        g = 2 * rng.integers(0, top + 1, (1, count, 3)) - top
        g[..., 0] = top
        found = operation(layer).evaluate(b.net, layer, [np.full((1, count, count), top), g])
        unit = dividend(bits) * 2 * (1 << {4: 0, 2: 4, 1: 6}[bits]) / 2**MEAN_BITS
        assert np.abs(found[0, 0] - g[0].mean(0) * unit).max() <= 1 + top * unit * top * count / dividend(bits)
        assert np.abs(found).max() <= operation(layer).accumulator_bound(b.net, layer)[0]


def test_scores_are_dot_products_of_real_values(net):
    """Of the values on the grid, in the accumulators' unit."""
    layer = next(la for la in net.layers if la.op == "scores")
    queries, keys = (net.tensors[name] for name in layer.inputs)
    stored = reference.run(net, net.samples.images[0])
    x = [reference.values(net, name, stored) for name in layer.inputs]
    real = [by_heads(g * np.exp2(1.0 - t.precisions), layer.groups) for g, t in zip(x, (queries, keys), strict=True)]
    found = by_heads(operation(layer).evaluate(net, layer, x), layer.groups)
    assert np.allclose(found * 2.0**-6, real[0] @ real[1].transpose(0, 2, 1))
    assert (np.abs(found.reshape(-1)) <= operation(layer).accumulator_bound(net, layer).max()).all()


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_tables_hold_the_functions(name):
    table = table_of(name, -4.0, 4.0, 2.0**-10)
    at = np.linspace(-4, 4, 64)
    assert np.abs(np.array(table) * 2.0**-10 - FUNCTIONS[name](at)).max() <= 2.0**-11


def test_a_network_with_attention_survives_its_file(tmp_path, net):
    found = load(save(tmp_path / "a.safetensors", net))
    assert np.array_equal(reference.evaluate(found, net.samples.images), net.samples.logits)
    first = (tmp_path / "a.safetensors").read_bytes()
    assert save(tmp_path / "b.safetensors", found).read_bytes() == first
    constant = next(iter(net.constants))
    assert np.array_equal(found.tensors[constant].data, net.tensors[constant].data)


FAULTS = {
    "second": ("scores", lambda net, la: setattr(la, "second", la.input)),
    "table": ("lookup", lambda net, la: setattr(la, "table", tuple(-v for v in la.table))),
    "constant": ("", lambda net, la: _changed(net)),
    "centre": ("layernorm", lambda net, la: setattr(la, "op", "rmsnorm")),
    "begin": ("slice", lambda net, la: setattr(la, "begin", 0)),
}


def _changed(net):
    for name in net.constants:
        net.tensors[name].data = net.tensors[name].data[::-1, ::-1].copy() - 40


@pytest.mark.parametrize("fault", FAULTS)
def test_every_part_decides_the_result(fault, seed):
    """An exchanged input, table, constant or operation changes the logits of some network."""
    changed = tried = 0
    for number in range(400):
        net = any_transformer(seed + number)
        op, harm = FAULTS[fault]
        layers = [la for la in net.layers if not op or la.op == op]
        if not layers or (fault == "begin" and not any(la.begin for la in layers)):
            continue
        for layer in layers:
            harm(net, layer)
        validate(net)
        tried += 1
        changed += not np.array_equal(reference.evaluate(net, net.samples.images), net.samples.logits)
        if changed or tried >= 12:  # codes round a fault away in some
            break
    assert changed, f"in none of {tried} networks"


REFUSED = [
    ("scores", lambda net, la: setattr(la, "groups", 7), "no multiple of its 7 heads|vectors; each of 7 heads"),
    ("scores", lambda net, la: setattr(la, "second", ""), "a scores takes 2 inputs"),
    ("softmax", lambda net, la: setattr(la, "kernel", (2, 1)), "pixels|takes every pixel by itself"),
    ("attend", lambda net, la: setattr(la, "second", la.input), "weights of a query|makes 20 channels"),
    ("lookup", lambda net, la: setattr(la, "table", la.table[:63]), "a table of 63 entries, not of 64"),
    ("lookup", lambda net, la: setattr(la, "table", (40_000, *la.table[1:])), "exceeds 16 bits"),
    ("layernorm", lambda net, la: setattr(la, "table", (1,)), "has no table"),
    ("conv2d", lambda net, la: setattr(la, "begin", 1), "takes all channels, from 0 on"),
]


@pytest.mark.parametrize(("op", "harm", "message"), REFUSED, ids=[f"{op}-{i}" for i, (op, *_) in enumerate(REFUSED)])
def test_what_does_not_fit_is_refused_by_name(op, harm, message):
    net = next(n for n in map(any_transformer, range(30)) if any(la.op == op for la in n.layers))
    layer = next(la for la in net.layers if la.op == op)
    harm(net, layer)
    with pytest.raises(SysmolError, match=message):
        validate(net)


def test_weights_come_from_a_softmax():
    """Others can all be 0, and their sum divides."""
    net = any_transformer(2)
    layer = next(la for la in net.layers if la.op == "attend")
    weights = net.tensors[layer.input]
    other = next(la for la in net.layers if la.op == "softmax")
    other.op, other.output = "maxpool", other.input + "x"
    net.tensors[other.output] = replace(net.tensors[other.input], name=other.output)
    stream = next(la for la in net.layers if la.op == "scores")
    stream.outputs.append(replace(stream.outputs[0], tensor=weights.name, lo=0, hi=15))
    other.groups = 1
    with pytest.raises(SysmolError, match="are no weights of a softmax over"):
        validate(net)


def test_wide_streams_are_not_normalised():
    net = any_transformer(2)
    name = next(la.input for la in net.layers if la.op in ("layernorm", "rmsnorm"))
    (out,) = (out for la in net.layers for out in la.outputs if out.tensor == name)
    out.hi = 32_767
    with pytest.raises(SysmolError, match=f"reads {name}, whose numbers exceed 13 bits"):
        validate(net)


def test_a_constant_tensor_is_not_written():
    net = any_transformer(2)
    constant = next(iter(net.constants))
    net.layers[0].outputs[0].tensor = constant
    with pytest.raises(SysmolError, match="writes a tensor twice"):
        validate(net)


def test_gates_of_all_formats(seed):
    rng = np.random.default_rng(seed)
    codes = [4] * 9 + [2] * 10
    for forms in (("s8", "s8"), (codes, "s16"), (codes, codes), ("s16", "s8")):
        net = any_gate(rng, forms)
        layer = next(la for la in net.layers if la.op == "gate")
        stored = reference.run(net, net.samples.images[0])
        x = [reference.values(net, name, stored) for name in layer.inputs]
        assert np.array_equal(operation(layer).evaluate(net, layer, x), x[0] * x[1])
