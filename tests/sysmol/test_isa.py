"""The instruction table: strictness of its checker, encodings, and meaning against a second formulation."""

import dataclasses
import subprocess

import numpy as np
import pytest

from sysmol import emit, generated, isa, packing
from sysmol.errors import SysmolError
from sysmol.files import PACKAGE
from sysmol.pattern import chunk_precisions

SEED = 20241


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("31=0 30:25=field6 24:20=vm 19:15=vn 14:12=fn 11:7=vd 7:0=0x0b", "overlaps"),
        ("30:25=field6 24:20=vm 19:15=vn 14:12=fn 11:7=vd 6:0=0x0b", "not covered"),
        ("31=0 30:25=field6 24:20=vm 19:15=vn 14:12=fn 11:7=vd 6:0=0x8b", "does not fit"),
        ("31=0 30:26=field6 25=0 24:20=vm 19:15=vn 14:12=fn 11:7=vd 6:0=0x0b", "6 bits wide"),
        ("31=0 30:25=0 24:20=vm 19:15=vn 14:12=fn 11:7=vd 6:0=0x0b", "no place"),
        ("31=0 30:25=fieldsix 24:20=vm 19:15=vn 14:12=fn 11:7=vd 6:0=0x0b", "neither"),
        ("32=0 30:25=field6", "no range"),
        ("31=0 30:25=field6 24:20=vm 19:15=vn 14:12=fn 11:7=vd 6:2=vd 1:0=3", "stand once"),
        ("31=0 30:28=field6[5:3] 27:25=field6[3:1] 24:20=vm 19:15=vn 14:12=fn 11:7=vd 6:0=0x0b", "stand once"),
        ("31=0 30:25=field6[4:0] 24:20=vm 19:15=vn 14:12=fn 11:7=vd 6:0=0x0b", "6 bits of the word for 5"),
    ],
)
def test_bad_encodings_are_refused(text, complaint):
    with pytest.raises(SysmolError, match=complaint):
        isa.parse_encoding(text)


def test_fields_in_pieces():
    """A word of another shape: a store with an immediate in two places, as RISC-V has them."""
    text = "31:25=imm[11:5] 24:20=vs 19:15=rs1 14:12=0b001 11:7=imm[4:0] 6:0=0b0101011"
    fields = {"imm": 12, "vs": 5, "rs1": 5}
    parsed = isa.parse_encoding(text, fields)
    assert [(f.low, f.width, f.start) for f in parsed if f.name == "imm"] == [(25, 7, 5), (7, 5, 0)]
    with pytest.raises(SysmolError, match="'imm' must stand once, 12 bits wide"):
        isa.parse_encoding(text.replace("imm[4:0]", "imm[5:1]"), fields)
    with pytest.raises(SysmolError, match="'imm' must stand once, 12 bits wide"):
        isa.parse_encoding(text.replace("11:7=imm[4:0]", "11:7=0"), fields)


def test_clashing_rows_are_refused():
    with pytest.raises(SysmolError, match="belongs to vmac"):
        isa.check_table((*isa.TABLE, isa.TABLE[0]))
    vmac = isa.TABLE[0]
    for change, complaint in (
        ({"field6": "colour"}, "field6 selects one of"),
        ({"format": "letters"}, "the format is one of"),
        ({"reads": ("vd", "x0")}, "not 'x0'"),
        ({"fns": (0, 8)}, "not in sequence"),
        ({"fns": (8,)}, "does not fit the words of format registers"),
        ({"fns": (7,), "format": "second"}, "does not fit the words of format second"),
    ):
        with pytest.raises(SysmolError, match=complaint):
            isa.check_table((dataclasses.replace(vmac, **change), *isa.TABLE[1:]))
    with pytest.raises(SysmolError, match="one name"):
        isa.check_table((dataclasses.replace(vmac, name="vdot"), *isa.TABLE[1:]))


def test_words_by_the_specification():
    # Written out from the specification's two formulas, not from the table.
    for fn, field6 in [(0, 5), (7, 44), (1, 0x27), (4, 0), (3, 0x3F)]:
        for vd, vn, vm in [(0, 0, 0), (31, 31, 31), (1, 2, 3)]:
            riscv = field6 << 25 | vm << 20 | vn << 15 | fn << 12 | vd << 7 | 0b0001011
            arm = fn << 29 | 1 << 25 | vm << 16 | field6 << 10 | vn << 5 | vd
            assert isa.encode("riscv", fn, field6, vd, vn, vm) == riscv
            assert isa.encode("arm", fn, field6, vd, vn, vm) == arm
            # The second page: one bit more.
            assert isa.encode("riscv", 8 + fn, field6, vd, vn, vm) == 1 << 31 | riscv
            assert isa.encode("arm", 8 + fn, field6, vd, vn, vm) == 1 << 21 | arm


