/*
 * What operations over sequences do once a token (docs/network-format.md). Normalisation over channels: from the sums of
 * n numbers and of their squares to shifts, an addend and a factor. Divisions and right shifts round down.
 */
#ifndef SMOL_SEQUENCE_H
#define SMOL_SEQUENCE_H

#include <stdint.h>

#include "smol_net.h"

typedef struct {
    int32_t left, right; /* c - h = ((x << left) + addend) >> right, modulo 2^32: one of the shifts is 0 */
    uint32_t addend;
    int32_t factor; /* the result is ((c - h) * factor + 2^14) >> 15 */
} m_normal;

static inline int64_t smol_floor_shift(int64_t a, int s)
{
    return a < 0 ? ~(~a >> s) : a >> s;
}

static inline int64_t smol_floor_divide(int64_t a, int64_t b)
{
    const int64_t q = a / b;
    return a % b < 0 ? q - 1 : q;
}

/* `size` = ceil(log2 n), `fraction` = fraction bits of the result, `roots` = int32[192]. */
static inline m_normal m_normalise(int64_t sum, int64_t squares, int n, int size, int fraction, const uint8_t *roots)
{
    m_normal result;
    const int64_t spread = n * squares - sum * sum + n;
    const int bits = 63 - __builtin_clzll((uint64_t)spread);
    const int e = (int)smol_floor_shift(bits - 14, 1);
    const int64_t m = e >= 0 ? spread >> 2 * e : spread << -2 * e;
    const int64_t first = m_get_s32(roots, (int)(m >> 8) - 64);
    const int64_t root = (first * ((3 << 16) - ((first * first >> 14) * m >> 14))) >> 17;
    const int64_t factor = (n * root + ((int64_t)1 << size >> 1)) >> size;
    const int64_t mean = smol_floor_divide(2 * sum + n, 2 * n);
    const int up = size - 7 - e + fraction;
    result.left = up > 0 ? up : 0;
    result.right = up < 0 ? -up : 0;
    const int64_t left = (int64_t)1 << result.left, right = (int64_t)1 << result.right;
    const int64_t rest = smol_floor_divide((sum - mean * n) * left + n / 2, n);
    result.addend = (uint32_t)(right / 2 - mean * left - rest * right);
    result.factor = (int32_t)(factor < 32767 ? factor : 32767);
    return result;
}

static inline float m_inverse_root(float mean_square)
{
    return 1.0f / __builtin_sqrtf(mean_square);
}

/* Of a sum of weights in bytes: how far right sums of products are shifted, and what they are multiplied with then. */
static inline int64_t m_byte_share(uint32_t total, int32_t *shift)
{
    const int bits = 32 - __builtin_clz(total);
    *shift = bits > 9 ? bits - 9 : 0;
    return ((int64_t)1 << (22 + *shift)) / total;
}

#endif
