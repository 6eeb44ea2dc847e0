/*
 * The 128-bit vector operations that generated kernels use, in portable C99 for a little-endian host: the same names
 * as smol_vec_arm.h and smol_vec_riscv.h, so that the host runs the same loop nests, on the arithmetic of smol_arith.h.
 * The operations are functions of their own: a register tile has hundreds, and inlining them takes compilers minutes.
 */
#ifndef SMOL_VEC_HOST_H
#define SMOL_VEC_HOST_H

#include <stdint.h>
#include <string.h>

#include "smol_calls.h"

typedef struct {
    uint32_t l[4];
} vec;

#define SMOL_HOST static __attribute__((noinline, unused))

/* The operation `expression`, in terms of i, for every 32-bit lane. */
#define SMOL_LANES(expression)      \
    vec d;                          \
    for (int i = 0; i < 4; i++)     \
        d.l[i] = (uint32_t)(expression); \
    return d

static inline float smol_as_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t smol_as_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline int32_t smol_sra(uint32_t a, int s)
{
    return a >> 31 ? (int32_t)~(~a >> s) : (int32_t)(a >> s);
}

/* What a pointer points at may have changed: loads through it stay where they are written. */
#define m_opaque(p) ((void)(p))
/* Ask for a cache line ahead of its use. */
#define m_prefetch(p) ((void)(p))

/* Start of a kernel: nothing to set up here. */
SMOL_HOST void v_begin(void)
{
}

SMOL_HOST vec v_load(const void *p)
{
    vec d;
    memcpy(&d, p, sizeof d);
    return d;
}

SMOL_HOST void v_store(void *p, vec a)
{
    memcpy(p, &a, sizeof a);
}

SMOL_HOST vec v_zero(void) { SMOL_LANES(i * 0); }
/* A cleared register by way of a load, for kernels that keep the vector pipes busy and have load slots to spare. */
SMOL_HOST vec v_clear(void) { SMOL_LANES(i * 0); }
SMOL_HOST vec v_dup(uint32_t a) { SMOL_LANES(a); }

/* SMOL instructions: acc and d are variables, the selectors are constants. */
#define v_dot(lane, pattern, acc, w, x) smol_call_vdot(&(acc), &(w), &(x), (pattern), (lane))
#define v_mac(pattern, acc, w, x) smol_call_vmac(&(acc), &(w), &(x), (pattern))
#define v_mmw(piece, acc, x, w) smol_call_vmm_w(&(acc), &(x), &(w), (piece))
#define v_mmh(form, acc, x, w) smol_call_vmm_h(&(acc), &(x), &(w), (form))
#define v_vmul(part, d, n, m) smol_call_vmul(&(d), &(n), &(m), (part))
#define v_vmla(part, d, n, m) smol_call_vmla(&(d), &(n), &(m), (part))
/* v_qpk_first: what vd holds before does not matter, for all of it leaves or is not used; n is used up. */
#define v_qpk(pack, d, n, m) smol_call_vqpk(&(d), &(n), &(m), (pack))
#define v_qpk_first(pack, d, n, m) ((d) = (n), smol_call_vqpk(&(d), &(n), &(m), (pack)))
/* The same with a piece for either half of d. */
#define v_qpks(pack, d, n, m) smol_call_vqpk_s(&(d), &(n), &(m), (pack))
#define v_qpks_first(pack, d, n, m) ((d) = (n), smol_call_vqpk_s(&(d), &(n), &(m), (pack)))

/* The same in lanes of 16 bits; and codes unpacked into them. */
#define v_qpkh(pack, d, n, m) smol_call_vqpk_h(&(d), &(n), &(m), (pack))
#define v_qpkh_first(pack, d, n, m) ((d) = (n), smol_call_vqpk_h(&(d), &(n), &(m), (pack)))
#define v_dw(taps, acc, x, w) smol_call_vdw(&(acc), &(x), &(w), (taps))
#define v_unph(group, d, n) smol_call_vunp_h(&(d), &(n), &(n), (group))

