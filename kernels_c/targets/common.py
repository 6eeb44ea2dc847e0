"""Costs of the operations that the vector headers of all targets make of the same instructions.

A cost is a count of instructions by class of the mix (:data:`sysmol.kernels_c.emitter.CLASSES`). Register moves that
a core's renamer removes are not counted. Operations on register pairs count twice, as a 128-bit core executes them.
"""


def same(names: str, **cost: int) -> dict[str, dict[str, int]]:
    """One cost for several operations."""
    return {name: cost for name in names.split()}


COMMON = (
    same("v_begin m_get_u8 m_get_s8 m_get_s16 m_get_s32 m_get_f32 m_put_s8 m_put_s16 m_put_s32 m_put_f32", scalar=1)
    | same("m_load32 m_load16 m_load8 m_store64 m_store32 m_store16 m_store8 m_min m_max", scalar=1)
    | same("m_get_code", scalar=3)
    | same("m_put_code", scalar=5)
    | same("m_requantise", scalar=8)
    | same("m_high", scalar=4)
    | same("m_nibbles", scalar=25)
    | same("m_normalise", scalar=60)
    | same("v_mulh", simd=1)
    | same(
        "v_dot v_mac v_mmw v_mmh v_vmul v_vmla v_qpk v_qpk_first v_qpks v_qpks_first v_qpkh v_qpkh_first v_unph v_dw",
        smol=1,
    )
    | same("v_add v_mul v_madd v_mla v_sra v_max v_at_least v_at_most v_or v_sll v_zero v_dup", simd=1)
    | same("v_and v_join v_mul8x16 v_mla8x16 v_twice16", simd=1)
    | same("v_wide v_wide_sum v_wide_add v_widen_mla", simd=2)
    | same("v_mulh16 v_mac16 v_zip16_low v_sll16 v_unzip16", simd=1)
    | same("v_as16")
    | same("v_fadd v_fmul v_fmla v_fmax v_fat_least v_fat_most v_to_float v_fdiv", simd=1)
    | same("m_bits", scalar=1)
    | same("m_inverse_root", scalar=2)
    | same("m_byte_share", scalar=20)
    | same("m_opaque v_low v_high")
)
