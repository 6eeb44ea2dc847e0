"""A new instruction is a row, a clause in Python and one in C: in a copy of the tree everything else follows.

The instruction of this test adds shifted lanes. Its words are of a format of their own.
"""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sysmol.emit import ARTEFACTS
from sysmol.files import PACKAGE

SEED = 20261130
ROOMS = ("docs", "gem5_ext", "isa_patches", "kernels_c", "verify")

ROW = """
    Instruction(
        name="vsha.h",
        fns=(18, 19),
        field6="part",
        reads=("vd", "vn"),
        unit="shifter",
        op_class="SimdSha1Hash2",
        timing=Timing(2, "As a shift by immediate"),
        macs=2,
        examples=((1, 3),),
        summary="lane16[i] of vd += lane16[i] of vn << k, plus j, j = fn - 18",
        semantics=semantics.vsha_h,
        format="third",
    ),
"""
CLAUSE = '''

def vsha_h(vd: bytes, vn: bytes, _vm: bytes, field6: int, index: int) -> bytes:
    """lane16[i] of vd += lane16[i] of vn << k, plus index."""
    sums = zip(lanes(vd, 16), lanes(vn, 16), strict=True)
    return register([acc + (value << (field6 & 15)) + index for acc, value in sums], 16)
'''
C_CLAUSE = """
/* lane16[i] of vd += lane16[i] of vn << k, plus index. */
static inline void smol_vsha_h(void *vd, const void *vn, const void *vm, unsigned field6, unsigned index)
{
    unsigned char *d = (unsigned char *)vd;
    (void)vm;
    for (int i = 0; i < 8; i++) {
        const uint32_t sum = smol_chunk(d, i) + (smol_chunk((const unsigned char *)vn, i) << (field6 & 15u)) + index;
        d[2 * i] = (unsigned char)sum;
        d[2 * i + 1] = (unsigned char)(sum >> 8);
    }
}
"""
FORMAT = """
    "third": Format(
        functions=range(18, 26),
        on={
            "riscv": Encoding(
                bits="31=1 30:27=field6[5:2] 26:25=field6[1:0] 24:20=vm 19:15=vn 14:12=fn 11:7=vd 6:0=0b1011011",
                claims="6:0=0b1011011",
                title="RISC-V, custom-2",
                space="all of RISC-V's custom-2",
            ),
            "arm": Encoding(
                bits="31:29=fn 28:25=0b0001 24:21=0b0010 20:16=vm 15:10=field6 9:5=vn 4:0=vd",
                claims="28:21=0b00010010",
                title="AArch64, 28:21 = 00010010",
                space="AArch64's words with bits 28:21 = 00010010",
            ),
        },
    ),
"""
BY_HAND = {
    "sysmol/isa/table.py": ("\n)\n\nBY_NAME", ROW.rstrip("\n") + "\n)\n\nBY_NAME"),
    "sysmol/isa/semantics.py": ("", CLAUSE),
    "sysmol/isa/encodings.py": ('\n}\n"""By name: the formats', FORMAT.rstrip("\n") + '\n}\n"""By name: the formats'),
    "kernels_c/include/smol_arith.h": ('#include "smol_dispatch.h"\n', C_CLAUSE + '\n#include "smol_dispatch.h"\n'),
}
"""What one writes: words that stand once in the file, and what takes their place (none: appended)."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the core and of the rooms that hold generated files, with the new instruction in them, emitted."""
    root = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__", *(p.name for p in PACKAGE.iterdir() if p.name in ALL_ROOMS))
    shutil.copytree(PACKAGE, root / "sysmol", symlinks=True, ignore=ignored)
    for room in ROOMS:
        shutil.copytree((PACKAGE / room).resolve(), root / room, ignore=shutil.ignore_patterns("__pycache__"))
        (root / "sysmol" / room).symlink_to(f"../{room}")
    before = contents(root)
    for name, (old, new) in BY_HAND.items():
        text = before[name]
        assert not old or text.count(old) == 1, name
        (root / name).write_text(text.replace(old, new) if old else text + new)
    run(root, "-m", "sysmol.emit")
    run(root, "-m", "sysmol.emit", "--check")
    after = contents(root)
    assert {name for name in after if after[name] != before.get(name)} == {*BY_HAND, *map(str, ARTEFACTS)} - UNCHANGED
    return root


ALL_ROOMS = {p.name for p in PACKAGE.iterdir() if p.is_symlink()} | set(ROOMS)
UNCHANGED = {"kernels_c/include/smol_selectors.h"}
"""It holds what field6 selects, of which this instruction needs nothing new."""


def contents(root: Path) -> dict[str, str]:
    """Text of every file of the tree that one may edit."""
    suffixes = {".py", ".h", ".hh", ".cc", ".c", ".md", ".json", ".S"}
    paths = [path for folder in ("sysmol", *ROOMS) for path in (root / folder).rglob("*")]
    return {path.relative_to(root).as_posix(): path.read_text() for path in paths if path.suffix in suffixes}


