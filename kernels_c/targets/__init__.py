"""The machines that kernels are generated for, as data: headers, compiler flags, and what every operation costs.

A cost is a count of instructions by class of the mix (:data:`sysmol.kernels_c.emitter.CLASSES`). Register moves that
a core's renamer removes are not counted. Operations on register pairs count twice, as a 128-bit core executes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sysmol.files import PACKAGE

KERNELS = PACKAGE / "kernels_c"


def _same(names: str, **cost: int) -> dict[str, dict[str, int]]:
    return {name: cost for name in names.split()}


_COMMON = (
    _same("v_begin m_get_u8 m_get_s8 m_get_s16 m_get_s32 m_get_f32 m_put_s8 m_put_s16 m_put_s32 m_put_f32", scalar=1)
    | _same("m_load32 m_load16 m_load8 m_store64 m_store32 m_store16 m_store8 m_min m_max", scalar=1)
    | _same("m_get_code", scalar=3)
    | _same("m_put_code", scalar=5)
    | _same("m_requantise", scalar=8)
    | _same("v_dot v_mac v_vmul v_vmla v_qpk v_qpk_first", smol=1)
    | _same("v_add v_mul v_madd v_mla v_sra v_max v_at_least v_at_most v_or v_sll v_zero v_dup", simd=1)
    | _same("v_and v_join v_mul8x16 v_mla8x16 v_twice16", simd=1)
    | _same("v_wide v_wide_sum v_wide_add", simd=2)
    | _same("v_as16")
    | _same("v_fadd v_fmul v_fmla v_fmax v_fat_least v_fat_most v_to_float", simd=1)
    | _same("m_opaque v_low v_high")
)

_NEON = _COMMON | {
    "m_prefetch": {"scalar": 1},
    "v_clear": {"vload": 1},
    "v_sum4": {"simd": 3},
    "v_sdot4": {"simd": 1},
    "v_count": {"simd": 3},
    "v_wide_counts": {"simd": 1},
    "v_begin": {},
    "v_settle": {},
    "v_fresh": {"vload": 1},
    "v_low16": {"simd": 1},
    "v_natural_halves": {"simd": 1},
    "v_narrow16": {"simd": 4},
    "v_store_narrow8": {"simd": 3, "vstore": 1},
    "v_affine": {"vload": 1, "simd": 1},
    "v_store_halves": {"vstore": 2, "simd": 1},
    "v_store_strided": {"scalar": 6, "simd": 2},
    "v_split": {"simd": 2},
    "v_top": {"simd": 1},
    "v_load": {"vload": 1},
    "v_store": {"vstore": 1},
    "v_field": {"simd": 2},
    "v_sext8": {"simd": 2},
    "v_sext16": {"simd": 2},
    "v_halves": {"simd": 1},
    "v_hsum": {"simd": 1},
    "v_load_s8": {"vload": 1, "simd": 2},
    "v_load_u8": {"vload": 1, "simd": 2},
    "v_store_s8": {"vstore": 1, "simd": 2},
    "v_begin16": {},
    "v_load16": {"vload": 1},
    "v_load_s8x8": {"vload": 1, "simd": 1},
    "v_zero_pair": {"simd": 2},
    "v_wide_mla": {"simd": 2},
    "v_half8_low": {"simd": 1},
    "v_half8_high": {"simd": 1},
    "v_load_pair": {"vload": 2},
    "v_store_whole": {"vstore": 1},
    "v_load_first8": {"vload": 1},
    "v_load_first4": {"vload": 1},
    "v_load_first2": {"vload": 1},
    "v_sdot": {"simd": 1},
    "v_mmla": {"simd": 1},
    "v_zip_low": {"simd": 1},
    "v_zip_high": {"simd": 1},
    "v_nibbles_low": {"simd": 1},
    "v_nibbles_high": {"simd": 1},
    "v_pop4": {"simd": 12},
    "v_ffma_lane": {"simd": 1},
}

_RVV = _COMMON | {
    "v_settle": {},
    "v_clear": {"vload": 1},
    "v_sum4": {"simd": 7},
    "v_load": {"vload": 1, "scalar": 1},
    "v_fresh": {"vload": 1, "scalar": 1},
    "v_low16": {"simd": 1},
    "v_natural_halves": {"simd": 2},
    "v_affine": {"simd": 1},
    "v_store_halves": {"vstore": 1, "scalar": 4},
    "v_store_strided": {"vstore": 4, "scalar": 1},
    "v_split": {"vstore": 1, "scalar": 2},
    "v_top": {"vstore": 1, "scalar": 1},
    "v_store": {"vstore": 1, "scalar": 1},
    "v_field": {"simd": 2},
    "v_sext8": {"simd": 2},
    "v_sext16": {"simd": 2},
    "v_halves": {"simd": 3},
    "v_hsum": {"simd": 2},
    "v_load_s8": {"scalar": 1, "simd": 3},
    "v_load_u8": {"scalar": 1, "simd": 3},
    "v_store_s8": {"scalar": 1, "simd": 4},
    "v_begin16": {"scalar": 1},
    "v_load16": {"vload": 1, "scalar": 1},
    "v_load_s8x8": {"vload": 1, "scalar": 1, "simd": 1},
    "v_wide_mla": {"simd": 2},
    "v_mul16": {"simd": 1},
    "v_mla16": {"simd": 1},
    "v_widen": {"simd": 2},
    "v_widen_add": {"simd": 2},
    "v_widen_into": {"simd": 2},
    "v_zero_pair": {"simd": 3},
    "v_half8_low": {"simd": 1},
    "v_half8_high": {"simd": 2},
    "v_load_pair": {"vload": 2, "scalar": 1},
    "v_store_whole": {"vstore": 1, "scalar": 1},
    "v_load_first8": {"vload": 1, "scalar": 1, "simd": 1},
    "v_load_first4": {"vload": 1, "scalar": 1, "simd": 1},
    "v_load_first2": {"vload": 1, "scalar": 1, "simd": 1},
    "v_ffma_scalar": {"simd": 1},
    "v_nibble16": {"simd": 2},
    "v_begin_bits": {"scalar": 2},
    "v_xor_bits": {"simd": 1},
    "v_count_bits": {"simd": 1},
    "v_from_scalars": {"simd": 4},
}


@dataclass(frozen=True)
class Target:
    """One machine. ``scalar_operand``: multiply-accumulates take the activation from a scalar register (RVV) instead
    of a lane of a vector (NEON)."""

    name: str
    header: str
    costs: Mapping[str, Mapping[str, int]]
    scalar_operand: bool
    machine: str
    triple: str = ""
    flags: tuple[str, ...] = ()
    zig_flags: tuple[str, ...] = ()

    @property
    def include(self) -> tuple[Path, ...]:
        """Folders of the headers that generated C includes: those of every target, then this one's."""
        return KERNELS / "include", KERNELS / "targets" / self.name


TARGETS = {
    target.name: target
    for target in (
        Target("host", "smol_vec_host.h", _NEON, False, ""),
        # No fullfp16, which a Neoverse N1 has and gem5 24.0 does not: clang makes 16-bit constants such as 0x8005 by a
        # half-precision fneg.
        Target(
            "arm",
            "smol_vec_arm.h",
            _NEON,
            False,
            "EM_AARCH64",
            "aarch64-linux-musl",
            ("-march=armv8.2-a+dotprod+i8mm",),
            ("-mcpu=neoverse_n1+i8mm-fullfp16",),
        ),
        # No compressed instructions: gem5's branch predictors index by pc / 4, and branches of loops that share a word
        # with another mispredict.
        Target(
            "riscv",
            "smol_vec_riscv.h",
            _RVV,
            True,
            "EM_RISCV",
            "riscv64-linux-musl",
            ("-march=rv64gv",),
            ("-mcpu=generic_rv64+m+a+f+d+v+unaligned_scalar_mem",),
        ),
    )
}
