/*
 * The 128-bit vector operations that generated kernels use, on AArch64: NEON intrinsics, and the SMOL instructions as
 * words. With -DSMOL_EMULATE the words become calls of smol_arith.h on the registers' bytes, so that any AArch64
 * machine or emulator runs everything but the words themselves. Meanings: smol_vec_host.h.
 */
#ifndef SMOL_VEC_ARM_H
#define SMOL_VEC_ARM_H

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#include "smol_isa.h"

typedef int32x4_t vec;

#ifdef SMOL_EMULATE
#include "smol_arith.h"
/* Out of line: a register tile has hundreds of them. */
static __attribute__((noinline, unused)) vec smol_emulate(unsigned fn, unsigned field6, vec d, vec n, vec m)
{
    int32_t bytes_d[4], bytes_n[4], bytes_m[4];
    vst1q_s32(bytes_d, d);
    vst1q_s32(bytes_n, n);
    vst1q_s32(bytes_m, m);
    smol_execute(fn, field6, bytes_d, bytes_n, bytes_m);
    return vld1q_s32(bytes_d);
}
#define v_dot(lane, pattern, acc, w, x) ((acc) = smol_emulate(SMOL_FN_VDOT0 + (lane), (pattern), (acc), (w), (x)))
#define v_mac(pattern, acc, w, x) ((acc) = smol_emulate(SMOL_FN_VMAC, (pattern), (acc), (w), (x)))
#define v_mmw(piece, acc, x, w) ((acc) = smol_emulate(SMOL_FN_VMM_W, (piece), (acc), (x), (w)))
#define v_mmh(form, acc, x, w) ((acc) = smol_emulate(SMOL_FN_VMM_H, (form), (acc), (x), (w)))
#define v_vmul(part, d, n, m) ((d) = smol_emulate(SMOL_FN_VMUL, (part), v_zero(), (n), (m)))
#define v_vmla(part, d, n, m) ((d) = smol_emulate(SMOL_FN_VMLA, (part), (d), (n), (m)))
#define v_qpk(pack, d, n, m) ((d) = smol_emulate(SMOL_FN_VQPK, (pack), (d), (n), (m)))
#define v_qpk_first(pack, d, n, m) ((d) = smol_emulate(SMOL_FN_VQPK, (pack), (n), (n), (m)))
#define v_qpks(pack, d, n, m) ((d) = smol_emulate(SMOL_FN_VQPK_S, (pack), (d), (n), (m)))
#define v_qpkh(pack, d, n, m) ((d) = smol_emulate(SMOL_FN_VQPK_H, (pack), (d), (n), (m)))
#define v_qpkh_first(pack, d, n, m) ((d) = smol_emulate(SMOL_FN_VQPK_H, (pack), (n), (n), (m)))
#define v_dw(taps, acc, x, w) ((acc) = smol_emulate(SMOL_FN_VDW, (taps), (acc), (x), (w)))
#define v_unph(group, d, n) ((d) = smol_emulate(SMOL_FN_VUNP_H, (group), (n), (n), (n)))
#define v_qpks_first(pack, d, n, m) ((d) = smol_emulate(SMOL_FN_VQPK_S, (pack), (n), (n), (m)))
#else
__asm__(SMOL_ASM_SYMBOLS);
/* The operand names of SMOL_ASM_WORD are d, n, m: the macros' parameters must have others. */
#define v_dot(lane, pattern, acc_, w_, x_) \
    __asm__ volatile(SMOL_ASM_WORD(4 + lane, pattern) : [d] "+w"(acc_) : [n] "w"(w_), [m] "w"(x_))
#define v_mac(pattern, acc_, w_, x_) \
    __asm__ volatile(SMOL_ASM_WORD(0, pattern) : [d] "+w"(acc_) : [n] "w"(w_), [m] "w"(x_))
#define v_mmw(piece, acc_, x_, w_) \
    __asm__ volatile(SMOL_ASM_WORD_SECOND(8, piece) : [d] "+w"(acc_) : [n] "w"(x_), [m] "w"(w_))
#define v_mmh(form, acc_, x_, w_) \
    __asm__ volatile(SMOL_ASM_WORD_SECOND(9, form) : [d] "+w"(acc_) : [n] "w"(x_), [m] "w"(w_))
