"""Memory planning: offsets that never collide, near the lower bound; borders cleared where they must be."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from kernel_networks import all_networks

import sysmol.kernels_c.program as program
from sysmol.kernels_c.build import compile_program, run_executable
from sysmol.kernels_c.plan import arena as memory
from sysmol.kernels_c.plan.arena import Buffer, assign, lower_bound
from sysmol.kernels_c.plan.layout import plan
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.kernels_c.toolchain import find_compiler
from sysmol.network.builder import Builder


def peak(buffers, offsets):
    return max(at + b.size for at, b in zip(offsets, buffers, strict=True))


def smallest(buffers):
    """Exact: some order of placing each buffer as low as possible gives the smallest arena."""
    return min(peak(buffers, memory._place(buffers, order)) for order in permutations(range(len(buffers))))


def random_buffers(rng, count):
    first = rng.integers(0, 8, count)
    last = first + rng.integers(0, 4, count)
    sizes = 64 * rng.integers(1, 20, count)
    return [Buffer(int(s), int(a), int(b)) for s, a, b in zip(sizes, first, last, strict=True)]


def test_offsets(seed):
    """Buffers of one step are apart; small cases come close to the exact optimum, none goes below the bound."""
    rng = np.random.default_rng(seed)
    excess = []
    for _ in range(30):
        buffers = random_buffers(rng, int(rng.integers(1, 7)))
        offsets = assign(buffers)
        for step in range(12):
            live = sorted(
                (at, at + b.size) for at, b in zip(offsets, buffers, strict=True) if b.first <= step <= b.last
            )
            assert all(end <= start for (_, end), (start, _) in pairwise(live)), f"SYSMOL_TEST_SEED={seed}"
        best = smallest(buffers)
        assert lower_bound(buffers) <= best <= peak(buffers, offsets), f"SYSMOL_TEST_SEED={seed}"
        excess.append(peak(buffers, offsets) / best - 1)
    assert max(excess) <= 0.1, f"SYSMOL_TEST_SEED={seed}"


def test_many_buffers(seed):
    buffers = random_buffers(np.random.default_rng(seed), 60)
    assert peak(buffers, assign(buffers)) <= 1.25 * lower_bound(buffers), f"SYSMOL_TEST_SEED={seed}"


def test_no_buffers():
    assert assign([]) == [] and lower_bound([]) == 0


@pytest.mark.parametrize("name", ["narrow", "random", "int8", "float"])
def test_clears_what_kernels_rely_on(name, seed):
    """After every layer the borders of what it wrote hold zeros, over two images, whatever lay there before."""
    net = all_networks(seed)[name]()
    places = plan(net)
    found = memory.allocate(net, places)
    assert found.bound <= found.arena < found.unplanned
    arena = np.zeros(found.arena, dtype=np.uint8)
    for layer in [*net.layers, *net.layers]:
        for target in found.cleared.get(layer.name, []):
            place = places[target]
            for run in memory.runs(place):
                for index in np.ndindex(*run.counts):
                    at = place.offset + run.start + sum(i * step for i, step in zip(index, run.steps, strict=True))
                    arena[at : at + run.length] = 0
        for target in layer.targets:
            place = places[target]
            part = arena[place.offset : place.offset + place.row_bytes * place_rows(place)]
            pixels = part.reshape(place_rows(place), -1, place.pixel_bytes)
            top, left, bottom, right = place.pads
            inside = pixels[top : len(pixels) - bottom, left : pixels.shape[1] - right]
            border = pixels.copy()
            border[top : len(pixels) - bottom, left : pixels.shape[1] - right] = 0
            assert not border.any(), f"{layer.name}: {target}; SYSMOL_TEST_SEED={seed}"
            assert not inside[..., memory.trusted(place)].any(), f"{layer.name}: {target}; SYSMOL_TEST_SEED={seed}"
            inside[...] = 255 * memory._filled(place).any(axis=1).astype(np.uint8) | 255 * ~memory.trusted(place)


def place_rows(place):
    return place.tensor.height + place.pads[0] + place.pads[2]


def logits(net, folder, options):
    target = TARGETS["host"]
    made = generate(net, target, "net.host", "a test", options)
    executable, _ = compile_program(made, "net.host", folder, find_compiler(target), target, ("-O1",))
    return made.memory, run_executable([str(executable)], net.samples.images, net.classes, "int32")


def test_a_missing_clear_shows(tmp_path, monkeypatch):
    """Without its clearing functions the planned program gives other logits; one buffer per tensor needs none."""
    b = Builder(np.random.default_rng(7), 5, 7, 1)
    (x,) = b.layer("rescale", "image", ["s8"])
    for bits in (4, 2, 4):
        (x,) = b.layer("conv2d", x, [[bits] * 9], 9, (3, 3), padding=(1, 1, 1, 1))
    b.classifier(x, 3)
    net = b.finish()
    planned, right = logits(net, tmp_path, Options())
    assert planned.cleared and np.array_equal(right, net.samples.logits)
    apart, same = logits(net, tmp_path, Options(shared_memory=False))
    assert not apart.cleared and apart.arena == apart.unplanned and np.array_equal(same, right)
    allocate = memory.allocate

    def forgetful(*arguments):
        found = allocate(*arguments)
        found.cleared.clear()
        return found

    monkeypatch.setattr(program, "allocate", forgetful)
    _, wrong = logits(net, tmp_path, Options())
    assert not np.array_equal(wrong, right)
