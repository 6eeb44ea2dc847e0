"""Quantisation without training: better than rounding to the nearest, within limits, from every kind of checkpoint."""

import copy
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from layerwise import Layerwise
from networks import MODULES, random_images, random_statistics
from torch import nn

from sysmol.errors import SysmolError
from sysmol.network import Normalisation, load
from sysmol.patterns.slots import cover
from sysmol.train import prepare
from sysmol.train.frontend.data import USUAL, Dataset, load_digits, to_real
from sysmol.train.quantise.allocate import stored_bits
from sysmol.train.quantise.calibration import by_channel
from sysmol.train.quantise.prepared import Prepared
from sysmol.train.quantise.ptq.layers import reconstruct_layers
from sysmol.train.quantise.ptq.moments import Moments
from sysmol.train.quantise.ptq.precisions import noise_losses
from sysmol.train.quantise.ptq.refit import Refit, absolute, relative
from sysmol.train.quantise.ptq.rounding import WeightGrid, descend, reconstruct
from sysmol.train.quantise.quantiser import codes, smol_levels
from sysmol.train.quantise.trainer import Phase, Trainer, accuracy
from sysmol.train.recipes.quantisation import Request, fine_tune, network_of, quantise

MODELS = Path(os.environ.get("SYSMOL_DATA", "/nonexistent")) / "models"
SHORT = Refit(steps=40, batch=32)


