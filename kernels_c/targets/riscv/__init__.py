"""RISC-V: the vector extension with 128-bit registers, and SMOL instructions in custom-0 (smol_vec_riscv.h)."""

from sysmol.kernels_c.targets.common import COMMON
from sysmol.kernels_c.targets.target import Target

COSTS = COMMON | {
    "v_settle": {},
    "v_clear": {"vload": 1},
    "v_sum4": {"simd": 7},
    "v_load": {"vload": 1, "scalar": 1},
    "v_load_high": {"vload": 1, "scalar": 1, "simd": 1},
    "v_fresh": {"vload": 1, "scalar": 1},
    "v_low16": {"simd": 1},
    "v_natural_halves": {"simd": 2},
    "v_affine": {"simd": 1},
    "v_store_halves": {"vstore": 1, "scalar": 4},
    "v_zip_low": {"simd": 1},
    "v_half16_low": {"simd": 1},
    "v_half16_high": {"simd": 2},
    "v_zip_high": {"simd": 3},
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
    "v_begin_narrow": {"scalar": 2},
    "v_zip16_high": {"simd": 3},
    "v_fresh_pair": {"vload": 2, "scalar": 1},
    "v_narrow_pair": {"simd": 3},
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

ACCESSES = {
    "v_load": {"vload": 1},
    "v_load_high": {"vload": 1, "simd": 1},
    "v_load_high16": {"vload": 1, "simd": 1},
    "v_fresh": {"vload": 1},
    "v_store": {"vstore": 1},
}
"""Loads and stores with an offset need no address of their own."""

# No compressed instructions: gem5's branch predictors index by pc / 4, and branches of loops that share a word with
# another mispredict.
TARGET = Target(
    "riscv",
    "smol_vec_riscv.h",
    COSTS,
    scalar_operand=True,
    vector_type=True,
    machine="EM_RISCV",
    triple="riscv64-linux-musl",
    flags=("-march=rv64gv",),
    zig_flags=("-mcpu=generic_rv64+m+a+f+d+v+unaligned_scalar_mem",),
    # Memory lies beyond what 32-bit signed addresses, the default, reach.
    baremetal_flags=("-mcmodel=medany",),
    accesses=ACCESSES,
    narrowing_rounds=True,
)
