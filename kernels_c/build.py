"""From a network file to C, an executable and its manifest, for one target.

Products in the output folder, ``NAME`` being the variant: ``NAME.<isa>.c`` and ``NAME.<isa>.constants.h`` (C),
``NAME.<isa>`` (executable), ``NAME.<isa>.json`` (manifest), ``NAME.images.bin`` and ``NAME.logits.bin`` (the network
file's samples, as the executable reads and should write them).
"""

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sysmol.cim.tile import ADDRESS
from sysmol.errors import SysmolError
from sysmol.files import (
    PACKAGE,
    atomic_write_bytes,
    atomic_write_json,
    atomic_write_text,
    make_folder,
    scratch_prefix,
    sha256_file,
    temporary_folder,
)
from sysmol.kernels_c import elf as elf_file
from sysmol.kernels_c.image.runtimes import Runtime, runtime_for
from sysmol.kernels_c.plan.options import DEFAULT, Options
from sysmol.kernels_c.program import Program, generate
from sysmol.kernels_c.targets import TARGETS, Target
from sysmol.kernels_c.toolchain import PLACE, Compiler, compile_c, find_compiler
from sysmol.manifest import FLOATS, HEADER, INTEGERS, SETS_VTYPE, beside, load_runnable
from sysmol.network import Network, load

TILE_HEADERS = PACKAGE / "cim" / "include"
FLOAT_TOLERANCE = 1e-4
"""Agreement asked of float logits, relative to the largest logit of an image: summation orders differ."""


def target_named(isa: str) -> Target:
    """The target ``host``, ``arm`` or ``riscv``."""
    if isa not in TARGETS:
        raise SysmolError(f"there is no target {isa!r}: choose {', '.join(TARGETS)}")
    return TARGETS[isa]


def compile_program(
    program: Program,
    stem: str,
    folder: Path,
    compiler: Compiler,
    target: Target,
    extra: Sequence[str] = (),
    runtime: Runtime | None = None,
) -> tuple[Path, list[str]]:
    """Write the C into ``folder`` and compile it with the runtime (default: a program for Linux); returns executable
    and compile command.

    Kernels of a target with a vector type that the compiler set on its own are compiled again so that this cannot
    matter.
    """
    source = atomic_write_text(folder / f"{stem}.c", program.source)
    atomic_write_text(folder / f"{stem}.constants.h", program.constants)
    handle, temporary = tempfile.mkstemp(prefix=scratch_prefix(stem), dir=folder)
    os.close(handle)
    try:
        linked = runtime or runtime_for("se", target)
        sources, include = [source, *linked.sources], [*target.include, TILE_HEADERS, folder]
        extra = [*linked.flags, *extra]
        command = compile_c(compiler, target, sources, include, Path(temporary), extra)
        if target.vector_type and elf_file.foreign_vset(Path(temporary)):
            extra = [*extra, SETS_VTYPE]
            command = compile_c(compiler, target, sources, include, Path(temporary), extra)
        os.chmod(temporary, 0o755)  # a temporary file is its owner's alone
        os.replace(temporary, folder / stem)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    kept = [part for part in command if not part.startswith(PLACE)]
    return folder / stem, [stem if part.endswith(Path(temporary).name) else part for part in kept]


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())


def _reference(net: Network, name: str, folder: Path) -> dict[str, Any] | None:
    if net.samples is None:
        return None
    images, logits = f"{name}.images.bin", f"{name}.logits.bin"
    kind = np.float32 if net.is_float else np.int32
    atomic_write_bytes(folder / images, np.ascontiguousarray(net.samples.images).tobytes())
    atomic_write_bytes(folder / logits, np.ascontiguousarray(net.samples.logits.astype(kind)).tobytes())
    tolerance = FLOAT_TOLERANCE if net.is_float else 0
    return {
        "images": images,
        "images_sha256": sha256_file(folder / images),
        "logits": logits,
        "logits_sha256": sha256_file(folder / logits),
        "count": len(net.samples.images),
        "tolerance": tolerance,
    }