class Tiny(nn.Module):
    """A residual sum and batch normalisation, for the bundled digits."""

    def __init__(self, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        self.down = nn.Sequential(nn.Conv2d(16, 24, 3, stride=2), nn.ReLU())
        self.head = nn.Linear(24, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head(self.down(torch.relu(self.body(x) + x)).mean((2, 3)))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits()


@pytest.fixture(scope="module")
def trained(digits: Dataset) -> nn.Module:
    torch.manual_seed(0)
    module = Tiny()
    Trainer(digits, 0, quiet=True, device="cpu").fit(module, Phase("fp32", epochs=4, lr=8e-3, batch=64))
    return module.eval()


def grid_of(weight: torch.Tensor, bits: int) -> WeightGrid:
    levels = smol_levels(torch.full(weight.shape, bits))
    return WeightGrid(torch.ones_like(weight), type(levels)(*(each.double() for each in vars(levels).values())))


def layer(seed: int) -> tuple[torch.Tensor, torch.Tensor, Moments]:
    """Weights ``[G, R, D]`` of a layer, its inputs but for their mean, correlated, and their moments."""
    torch.manual_seed(seed)
    groups, outputs, size = 2, 6, 40
    x = torch.randn(groups, size, 500).double()
    x = torch.randn(groups, size, size).double() @ x / size**0.5 + 1
    weight = torch.randn(groups, outputs, size).double()
    y = weight @ x
    mean_x, mean_y = x.mean(2), y.mean(2)
    centred = x - mean_x[..., None]
    moments = Moments(centred @ centred.mT / 500, (y - mean_y[..., None]) @ centred.mT / 500, mean_x, mean_y)
    return weight, centred, moments


@pytest.mark.parametrize("bits", [2, 4])
def test_sums_change_less_than_by_rounding_to_the_nearest(bits):
    """By less than half, on the grid. Always the same numbers: by how much less depends on them."""
    weight, centred, moments = layer(0)
    grid, scale = grid_of(weight, bits), weight.abs().amax(2) / 2
    found, chosen, _ = reconstruct(weight, scale, grid, moments)
    assert torch.allclose(grid.nearest(found, chosen), found)

    def error(rounded: torch.Tensor) -> float:
        return float(((rounded - weight) @ centred).square().mean())

    nearest = min(error(grid.nearest(weight, scale * factor)) for factor in (0.5, 0.7, 0.85, 1, 1.2))
    assert error(found) < 0.5 * nearest


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_no_step_of_the_descent_makes_sums_worse(bits, seed):
    weight, _, moments = layer(seed)
    grid, scale, covariance = grid_of(weight, bits), weight.abs().amax(2) / 2, moments.covariance

    def errors(rounded: torch.Tensor) -> torch.Tensor:
        return (((rounded - weight) @ covariance) * (rounded - weight)).sum(2)

    found = grid.nearest(weight, scale)
    first = errors(found)
    for _ in range(3):
        before, found = errors(found), descend(found, scale, grid, weight, covariance)
        assert torch.allclose(grid.nearest(found, scale), found)
        assert bool((errors(found) <= before * (1 + 1e-9)).all())
    assert bool((errors(found) < first).any())


def test_what_must_stay_zero_does(seed):
    torch.manual_seed(seed)
    weight, covariance = torch.randn(1, 4, 12).double(), torch.eye(12).double()[None]
    kept = (torch.rand(1, 4, 12) < 0.6).double()
    weight = weight * kept
    moments = Moments(covariance, weight @ covariance, torch.zeros(1, 12).double(), torch.zeros(1, 4).double())
    grid = grid_of(weight, 4)
    grid.kept = kept
    found, _, _ = reconstruct(weight, torch.full((1, 4), 1.0).double(), grid, moments)
    assert not found[kept == 0].any() and found[kept == 1].all()


def test_places_follow_their_scale(trained, digits):
    prepared = prepare(trained, to_real(digits.train_images[:32]), "w4")
    prepared.freeze()
    prepared.calibrate(to_real(digits.train_images[:32]))
    for unit in prepared.graph.convolutions:
        module = prepared.convolution(unit.name)
        before, places = module.weight.detach().clone(), relative(prepared, unit)
        assert torch.allclose(absolute(prepared, unit, places), before, atol=1e-6)
        with torch.no_grad():
            module.log_scale.add_(0.1)
        scale, levels = prepared.weight_grid(unit)
        moved = absolute(prepared, unit, places)
        assert torch.equal(
            codes(moved, scale, torch.zeros(()), levels), codes(before, scale / np.exp(0.1), torch.zeros(()), levels)
        )


# --- precisions ------------------------------------------------------------------------------------------------------


def noisy(module: nn.Module, images: torch.Tensor) -> Prepared:
    prepared = prepare(module, images[:8], "mixed", "P45").eval()
    prepared.calibrate(images)
    prepared.start_noise()
    return prepared


def chain() -> nn.Module:
    """Layers of two learned domains, the second read by depthwise and other layers."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8),
                         nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 10)).eval()  # fmt: skip


def test_precisions_know_what_noise_costs(digits):
    """What noise in one domain alone really adds to the cross entropy. Always the same numbers."""
    images = to_real(digits.train_images[:192])
    prepared = noisy(chain(), images)
    domains = prepared.learned_domains()
    noise = {name: each.s.detach().clone() for name, each in domains.items()}

    @torch.no_grad()
    def says() -> torch.Tensor:
        return prepared(images).double().log_softmax(1)

    with torch.no_grad():
        for each in domains.values():
            each.s.fill_(-30)  # no noise
    exact, predicted = says(), noise_losses(prepared, images)
    assert len(domains) > 1
    for name, each in domains.items():
        with torch.no_grad():
            each.s.copy_(noise[name])
        torch.manual_seed(0)
        added = torch.stack([(exact.exp() * (exact - says())).sum(1).mean() for _ in range(50)]).mean()
        assert float(predicted[name].sum()) == pytest.approx(float(added), rel=0.3)
        with torch.no_grad():
            each.s.fill_(-30)


def test_precisions_hardly_depend_on_the_draw(trained, digits):
    """Always the same numbers: a bound that holds for them."""
    prepared = noisy(trained, to_real(digits.train_images[:192]))
    one, other = (noise_losses(prepared, to_real(digits.train_images[:192]), seed) for seed in (1, 2))
    for name, each in one.items():
        assert float(np.corrcoef(each.log(), other[name].log())[0, 1]) > 0.9


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_weights_belong_to_the_channel_they_read(groups, seed):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 12, 3, groups=groups), nn.ReLU(),
                           nn.Flatten(), nn.Linear(12, 3)).eval()  # fmt: skip
    prepared = noisy(module, torch.rand(16, 1, 5, 5))
    unit = next(each for each in prepared.smol_convolutions() if each.groups == groups and each.shape[0] == 12)
    weight, channels = torch.randn(12, 6 // groups, 3, 3).double(), torch.randn(6).double()
    there = (weight * prepared.input_channels(unit, channels)).sum()
    assert float((by_channel(unit, weight) * channels).sum()) == pytest.approx(float(there), rel=1e-9, abs=1e-9)


# --- whole networks --------------------------------------------------------------------------------------------------


def off(prepared: Prepared, exact: Prepared, images: torch.Tensor) -> float:
    """How far the logits are from full precision's, in parts of their size."""
    with torch.no_grad():
        wanted = exact.eval()(images)
        return float((prepared.eval()(images) - wanted).square().mean() / wanted.var())


def rounded(module: nn.Module, images: torch.Tensor, policy: str) -> Prepared:
    prepared = prepare(module, images[:8], policy).eval()
    prepared.freeze()
    prepared.calibrate(images)
    return prepared


def test_better_than_rounding_to_the_nearest(trained, digits):
    """On images that it has not seen: layer after layer takes off a third of the error, the refit of all more."""
    images, others = to_real(digits.train_images[:192]), to_real(digits.test_images)
    exact = prepare(trained, images[:8], "fp32")
    nearest = off(rounded(trained, images, "w2"), exact, others)
    layers = rounded(trained, images, "w2")
    reconstruct_layers(layers, images)
    found = quantise(trained, images, Request(bits=2, refit=Refit(steps=120, batch=64)))
    assert off(layers, exact, others) < 0.7 * nearest
    assert off(found.prepared, exact, others) < off(layers, exact, others)


@pytest.mark.parametrize("name", list(MODULES))
@pytest.mark.parametrize("bits", [8, 4, 2.5])
def test_networks_of_all_layer_kinds(name, bits, seed):
    """Every layer of the file is what the rounded network computes."""
    torch.manual_seed(seed)
    make, shape = MODULES[name]
    module = make().eval()
    random_statistics(module, seed)
    normalisation = Normalisation((100.0,), (1 / 50,))
    pixels = random_images(seed, 64, shape)
    images = to_real(pixels, normalisation)
    if name == "plain" and bits == 2.5:
        with pytest.raises(SysmolError, match="cannot be reached"):
            quantise(module, images, Request(bits=bits, refit=SHORT), normalisation)
        return
    found = quantise(module, images, Request(bits=bits, refit=SHORT), normalisation)
    if bits == 2.5:
        assert stored_bits(found.prepared) <= bits
        domains = found.prepared.learned_domains().values()
        assert {p for d in domains for p in d.patterns} <= set(found.prepared.supported)
    net = network_of(found, "n", images)
    assert net.normalisation == normalisation
    Layerwise(found.prepared, images, pixels[:2].numpy()).check()


def test_the_module_stays_as_it_is(trained, digits):
    before = copy.deepcopy(trained.state_dict())
    quantise(trained, to_real(digits.train_images[:32]), Request(refit=Refit(steps=2)))
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())


def test_one_seed_gives_one_network(trained, digits):
    images = to_real(digits.train_images[:64])
    states = [quantise(trained, images, Request(bits=3, refit=SHORT)).prepared.state_dict() for _ in range(2)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items() if torch.is_tensor(value))


def test_fine_tuning_goes_on_from_there(trained, digits):
    found = quantise(trained, to_real(digits.train_images[:128]), Request(bits=1, refit=SHORT))
    before = accuracy(found.prepared, digits.test_images, digits.test_labels)
    fine_tune(found, digits, 3, device="cpu")
    assert accuracy(found.prepared, digits.test_images, digits.test_labels) > before


def test_refusals(trained, digits):
    images = to_real(digits.train_images[:8])
    with pytest.raises(SysmolError, match="at least two images"):
        quantise(trained, images[:1])
    with pytest.raises(SysmolError, match=r"0\.6 bits per parameter cannot be reached"):
        quantise(trained, images, Request(bits=0.6))


SOURCE = """
import torch
from torch import nn

def Tiny(channels, classes):
    return nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU(),
                         nn.Flatten(), nn.Linear(72, classes))
"""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A user's module beside its weights and images without labels."""
    (tmp_path / "nets.py").write_text(SOURCE)
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(72, 5),
    ]
    torch.save(nn.Sequential(*layers).state_dict(), tmp_path / "w.pt")
    np.savez(tmp_path / "i.npz", images=np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8))
    return tmp_path


