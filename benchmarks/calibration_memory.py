"""Memory that calibration and export of ResNet-18 take, 512 images of 224x224 pixels by default::

    python -m sysmol.benchmarks.calibration_memory

The largest resident size of the process is printed, PyTorch and the images among it.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch

from sysmol.benchmarks.int8_error import SEED, ResNet18, initialise
from sysmol.train.frontend.data import to_real
from sysmol.train.quantise.export import export
from sysmol.train.quantise.prepared import prepare


def resident() -> float:
    """The largest resident size of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512, help="calibration images (default 512)")
    parser.add_argument("--size", type=int, default=224, help="height and width (default 224)")
    parser.add_argument("--policy", default="int8", help="as of prepare (default int8)")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (default 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    generator = torch.Generator().manual_seed(SEED)
    module = ResNet18().eval()
    initialise(module, 0.3, generator)
    shape = (arguments.images, arguments.size, arguments.size, 3)
    images = to_real(torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8))
    before, start = resident(), time.process_time()
    prepared = prepare(module, images[:2], arguments.policy)
    if arguments.policy == "mixed":
        prepared.calibrate(images)
    prepared.freeze()
    prepared.calibrate(images)
    export(prepared, "resnet18", images)
    print(
        f"ResNet-18, {arguments.policy}, {arguments.images} images of {arguments.size}x{arguments.size}: "
        f"{resident():,.0f} MiB resident at most, {before:,.0f} with the images before; "
        f"{time.process_time() - start:.0f} s of processor time"
    )


if __name__ == "__main__":
    main()