/* Lanes of 32 bits. v_madd = a*m + b, where a may be overwritten; v_mla = b + a*m, where b may be overwritten. */
SMOL_HOST vec v_add(vec a, vec b) { SMOL_LANES(a.l[i] + b.l[i]); }
SMOL_HOST vec v_mul(vec a, vec b) { SMOL_LANES(a.l[i] * b.l[i]); }
SMOL_HOST vec v_madd(vec a, vec m, vec b) { SMOL_LANES(a.l[i] * m.l[i] + b.l[i]); }
SMOL_HOST vec v_mla(vec b, vec a, vec m) { SMOL_LANES(a.l[i] * m.l[i] + b.l[i]); }
/* High products: floor(a*m / 2^31) of factors m that v_load_high has loaded, below 2^30 in size. */
SMOL_HOST int32_t smol_mulh(uint32_t a, uint32_t m)
{
    const int64_t product = (int64_t)(int32_t)a * (int32_t)m;
    return (int32_t)(product < 0 ? ~(~product >> 31) : product >> 31);
}
SMOL_HOST vec v_mulh(vec a, vec m) { SMOL_LANES(smol_mulh(a.l[i], m.l[i])); }
#define v_load_high(p) v_load(p)
/* The variable has its value here: what makes it is not moved behind, nor what follows in front. */
#define v_settle(a) ((void)(a))
/* A load that is made where it stands, so that an operation may overwrite its result and no copy is needed. */
#define v_fresh(p) v_load(p)
/* a*m + b with b = the 16 bytes at p: from the register or from memory, whichever costs less. a may be overwritten. */
#define v_affine(a, m, b, p) v_madd((a), (m), (b))
SMOL_HOST vec v_sra(vec a, int s) { SMOL_LANES(smol_sra(a.l[i], s)); }
SMOL_HOST vec v_max(vec a, vec b) { SMOL_LANES((int32_t)a.l[i] > (int32_t)b.l[i] ? a.l[i] : b.l[i]); }
SMOL_HOST vec v_at_least(vec a, int32_t low) { SMOL_LANES((int32_t)a.l[i] > low ? (int32_t)a.l[i] : low); }
SMOL_HOST vec v_at_most(vec a, int32_t high) { SMOL_LANES((int32_t)a.l[i] < high ? (int32_t)a.l[i] : high); }
SMOL_HOST vec v_or(vec a, vec b) { SMOL_LANES(a.l[i] | b.l[i]); }
SMOL_HOST vec v_and(vec a, vec b) { SMOL_LANES(a.l[i] & b.l[i]); }
/* The lower halves of a and of b; a may be overwritten. */
SMOL_HOST vec v_join(vec a, vec b) { SMOL_LANES(i < 2 ? a.l[i] : b.l[i - 2]); }
/* The first 8, 4, 2 bytes of memory, the others zero; `first` has ones in those bytes. 16 bytes may be read. */
#define v_load_first8(p, first) v_and(v_load(p), (first))
#define v_load_first4(p, first) v_and(v_load(p), (first))
#define v_load_first2(p, first) v_and(v_load(p), (first))
SMOL_HOST vec v_sll(vec a, vec s) { SMOL_LANES(a.l[i] << (s.l[i] & 31)); }
/* Bit field of every lane: (a >> s) & mask. */
SMOL_HOST vec v_field(vec a, vec s, uint32_t mask) { SMOL_LANES(a.l[i] >> (s.l[i] & 31) & mask); }
/* word, whose bits there are 0, with the field (codes >> from) & mask of every lane `left` bits up; word may be
 * overwritten. */
