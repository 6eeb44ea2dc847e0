"""`sysmol costs` and `sysmol patterns`: what they print and write, and one line for what does not fit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sysmol.analysis.costs.vectors import Costs, VectorCost
from sysmol.errors import SysmolError
from sysmol.network import save
from sysmol.network.builder import Builder, random_network
from sysmol.patterns.demands import network_demands
from sysmol.patterns.selection import choose

Run = Callable[..., tuple[int, str, str]]


def costs_of(name: str, **per_vector: float) -> Costs:
    """Costs made by hand."""
    layers = {layer: VectorCost(2 * cycles, 1, cycles) for layer, cycles in per_vector.items()}
    return Costs(name, "mixed", "arm", "o3-n1", "estimate", layers)


def test_orders_that_layers_share_are_one_demand() -> None:
    b = Builder(np.random.default_rng(0), 4, 4, 3)
    precisions = np.array([4] * 8 + [2] * 20 + [1] * 36)
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, [precisions], 64)
    b.layer("conv2d", x, ["s16"], 16)
    (y,) = b.layer("maxpool", x, [], kernel=(2, 2), stride=(2, 2))
    b.layer("depthwise", y, ["s16"], kernel=(2, 2))
    b.classifier(y)
    net = b.finish()
    (demand,) = network_demands(net)
    # 16 pixels x 16 outputs; 1 pixel x 4 taps x 4 parts; the classifier's 4 taps x 10 outputs; pooling costs nothing
    assert demand.counts == (8, 20, 36) and demand.cycles == 16 * 16 + 4 * 4 + 4 * 10
    readers = [layer.name for layer in net.layers if net.tensors[layer.input].format == "smol"]
    (demand,) = network_demands(net, {name: 2.5 for name in readers})
    assert demand.cycles == 2.5 * len(readers)
    with pytest.raises(SysmolError, match="costs lack the layers"):
        network_demands(net, {})


def test_channels_of_different_groups_share_no_vectors() -> None:
    b = Builder(np.random.default_rng(0), 4, 4, 3)
    precisions = np.array([4] * 6 + [1] * 4 + [4] * 2 + [2] * 8)
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, [precisions], 20, apart=2)
    (y,) = b.layer("conv2d", x, ["s8"], 16, groups=2)
    b.classifier(y)
    first, second = network_demands(b.finish())
    assert (first.counts, second.counts) == ((6, 0, 4), (2, 8, 0))
    assert first.cycles == second.cycles == 16 * 16 / 2


def test_patterns_prints_what_choose_finds(run: Run, tmp_path: Path) -> None:
    nets = [random_network(seed, size=4, widths=(33, 70)) for seed in (1, 2)]
    paths = [save(tmp_path / f"{n}.network.safetensors", net) for n, net in enumerate(nets)]
    demands = [demand for net in nets for demand in network_demands(net)]
    status, out, err = run("patterns", *paths, "--count", 2, "--count", 45)
    assert status == 0, err
    assert f"{len(demands)} channel orders" in out and "no costs given" in out
    for count in (2, 45):
        found = choose(demands, count)
        assert f"{sum(found.vectors)} │" in out and f"{found.cycles:,.0f}" in out
    # with costs, one file per network
    written = []
    for path, net in zip(paths, nets, strict=True):
        readers = {layer.name: 3.0 for layer in net.layers if net.tensors[layer.input].format == "smol"}
        written.append(costs_of(net.name, **readers).write(path.with_suffix(".costs.json")))
    status, out, err = run("patterns", *paths, "--costs", written[0], "--costs", written[1], "--method", "greedy")
    assert status == 0 and "estimate on o3-n1" in out, err
    status, _, err = run("patterns", *paths, "--costs", written[0])
    assert status == 2 and "once per network" in err and err.count("\n") == 1


def test_patterns_refuses_a_network_without_smol_tensors(run: Run, tmp_path: Path) -> None:
    b = Builder(np.random.default_rng(0), 4, 4, 3)
    (x,) = b.layer("rescale", "image", ["s8"])
    b.classifier(x)
    status, _, err = run("patterns", save(tmp_path / "int8.network.safetensors", b.finish()))
    assert status == 2 and "nothing to choose" in err and err.count("\n") == 1


def test_costs_needs_a_manifest(run: Run, tmp_path: Path) -> None:
    status, _, err = run("costs", tmp_path / "none.json")
    assert status == 2 and "cannot read" in err and err.count("\n") == 1