def test_command_without_labels(run, checkpoint):
    out = checkpoint / "n.network.safetensors"
    common = ("quantise", f"{checkpoint}/nets.py:Tiny", "--data", checkpoint / "i.npz", "--out", out)
    weights = ("--weights", checkpoint / "w.pt", "--steps", 3, "--images", 32)
    status, said, wrong = run(*common, *weights, "--classes", 5, "--mean", "0.4", "--std", "0.2")
    assert (status, wrong) == (0, "") and "layer 0" in said and "wrote" in said
    net = load(out)
    assert net.classes == 5 and net.normalisation == Normalisation.of_unit_range((0.4,), (0.2,))
    assert net.provenance["images"] == 32 and "accuracy_fp32" not in net.metrics
    for more, line in (
        ((*weights, "--classes", 5, "--epochs", 1), "has no labels"),
        (weights, "--classes"),
        ((*weights, "--classes", 4), "holds no weights of this module"),
        ((*weights, "--classes", 5, "--mean", "1,x", "--std", "1"), "numbers with commas"),
        ((*weights, "--classes", 5, "--mean", "1"), "belong together"),
    ):
        status, _, wrong = run(*common, *more)
        assert status == 2 and line in wrong and wrong.count("\n") == 1


def test_command_with_labels(run, tmp_path):
    out = tmp_path / "n.network.safetensors"
    status, said, _ = run("quantise", "digits_net", "--data", "digits", "--out", out, "--steps", 2, "--images", 16)
    assert status == 0 and "accuracy (integers)" in said.replace("\n", " ")
    net = load(out)
    assert net.samples is not None and 0 <= net.metrics["same_class"] <= 1
    assert net.metrics["bits_per_parameter"] < 5