SMOL_HOST vec v_put_field(vec word, vec codes, vec from, int left, uint32_t mask)
{
    SMOL_LANES(word.l[i] | (codes.l[i] >> (from.l[i] & 31) & mask) << left);
}
/* The `byte`-th byte, or `half`-th half, of every lane, sign-extended. */
SMOL_HOST vec v_sext8(vec a, int byte) { SMOL_LANES((int8_t)(a.l[i] >> (8 * byte) & 0xff)); }
SMOL_HOST vec v_sext16(vec a, int half) { SMOL_LANES((int16_t)(a.l[i] >> (16 * half) & 0xffff)); }
/* Even halves from a, odd halves from b: the layout of 16-bit tensors. */
/* The lower half of every lane, zero-extended. */
SMOL_HOST vec v_low16(vec a) { SMOL_LANES(a.l[i] & 0xffff); }
SMOL_HOST vec v_halves(vec a, vec b) { SMOL_LANES((a.l[i] & 0xffff) | b.l[i] << 16); }
/* The same where no lane of a is negative or above 16 bits. */
#define v_natural_halves(a, b) v_halves((a), (b))
/* Sum of the four lanes; `zero` is a zero vector. */
SMOL_HOST uint32_t v_hsum(vec a, vec zero) { return zero.l[0] + a.l[0] + a.l[1] + a.l[2] + a.l[3]; }
/* The register's two halves, its upper half (h[1] alone), and stores of its parts. */
SMOL_HOST void v_split(uint64_t *h, vec a) { memcpy(h, &a, sizeof a); }
#define v_top(h, a) v_split((h), (a))
SMOL_HOST void v_store_halves(uint8_t *low, uint8_t *high, vec a)
{
    memcpy(low, a.l, 8);
    memcpy(high, a.l + 2, 8);
}
/* The four lanes, `stride` bytes apart. */
SMOL_HOST void v_store_strided(uint8_t *p, int stride, vec a)
{
    for (int i = 0; i < 4; i++)
        memcpy(p + i * stride, a.l + i, 4);
}
/* Four bytes of memory, sign- or zero-extended to lanes, and back (truncated). */
SMOL_HOST vec v_load_s8(const uint8_t *p) { SMOL_LANES((int8_t)p[i]); }
SMOL_HOST vec v_load_u8(const uint8_t *p) { SMOL_LANES(p[i]); }
SMOL_HOST void v_store_s8(uint8_t *p, vec a, vec zero)
{
    (void)zero;
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)a.l[i];
}

/* Where a machine has operations for it: lanes >> s, clamped to lo .. hi, which fit 16 or 8 bits, as v_halves, or as the
 * eight bytes a, b. s, lo and hi are constants, s at most 16, or 24 for bytes. */
SMOL_HOST vec smol_clamp(vec a, int s, int32_t lo, int32_t hi) { return v_at_most(v_at_least(v_sra(a, s), lo), hi); }
#define v_narrow16(s, lo, hi, a, b) v_halves(smol_clamp((a), (s), (lo), (hi)), smol_clamp((b), (s), (lo), (hi)))
SMOL_HOST void v_store_narrow8(uint8_t *p, int s, int32_t lo, int32_t hi, vec a, vec b, vec zero)
{
    v_store_s8(p, smol_clamp(a, s, lo, hi), zero);
    v_store_s8(p + 4, smol_clamp(b, s, lo, hi), zero);
}

/* Eight lanes of 16 bits; eight lanes of 32 bits, four and four. v_begin16() before, v_begin() after their use. */
typedef struct {
    int16_t l[8];
} vec16;
typedef struct {
    vec low, high;
} vecpair;

