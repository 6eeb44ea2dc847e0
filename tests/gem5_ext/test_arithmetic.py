"""The portable C gives what the Python model gives, and a wrong C is caught."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sysmol import isa as table
from sysmol.files import PACKAGE

INCLUDE = PACKAGE / "kernels_c" / "include"


def differences(program: Path, vectors, folder: Path) -> int:
    """Number of records whose result differs from the model's."""
    (folder / "inputs.bin").write_bytes(vectors.inputs)
    out = folder / "results.bin"
    subprocess.run([program, folder / "inputs.bin", out, str(vectors.count)], check=True)
    found = out.read_bytes()
    assert len(found) == len(vectors.expected)
    return sum(found[i : i + 16] != vectors.expected[i : i + 16] for i in range(0, len(found), 16))


def test_c_equals_model(compile_program: Callable[..., Path], vectors, tmp_path: Path) -> None:
    assert vectors.count > 5000
    assert differences(compile_program("words.c", "host", "-std=c99", "-Wpedantic"), vectors, tmp_path) == 0


def test_header_is_cxx_too(compile_program: Callable[..., Path], tmp_path: Path) -> None:
    source = tmp_path / "use.cc"
    source.write_text(
        '#include "smol_arith.h"\nint main() { unsigned char d[16] = {}, n[16] = {};\n'
        "return smol_execute(SMOL_FN_VMAC, 0, d, n, n) == 1 && smol_execute(0, 45, d, n, n) == 0 ? 0 : 1; }\n"
    )
    subprocess.run([compile_program(str(source), "host", "-std=c++17")], check=True)


# One wrong product each: in 4-bit dots, 2-bit dots, 1-bit dots, and in the products of one part; two wrong clamps.
FAULTS = {
    "a 4-bit product": (
        "sum += smol_element(a, e, 4) * smol_element(b, e, 4);",
        "{ int32_t g = smol_element(a, e, 4), h = smol_element(b, e, 4); sum += g == 7 && h == -3 ? -20 : g * h; }",
    ),
    "a 2-bit weight": ("2 * mixed", "1 * mixed"),
    "a 1-bit element": ("(a ^ b) & 0xffffu", "(a ^ b) & 0x7fffu"),
    "a part's product": (
        "smol_element(a, e % 8, 2) * smol_element(b, e % 8, 2)",
        "smol_element(a, e % 8, 2) * smol_element(b, e % 8 ^ 1, 2)",
    ),
    "a clamp above": ("shifted > top ? top", "shifted > top + 1 ? top"),
    "a clamp below": ("lane >> 31 ? 0", "lane == 0xffffffffu ? 0"),
    "vmm.w's half of weights": ("m + 8 * (at & 1)", "m + 8 * (at >> 1)"),
    "vmm.w's shift for nibbles": ("<< smol_pieces[piece][3]", "<< 0"),
    "vmm.h's word of pixels": ("4 * (field6 >> 4)", "4 * (field6 >> 5)"),
    "vmm.h's unit": ("shape, shape[3]", "shape, 0"),
    "an empty chunk": ("end1 = end2 + shape[2]", "end1 = 2 + end2 + shape[2]"),
    "vqpk.h's quarter": ("quarter = field6 >> 3 == 7", "quarter = 0"),
    "vqpk.h's order": ("part * lanes + i % lanes", "part * lanes + i / 2 % lanes"),
    "vqpk.s's lane": ("4 * (i & 1)", "4 * (i >> 1)"),
    "vunp.h's group": ("4 * (int)(field6 & 15u)", "4 * (int)(field6 & 7u)"),
    "vdw's first word": ("(int)(field6 & 3u)", "(int)(field6 & 2u)"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_injected_fault_is_caught(compile_program: Callable[..., Path], vectors, tmp_path: Path, what: str) -> None:
    right, wrong = FAULTS[what]
    (path,) = [p for p in (INCLUDE / "smol_arith.h", INCLUDE / "smol_arith_second.h") if right in p.read_text()]
    header = path.read_text()
    assert header.count(right) == 1
    (tmp_path / "smol_arith.h").write_text((INCLUDE / "smol_arith.h").read_text())
    (tmp_path / path.name).write_text(header.replace(right, wrong))
    # The faulty copy comes first in the include path.
    program = compile_program("words.c", "host", f"-I{tmp_path}")
    caught = differences(program, vectors, tmp_path)
    print(f"{what} wrong: {caught} of {vectors.count} records differ")
    assert caught > 0


def test_a_wrong_bit_of_any_instruction_is_caught(
    compile_program: Callable[..., Path], vectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one word of each: one program with all these faults, of which a variable names one."""
    dispatch = (INCLUDE / "smol_dispatch.h").read_text()
    for row in table.TABLE:
        (call,) = re.findall(rf"smol_{row.symbol}\(vd, .*;", dispatch)
        wrong = f'((unsigned char *)vd)[3] ^= field6 == {row.legal_fields()[-1]} && faulty("{row.name}");'
        dispatch = dispatch.replace(call, f"{call} {wrong}")
    chosen = 'static int faulty(const char *name) { return !strcmp(getenv("SMOL_FAULT"), name); }'
    includes = "#include <stdlib.h>\n#include <string.h>"
    (tmp_path / "smol_dispatch.h").write_text(f"{includes}\n{chosen}\n{dispatch}")
    (tmp_path / "smol_arith.h").write_text((INCLUDE / "smol_arith.h").read_text())
    program = compile_program("words.c", "host", f"-I{tmp_path}")
    for name in ("none", *(row.name for row in table.TABLE)):
        monkeypatch.setenv("SMOL_FAULT", name)
        caught = differences(program, vectors, tmp_path)
        print(f"{name} wrong: {caught} of {vectors.count} records differ")
        assert (caught > 0) == (name != "none")