@pytest.mark.slow
@pytest.mark.skipif(not MODELS.is_dir(), reason="needs MLPerf Tiny's files in $SYSMOL_DATA/models")
@pytest.mark.parametrize("name", ["resnet8", "resnet8_large"])
def test_four_bits_of_mlperf_tiny(run, tmp_path, name):
    """Within a point of full precision, on all test images."""
    out = tmp_path / "n.network.safetensors"
    file = MODELS / f"mlperf_tiny_{name}_fp32.tflite"
    assert run("quantise", file, "--data", "cifar10", "--out", out)[0] == 0
    found = load(out).metrics
    assert found["test_images"] == 10_000
    assert found["accuracy_integer"] > found["accuracy_fp32"] - 0.01


def with_dead_channels(seed: int) -> nn.Sequential:
    """Three convolutions; 32 of the 80 channels between the second and the third are nearly 0, and so are the weights
    that read them."""
    torch.manual_seed(seed)
    widths = (3, 16, 80, 16, 10)
    layers = [each for a, b in itertools.pairwise(widths) for each in (nn.Conv2d(a, b, 3, padding=1), nn.ReLU())]
    module = nn.Sequential(*layers[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        for parameter in (layers[2].weight, layers[2].bias):
            parameter[DEAD] *= 1e-3
        layers[4].weight[:, DEAD] *= 1e-3
    return module.eval()


DEAD = slice(16, 48)


def test_channels_that_say_nothing_cost_nothing_at_one_bit():
    """Beside channels of other bits: a channel that is nearly 0 is not made as loud as they are. Always the same
    numbers: with a grid of its own it would cost 1.4 times the error."""
    seed = 1
    images = to_real(random_images(seed, 64, (8, 8, 3)), USUAL)
    module = with_dead_channels(seed)
    exact = module(images)

    def error(dead_bits: int) -> float:
        prepared = prepare(module, images[:8], "mixed", "P45").eval()
        bits = {name: np.full(len(domain.s), 2) for name, domain in prepared.learned_domains().items()}
        bits["2"][DEAD] = dead_bits
        supported = prepared.supported
        prepared.lay_out({name: cover(each, supported, np.zeros(len(each)), False) for name, each in bits.items()})
        reconstruct_layers(prepared, images)
        with torch.no_grad():
            return float((prepared(images) - exact).square().mean() / exact.var(0).mean())

    alike, mixed = error(2), error(1)
    assert mixed < 1.1 * alike


@pytest.mark.parametrize("bits", [2, 2.5, 4])
def test_images_that_are_all_black(bits, seed):
    """Nothing that layers read changes but for the border: what single precision leaves of it is no covariance."""
    images = torch.full((64, 1, 8, 8), -1.7)
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.Conv2d(64, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip
    found = quantise(module, images, Request(bits, refit=Refit(steps=2))).prepared
    with torch.no_grad():
        assert bool(found(images).isfinite().all())