def compile_network(
    net_path: str | Path,
    isa: str,
    out_dir: str | Path,
    variant: str = "mixed",
    cc: str | None = None,
    options: Options = DEFAULT,
    mode: str = "se",
) -> Path:
    """Generate C for a network file, compile it for ``isa`` (host, arm, riscv), write the manifest; returns its path.

    ``mode``: ``se`` makes a static Linux program (gem5's system-call emulation runs it too), ``baremetal`` one that
    needs no operating system.

    Raises :class:`SysmolError` on a bad network file, a missing compiler, or a folder that cannot be written.
    """
    target = target_named(isa)
    runtime = runtime_for(mode, target)
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", variant):
        raise SysmolError(f"{variant!r} is no name for files: use letters, digits and _.+-")
    if options.on_tile and mode != "baremetal":
        raise SysmolError("the tile needs physical addresses: compile for mode baremetal")
    path = Path(net_path)
    net = load(path)
    folder = make_folder(out_dir)
    compiler = find_compiler(target, cc)
    stem = runtime.stem(variant, isa)
    made_by = f"python -m sysmol.kernels_c {path.name} --isa {isa} --variant {variant}"
    program = generate(net, target, stem, made_by, options)
    elf, command = compile_program(program, stem, folder, compiler, target, runtime=runtime)
    facts = elf_file.facts(elf)
    if target.machine and facts["machine"] != target.machine:
        raise SysmolError(
            f"the compiler {shlex.join(compiler.command)!r} makes {facts['machine']}, not {target.machine}: "
            f"name a cross compiler for {isa}"
        )
    code = elf_file.kernels(elf)
    for region in program.regions:
        region.bytes_code = sum(len(code.get(name, b"")) for name in program.functions[region.name])
    image = net.tensors[net.input]
    manifest = {
        **HEADER,
        "name": net.name,
        "variant": variant,
        "isa": isa,
        "mode": mode,
        "network": {"path": _relative(path, folder), "sha256": sha256_file(path), "metrics": net.metrics},
        "elf": {"path": elf.name, "sha256": sha256_file(elf), **facts},
        "source": {"path": f"{stem}.c", "sha256": sha256_file(folder / f"{stem}.c")},
        "compiler": {"command": shlex.join(_portable(part) for part in command), "version": compiler.version},
        "dataflow": ", ".join(sorted({region.schedule for region in program.regions if region.schedule})),
        "patterns": list(net.patterns),
        "input": {"shape": list(image.shape), "bytes": image.height * image.width * image.channels},
        "output": {"classes": net.classes, "dtype": FLOATS if net.is_float else INTEGERS},
        "regions": [asdict(region) for region in program.regions],
        "memory": {"arena": program.memory.arena, "unplanned": program.memory.unplanned},
        "tile": {**options.tile.facts(), "address": ADDRESS} if options.tile is not None else None,
        "reference": _reference(net, variant, folder),
    }
    return atomic_write_json(folder / f"{stem}.json", manifest)


def _portable(part: str) -> str:
    """A word of the compile command without this machine's folders."""
    prefix = "-I" if part.startswith("-I") else ""
    word = part[len(prefix) :]
    return part if "/" not in word else prefix + Path(word).name


def run_host(manifest_path: str | Path, images: npt.NDArray[np.uint8], count: int) -> npt.NDArray[Any]:
    """Logits ``[count, classes]`` (int32 or float32) that a host executable gives for ``images[:count]``, uint8 HWC.

    Nothing runs but the file of the manifest's own folder that has its SHA-256; :class:`SysmolError` elsewhere.
    """
    manifest = load_runnable(manifest_path)
    if manifest["isa"] != "host":
        raise SysmolError(f"{manifest_path} is for {manifest['isa']}; only host executables run here")
    if len(images) < count or list(images.shape[1:]) != manifest["input"]["shape"]:
        raise SysmolError(
            f"{count} images of shape {manifest['input']['shape']} are needed, not an array {images.shape}"
        )
    elf = beside(manifest_path, manifest["elf"]["path"], manifest["elf"]["sha256"])
    return run_executable([str(elf)], images[:count], manifest["output"]["classes"], manifest["output"]["dtype"])


def run_executable(command: Sequence[str], images: npt.NDArray[np.uint8], classes: int, dtype: str) -> npt.NDArray[Any]:
    """Run an executable (perhaps under an emulator) on ``images``; logits ``[n, classes]``."""
    with temporary_folder() as folder:
        source, result = folder / "images.bin", folder / "logits.bin"
        source.write_bytes(np.ascontiguousarray(images, dtype=np.uint8).tobytes())
        try:
            done = subprocess.run(
                [*command, str(source), str(result), str(len(images))], capture_output=True, text=True
            )
        except OSError as error:
            raise SysmolError(f"cannot run {command[-1]}: {error.strerror}; compile it again") from None
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise SysmolError(f"{Path(command[-1]).name} ended with status {done.returncode}: {lines[-1]}")
        if not result.is_file() or result.stat().st_size != 4 * len(images) * classes:
            raise SysmolError(f"{Path(command[-1]).name} wrote no {len(images)} x {classes} logits: compile it again")
        return np.frombuffer(result.read_bytes(), dtype=np.dtype(dtype).newbyteorder("<")).reshape(-1, classes)
