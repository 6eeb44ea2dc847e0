/*
 * Meaning of the second page of the SMOL instructions, as smol_arith.h, which includes it, has that of the first.
 *
 * vn holds pixels, vm weights. A piece is half a register, a form a quarter; the precisions of their chunks stand in
 * smol_selectors.h, chunks beyond contribute nothing.
 */
#ifndef SMOL_ARITH_SECOND_H
#define SMOL_ARITH_SECOND_H

static inline void smol_store16(unsigned char *at, uint32_t value)
{
    at[0] = (unsigned char)value;
    at[1] = (unsigned char)(value >> 8);
}

/* Sum of the products of consecutive chunks of n and m; `shape`: how many have 4, 2 and 1 bits. A product of p bits moves
 * left by its alignment less `less`. */
static inline uint32_t smol_dot_chunks(const unsigned char *n, const unsigned char *m, const unsigned char *shape, int less)
{
    const int end4 = shape[0], end2 = end4 + shape[1], end1 = end2 + shape[2];
    uint32_t sum = 0;
    for (int c = 0; c < end1; c++) {
        const uint32_t a = smol_chunk(n, c), b = smol_chunk(m, c);
        if (c < end4)
            sum += (uint32_t)smol_dot4(a, b) << (SMOL_ALIGN_4 - less);
        else if (c < end2)
            sum += (uint32_t)smol_dot2(a, b) << (SMOL_ALIGN_2 - less);
        else
            sum += (uint32_t)smol_dot1(a, b) << (SMOL_ALIGN_1 - less);
    }
    return sum;
}

/* lane32[2i+j] of vd += products of half i of vn and half j of vm (i, j = 0..1). */
static inline void smol_vmm_w(void *vd, const void *vn, const void *vm, unsigned piece)
{
    const unsigned char *n = (const unsigned char *)vn, *m = (const unsigned char *)vm;
    uint32_t sums[4];
    for (int at = 0; at < 4; at++)
        sums[at] = smol_dot_chunks(n + 8 * (at >> 1), m + 8 * (at & 1), smol_pieces[piece], 0) << smol_pieces[piece][3];
    for (int at = 0; at < 4; at++) {
        unsigned char *lane = (unsigned char *)vd + 4 * at;
        smol_store32(lane, smol_load32(lane) + sums[at]);
    }
}

/* lane16[4i+j] of vd += products of 32-bit word 2i+h of vn and word j of vm (i = 0..1, j = 0..3), in the form's unit. */
static inline void smol_vmm_h(void *vd, const void *vn, const void *vm, unsigned field6)
{
    const unsigned char *n = (const unsigned char *)vn + 4 * (field6 >> 4), *m = (const unsigned char *)vm;
    const unsigned char *shape = smol_forms[field6 & 15u];
    uint32_t sums[8];
    for (int at = 0; at < 8; at++)
        sums[at] = smol_dot_chunks(n + 8 * (at >> 2), m + 4 * (at & 3), shape, shape[3]);
    for (int at = 0; at < 8; at++)
        smol_store16((unsigned char *)vd + 2 * at, smol_chunk((const unsigned char *)vd, at) + sums[at]);
}

/* clamp(value >> shift, 0, top), value signed and `width` bits wide. */
static inline uint32_t smol_code(uint32_t value, int width, int shift, uint32_t top)
{
    const uint32_t shifted = value >> shift;
    return value >> (width - 1) ? 0 : shifted < top ? shifted : top;
}

/*
 * Requantise and pack 16-bit lanes: codes of lanes 4h..4h+3 of vn, then of vm, enter at the top of half h of vd, which
 * moves down by their width; joint: those of all lanes of vn, then of vm, enter at the top of vd. field6: bits [5:4] the
 * precision (4, 2, 1, 8), bit 3 joint, bits [2:0] half of the shift; joint codes of 8 bits mean four codes of 4 bits
 * into each half, of vn alone.
 */