#define v_vmul(part, d_, n_, m_) __asm__ volatile(SMOL_ASM_WORD(1, part) : [d] "=w"(d_) : [n] "w"(n_), [m] "w"(m_))
#define v_vmla(part, d_, n_, m_) __asm__ volatile(SMOL_ASM_WORD(2, part) : [d] "+w"(d_) : [n] "w"(n_), [m] "w"(m_))
#define v_qpk(pack, d_, n_, m_) __asm__ volatile(SMOL_ASM_WORD(3, pack) : [d] "+w"(d_) : [n] "w"(n_), [m] "w"(m_))
#define v_qpk_first(pack, d_, n_, m_) \
    __asm__ volatile(SMOL_ASM_WORD(3, pack) : [d] "=w"(d_) : [n] "0"(n_), [m] "w"(m_))
#define v_qpks(pack, d_, n_, m_) \
    __asm__ volatile(SMOL_ASM_WORD_SECOND(12, pack) : [d] "+w"(d_) : [n] "w"(n_), [m] "w"(m_))
#define v_qpks_first(pack, d_, n_, m_) \
    __asm__ volatile(SMOL_ASM_WORD_SECOND(12, pack) : [d] "=w"(d_) : [n] "0"(n_), [m] "w"(m_))
#define v_qpkh(pack, d_, n_, m_) \
    __asm__ volatile(SMOL_ASM_WORD_SECOND(11, pack) : [d] "+w"(d_) : [n] "w"(n_), [m] "w"(m_))
#define v_qpkh_first(pack, d_, n_, m_) \
    __asm__ volatile(SMOL_ASM_WORD_SECOND(11, pack) : [d] "=w"(d_) : [n] "0"(n_), [m] "w"(m_))
#define v_dw(taps, acc_, x_, w_) \
    __asm__ volatile(SMOL_ASM_WORD_SECOND(14, taps) : [d] "+w"(acc_) : [n] "w"(x_), [m] "w"(w_))
#define v_unph(group, d_, n_) \
    __asm__ volatile(SMOL_ASM_WORD_SECOND(13, group) : [d] "=w"(d_) : [n] "w"(n_), [m] "w"(n_))
#endif

#define m_opaque(p) __asm__ volatile("" : "+r"(p))
#define m_prefetch(p) __builtin_prefetch((p))

static inline void v_begin(void)
{
}

static inline vec v_load(const void *p)
{
    return vreinterpretq_s32_u8(vld1q_u8((const uint8_t *)p));
}

static inline void v_store(void *p, vec a)
{
    vst1q_u8((uint8_t *)p, vreinterpretq_u8_s32(a));
}

