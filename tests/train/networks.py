"""Small modules with every supported layer, and a way to put them through the chain without training."""

import torch
import torch.nn.functional as F
from torch import nn

from sysmol.network import Network, Normalisation
from sysmol.train.frontend.data import USUAL, to_real
from sysmol.train.frontend.policy import LEARNED, Policy
from sysmol.train.quantise.export import export
from sysmol.train.quantise.prepared import Prepared, prepare
from sysmol.train.quantise.quantiser import nearest_precision, precision_of


class Mixture(nn.Module):
    """Odd channel counts, strides, uneven kernels and paddings, depthwise, residuals of both kinds, all pools."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 7, 3, padding=1, bias=False), nn.BatchNorm2d(7), nn.ReLU())
        self.conv1 = nn.Conv2d(7, 33, (3, 2), stride=(1, 2), padding=(1, 0))
        self.bn1 = nn.BatchNorm2d(33)
        self.depthwise = nn.Conv2d(33, 33, 3, padding=1, groups=33, bias=False)
        self.bn2 = nn.BatchNorm2d(33, affine=False)
        self.conv2 = nn.Conv2d(33, 33, 1)
        self.drop = nn.Dropout(0.5)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(33, 5, 3, padding="same")
        self.shortcut = nn.Conv2d(33, 5, 1)
        self.mean = nn.AvgPool2d(2, stride=1, padding=1)
        self.classifier = nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = F.relu6(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.depthwise(x)))
        x = F.relu(self.drop(self.conv2(y)) + x)
        x = self.pool(x)
        x = self.shortcut(x) + self.conv3(x)
        x = F.relu(self.mean(x))
        return self.classifier(x.mean(dim=(2, 3)))


class Rectified(nn.Module):
    """An addition that no convolution can host, a maximum before its ReLU, a linear layer over a whole image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.a = nn.Sequential(nn.Conv2d(16, 20, 3, stride=2, padding=1), nn.ReLU())
        self.b = nn.Sequential(nn.Conv2d(16, 20, 5, stride=2, padding=2), nn.BatchNorm2d(20), nn.ReLU6())
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(20 * 2 * 2, 40)
        self.classifier = nn.Linear(40, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = torch.add(self.a(x), self.b(x))
        x = torch.flatten(F.relu(self.pool(x)), 1)
        return self.classifier(torch.relu(self.hidden(x)))


class Plain(nn.Module):
    """A perceptron: linear layers only, logits from a mean of nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 5 * 4, 70), nn.ReLU(), nn.Linear(70, 33), nn.ReLU())
        self.head = nn.Linear(33, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x))


MODULES = {"mixture": (Mixture, (9, 11, 3)), "rectified": (Rectified, (8, 8, 1)), "plain": (Plain, (5, 4, 3))}


def random_images(seed: int, count: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """u8 ``[count, H, W, C]``."""
    return torch.randint(0, 256, (count, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def random_statistics(module: nn.Module, seed: int) -> None:
    """Batch normalisation as if it had been trained."""
    torch.manual_seed(seed)
    for norm in module.modules():
        if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean.normal_(0, 0.2)
            norm.running_var.uniform_(0.3, 1.5)
            if norm.affine:
                nn.init.uniform_(norm.weight, -1.5, 1.5)
                nn.init.normal_(norm.bias, 0, 0.3)


def frozen(
    module: nn.Module,
    images: torch.Tensor,
    policy: Policy | str,
    seed: int,
    pattern_set: str = "P4",
    promote: bool = True,
    normalisation: Normalisation | tuple = USUAL,  # type: ignore[type-arg]
    lines: bool = False,
) -> Prepared:
    """A module prepared and frozen, with random statistics and precisions; ``images`` u8 ``[n, H, W, C]`` calibrate it.

    ``promote`` as in :func:`sysmol.patterns.slots.cover`: without it narrow layers have fewer than 4 bits, too.
    ``lines``: the module reads ``[n, C, W]``.
    """
    random_statistics(module, seed)
    made = normalisation if isinstance(normalisation, Normalisation) else Normalisation(*normalisation)
    real = to_real(images, made)
    real = real.squeeze(2) if lines else real
    # Nothing is trained: grids fit the statistics that are exported.
    prepared = prepare(module, real, policy, pattern_set, normalisation=normalisation).eval()
    if any(bits == LEARNED for bits in prepared.bits.values()):
        prepared.calibrate(real)
        prepared.start_noise()
        with torch.no_grad():
            for domain in prepared.all_domains():
                domain.s.normal_(0, 2)
    if not prepared.is_float:
        prepared.freeze()
        for domain in () if promote else prepared.learned_domains().values():
            requested = nearest_precision(precision_of(domain.s)).numpy()
            domain.place(domain.cover(requested, prepared.supported, None, False))
    prepared.calibrate(real)
    return prepared


def ready(name: str, policy: Policy | str, seed: int, pattern_set: str = "P4") -> tuple[Prepared, torch.Tensor]:
    """A frozen prepared module with random weights and precisions, and its calibration images (u8)."""
    torch.manual_seed(seed)
    make, shape = MODULES[name]
    images = random_images(seed, 16, shape)
    return frozen(make(), images, policy, seed, pattern_set), images


def network(
    name: str, policy: Policy | str, seed: int, pattern_set: str = "P4"
) -> tuple[Network, Prepared, torch.Tensor]:
    """The exported network of :func:`ready` as well."""
    prepared, images = ready(name, policy, seed, pattern_set)
    return export(prepared, name, to_real(images)), prepared, images