SMOL_HOST void v_begin16(void)
{
}
SMOL_HOST vec16 v_load16(const void *p)
{
    vec16 d;
    memcpy(&d, p, sizeof d);
    return d;
}
/* Eight bytes of memory, sign-extended. */
SMOL_HOST vec16 v_load_s8x8(const uint8_t *p)
{
    vec16 d;
    for (int i = 0; i < 8; i++)
        d.l[i] = (int8_t)p[i];
    return d;
}
SMOL_HOST vecpair v_zero_pair(void)
{
    const vecpair d = {{{0, 0, 0, 0}}, {{0, 0, 0, 0}}};
    return d;
}
/* acc += x * w, element by element, in 32 bits. */
#define v_wide_mla(acc, x, w) ((acc) = smol_host_wide_mla((acc), (x), (w)))
SMOL_HOST vecpair smol_host_wide_mla(vecpair acc, vec16 x, vec16 w)
{
    for (int i = 0; i < 4; i++) {
        acc.low.l[i] += (uint32_t)(x.l[i] * w.l[i]);
        acc.high.l[i] += (uint32_t)(x.l[i + 4] * w.l[i + 4]);
    }
    return acc;
}
/* d = w * x, d += w * x in 16 bits, modulo 2^16. */
#define v_mul8x16(d, x, w) ((d) = smol_host_mla8x16((vec16){{0}}, (x), (w)))
#define v_mla8x16(d, x, w) ((d) = smol_host_mla8x16((d), (x), (w)))
SMOL_HOST vec16 smol_host_mla8x16(vec16 d, vec16 x, vec16 w)
{
    for (int i = 0; i < 8; i++)
        d.l[i] = (int16_t)(d.l[i] + x.l[i] * w.l[i]);
    return d;
}
/* 16-bit lanes widened to 32 bits: a; a + b; acc + a. */
#define v_wide_add(acc, a) ((acc) = smol_host_wide_add((acc), (a)))
SMOL_HOST vecpair smol_host_wide_add(vecpair acc, vec16 a)
{
    for (int i = 0; i < 4; i++) {
        acc.low.l[i] += (uint32_t)a.l[i];
        acc.high.l[i] += (uint32_t)a.l[i + 4];
    }
    return acc;
}
SMOL_HOST vecpair v_wide(vec16 a) { return smol_host_wide_add(v_zero_pair(), a); }
SMOL_HOST vecpair v_wide_sum(vec16 a, vec16 b) { return smol_host_wide_add(v_wide(a), b); }
SMOL_HOST vec16 v_twice16(vec16 a)
{
    for (int i = 0; i < 8; i++)
        a.l[i] = (int16_t)(2 * a.l[i]);
    return a;
}
/* The bits of a as 16-bit lanes; the low or high eight 8-bit lanes of a, sign-extended to 16 bits. */
SMOL_HOST vec16 v_as16(vec a)
{
    vec16 d;
    memcpy(&d, &a, sizeof d);
    return d;
}
SMOL_HOST vec16 v_half8_low(vec a)
{
    int8_t bytes[16];
    vec16 d;
    memcpy(bytes, &a, sizeof bytes);
    for (int i = 0; i < 8; i++)
        d.l[i] = bytes[i];
    return d;
}
SMOL_HOST vec16 v_half8_high(vec a)
{
    int8_t bytes[16];
    vec16 d;
    memcpy(bytes, &a, sizeof bytes);
    for (int i = 0; i < 8; i++)
        d.l[i] = bytes[i + 8];
    return d;
}
/* 32 bytes of memory; 16 bytes to memory, under either setting. */
SMOL_HOST vecpair v_load_pair(const uint8_t *p)
{
    const vecpair d = {v_load(p), v_load(p + 16)};
    return d;
}
#define v_store_whole(p, a) v_store((p), (a))
#define v_low(acc) ((acc).low)
#define v_high(acc) ((acc).high)

/* Tables of 64 bytes, looked up by 16 indices at a time: 0 where an index is 64 or more; of v_lookup_next, whose indices
 * 64 to 127 are those of the table, what is given there. */
typedef struct {
    uint8_t l[64];
} vectable;
SMOL_HOST vectable v_load_table(const uint8_t *p)
{
    vectable d;
    memcpy(&d, p, sizeof d);
    return d;
}
SMOL_HOST vec v_lookup_next(vec before, vectable t, vec index)
{
    uint8_t d[16], i[16];
    memcpy(d, &before, sizeof d);
    memcpy(i, &index, sizeof i);
    for (int k = 0; k < 16; k++)
        if (i[k] >= 64 && i[k] < 128)
            d[k] = t.l[i[k] - 64];
    memcpy(&before, d, sizeof d);
    return before;
}
SMOL_HOST vec v_lookup(vectable t, vec index)
{
    uint8_t d[16];
    memcpy(d, &index, sizeof d);
    for (int k = 0; k < 16; k++)
        d[k] = d[k] < 64 ? t.l[d[k]] : 0;
    memcpy(&index, d, sizeof d);
    return index;
}
/* Lanes of 16 bits, and the largest of them. */
SMOL_HOST vec16 v_dup16(int a)
{
    vec16 d;
    for (int i = 0; i < 8; i++)
        d.l[i] = (int16_t)a;
    return d;
}
SMOL_HOST vec16 v_max16(vec16 a, vec16 b)
{
    for (int i = 0; i < 8; i++)
        a.l[i] = a.l[i] > b.l[i] ? a.l[i] : b.l[i];
    return a;
}
SMOL_HOST int v_hmax16(vec16 a)
{
    int most = a.l[0];
    for (int i = 1; i < 8; i++)
        most = a.l[i] > most ? a.l[i] : most;
    return most;
}
/* What a normalisation makes of a block of a 16-bit tensor (m_normal): ((((x << left) + addend) >> -right) * factor +
 * 2^14) >> 15 of 16-bit lanes, sums modulo 2^16. */
