/*
 * Meaning of the SMOL instructions in portable C99 (also C++11 and later). The same file serves the kernels that run
 * on the host, the instructions inside gem5, and the tests.
 *
 * A register is 16 bytes, little-endian: 8 chunks of 16 bits. Element e of a chunk read at p bits has bits
 * [p*e, p*e + p); its code u stands for the odd integer g = 2u - (2^p - 1). A pattern (n4, n2, n1) gives the first n4
 * chunks 4 bits, the next n2 chunks 2 bits and the last n1 chunks 1 bit. Aligned products count in units of 2^-6:
 * 4-bit products as they are, 2-bit products << 4, 1-bit products << 6. All arithmetic wraps.
 *
 * `vd` may be the same register as `vn` or `vm`; registers need no alignment. No function checks `pattern`, `lane`,
 * `part` or `field6`, except smol_execute(). With a constant pattern the loops unroll into straight code.
 */
#ifndef SMOL_ARITH_H
#define SMOL_ARITH_H

#include <stdint.h>
#include <string.h>

#include "smol_isa.h"
#include "smol_selectors.h"

#define SMOL_REGISTER_BYTES 16

static inline uint32_t smol_load32(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline void smol_store32(unsigned char *at, uint32_t value)
{
    at[0] = (unsigned char)value;
    at[1] = (unsigned char)(value >> 8);
    at[2] = (unsigned char)(value >> 16);
    at[3] = (unsigned char)(value >> 24);
}

/* Chunk c of a register. */
static inline uint32_t smol_chunk(const unsigned char *reg, int c)
{
    return (uint32_t)reg[2 * c] | (uint32_t)reg[2 * c + 1] << 8;
}

/* Odd integer of element e of a chunk: p is 4, 2 or 1. */
static inline int32_t smol_element(uint32_t chunk, int e, int p)
{
    const int32_t top = (1 << p) - 1;
    return 2 * (int32_t)(chunk >> (p * e) & (uint32_t)top) - top;
}

/* Sum over the four 4-bit elements of a chunk of g_a * g_b. */
static inline int32_t smol_dot4(uint32_t a, uint32_t b)
{
    int32_t sum = 0;
    for (int e = 0; e < 4; e++)
        sum += smol_element(a, e, 4) * smol_element(b, e, 4);
    return sum;
}

/* Number of ones among 16 bits. */
static inline int32_t smol_popcount16(uint32_t x)
{
    x = x - (x >> 1 & 0x5555u);
    x = (x & 0x3333u) + (x >> 2 & 0x3333u);
    x = (x + (x >> 4)) & 0x0f0fu;
    return (int32_t)((x + (x >> 8)) & 0x1fu);
}

/* Sum over the sixteen 1-bit elements: +1 where the bits agree, -1 where they differ. */
static inline int32_t smol_dot1(uint32_t a, uint32_t b)
{
    return 16 - 2 * smol_popcount16((a ^ b) & 0xffffu);
}

/*
 * Sum over the eight 2-bit elements. A 2-bit g is 2*s1 + s0 with the signs s1, s0 = +-1 of its high and low bit, so
 * the sum is 4*<s1,s1> + 2*(<s1,s0> + <s0,s1>) + <s0,s0>, and each <,> over 8 signs is 8 - 2*popcount(xor).
 * One xor gives both equal-weight terms (s1*s1 in the odd bits, s0*s0 in the even ones), one more the two mixed terms.
 */
static inline int32_t smol_dot2(uint32_t a, uint32_t b)
{
    const uint32_t same = a ^ b;
    const uint32_t cross = a ^ ((b >> 1 & 0x5555u) | (b << 1 & 0xaaaau));
    const int32_t high = smol_popcount16(same & 0xaaaau);
    const int32_t low = smol_popcount16(same & 0x5555u);
    const int32_t mixed = smol_popcount16(cross & 0xffffu);
    return 9 * 8 - 2 * (4 * high + 2 * mixed + low);
}

/* Sum of the aligned products of chunk c under a pattern. */
static inline int32_t smol_chunk_dot(const unsigned char *n, const unsigned char *m, int c, unsigned pattern)
{
    const int end4 = smol_patterns[pattern][0];
    const int end2 = end4 + smol_patterns[pattern][1];
    const uint32_t a = smol_chunk(n, c), b = smol_chunk(m, c);
    if (c < end4)
        return smol_dot4(a, b) * (1 << SMOL_ALIGN_4);
    if (c < end2)
        return smol_dot2(a, b) * (1 << SMOL_ALIGN_2);
    return smol_dot1(a, b) * (1 << SMOL_ALIGN_1);
}

/* lane32[i] of vd += sum over chunks 2i and 2i+1 of their aligned products (i = 0..3). */
static inline void smol_vmac(void *vd, const void *vn, const void *vm, unsigned pattern)
{
    const unsigned char *n = (const unsigned char *)vn, *m = (const unsigned char *)vm;
    uint32_t sums[4];
    for (int i = 0; i < 4; i++)
        sums[i] = (uint32_t)(smol_chunk_dot(n, m, 2 * i, pattern) + smol_chunk_dot(n, m, 2 * i + 1, pattern));
    for (int i = 0; i < 4; i++) {
        unsigned char *lane = (unsigned char *)vd + 4 * i;
        smol_store32(lane, smol_load32(lane) + sums[i]);
    }
}

/* lane32[lane] of vd += sum over all 8 chunks of their aligned products; the other lanes are kept. */
static inline void smol_vdot(void *vd, const void *vn, const void *vm, unsigned pattern, unsigned lane)
{
    const unsigned char *n = (const unsigned char *)vn, *m = (const unsigned char *)vm;
    unsigned char *at = (unsigned char *)vd + 4 * lane;
    int32_t sum = 0;
    for (int c = 0; c < SMOL_CHUNKS; c++)
        sum += smol_chunk_dot(n, m, c, pattern);
    smol_store32(at, smol_load32(at) + (uint32_t)sum);
}

/*
 * Products of a part, sign-extended to lanes of 16 bits (4-bit parts) or 8 bits, as the bytes of a register; added to
 * the lanes of `base`. Part selector: bits [5:4] = 0, 1, 2 for 4, 2, 1 bits; bits [3:0] = index k. A part is chunks
 * 2k and 2k+1 (4 and 2 bits) or chunk k (1 bit).
 */
static inline void smol_products(unsigned char *result, const unsigned char *base, const unsigned char *n,
                                 const unsigned char *m, unsigned part)
{
    const int k = (int)(part & 15u);
    if (part >> 4 == 0) {
        for (int e = 0; e < 8; e++) {
            const uint32_t a = smol_chunk(n, 2 * k + e / 4), b = smol_chunk(m, 2 * k + e / 4);
            const uint32_t sum = smol_chunk(base, e) + (uint32_t)(smol_element(a, e % 4, 4) * smol_element(b, e % 4, 4));
            result[2 * e] = (unsigned char)sum;
            result[2 * e + 1] = (unsigned char)(sum >> 8);
        }
    } else if (part >> 4 == 1) {
        for (int e = 0; e < 16; e++) {
            const uint32_t a = smol_chunk(n, 2 * k + e / 8), b = smol_chunk(m, 2 * k + e / 8);
            result[e] = (unsigned char)(base[e] + smol_element(a, e % 8, 2) * smol_element(b, e % 8, 2));
        }
    } else {
        const uint32_t a = smol_chunk(n, k), b = smol_chunk(m, k);
        for (int e = 0; e < 16; e++)
            result[e] = (unsigned char)(base[e] + smol_element(a, e, 1) * smol_element(b, e, 1));
    }
}

/* vd = element-wise products of a part; the old vd is not read. */
static inline void smol_vmul(void *vd, const void *vn, const void *vm, unsigned part)
{
    static const unsigned char zero[SMOL_REGISTER_BYTES] = {0};
    unsigned char result[SMOL_REGISTER_BYTES];
    smol_products(result, zero, (const unsigned char *)vn, (const unsigned char *)vm, part);
    memcpy(vd, result, sizeof result);
}

/* Lanes of vd += element-wise products of a part. */
static inline void smol_vmla(void *vd, const void *vn, const void *vm, unsigned part)
{
    unsigned char result[SMOL_REGISTER_BYTES];
    smol_products(result, (const unsigned char *)vd, (const unsigned char *)vn, (const unsigned char *)vm, part);
    memcpy(vd, result, sizeof result);
}

/*
 * Requantise and pack: codes clamp(lane32 >> shift, 0, 2^p - 1) of vn, then of vm, side by side, enter at the top of vd,
 * which moves down by their width. Bits [5:4] of field6 are the form, bits [3:0] half of the (arithmetic) shift.
 */
static inline void smol_vqpk(void *vd, const void *vn, const void *vm, unsigned field6)
{
    const int p = smol_pack_forms[field6 >> 4][0], codes = smol_pack_forms[field6 >> 4][1];
    const int shift = 2 * (int)(field6 & 15u), bytes = p * codes / 8;
    const uint32_t top = (1u << p) - 1;
    unsigned char result[SMOL_REGISTER_BYTES] = {0};
    uint32_t piece = 0;
    for (int i = 0; i < codes; i++) {
        const unsigned char *from = (const unsigned char *)(i < 4 ? vn : vm);
        const uint32_t lane = smol_load32(from + 4 * (i & 3));
        const uint32_t shifted = lane >> shift;
        piece |= (lane >> 31 ? 0 : shifted > top ? top : shifted) << (p * i);
    }
    memcpy(result, (const unsigned char *)vd + bytes, (size_t)(SMOL_REGISTER_BYTES - bytes));
    for (int i = 0; i < bytes; i++)
        result[SMOL_REGISTER_BYTES - bytes + i] = (unsigned char)(piece >> (8 * i));
    memcpy(vd, result, sizeof result);
}

#include "smol_arith_second.h"

#include "smol_dispatch.h"

#endif