static inline vec v_zero(void) { return vdupq_n_s32(0); }
static const uint8_t smol_zeros[16] __attribute__((aligned(16)));
/* Assembly, or the compiler moves a constant. */
static inline vec v_clear(void)
{
    vec d;
    __asm__ volatile("ldr %q0, %1" : "=w"(d) : "m"(smol_zeros));
    return d;
}
static inline vec v_dup(uint32_t a) { return vdupq_n_s32((int32_t)a); }
static inline vec v_add(vec a, vec b) { return vaddq_s32(a, b); }
static inline vec v_mul(vec a, vec b) { return vmulq_s32(a, b); }
static inline vec v_madd(vec a, vec m, vec b) { return vmlaq_s32(b, a, m); }
static inline vec v_mla(vec b, vec a, vec m) { return vmlaq_s32(b, a, m); }
/* Doubling is exact, and nothing saturates: only -2^31 squared would, and m is smaller. */
static inline vec v_mulh(vec a, vec m) { return vqdmulhq_s32(a, m); }
#define v_load_high(p) v_load(p)
/* Compilers interleave a tile's sums with its epilogue, and run out of registers. */
#define v_settle(a) __asm__ volatile("" : : "w"(a))
static inline vec v_fresh(const uint8_t *p)
{
    vec d;
    __asm__ volatile("ldr %q0, %1" : "=w"(d) : "m"(*(const uint8_t(*)[16])p));
    return d;
}
/* mla overwrites the addend, and nothing overwrites a factor: a second use of b would cost a move. */
static inline vec v_affine(vec a, vec m, vec b, const uint8_t *p)
{
    (void)b;
    return v_mla(v_fresh(p), a, m);
}
static inline vec v_sra(vec a, int s) { return vshlq_s32(a, vdupq_n_s32(-s)); }
static inline vec v_max(vec a, vec b) { return vmaxq_s32(a, b); }
static inline vec v_at_least(vec a, int32_t low) { return vmaxq_s32(a, vdupq_n_s32(low)); }
static inline vec v_at_most(vec a, int32_t high) { return vminq_s32(a, vdupq_n_s32(high)); }
static inline vec v_or(vec a, vec b) { return vorrq_s32(a, b); }
static inline vec v_and(vec a, vec b) { return vandq_s32(a, b); }
static inline vec v_join(vec a, vec b) { return vcombine_s32(vget_low_s32(a), vget_low_s32(b)); }
/* Loads of scalars clear the rest of the register: no mask is needed. */
static inline vec v_load_first8(const uint8_t *p, vec first)
{
    (void)first;
    return vcombine_s32(vreinterpret_s32_u8(vld1_u8(p)), vdup_n_s32(0));
}
static inline vec v_load_first4(const uint8_t *p, vec first)
{
    int32_t word;
    (void)first;
    memcpy(&word, p, sizeof word);
    return vsetq_lane_s32(word, vdupq_n_s32(0), 0);
}
static inline vec v_load_first2(const uint8_t *p, vec first)
{
    int16_t half;
    (void)first;
    memcpy(&half, p, sizeof half);
    return vreinterpretq_s32_s16(vsetq_lane_s16(half, vdupq_n_s16(0), 0));
}
static inline vec v_sll(vec a, vec s) { return vshlq_s32(a, s); }
static inline vec v_field(vec a, vec s, uint32_t mask)
{
    const uint32x4_t shifted = vshlq_u32(vreinterpretq_u32_s32(a), vnegq_s32(s));
    return vreinterpretq_s32_u32(vandq_u32(shifted, vdupq_n_u32(mask)));
}
static inline vec v_put_field(vec word, vec codes, vec from, int left, uint32_t mask)
{
    const uint32x4_t moved = vshlq_u32(vreinterpretq_u32_s32(codes), vsubq_s32(vdupq_n_s32(left), from));
    return vreinterpretq_s32_u32(vbslq_u32(vdupq_n_u32(mask << left), moved, vreinterpretq_u32_s32(word)));
}
static inline vec v_sext8(vec a, int byte)
{
    return vshrq_n_s32(vshlq_s32(a, vdupq_n_s32(24 - 8 * byte)), 24);
}
static inline vec v_sext16(vec a, int half)
{
    return vshrq_n_s32(vshlq_s32(a, vdupq_n_s32(16 - 16 * half)), 16);
}
static inline vec v_low16(vec a) { return vandq_s32(a, vdupq_n_s32(0xffff)); }
static inline vec v_halves(vec a, vec b) { return vsliq_n_s32(a, b, 16); }
#define v_natural_halves(a, b) v_halves((a), (b))
/* Saturating narrow shifts do most of it. 0 <= s <= 16; for bytes 0 <= s <= 24, of which 16 saturate nothing. */
#define SMOL_NARROW(a, s) ((s) ? vqshrn_n_s32((a), (s) ? (s) : 1) : vqmovn_s32(a))
#define v_narrow16(s, lo, hi, a, b) smol_zip_(SMOL_NARROW(a, s), SMOL_NARROW(b, s), (lo), (hi))
static inline vec smol_zip_(int16x4_t a, int16x4_t b, int lo, int hi)
{
    int16x8_t d = vzip1q_s16(vcombine_s16(a, a), vcombine_s16(b, b));
    if (lo > -32768)
        d = vmaxq_s16(d, vdupq_n_s16((int16_t)lo));
    if (hi < 32767)
        d = vminq_s16(d, vdupq_n_s16((int16_t)hi));
    return vreinterpretq_s32_s16(d);
}
#define SMOL_FIRST(s) ((s) > 16 ? 16 : (s))
#define SMOL_SECOND(s) ((s) > 16 ? (s) - 16 : 1)
#define v_store_narrow8(p, s, lo, hi, a, b, zero)                                                                  \
    smol_store_bytes_((p),                                                                                         \
                      vcombine_s16(SMOL_NARROW(a, SMOL_FIRST(s)), SMOL_NARROW(b, SMOL_FIRST(s))), (s) > 16, \
                      SMOL_SECOND(s), (lo), (hi))