SMOL_HOST vec v_normal(vec16 x, vec16 left, vec16 addend, vec16 right, vec16 factor)
{
    vec d;
    for (int i = 0; i < 8; i++) {
        const uint32_t sum = ((uint32_t)(uint16_t)x.l[i] << left.l[i]) + (uint32_t)(uint16_t)addend.l[i];
        const int32_t c = smol_sra((uint32_t)(int32_t)(int16_t)(uint16_t)sum, -right.l[i]);
        x.l[i] = (int16_t)smol_sra((uint32_t)(c * factor.l[i] + (1 << 14)), 15);
    }
    memcpy(&d, &x, sizeof d);
    return d;
}
/* How far the lanes of a and b, two blocks of a 16-bit tensor, lie below top, at most 255, as bytes in the order of the
 * blocks' channels. */
SMOL_HOST vec v_below(vec16 top, vec16 a, vec16 b)
{
    uint8_t bytes[16];
    vec d;
    for (int i = 0; i < 8; i++) {
        const int first = top.l[0] - a.l[2 * (i % 4) + i / 4], second = top.l[0] - b.l[2 * (i % 4) + i / 4];
        bytes[i] = (uint8_t)(first > 255 ? 255 : first);
        bytes[8 + i] = (uint8_t)(second > 255 ? 255 : second);
    }
    memcpy(&d, bytes, sizeof d);
    return d;
}
/* The 16 bytes, codes of so many bits, side by side. */
SMOL_HOST void smol_store_codes(uint8_t *p, vec a, int bits)
{
    uint8_t codes[16];
    memcpy(codes, &a, sizeof codes);
    for (int byte = 0; byte < 2 * bits; byte++) {
        p[byte] = 0;
        for (int i = 0; i < 8 / bits; i++)
            p[byte] = (uint8_t)(p[byte] | codes[byte * (8 / bits) + i] << (bits * i));
    }
}
#define v_store_codes4(p, a) smol_store_codes((p), (a), 4)
#define v_store_codes2(p, a) smol_store_codes((p), (a), 2)
#define v_store_codes1(p, a) smol_store_codes((p), (a), 1)

/* lane32[i] of acc += dot product of the signed bytes 4i .. 4i+3 of w with bytes 4*lane .. 4*lane+3 of x. */
#define v_sdot(lane, acc, w, x) ((acc) = smol_host_sdot((acc), (w), (x), (lane)))
SMOL_HOST vec smol_host_sdot(vec acc, vec w, vec x, int lane)
{
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++)
            acc.l[i] += (uint32_t)((int8_t)(w.l[i] >> (8 * k) & 0xff) * (int8_t)(x.l[lane] >> (8 * k) & 0xff));
    return acc;
}

/* Eight bytes of each of four rows, the four of a column side by side: 32 bytes. */
SMOL_HOST void m_interleave8(uint8_t *p, const uint8_t *a, const uint8_t *b, const uint8_t *c, const uint8_t *e)
{
    for (int i = 0; i < 8; i++) {
        const uint8_t column[4] = {a[i], b[i], c[i], e[i]};
        memcpy(p + 4 * i, column, 4);
    }
}

/* Kernels with one output in a register. Lane i of v_sum4 = sum of the lanes of the i-th operand, all of them used up. */
SMOL_HOST vec v_sum4(vec a, vec b, vec c, vec e, vec zero)
{
    vec d;
    d.l[0] = v_hsum(a, zero);
    d.l[1] = v_hsum(b, zero);
    d.l[2] = v_hsum(c, zero);
    d.l[3] = v_hsum(e, zero);
    return d;
}
/* lane32[i] of acc += dot product of the signed bytes 4i .. 4i+3 of w and x. */
#define v_sdot4(acc, w, x) ((acc) = smol_host_sdot4((acc), (w), (x)))
SMOL_HOST vec smol_host_sdot4(vec acc, vec w, vec x)
{
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++)
            acc.l[i] += (uint32_t)((int8_t)(w.l[i] >> (8 * k) & 0xff) * (int8_t)(x.l[i] >> (8 * k) & 0xff));
    return acc;
}
/* Eight counters of 16 bits: acc += differing bits of w and x, pair of bytes by pair; and widened to four lanes. */
#define v_count(acc, w, x) ((acc) = smol_host_count((acc), (w), (x)))
SMOL_HOST vec smol_host_count(vec acc, vec w, vec x)
{
    for (int i = 0; i < 4; i++)
        for (int bit = 0; bit < 32; bit++)
            acc.l[i] += ((w.l[i] ^ x.l[i]) >> bit & 1) << (bit & 16);
    return acc;
}
SMOL_HOST vec v_wide_counts(vec a) { SMOL_LANES((a.l[i] & 0xffff) + (a.l[i] >> 16)); }