def run(root: Path, *arguments: str) -> str:
    """Output of a Python in the copy, where nothing of the real tree can be imported."""
    code = [sys.executable, "-P", *arguments]
    done = subprocess.run(code, cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


ASK = """
import json, random, sysmol
from pathlib import Path
from sysmol import isa
from sysmol.isa_patches import load_patches
from sysmol.machine import load_machine, list_machines
from sysmol.verify.program import Generator

rng = random.Random(SEED)
new = [word for word in isa.words() if isa.find(word[0]).name == "vsha.h"]
records = [(*word, *(rng.randbytes(16) for _ in range(3))) for word in new for _ in range(20)]
words = {name: [isa.encode(name, *word, 1, 2, 3) for word in new] for name in ("arm", "riscv")}
machine = load_machine("o3-n1")
print(json.dumps({
    "from": sysmol.__file__,
    "fingerprint": isa.FINGERPRINT,
    "records": [(fn, field6, *(r.hex() for r in registers)) for fn, field6, *registers in records],
    "results": [isa.execute(*record).hex() for record in records],
    "new": new,
    "words": words,
    "decoded": [isa.decode(name, words[name][i]) == isa.Word(*word, 1, 2, 3)
                for i, word in enumerate(new) for name in words],
    "names": [isa.mnemonic(*word) for word in new],
    "machines": {name: load_machine(name).smol.functions["vsha.h"].latency.cycles for name in list_machines()},
    "changed": machine.with_smol("vsha.h=7,vsha.h.pipelined=no").to_json()["smol"]["functions"]["vsha.h"],
    "patch": [e.insert for f in load_patches()["op-classes"].gem5["24.0.0.1"].values() for e in f.edits],
    "drawn": sorted({word.fn for word in (Generator(rng, "arm", isa.EVERYTHING).smol() for _ in range(500))}),
}))
"""


@pytest.fixture(scope="module")
def told(tree: Path) -> dict:
    print(f"seed {SEED}")
    found = json.loads(run(tree, "-c", ASK.replace("SEED", str(SEED))))
    assert found["from"] == str(tree / "sysmol" / "__init__.py")
    return found


def test_python_knows_it(told: dict) -> None:
    """Words, names, machines (their files say nothing of it), the option, the patch of gem5, random programs."""
    from sysmol import isa

    assert told["fingerprint"] != isa.FINGERPRINT
    assert all(told["decoded"]) and told["names"][0] == "vsha.h.b4.k0.0" and told["names"][-1] == "vsha.h.b1.k7.1"
    assert set(told["machines"].values()) == {2} and len(told["machines"]) >= 5
    assert (told["changed"]["cycles"], told["changed"]["pipelined"]) == (7, False)
    assert len(told["patch"]) == 3 and all('"SmolVshaH"' in text for text in told["patch"])
    assert "opLat=2" in told["patch"][1] and {18, 19} <= set(told["drawn"])


def test_c_agrees_with_python(tree: Path, told: dict, tmp_path: Path) -> None:
    """The dispatch and the calls of the host emulation, as C99 and as C++."""
    rows = []
    for fn, field6, vd, vn, vm in told["records"]:
        registers = ", ".join("{" + ", ".join(map(str, bytes.fromhex(r))) + "}" for r in (vd, vn, vm))
        rows.append(f"    {{{fn}, {field6}, {{{registers}}}}},")
    source = tmp_path / "run.c"
    source.write_text(
        '#include <stdio.h>\n#include "smol_calls.h"\n'
        "static struct { unsigned fn, field6; unsigned char r[3][16]; } rows[] = {\n" + "\n".join(rows) + "\n};\n"
        "int main(void) {\n"
        "    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {\n"
        "        unsigned char other[16];\n"
        "        memcpy(other, rows[i].r[0], 16);\n"
        "        if (!smol_execute(rows[i].fn, rows[i].field6, rows[i].r[0], rows[i].r[1], rows[i].r[2])) return 1;\n"
        "        smol_call_vsha_h(other, rows[i].r[1], rows[i].r[2], rows[i].field6, rows[i].fn - SMOL_FN_VSHA_H0);\n"
        "        if (memcmp(other, rows[i].r[0], 16)) return 2;\n"
        '        for (int b = 0; b < 16; b++) printf("%02x", rows[i].r[0][b]);\n'
        '        puts("");\n'
        "    }\n"
        "    return smol_execute(18, 63, rows[0].r[0], rows[0].r[1], rows[0].r[2]);\n"
        "}\n"
    )
    for compiler in (["gcc", "-std=c99", "-Wpedantic"], ["g++", "-std=c++17", "-x", "c++"]):
        program = tmp_path / compiler[0]
        options = ["-Wall", "-Wextra", "-Werror", f"-I{tree / 'kernels_c' / 'include'}", "-o", str(program)]
        subprocess.run([*compiler, *options, str(source)], check=True)
        out = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
        assert out.split() == told["results"]


def test_gem5_s_decoder_knows_it(tree: Path, told: dict, tmp_path: Path) -> None:
    """Fields, name, statistics, operands and the decoders' parameter, from the generated header."""
    checks = "\n".join(
        f'    check(smol_decode_{name}({word:#x}, inst), smol_in_{name}_space({word:#x}), "{told["names"][i]}", inst);'
        for name, words in told["words"].items()
        for i, word in enumerate(words)
    )
    source = tmp_path / "decode.cc"
    source.write_text(
        '#include "gem5_ext/smol_decode.hh"\n#include <cstdio>\n#include <cstdlib>\n#include <cstring>\n'
        "struct Parameters { int vmac_class, vmul_class, vmla_class, vqpk_class, vdot_class, vmm_w_class,\n"
        "                        vmm_h_class, vqpk_h_class, vqpk_s_class, vunp_h_class, vdw_class,\n"
        "                        vsha_h_class = 5; };\n"
        "static void check(bool legal, bool ours, const char *name, const SmolInst &inst) {\n"
        "    const bool registers = inst.vd == 1 && inst.vn == 2 && inst.vm == 3;\n"
        "    const bool same = registers && !std::strcmp(name, smol_mnemonic(inst));\n"
        "    if (!legal || !ours || !same)\n"
        '        std::printf("%s wrong\\n", name), std::exit(1);\n'
        "}\n"
        f"int main() {{\n    SmolInst inst{{}};\n{checks}\n"
        "    const SmolFunction &f = smol_function(19);\n"
        '    std::printf("%s %s %s %d %d %d %d %d %d %u %d\\n", f.name, f.symbol, f.counted, f.first, f.codes,\n'
        "                f.readsVd, f.readsVn, f.readsVm, f.optional, smol_macs({18, 0x10, 0, 0, 0, 0}, 1),\n"
        "                smol_classes(Parameters{})[static_cast<unsigned>(SmolKind::VshaH)]);\n"
        "}\n"
    )
    program = tmp_path / "decode"
    subprocess.run(["g++", "-std=c++17", "-Wall", "-Werror", f"-I{tree}", str(source), "-o", str(program)], check=True)
    out = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    assert out == "vsha.h vsha_h vsha.h committed, by part 18 2 1 1 0 -1 32 5\n"


def test_files_name_it(tree: Path, told: dict) -> None:
    page = (tree / "docs" / "isa.md").read_text()
    assert "| 18..19 | `vsha.h` | part | yes | lane16[i] of vd += lane16[i] of vn << k, plus j, j = fn - 18 |" in page
    assert "field6[5:2] [30:27], field6[1:0] [26:25]" in page and "AArch64's words with bits 28:21 = 00010010" in page
    example = told["words"]["riscv"][len(told["words"]["riscv"]) // 2 + 3]
    assert f"| `vsha.h.b4.k3.1 v1, v2, v3` | `{example:08x}` |" in page
    header = (tree / "kernels_c" / "include" / "smol_isa.h").read_text()
    assert "SMOL_FN_VSHA_H1 = 19," in header and '    X(19, 39, "vsha.h.b1.k7.1")' in header
    parameters = (tree / "gem5_ext" / "SmolClasses.py").read_text()
    assert '("vsha.h", "vsha_h_class", "SmolVshaH", "SimdSha1Hash2"),' in parameters


def test_assembler_makes_its_words(tree: Path, told: dict, tmp_path: Path, isa: str) -> None:
    """The macro of the header, through a real assembler: the object file holds the word of the table."""
    pytest.importorskip("ziglang", reason="the cross compiler, package ziglang, is absent")
    fn, field6 = random.Random(SEED).choice(told["new"])
    source = tmp_path / "word.S"
    registers = {"d": 1, "n": 2, "m": 3}
    names = "".join(f".set .Lsmol_v{number}, {number}\n" for number in registers.values())
    probe = tmp_path / "text.c"
    macro = {"arm": "__aarch64__", "riscv": "__riscv"}[isa]
    probe.write_text(
        f"#include <stdio.h>\n#undef __aarch64__\n#undef __riscv\n#define {macro} 1\n"
        f'#include "smol_isa.h"\n#define TEXT SMOL_ASM_WORD_THIRD({fn}, {field6})\n'
        "int main(void) { fputs(TEXT, stdout); return 0; }\n"
    )
    include = f"-I{tree / 'kernels_c' / 'include'}"
    subprocess.run(["gcc", include, "-o", str(tmp_path / "text"), str(probe)], check=True)
    text = subprocess.run([str(tmp_path / "text")], capture_output=True, text=True, check=True).stdout
    for letter, number in registers.items():
        text = text.replace(f"%[{letter}]", f"v{number}")
    source.write_text(names + text)
    target = {"arm": "aarch64-linux-musl", "riscv": "riscv64-linux-musl"}[isa]
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-c", "-o", str(tmp_path / "word.o")]
    subprocess.run([*command, str(source)], check=True)
    word = told["words"][isa][told["new"].index([fn, field6])]
    assert word.to_bytes(4, "little") in (tmp_path / "word.o").read_bytes()