#define smol_store_bytes_(p, halves, twice, s, lo, hi) \
    smol_store_clamped_((p), (twice) ? vqshrn_n_s16((halves), (s)) : vqmovn_s16(halves), (lo), (hi))
static inline void smol_store_clamped_(uint8_t *p, int8x8_t d, int lo, int hi)
{
    if (lo > -128)
        d = vmax_s8(d, vdup_n_s8((int8_t)lo));
    if (hi < 127)
        d = vmin_s8(d, vdup_n_s8((int8_t)hi));
    vst1_s8((int8_t *)p, d);
}
static inline uint32_t v_hsum(vec a, vec zero)
{
    (void)zero;
    return vaddvq_u32(vreinterpretq_u32_s32(a));
}
/* Assembly: a compiler would take single words out of the vector, at a vector slot each. */
static inline uint64_t smol_low_(vec a)
{
    uint64_t h;
    __asm__("fmov %0, %d1" : "=r"(h) : "w"(a));
    return h;
}
static inline uint64_t smol_high_(vec a)
{
    uint64_t h;
    __asm__("mov %0, %1.d[1]" : "=r"(h) : "w"(a));
    return h;
}
static inline void v_split(uint64_t *h, vec a)
{
    h[0] = smol_low_(a);
    h[1] = smol_high_(a);
}
static inline void v_top(uint64_t *h, vec a) { h[1] = smol_high_(a); }
static inline void v_store_halves(uint8_t *low, uint8_t *high, vec a)
{
    vst1_u8(low, vget_low_u8(vreinterpretq_u8_s32(a)));
    vst1q_lane_u64((uint64_t *)high, vreinterpretq_u64_s32(a), 1);
}
static inline void v_store_strided(uint8_t *p, int stride, vec a)
{
    for (int half = 0; half < 2; half++) {
        const uint64_t words = half ? smol_high_(a) : smol_low_(a);
        const uint32_t low = (uint32_t)words, high = (uint32_t)(words >> 32);
        memcpy(p + 2 * half * stride, &low, sizeof low);
        memcpy(p + (2 * half + 1) * stride, &high, sizeof high);
    }
}
static inline vec v_load_s8(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(word)))));
}
static inline vec v_load_u8(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(word))))));
}
static inline void v_store_s8(uint8_t *p, vec a, vec zero)
{
    const int16x4_t half = vmovn_s32(a);
    const uint32_t word = vget_lane_u32(vreinterpret_u32_s8(vmovn_s16(vcombine_s16(half, half))), 0);
    (void)zero;
    memcpy(p, &word, sizeof word);
}

/* Eight lanes of 16 bits; eight lanes of 32 bits, four and four. */
typedef int16x8_t vec16;
typedef int32x4x2_t vecpair;

