"""What rounding the constants of an int8 network costs: ResNet-18 at 64x64, from 1,000 classes' logits.

    python -m sysmol.benchmarks.int8_error              # the table
    python -m sysmol.benchmarks.int8_error --take       # and results/int8_error.csv (docs/training.md)

Weights are He-normal. The gains of batch normalisation are exp(N(0, s)), its other values neutral. Grids are calibrated
on 64 random images; errors are measured on 64 others, as the root mean square of the difference to full precision, over
that of full precision's logits. "real constants" is the same network before its constants become integers.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from sysmol.files import PACKAGE, atomic_write_text
from sysmol.network import HIGH
from sysmol.train.frontend.data import to_real
from sysmol.train.quantise import integer
from sysmol.train.quantise.export import export
from sysmol.train.quantise.modes import FLOAT
from sysmol.train.quantise.prepared import prepare
from sysmol.workbench import provenance
from sysmol.workbench.key import Inputs, digest

SPREADS = (0.0, 0.3, 0.6)
"""Standard deviations s of the gains' logarithms."""
WIDTHS = (64, 128, 256, 512)
CLASSES = 1000
SIZE = 64
IMAGES = 64
SEED = 0
QUANTISE = ("calibration", "export", "fixed_point", "integer")
TABLE = PACKAGE.parent / "results" / "int8_error.csv"


def normalised(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    """A convolution and its batch normalisation."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = normalised(inputs, outputs, 3, stride)
        self.conv2 = normalised(outputs, outputs, 3, 1)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else normalised(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.shortcut(x))


class ResNet18(nn.Module):
    """ImageNet's."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS, classes: int = CLASSES) -> None:
        super().__init__()
        self.stem = normalised(3, widths[0], 7, 2)
        pairs = zip((widths[0], *widths), widths, strict=False)
        blocks = [
            block
            for number, (inputs, outputs) in enumerate(pairs)
            for block in (Block(inputs, outputs, 2 if number else 1), Block(outputs, outputs, 1))
        ]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
        return self.head(self.blocks(x).mean((2, 3)))


def initialise(module: nn.Module, spread: float, generator: torch.Generator) -> None:
    """He-normal weights, and gains of batch normalisation."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            with torch.no_grad():
                layer.weight.copy_(torch.exp(spread * torch.randn(layer.num_features, generator=generator)))


def inputs() -> Inputs:
    """What the figures depend on most: how constants become integers, and how grids are fitted."""
    names = ("benchmarks/int8_error.py", "network/sums.py", *(f"train/quantise/{each}.py" for each in QUANTISE))
    return {"code": {f"sysmol/{name}": digest(PACKAGE / name) for name in names}}


def relative(found: np.ndarray, right: np.ndarray) -> float:
    """Root mean square of the difference over that of what is right."""
    return float(np.sqrt(((found - right) ** 2).mean() / (right**2).mean()))


@torch.no_grad()
def measure(
    module: nn.Module, spread: float, size: int = SIZE, count: int = IMAGES, seed: int = SEED
) -> dict[str, float]:
    """Errors of an int8 network, initialised with this ``spread``, with real constants and with its integers."""
    start = time.process_time()
    generator = torch.Generator().manual_seed(seed)
    initialise(module, spread, generator)
    images = torch.randint(0, 256, (2 * count, size, size, 3), generator=generator, dtype=torch.uint8)
    seen, others = to_real(images[:count]), images[count:]
    prepared = prepare(module.eval(), seen[:2], "int8")
    prepared.freeze()
    prepared.calibrate(seen)
    net = export(prepared, "resnet18", seen)
    real = torch.cat([prepared(part) for part in to_real(others).split(8)]).double().numpy()
    prepared.mode = FLOAT
    right = torch.cat([prepared(part) for part in to_real(others).split(8)]).double().numpy()
    logits = np.concatenate([integer.evaluate(net, part.numpy()) for part in others.split(8)])
    errors = {"real": relative(real, right), "integers": relative(logits * net.provenance["logit_scale"], right)}
    outputs = [out for layer in net.layers for out in layer.outputs]
    return {
        "s": spread,
        **errors,
        "ratio": errors["integers"] / errors["real"],
        "high_products": sum(out.multiply == HIGH for out in outputs),
        "outputs": len(outputs),
        "seconds": time.process_time() - start,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--take", action="store_true", help="write results/int8_error.csv")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (default 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for spread in SPREADS:
        row = measure(ResNet18(), spread)
        rows.append(row)
        print(
            f"s = {row['s']:.1f}: rms error {row['real']:.2%} with real constants, {row['integers']:.2%} with "
            f"integers, {row['ratio']:.3f} times; {row['high_products']} of {row['outputs']} outputs with high "
            f"products; {row['seconds']:.0f} s",
            flush=True,
        )
    if arguments.take:
        atomic_write_text(TABLE, pd.DataFrame(rows).drop(columns="seconds").to_csv(index=False, lineterminator="\n"))
        provenance.write(TABLE, [inputs()])


if __name__ == "__main__":
    main()