def test_words_of_the_proposal():
    """Words and loads that were written down before the table had them."""
    for fn, field6, riscv, arm in [
        (8, 10, 0x9441008B, 0x02242841),
        (8, 34, 0xC441008B, 0x02248841),
        (9, 0x14, 0xA841108B, 0x22245041),
        (10, 11, 0x9641208B, 0x42242C41),
        (11, 0x13, 0xA641308B, 0x62244C41),
    ]:
        assert (isa.encode("riscv", fn, field6, 1, 2, 4), isa.encode("arm", fn, field6, 1, 2, 4)) == (riscv, arm)
    assert isa.encode_access("riscv", 16, 1, 10, 48) == 0x030500AB


def test_loads_and_stores():
    for imm in (-2048, -1, 0, 1, 31, 32, 2047):
        for register, base in ((0, 31), (31, 0), (1, 10)):
            low = imm & 0xFFF
            assert isa.encode_access("riscv", 16, register, base, imm) == low << 20 | base << 15 | register << 7 | 0x2B
            store = low >> 5 << 25 | register << 20 | base << 15 | 1 << 12 | (low & 31) << 7 | 0x2B
            assert isa.encode_access("riscv", 17, register, base, imm) == store
            load = isa.decode("riscv", isa.encode_access("riscv", 16, register, base, imm))
            assert load == isa.Word(16, 0, register, base, 0, imm)
            assert isa.decode("riscv", store) == isa.Word(17, 0, 0, base, register, imm)
            assert isa.disassembly(load) == f"lq v{register}, {imm}(x{base})"
    for funct3 in range(2, 8):
        word = funct3 << 12 | 0x2B
        assert isa.claims("riscv", word) and isa.decode("riscv", word) is None
    with pytest.raises(SysmolError, match="arm has no lq"):
        isa.encode_access("arm", 16, 1, 10, 48)
    with pytest.raises(SysmolError, match="imm = 2048 is not from -2048 to 2047"):
        isa.encode_access("riscv", 17, 1, 10, 2048)


@pytest.mark.parametrize("name", ["riscv", "arm"])
def test_every_word_decodes_to_itself_or_is_illegal(name):
    legal = 0
    for fn in range(16):
        for field6 in range(64):
            word = isa.encode(name, fn, field6, 7, 8, 9)
            decoded = isa.decode(name, word)
            if decoded is None:
                assert isa.illegal_reason(fn, field6)
                with pytest.raises(SysmolError):
                    isa.execute(fn, field6, bytes(16), bytes(16), bytes(16))
            else:
                legal += 1
                assert decoded == isa.Word(fn, field6, 7, 8, 9)
            assert isa.claims(name, word)
    assert legal == 5 * 45 + 2 * 16 + 64 + 38 + 32 + 64 + 48 + 28 + 14