static inline void v_begin16(void)
{
}
static inline vec16 v_load16(const void *p) { return vreinterpretq_s16_u8(vld1q_u8((const uint8_t *)p)); }
static inline vec16 v_load_s8x8(const void *p) { return vmovl_s8(vld1_s8((const int8_t *)p)); }
static inline vecpair v_zero_pair(void)
{
    const vecpair d = {{vdupq_n_s32(0), vdupq_n_s32(0)}};
    return d;
}
#define v_wide_mla(acc, x, w) ((acc) = smol_wide_mla_((acc), (x), (w)))
static inline vecpair smol_wide_mla_(vecpair acc, vec16 x, vec16 w)
{
    acc.val[0] = vmlal_s16(acc.val[0], vget_low_s16(x), vget_low_s16(w));
    acc.val[1] = vmlal_high_s16(acc.val[1], x, w);
    return acc;
}
#define v_mul8x16(d, x, w) ((d) = vmulq_s16((x), (w)))
#define v_mla8x16(d, x, w) ((d) = vmlaq_s16((d), (x), (w)))
#define v_wide_add(acc, a) ((acc) = smol_wide_add_((acc), (a)))
static inline vecpair smol_wide_add_(vecpair acc, vec16 a)
{
    const vecpair d = {{vaddw_s16(acc.val[0], vget_low_s16(a)), vaddw_high_s16(acc.val[1], a)}};
    return d;
}
static inline vecpair v_wide(vec16 a)
{
    const vecpair d = {{vmovl_s16(vget_low_s16(a)), vmovl_high_s16(a)}};
    return d;
}
static inline vecpair v_wide_sum(vec16 a, vec16 b)
{
    const vecpair d = {{vaddl_s16(vget_low_s16(a), vget_low_s16(b)), vaddl_high_s16(a, b)}};
    return d;
}
static inline vec16 v_twice16(vec16 a) { return vaddq_s16(a, a); }
static inline vec16 v_as16(vec a) { return vreinterpretq_s16_s32(a); }
static inline vec16 v_half8_low(vec a) { return vmovl_s8(vget_low_s8(vreinterpretq_s8_s32(a))); }
static inline vec16 v_half8_high(vec a) { return vmovl_high_s8(vreinterpretq_s8_s32(a)); }
static inline vecpair v_load_pair(const uint8_t *p)
{
    const vecpair d = {{v_load(p), v_load(p + 16)}};
    return d;
}
#define v_store_whole(p, a) v_store((p), (a))
#define v_low(acc) ((acc).val[0])
#define v_high(acc) ((acc).val[1])

typedef uint8x16x4_t vectable;
static inline vectable v_load_table(const uint8_t *p)
{
    const vectable d = {{vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)}};
    return d;
}
static inline vec v_lookup(vectable t, vec index)
{
    return vreinterpretq_s32_u8(vqtbl4q_u8(t, vreinterpretq_u8_s32(index)));
}
static inline vec v_lookup_next(vec before, vectable t, vec index)
{
    const uint8x16_t own = vsubq_u8(vreinterpretq_u8_s32(index), vdupq_n_u8(64));
    return vreinterpretq_s32_u8(vqtbx4q_u8(vreinterpretq_u8_s32(before), t, own));
}
static inline vec16 v_dup16(int a) { return vdupq_n_s16((int16_t)a); }
static inline vec16 v_max16(vec16 a, vec16 b) { return vmaxq_s16(a, b); }
static inline int v_hmax16(vec16 a) { return vmaxvq_s16(a); }
static inline vec v_normal(vec16 x, vec16 left, vec16 addend, vec16 right, vec16 factor)
{
    const int16x8_t c = vshlq_s16(vaddq_s16(vshlq_s16(x, left), addend), right);
    return vreinterpretq_s32_s16(vqrdmulhq_s16(c, factor));
}
static inline vec v_below(vec16 top, vec16 a, vec16 b)
{
    /* Even lanes of both, odd lanes of both: the blocks' first four channels, and the others. */
    const int16x8_t even = vuzp1q_s16(a, b), odd = vuzp2q_s16(a, b);
    const int32x4_t first = vreinterpretq_s32_u8(
        vcombine_u8(vqmovun_s16(vqsubq_s16(top, even)), vqmovun_s16(vqsubq_s16(top, odd))));
    /* Words 0, 2, 1, 3. */
    return vzip1q_s32(first, vextq_s32(first, first, 2));
}
static inline uint8x8_t smol_fold_(uint16x8_t a, int bits)
{
    return vmovn_u16(vorrq_u16(a, vshlq_u16(a, vdupq_n_s16((int16_t)(bits - 8)))));
}
static inline void v_store_codes4(uint8_t *p, vec a) { vst1_u8(p, smol_fold_(vreinterpretq_u16_s32(a), 4)); }
static inline uint8x8_t smol_codes2_(vec a)
{
    const uint8x8_t pairs = smol_fold_(vreinterpretq_u16_s32(a), 2);
    return smol_fold_(vreinterpretq_u16_u8(vcombine_u8(pairs, pairs)), 4);
}
static inline void v_store_codes2(uint8_t *p, vec a)
{
    const uint32_t word = vget_lane_u32(vreinterpret_u32_u8(smol_codes2_(a)), 0);
    memcpy(p, &word, sizeof word);
}
static inline void v_store_codes1(uint8_t *p, vec a)
{
    const uint8x8_t pairs = smol_fold_(vreinterpretq_u16_s32(a), 1);
    const uint8x8_t fours = smol_fold_(vreinterpretq_u16_u8(vcombine_u8(pairs, pairs)), 2);
    const uint8x8_t eights = smol_fold_(vreinterpretq_u16_u8(vcombine_u8(fours, fours)), 4);
    const uint16_t half = vget_lane_u16(vreinterpret_u16_u8(eights), 0);
    memcpy(p, &half, sizeof half);
}