/* The lower halves of a and of b, the upper halves. */
/* Lanes 0..3 and 4..7 of 16 bits, sign-extended. */
SMOL_HOST vec v_half16_low(vec a) { SMOL_LANES((int16_t)(a.l[i / 2] >> (16 * (i & 1)) & 0xffff)); }
SMOL_HOST vec v_half16_high(vec a) { SMOL_LANES((int16_t)(a.l[2 + i / 2] >> (16 * (i & 1)) & 0xffff)); }
SMOL_HOST vec v_zip_low(vec a, vec b) { SMOL_LANES(i < 2 ? a.l[i] : b.l[i - 2]); }
SMOL_HOST vec v_zip_high(vec a, vec b) { SMOL_LANES(i < 2 ? a.l[i + 2] : b.l[i]); }
/*
 * Lanes of 16 bits in a vec, under v_begin16(): v_zip_low; high products floor(a*m / 2^15) of factors m that
 * v_load_high16 has loaded, of less than 2^14 in size, where a may be overwritten; b + a*m, where b may be.
 */
#define v_zip16_low(a, b) v_zip_low((a), (b))
#define v_load_high16(p) v_load(p)
SMOL_HOST uint32_t smol_halves(int32_t low, int32_t high) { return ((uint32_t)low & 0xffff) | (uint32_t)high << 16; }
SMOL_HOST int32_t smol_mulh16(int32_t a, int32_t m) { return smol_sra((uint32_t)(a * m), 15); }
SMOL_HOST vec v_mulh16(vec a, vec m)
{
    SMOL_LANES(smol_halves(smol_mulh16((int16_t)(a.l[i] & 0xffff), (int16_t)(m.l[i] & 0xffff)),
                           smol_mulh16((int16_t)(a.l[i] >> 16), (int16_t)(m.l[i] >> 16))));
}
SMOL_HOST vec v_mac16(vec b, vec a, vec m)
{
    SMOL_LANES(smol_halves((int32_t)(b.l[i] + a.l[i] * m.l[i]),
                           (int32_t)((b.l[i] >> 16) + (a.l[i] >> 16) * (m.l[i] >> 16))));
}
/*
 * v_zip_high; lanes << s; lanes 0, 2, .. before 1, 3, .. by an order that is loaded. Eight lanes of 32 bits of a pair of
 * registers: as v_load_pair loads them; + x*w; >> s, clamped to lo .. hi, as lanes of 16 bits, where s is 1 .. 16 and none
 * holds zeros. On some targets that shift rounds to the nearest.
 */
#define v_begin_narrow() v_begin16()
#define v_zip16_high(a, b) v_zip_high((a), (b))
SMOL_HOST vec v_sll16(vec a, int s) { SMOL_LANES(smol_halves((int32_t)(a.l[i] << s), (int32_t)((a.l[i] >> 16) << s))); }
static const int32_t smol_unzip16[4] = {0, 0, 0, 0};
SMOL_HOST vec v_unzip16(vec a, vec order)
{
    (void)order;
    SMOL_LANES(smol_halves((int32_t)(a.l[i % 2 * 2] >> (i / 2 * 16)), (int32_t)(a.l[i % 2 * 2 + 1] >> (i / 2 * 16))));
}
/*
 * Of two registers: their lanes' lower halves, a's first; d += x*w of lanes 0..3 and of 4..7 of 16 bits; as v_narrow16,
 * a's lanes first.
 */
