"""What compiled executables hold: sizes, symbols, and the code of the kernels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from sysmol.errors import SysmolError

KERNEL_PREFIX = "layer_"
SHARED_PREFIX = "layers_"
"""Of functions that compute several layers."""
RUNTIME_PREFIX = "smol_"
_SHF_WRITE, _SHF_ALLOC = 1, 2


def _open(path: Path) -> Any:
    try:
        return open(path, "rb")
    except OSError as error:
        raise SysmolError(f"cannot read {path}: {error.strerror}") from None


def _functions(elf: ELFFile) -> Iterator[Any]:
    for table in elf.iter_sections():
        if isinstance(table, SymbolTableSection):
            for symbol in table.iter_symbols():
                if symbol["st_info"]["type"] == "STT_FUNC":
                    yield symbol


def facts(path: Path) -> dict[str, Any]:
    """``machine``, ``sizes`` of text (read-only), data and bss in bytes, and sizes of the network's own functions."""
    with _open(path) as stream:
        try:
            elf = ELFFile(stream)
            sizes = {"text": 0, "data": 0, "bss": 0}
            for section in elf.iter_sections():
                flags = section["sh_flags"]
                if flags & _SHF_ALLOC:
                    empty = section["sh_type"] == "SHT_NOBITS"
                    sizes["bss" if empty else "data" if flags & _SHF_WRITE else "text"] += section["sh_size"]
            symbols = {
                symbol.name: symbol["st_size"]
                for symbol in _functions(elf)
                if symbol.name.startswith((KERNEL_PREFIX, SHARED_PREFIX, RUNTIME_PREFIX))
            }
            return {"machine": elf["e_machine"], "sizes": sizes, "symbols": dict(sorted(symbols.items()))}
        except ELFError as error:
            raise SysmolError(f"{path} is no ELF executable ({error}): use a compiler for Linux") from None


def kernels(path: Path) -> dict[str, bytes]:
    """Machine code of the layers' functions."""
    with _open(path) as stream:
        elf = ELFFile(stream)
        result = {}
        for symbol in _functions(elf):
            if symbol.name.startswith((KERNEL_PREFIX, SHARED_PREFIX)):
                section = elf.get_section(symbol["st_shndx"])
                start = symbol["st_value"] - section["sh_addr"]
                result[symbol.name] = section.data()[start : start + symbol["st_size"]]
        return result


def riscv_words(code: bytes) -> list[int]:
    """The 32-bit instructions among those of 16 and 32 bits."""
    result, at = [], 0
    while at + 2 <= len(code):
        wide = code[at] & 3 == 3
        if wide:
            result.append(int.from_bytes(code[at : at + 4], "little"))
        at += 4 if wide else 2
    return result


def is_vset(word: int) -> bool:
    """Whether a RISC-V word sets vtype."""
    return word & 0x707F == 0x7057


def vsetivli(lanes: int, width: int) -> int:
    """The word ``vsetivli zero, lanes, e<width>, m1, ta, ma``."""
    vtype = 0xC0 | ({8: 0, 16: 1, 32: 2}[width] << 3)
    return 0b11 << 30 | vtype << 20 | lanes << 15 | 0b111 << 12 | 0x57


ALL_MASK_BITS = 0xC3 << 20 | 5 << 15 | 0b111 << 12 | 0x57
"""The word ``vsetvli zero, t0, e8, m8, ta, ma``: with 128 in t0, all bits of a register as a mask."""
OWN_SETTINGS = (vsetivli(4, 32), vsetivli(8, 16), ALL_MASK_BITS)
"""The settings of vtype that the kernels make themselves (targets/riscv/smol_vec_riscv.h)."""


def foreign_vset(path: Path) -> list[str]:
    """RISC-V kernels in which the compiler set vtype for purposes of its own."""
    return [
        name
        for name, code in kernels(path).items()
        if any(is_vset(word) and word not in OWN_SETTINGS for word in riscv_words(code))
    ]