#define v_sdot(lane, acc, w, x) \
    ((acc) = vdotq_laneq_s32((acc), vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(x), (lane)))

static inline void m_interleave8(uint8_t *p, const uint8_t *a, const uint8_t *b, const uint8_t *c, const uint8_t *e)
{
    const uint8x8x4_t rows = {{vld1_u8(a), vld1_u8(b), vld1_u8(c), vld1_u8(e)}};
    vst4_u8(p, rows);
}
#define v_sdot4(acc, w, x) ((acc) = vdotq_s32((acc), vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(x)))
static inline vec v_sum4(vec a, vec b, vec c, vec d, vec zero)
{
    (void)zero;
    return vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
}
#define v_count(acc, w, x)                                                                                    \
    ((acc) = vreinterpretq_s32_u16(vpadalq_u8(vreinterpretq_u16_s32(acc),                                     \
                                              vcntq_u8(vreinterpretq_u8_s32(veorq_s32((w), (x)))))))
static inline vec v_wide_counts(vec a) { return vreinterpretq_s32_u32(vpaddlq_u16(vreinterpretq_u16_s32(a))); }

static inline vec v_zip_low(vec a, vec b)
{
    return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}
static inline vec v_zip_high(vec a, vec b)
{
    return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}
/* Sign-extended lanes 0..3, 4..7 of 16 bits. */
static inline vec v_half16_low(vec a) { return vmovl_s16(vget_low_s16(vreinterpretq_s16_s32(a))); }
static inline vec v_half16_high(vec a) { return vmovl_high_s16(vreinterpretq_s16_s32(a)); }
#define v_zip16_low(a, b) v_zip_low((a), (b))
#define v_load_high16(p) v_load(p)
static inline vec v_mulh16(vec a, vec m)
{
    return vreinterpretq_s32_s16(vqdmulhq_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(m)));
}
static inline vec v_mac16(vec b, vec a, vec m)
{
    return vreinterpretq_s32_s16(
        vmlaq_s16(vreinterpretq_s16_s32(b), vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(m)));
}
#define v_begin_narrow() ((void)0)
#define v_zip16_high(a, b) v_zip_high((a), (b))
#define v_sll16(a, s) vreinterpretq_s32_s16(vshlq_n_s16(vreinterpretq_s16_s32(a), (s)))
static const uint8_t smol_unzip16[16] __attribute__((aligned(16))) = {0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15};
static inline vec v_unzip16(vec a, vec order)
{
    return vreinterpretq_s32_u8(vqtbl1q_u8(vreinterpretq_u8_s32(a), vreinterpretq_u8_s32(order)));
}
static inline vecpair v_fresh_pair(const uint8_t *p)
{
    vecpair d;
    __asm__ volatile("ldp %q0, %q1, [%2]" : "=w"(d.val[0]), "=w"(d.val[1]) : "r"(p), "m"(*(const uint8_t(*)[32])p));
    return d;
}
/* Assembly: compilers take upper halves out of their registers first. */
#define v_widen_mla(acc_, x_, w_)                                                                            \
    do {                                                                                                     \
        __asm__("smlal %0.4s, %1.4h, %2.4h" : "+w"((acc_).val[0]) : "w"(x_), "w"(w_));                       \
        __asm__("smlal2 %0.4s, %1.8h, %2.8h" : "+w"((acc_).val[1]) : "w"(x_), "w"(w_));                      \
    } while (0)
