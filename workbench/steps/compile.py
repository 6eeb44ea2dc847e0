"""Step ``compile``: from a network file to C, an executable and its manifest.

Products: ``VARIANT.network.safetensors`` (the input, so that the folder can be used alone), and in ``bin/`` those of
:func:`sysmol.kernels_c.build.compile_network`.
"""

import shutil
from pathlib import Path

from sysmol.files import make_folder
from sysmol.kernels_c.build import TILE_HEADERS, compile_network, target_named
from sysmol.kernels_c.image.runtimes import Runtime, runtime_for
from sysmol.kernels_c.plan.options import DEFAULT, Options
from sysmol.kernels_c.targets import KERNELS, Target
from sysmol.kernels_c.toolchain import compiler_command
from sysmol.workbench.key import Step, Task

STEP = Step("compile", 1, f"{__name__}:run", keeps_failures=True)
SUFFIX = ".network.safetensors"


def variant_of(network: Path) -> str:
    """The variant that a network file's name says."""
    return network.name.removesuffix(".safetensors").removesuffix(".network")


def task(
    network: Path, isa: str, variant: str = "", options: Options = DEFAULT, mode: str = "se", cc: str | None = None
) -> Task:
    """Compile a network file; arguments as in :func:`sysmol.kernels_c.build.compile_network`."""
    target = target_named(isa)
    command = compiler_command(target, cc)
    program = shutil.which(command[0])
    zig = "ziglang" in command
    return Task(
        STEP,
        options={
            "isa": isa, "variant": variant or variant_of(network), "options": options, "mode": mode, "cc": cc,
        },
        files={"network": network},
        tools={} if zig or program is None else {"compiler": Path(program).resolve()},
        reads=sources(target, runtime_for(mode, target)),
        variables=(f"SYSMOL_CC_{isa.upper()}",),
        packages=("ziglang",) if zig else (),
    )  # fmt: skip


def sources(target: Target, runtime: Runtime) -> tuple[Path, ...]:
    """What the compiler reads beside the generated C: headers, C and assembly of the runtime, its linker script."""
    named = [Path(flag.rpartition(",")[2].removeprefix("-I")) for flag in runtime.flags if str(KERNELS) in flag]
    folders = {
        KERNELS / "runtime",
        *target.include,
        TILE_HEADERS,
        *(path.parent for path in runtime.sources),
        *(path for path in named if path.is_dir()),
    }
    headers = {path for folder in folders for path in folder.glob("**/*.h")}
    return tuple(sorted({*headers, *runtime.sources, *(path for path in named if path.is_file())}))


def run(folder: Path, network: Path, isa: str, variant: str, options: Options, mode: str, cc: str | None) -> None:
    """Fill ``folder``."""
    own = folder / f"{variant}{SUFFIX}"
    shutil.copyfile(network, own)
    compile_network(own, isa, make_folder(folder / "bin"), variant, cc, options, mode)


def manifest_of(folder: Path, isa: str, variant: str, mode: str = "se") -> Path:
    """The manifest below a folder of this step's products."""
    return folder / "bin" / f"{runtime_for(mode, target_named(isa)).stem(variant, isa)}.json"