SMOL_HOST vec v_pack16(vec a, vec b)
{
    SMOL_LANES(smol_halves((int32_t)(i < 2 ? a : b).l[i % 2 * 2], (int32_t)(i < 2 ? a : b).l[i % 2 * 2 + 1]));
}
#define v_widen_low(d, x, w) ((d) = v_mla((d), v_half16_low(x), v_half16_low(w)))
#define v_widen_high(d, x, w) ((d) = v_mla((d), v_half16_high(x), v_half16_high(w)))
#define v_narrow_halves(s, lo, hi, a, b) v_pack16(smol_clamp((a), (s), (lo), (hi)), smol_clamp((b), (s), (lo), (hi)))
#define v_fresh_pair(p) v_load_pair(p)
#define v_widen_mla(acc, x, w) v_wide_mla((acc), v_as16(x), v_as16(w))
SMOL_HOST vec v_narrow_pair(int s, int32_t lo, int32_t hi, vecpair a, vec none)
{
    (void)none;
    const vec low = smol_clamp(a.low, s, lo, hi), high = smol_clamp(a.high, s, lo, hi);
    SMOL_LANES(smol_halves((int32_t)(i < 2 ? low : high).l[i % 2 * 2], (int32_t)(i < 2 ? low : high).l[i % 2 * 2 + 1]));
}
/* lane32[2i + j] of acc += dot product of the eight signed bytes in half i of x with those in half j of w. */
#define v_mmla(acc, x, w) ((acc) = smol_host_mmla((acc), (x), (w)))
SMOL_HOST vec smol_host_mmla(vec acc, vec x, vec w)
{
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 8; k++) {
            const uint32_t a = x.l[i / 2 * 2 + k / 4] >> (8 * (k % 4)), b = w.l[i % 2 * 2 + k / 4] >> (8 * (k % 4));
            acc.l[i] += (uint32_t)((int8_t)(a & 0xff) * (int8_t)(b & 0xff));
        }
    return acc;
}
/* The lower, the upper four bits of every byte, as signed bytes 16 times as large. */
SMOL_HOST vec v_nibbles_low(vec a) { SMOL_LANES(a.l[i] << 4 & 0xf0f0f0f0u); }
SMOL_HOST vec v_nibbles_high(vec a) { SMOL_LANES(a.l[i] & 0xf0f0f0f0u); }
/* lane32[i] of acc += number of bits in which x and w<i> differ. */
#define v_pop4(acc, x, w0, w1, w2, w3) ((acc) = smol_host_pop4((acc), (x), (w0), (w1), (w2), (w3)))
SMOL_HOST vec smol_host_pop4(vec acc, vec x, vec w0, vec w1, vec w2, vec w3)
{
    const vec w[4] = {w0, w1, w2, w3};
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++)
            for (uint32_t bits = x.l[k] ^ w[i].l[k]; bits; bits &= bits - 1)
                acc.l[i]++;
    return acc;
}

/* Lanes of float32. v_ffma_lane: acc += w * (lane of x). */
#define v_ffma_lane(lane, acc, w, x) ((acc) = smol_host_ffma((acc), (w), (x), (lane)))
SMOL_HOST vec smol_host_ffma(vec acc, vec w, vec x, int lane)
{
    SMOL_LANES(smol_as_bits(smol_as_float(acc.l[i]) + smol_as_float(w.l[i]) * smol_as_float(x.l[lane])));
}
SMOL_HOST vec v_fadd(vec a, vec b) { SMOL_LANES(smol_as_bits(smol_as_float(a.l[i]) + smol_as_float(b.l[i]))); }
SMOL_HOST vec v_fmul(vec a, vec b) { SMOL_LANES(smol_as_bits(smol_as_float(a.l[i]) * smol_as_float(b.l[i]))); }
SMOL_HOST vec v_fmla(vec b, vec a, vec m) { return v_fadd(b, v_fmul(a, m)); }
SMOL_HOST vec v_fmax(vec a, vec b)
{
    SMOL_LANES(smol_as_float(a.l[i]) > smol_as_float(b.l[i]) ? a.l[i] : b.l[i]);
}
SMOL_HOST vec v_fat_least(vec a, float low)
{
    SMOL_LANES(smol_as_float(a.l[i]) > low ? a.l[i] : smol_as_bits(low));
}
SMOL_HOST vec v_fat_most(vec a, float high)
{
    SMOL_LANES(smol_as_float(a.l[i]) < high ? a.l[i] : smol_as_bits(high));
}
SMOL_HOST vec v_fdiv(vec a, vec b) { SMOL_LANES(smol_as_bits(smol_as_float(a.l[i]) / smol_as_float(b.l[i]))); }
/* a*m + b with b = the 16 bytes at p, as v_affine. */
#define v_faffine(a, m, b, p) v_fmla((b), (a), (m))
SMOL_HOST vec v_to_float(vec a) { SMOL_LANES(smol_as_bits((float)(int32_t)a.l[i])); }

#undef SMOL_LANES
#undef SMOL_HOST
#endif
