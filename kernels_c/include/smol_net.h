/*
 * What a generated network offers to the program that runs it, and the scalar helpers that its kernels use.
 * The caller owns all memory; nothing here allocates or keeps state.
 */
#ifndef SMOL_NET_H
#define SMOL_NET_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const char *name;
    size_t arena_bytes;  /* all activations, 64-byte aligned */
    size_t image_bytes;  /* one image, u8, height x width x channels */
    size_t logits_bytes; /* one image's logits: int32 or float32, little-endian */
    size_t classes;
} smol_net_info;

extern const smol_net_info smol_net;

/* Once per arena, before the first image: borders of padded tensors and unused elements get code 0. */
void smol_net_init(uint8_t *arena);

/* One image to its logits. With `regions` non-zero gem5 writes statistics after every layer (smol_roi.h). */
void smol_net_run(uint8_t *arena, const uint8_t *image, uint8_t *logits, int regions);

/* A layer: a function of its own, so that profiles and symbol tables show it. */
#define SMOL_KERNEL static __attribute__((noinline)) void

static inline int m_min(int a, int b)
{
    return a < b ? a : b;
}

static inline int m_max(int a, int b)
{
    return a > b ? a : b;
}

static inline uint32_t m_load32(const uint8_t *p)
{
    uint32_t a;
    memcpy(&a, p, sizeof a);
    return a;
}

static inline uint32_t m_load16(const uint8_t *p)
{
    uint16_t a;
    memcpy(&a, p, sizeof a);
    return a;
}

static inline uint32_t m_load8(const uint8_t *p)
{
    return *p;
}

static inline void m_store64(uint8_t *p, uint64_t a)
{
    memcpy(p, &a, sizeof a);
}

static inline void m_store32(uint8_t *p, uint32_t a)
{
    memcpy(p, &a, sizeof a);
}

static inline void m_store16(uint8_t *p, uint32_t a)
{
    const uint16_t half = (uint16_t)a;
    memcpy(p, &half, sizeof half);
}

static inline void m_store8(uint8_t *p, uint32_t a)
{
    *p = (uint8_t)a;
}

/* One element of a pixel by its place: bit position and precision of packed codes, element index otherwise. */
static inline int32_t m_get_code(const uint8_t *pixel, int bit, int precision)
{
    return pixel[bit >> 3] >> (bit & 7) & ((1 << precision) - 1);
}

static inline void m_put_code(uint8_t *pixel, int bit, int precision, int32_t code)
{
    const int mask = ((1 << precision) - 1) << (bit & 7);
    pixel[bit >> 3] = (uint8_t)((pixel[bit >> 3] & ~mask) | (int)((uint32_t)code << (bit & 7)));
}

/* The lower nibbles of each four bytes, side by side in 16 bits; two such words. */
static inline void m_squeeze(uint8_t *to, uint64_t nibbles)
{
    nibbles &= UINT64_C(0x0f0f0f0f0f0f0f0f);
    nibbles = (nibbles | nibbles >> 4) & UINT64_C(0x00ff00ff00ff00ff);
    nibbles = (nibbles | nibbles >> 8) & UINT64_C(0x0000ffff0000ffff);
    const uint32_t words = (uint32_t)(nibbles | nibbles >> 16);
    memcpy(to, &words, sizeof words);
}

/* Two pixels of up to 4 signed bytes as 16 bits of two planes: the upper, and the lower nibbles of bytes + 128. */
static inline void m_nibbles(const uint8_t *pixels, int channels, uint8_t *high, uint8_t *low)
{
    uint32_t first, second;
    memcpy(&first, pixels, sizeof first);
    memcpy(&second, pixels + channels, sizeof second);
    const uint64_t own = UINT64_C(0x0000000100000001) * (uint32_t)(UINT64_C(0xffffffff) >> (32 - 8 * channels));
    const uint64_t bytes = ((first | (uint64_t)second << 32) ^ UINT64_C(0x8080808080808080)) & own;
    m_squeeze(high, bytes >> 4);
    m_squeeze(low, bytes);
}

static inline int32_t m_get_u8(const uint8_t *pixel, int index)
{
    return pixel[index];
}

static inline int32_t m_get_s8(const uint8_t *pixel, int index)
{
    return (int8_t)pixel[index];
}

static inline int32_t m_get_s16(const uint8_t *pixel, int index)
{
    int16_t a;
    memcpy(&a, pixel + 2 * index, sizeof a);
    return a;
}

static inline int32_t m_get_s32(const uint8_t *pixel, int index)
{
    int32_t a;
    memcpy(&a, pixel + 4 * index, sizeof a);
    return a;
}

static inline float m_get_f32(const uint8_t *pixel, int index)
{
    float a;
    memcpy(&a, pixel + 4 * index, sizeof a);
    return a;
}

static inline uint32_t m_bits(float a)
{
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}

static inline void m_put_s8(uint8_t *pixel, int index, int32_t a)
{
    pixel[index] = (uint8_t)a;
}

static inline void m_put_s16(uint8_t *pixel, int index, int32_t a)
{
    m_store16(pixel + 2 * index, (uint32_t)a);
}

static inline void m_put_s32(uint8_t *pixel, int index, int32_t a)
{
    m_store32(pixel + 4 * index, (uint32_t)a);
}

static inline void m_put_f32(uint8_t *pixel, int index, float a)
{
    memcpy(pixel + 4 * index, &a, sizeof a);
}

/* clamp((acc * m + b + r * rm) >> shift, lo, hi) in wrapping 32-bit arithmetic, arithmetic shift. */
static inline int32_t m_requantise(int32_t acc, int32_t m, int32_t b, int32_t r, int32_t rm, int shift, int32_t lo, int32_t hi)
{
    const uint32_t sum = (uint32_t)acc * (uint32_t)m + (uint32_t)b + (uint32_t)r * (uint32_t)rm;
    const int32_t y = sum >> 31 ? (int32_t)~(~sum >> shift) : (int32_t)(sum >> shift);
    return y < lo ? lo : y > hi ? hi : y;
}

/* A high product: (x * f + k, wrapped to 32 bits) * m >> 31, exact in 64 bits and rounded down. */
static inline int32_t m_high(int32_t x, int32_t f, int32_t k, int32_t m)
{
    const int64_t product = (int64_t)(int32_t)((uint32_t)x * (uint32_t)f + (uint32_t)k) * m;
    return (int32_t)(product < 0 ? ~(~product >> 31) : product >> 31);
}

#endif