#define v_widen_low(d_, x_, w_) __asm__("smlal %0.4s, %1.4h, %2.4h" : "+w"(d_) : "w"(x_), "w"(w_))
#define v_widen_high(d_, x_, w_) __asm__("smlal2 %0.4s, %1.8h, %2.8h" : "+w"(d_) : "w"(x_), "w"(w_))
static inline vec v_pack16(vec a, vec b)
{
    return vreinterpretq_s32_s16(vuzp1q_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b)));
}
#define v_narrow_halves(s, lo, hi, a, b)                                                                          \
    smol_clamp16_((s) ? vqshrn_high_n_s32(vqshrn_n_s32((a), (s) ? (s) : 1), (b), (s) ? (s) : 1)                    \
                      : vqmovn_high_s32(vqmovn_s32(a), (b)), (lo), (hi), vdupq_n_s32(0))
#define v_narrow_pair(s, lo, hi, a, none) \
    smol_clamp16_(vqshrn_high_n_s32(vqshrn_n_s32((a).val[0], (s)), (a).val[1], (s)), (lo), (hi), (none))
/* The zeros are loaded once: compilers make them again and again. */
static inline vec smol_clamp16_(int16x8_t d, int lo, int hi, vec none)
{
    if (lo == 0)
        d = vmaxq_s16(d, vreinterpretq_s16_s32(none));
    else if (lo > -32768)
        d = vmaxq_s16(d, vdupq_n_s16((int16_t)lo));
    if (hi < 32767)
        d = vminq_s16(d, vdupq_n_s16((int16_t)hi));
    return vreinterpretq_s32_s16(d);
}
#define v_mmla(acc, x, w) ((acc) = vmmlaq_s32((acc), vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(w)))
static inline vec v_nibbles_low(vec a) { return vreinterpretq_s32_s8(vshlq_n_s8(vreinterpretq_s8_s32(a), 4)); }
static inline vec v_nibbles_high(vec a) { return vandq_s32(a, vdupq_n_s32((int32_t)0xf0f0f0f0u)); }
static inline uint8x16_t smol_differ_(vec x, vec w) { return vcntq_u8(vreinterpretq_u8_s32(veorq_s32(x, w))); }
#define v_pop4(acc, x, w0, w1, w2, w3) ((acc) = smol_pop4_((acc), (x), (w0), (w1), (w2), (w3)))
static inline vec smol_pop4_(vec acc, vec x, vec w0, vec w1, vec w2, vec w3)
{
    const uint8x16_t low = vpaddq_u8(smol_differ_(x, w0), smol_differ_(x, w1));
    const uint8x16_t high = vpaddq_u8(smol_differ_(x, w2), smol_differ_(x, w3));
    return vreinterpretq_s32_u32(vdotq_u32(vreinterpretq_u32_s32(acc), vpaddq_u8(low, high), vdupq_n_u8(1)));
}

#define SMOL_F32(a) vreinterpretq_f32_s32(a)
#define SMOL_S32(a) vreinterpretq_s32_f32(a)
#define v_ffma_lane(lane, acc, w, x) \
    ((acc) = SMOL_S32(vfmaq_laneq_f32(SMOL_F32(acc), SMOL_F32(w), SMOL_F32(x), (lane))))
static inline vec v_fadd(vec a, vec b) { return SMOL_S32(vaddq_f32(SMOL_F32(a), SMOL_F32(b))); }
static inline vec v_fmul(vec a, vec b) { return SMOL_S32(vmulq_f32(SMOL_F32(a), SMOL_F32(b))); }
static inline vec v_fmla(vec b, vec a, vec m) { return SMOL_S32(vfmaq_f32(SMOL_F32(b), SMOL_F32(a), SMOL_F32(m))); }
static inline vec v_fmax(vec a, vec b) { return SMOL_S32(vmaxq_f32(SMOL_F32(a), SMOL_F32(b))); }
static inline vec v_fat_least(vec a, float low) { return SMOL_S32(vmaxq_f32(SMOL_F32(a), vdupq_n_f32(low))); }
static inline vec v_fat_most(vec a, float high) { return SMOL_S32(vminq_f32(SMOL_F32(a), vdupq_n_f32(high))); }
static inline vec v_fdiv(vec a, vec b) { return SMOL_S32(vdivq_f32(SMOL_F32(a), SMOL_F32(b))); }
static inline vec v_faffine(vec a, vec m, vec b, const uint8_t *p)
{
    (void)b;
    return v_fmla(v_fresh(p), a, m);
}
static inline vec v_to_float(vec a) { return SMOL_S32(vcvtq_f32_s32(a)); }

#endif
