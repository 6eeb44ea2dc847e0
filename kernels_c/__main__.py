"""``python -m sysmol.kernels_c NETWORK [--isa host|arm|riscv] [--out DIR] [--variant NAME] [--cc COMMAND]
[--mode se|baremetal]``."""

import argparse
import sys
from pathlib import Path

from sysmol.errors import SysmolError
from sysmol.kernels_c.build import compile_network
from sysmol.kernels_c.targets import TARGETS


def main() -> int:
    """Generate and compile; prints the paths of the manifests."""
    parser = argparse.ArgumentParser(prog="python -m sysmol.kernels_c", description="network file to C and executables")
    parser.add_argument("network", type=Path)
    parser.add_argument("--isa", action="append", choices=list(TARGETS), help="may be repeated; default: all")
    parser.add_argument("--out", type=Path, default=Path("build/bin"))
    parser.add_argument("--variant", help="name of the products; default: from the file's name")
    parser.add_argument("--cc", help="compiler command to use")
    parser.add_argument("--mode", choices=("se", "baremetal"), default="se", help="what lies beneath the program")
    arguments = parser.parse_args()
    variant = arguments.variant or arguments.network.name.removesuffix(".safetensors").removesuffix(".network")
    mode = arguments.mode
    try:
        for isa in arguments.isa or [name for name, target in TARGETS.items() if not target.is_host or mode == "se"]:
            print(compile_network(arguments.network, isa, arguments.out, variant, arguments.cc, mode=mode))
    except SysmolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