static inline void smol_vqpk_h(void *vd, const void *vn, const void *vm, unsigned field6)
{
    const int quarter = field6 >> 3 == 7, joint = field6 >> 3 & 1 && !quarter;
    const int p = quarter || field6 >> 4 == 0 ? 4 : field6 >> 4 == 1 ? 2 : field6 >> 4 == 2 ? 1 : 8;
    const int shift = 2 * (int)(field6 & 7u), parts = joint ? 1 : 2, lanes = 8 / parts;
    const int bytes = p * lanes * (quarter ? 1 : 2) / 8, size = SMOL_REGISTER_BYTES / parts;
    unsigned char result[SMOL_REGISTER_BYTES] = {0};
    for (int part = 0; part < parts; part++) {
        unsigned char *to = result + part * size;
        memcpy(to, (const unsigned char *)vd + part * size + bytes, (size_t)(size - bytes));
        for (int i = 0; i < (quarter ? lanes : 2 * lanes); i++) {
            const unsigned char *from = (const unsigned char *)(i < lanes ? vn : vm);
            const uint32_t code = smol_code(smol_chunk(from, part * lanes + i % lanes), 16, shift, (1u << p) - 1);
            const int bit = p * i;
            to[size - bytes + bit / 8] = (unsigned char)(to[size - bytes + bit / 8] | code << bit % 8);
        }
    }
    memcpy(vd, result, sizeof result);
}

/*
 * Requantise and pack 32-bit lanes: codes of lanes 2h, 2h+1 of vn, then of vm, enter at the top of half h of vd, which
 * moves down by their width. field6: bits [5:4] the precision (4, 2, 1), bits [3:0] half of the shift.
 */
static inline void smol_vqpk_s(void *vd, const void *vn, const void *vm, unsigned field6)
{
    const int p = 4 >> (field6 >> 4), shift = 2 * (int)(field6 & 15u);
    unsigned char result[SMOL_REGISTER_BYTES];
    for (int half = 0; half < 2; half++) {
        uint64_t old, piece = 0;
        for (int i = 0; i < 4; i++) {
            const unsigned char *from = (const unsigned char *)(i < 2 ? vn : vm);
            piece |= (uint64_t)smol_code(smol_load32(from + 8 * half + 4 * (i & 1)), 32, shift, (1u << p) - 1) << (p * i);
        }
        old = smol_load32((const unsigned char *)vd + 8 * half);
        old |= (uint64_t)smol_load32((const unsigned char *)vd + 8 * half + 4) << 32;
        old = old >> (4 * p) | piece << (64 - 4 * p);
        smol_store32(result + 8 * half, (uint32_t)old);
        smol_store32(result + 8 * half + 4, (uint32_t)(old >> 32));
    }
    memcpy(vd, result, sizeof result);
}

/* lane16[4i+j] of vd = odd integer of code 4q+j of half i of vn; field6: bits [5:4] the precision, bits [3:0] q. */
static inline void smol_vunp_h(void *vd, const void *vn, const void *vm, unsigned field6)
{
    const int p = 4 >> (field6 >> 4);
    unsigned char result[SMOL_REGISTER_BYTES];
    (void)vm;
    for (int at = 0; at < 8; at++) {
        const int bit = p * (4 * (int)(field6 & 15u) + (at & 3));
        const uint32_t chunk = smol_chunk((const unsigned char *)vn, 4 * (at >> 2) + bit / SMOL_CHUNK_BITS);
        smol_store16(result + 2 * at, (uint32_t)smol_element(chunk, bit % SMOL_CHUNK_BITS / p, p));
    }
    memcpy(vd, result, sizeof result);
}

/*
 * lane16[c] of vd += products of code 8k+c of 32-bit words t0+t of vn and t of vm, t = 0..2. field6: bits [5:4] the
 * precision, bits [3:2] k, bits [1:0] t0.
 */
static inline void smol_vdw(void *vd, const void *vn, const void *vm, unsigned field6)
{
    const int p = 4 >> (field6 >> 4), first = (int)(field6 & 3u);
    uint32_t sums[8] = {0};
    for (int c = 0; c < 8; c++) {
        const int bit = p * (8 * (int)(field6 >> 2 & 3u) + c), chunk = bit / SMOL_CHUNK_BITS;
        for (int t = 0; t < 3; t++) {
            const uint32_t a = smol_chunk((const unsigned char *)vn, 2 * (first + t) + chunk);
            const uint32_t b = smol_chunk((const unsigned char *)vm, 2 * t + chunk);
            const int e = bit % SMOL_CHUNK_BITS / p;
            sums[c] += (uint32_t)(smol_element(a, e, p) * smol_element(b, e, p));
        }
    }
    for (int c = 0; c < 8; c++)
        smol_store16((unsigned char *)vd + 2 * c, smol_chunk((const unsigned char *)vd, c) + sums[c]);
}

#endif