def _second_opinion(fn: int, field6: int, vd: bytes, vn: bytes, vm: bytes) -> bytes:
    """The specification once more, by NumPy over unpacked slots."""
    if fn >= 8:
        return _second_page(fn, field6, vd, vn, vm)
    if fn in (0, 4, 5, 6, 7):
        precisions = packing.slot_precisions([field6])
        a, b = (
            2 * packing.unpack(np.frombuffer(v, np.uint8)[None], [field6]) - ((1 << precisions) - 1) for v in (vn, vm)
        )
        products = a * b * np.array([0, 64, 16, 0, 1])[precisions]
        chunk = np.concatenate([[c] * (16 // p) for c, p in enumerate(chunk_precisions(field6))])
        acc = np.frombuffer(vd, "<i4").astype(np.int64)
        for lane in range(4):
            if fn == 0:
                acc[lane] += products[chunk // 2 == lane].sum()
            elif lane == fn - 4:
                acc[lane] += products.sum()
        return acc.astype("<i4").tobytes()
    if fn == 3:
        p, form = (4, 2, 1, 4)[field6 >> 4], field6 >> 4
        lanes = np.frombuffer(vn if form == 3 else vn + vm, "<i4").astype(np.int64)
        codes = np.clip(lanes // 4 ** (field6 & 15), 0, 2**p - 1)
        bits = np.concatenate([np.unpackbits(np.frombuffer(vd, np.uint8), bitorder="little"),
                               (codes[:, None] >> np.arange(p) & 1).ravel()])  # fmt: skip
        return np.packbits(bits[-128:].astype(np.uint8), bitorder="little").tobytes()
    p, k = {0: 4, 1: 2, 2: 1}[field6 >> 4], field6 & 15
    width, count = (16, 8) if p == 4 else (8, 16)
    uniform = {4: 0, 2: 36, 1: 44}[p]
    a, b = (2 * packing.unpack(np.frombuffer(v, np.uint8)[None], [uniform]) - ((1 << p) - 1) for v in (vn, vm))
    lanes = (a * b)[k * count : (k + 1) * count]
    if fn == 2:
        lanes = lanes + np.frombuffer(vd, f"<i{width // 8}")
    return lanes.astype(f"<i{width // 8}").tobytes()


def _codes(register: bytes, p: int) -> np.ndarray:
    """All codes of ``p`` bits, read from the register's bits."""
    bits = np.unpackbits(np.frombuffer(register, np.uint8), bitorder="little").reshape(-1, p)
    return (bits << np.arange(p)).sum(axis=1).astype(np.int64)


def _odd(register: bytes, p: int) -> np.ndarray:
    return 2 * _codes(register, p) - (2**p - 1)


def _matrix(vn: bytes, vm: bytes, rows: int, columns: int, precisions: list[int], unit: int, which: int) -> np.ndarray:
    """Sums ``[row, column]`` over chunks; row i reads vn's half i from chunk ``which``, columns share vm out."""
    total = np.zeros((rows, columns), np.int64)
    for k, p in enumerate(precisions):
        n = _odd(vn, p).reshape(rows, 8 // rows, 16 // p)[:, which + k]
        m = _odd(vm, p).reshape(columns, 8 // columns, 16 // p)[:, k]
        total += (n @ m.T) * {4: 1, 2: 16, 1: 64}[p] // unit
    return total


PIECES = [p for n in (4, 3, 2, 1) for p in sorted((s for s in np.ndindex(5, 5, 5) if sum(s) == n), reverse=True)]
FORMS = [(2, 0, 0, 1), (1, 1, 0, 1), (1, 0, 1, 1), (0, 2, 0, 1), (0, 2, 0, 16), (0, 1, 1, 1), (0, 1, 1, 16),
         (0, 0, 2, 1), (0, 0, 2, 16), (0, 0, 2, 64), (1, 0, 0, 1), (0, 1, 0, 1), (0, 1, 0, 16), (0, 0, 1, 1),
         (0, 0, 1, 16), (0, 0, 1, 64)]  # fmt: skip
"""Counts of chunks by precision, and the unit in 2^-6: written out from the specification."""


def _spread(counts) -> list[int]:
    return [4] * counts[0] + [2] * counts[1] + [1] * counts[2]


def _second_page(fn: int, field6: int, vd: bytes, vn: bytes, vm: bytes) -> bytes:
    """The second page once more."""
    if fn == 8:
        nibbles = field6 >= 34
        piece = _spread((38 - field6, 0, 0) if nibbles else PIECES[field6])
        sums = _matrix(vn, vm, 2, 2, piece, 1, 0) * (16 if nibbles else 1)
        return (np.frombuffer(vd, "<i4") + sums.ravel()).astype("<i4").tobytes()
    if fn == 9:
        *counts, unit = FORMS[field6 % 16]
        sums = _matrix(vn, vm, 2, 4, _spread(counts), unit, 2 * (field6 // 16))
        return (np.frombuffer(vd, "<i2") + sums.ravel()).astype("<i2").tobytes()
    if fn in (11, 12):
        kind, shift = ("<i2", field6 % 8) if fn == 11 else ("<i4", field6 % 16)
        p, joint = (4, 2, 1, 8)[field6 // 16], fn == 11 and bool(field6 // 8 % 2)
        alone = p == 8 and joint
        p, joint = (4, False) if alone else (p, joint)
        n, m = (np.frombuffer(r, kind).astype(np.int64).reshape(1 if joint else 2, -1) for r in (vn, vm))
        codes = np.clip((n if alone else np.concatenate([n, m], axis=1)) // 4**shift, 0, 2**p - 1)
        result = b""
        for old, new in zip(np.frombuffer(vd, np.uint8).reshape(len(codes), -1), codes, strict=True):
            bits = np.concatenate([np.unpackbits(old, bitorder="little"), (new[:, None] >> np.arange(p) & 1).ravel()])
            result += np.packbits(bits[-8 * len(old) :].astype(np.uint8), bitorder="little").tobytes()
        return result
    p = (4, 2, 1)[field6 // 16]
    if fn == 13:
        return _odd(vn, p).reshape(2, -1, 4)[:, field6 % 16].astype("<i2").tobytes()
    part, first = field6 // 4 % 4, field6 % 4
    n, m = (_odd(r, p).reshape(4, -1, 8)[:, part] for r in (vn, vm))
    return (np.frombuffer(vd, "<i2") + (n[first : first + 3] * m[:3]).sum(axis=0)).astype("<i2").tobytes()


def test_meaning_agrees_with_a_second_formulation():
    print("seed", SEED)
    rng = np.random.default_rng(SEED)
    edges = [bytes(16), b"\xff" * 16, b"\x00\x80" * 8, b"\xff\x7f" * 8]
    for fn, field6 in isa.words():
        for trial in range(6):
            vd, vn, vm = (edges[rng.integers(4)] if trial < 3 else rng.bytes(16) for _ in range(3))
            assert isa.execute(fn, field6, vd, vn, vm) == _second_opinion(fn, field6, vd, vn, vm), (fn, field6)


def test_generated_files_are_what_the_table_gives():
    assert generated.stale(emit.files()) == []


def test_an_edited_or_missing_file_is_stale(tmp_path):
    files = emit.files(tmp_path)
    assert generated.main("sysmol.emit", files, []) == 0 == generated.main("sysmol.emit", files, ["--check"])
    first, second = list(files)[:2]
    first.write_text(first.read_text().replace("0", "1", 1))
    second.unlink()
    assert generated.stale(files) == [first, second]
    assert generated.main("sysmol.emit", files, ["--check"]) == 1
    assert generated.main("sysmol.emit", files, ["--chek"]) == 2


def test_decode_header_agrees_with_the_table(tmp_path):
    """Every fn and field6 with edge registers, and every single-bit neighbour of a legal word, in C++."""
    lines = []
    for name in ("riscv", "arm"):
        candidates = {
            isa.encode(name, fn, f, *regs)
            for fn in range(16)
            for f in range(64)
            for regs in [(0, 31, 0), (31, 0, 31), (1, 2, 3)]
        }
        if name == "riscv":
            edges = (-2048, -1, 0, 31, 32, 2047)
            candidates |= {isa.encode_access(name, fn, 7, 9, imm) for fn in (16, 17) for imm in edges}
        candidates |= {word ^ 1 << bit for word in list(candidates)[::7] for bit in range(32)}
        for word in sorted(candidates):
            d = isa.decode(name, word)
            fields = f"{d.fn} {d.field6} {d.vd} {d.vn} {d.vm} {d.imm}" if d else ""
            text = f"{fields} {isa.mnemonic(d.fn, d.field6)}" if d else "illegal"
            lines.append((f"{name} {word:08x}", f"{int(isa.claims(name, word))} {text}"))
    source = tmp_path / "decode.cc"
    source.write_text(
        '#include "gem5_ext/smol_decode.hh"\n#include <cstdio>\n#include <cstring>\nint main() {\n'
        "    char name[8]; unsigned word;\n"
        '    while (std::scanf("%7s %x", name, &word) == 2) {\n'
        '        SmolInst i{}; bool arm = !std::strcmp(name, "arm");\n'
        "        bool legal = arm ? smol_decode_arm(word, i) : smol_decode_riscv(word, i);\n"
        '        std::printf("%d ", arm ? smol_in_arm_space(word) : smol_in_riscv_space(word));\n'
        '        if (!legal) std::puts("illegal");\n'
        '        else std::printf("%d %d %d %d %d %d %s\\n", i.fn, i.field6, i.vd, i.vn, i.vm, i.imm,\n'
        "                         smol_mnemonic(i));\n"
        "    }\n}\n"
    )
    program = tmp_path / "decode"
    subprocess.run(
        ["g++", "-std=c++17", "-Wall", "-Werror", f"-I{PACKAGE}", str(source), "-o", str(program)], check=True
    )
    out = subprocess.run(
        [str(program)], input="\n".join(q for q, _ in lines), text=True, capture_output=True, check=True
    ).stdout
    assert out.splitlines() == [answer for _, answer in lines]
