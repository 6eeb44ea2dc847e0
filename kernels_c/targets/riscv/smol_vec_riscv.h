/*
 * The 128-bit vector operations that generated kernels use, on RISC-V: the vector extension with VLEN = 128, and the
 * SMOL instructions as words. Meanings: smol_vec_host.h.
 *
 * A kernel starts with v_begin(), which sets four lanes of 32 bits; everything below keeps to that setting, and
 * whole-register loads and SMOL words need none. The operations are volatile inline assembly, not intrinsics: after
 * inline assembly a compiler sets vtype again before every intrinsic, and that is what costs most in a simulated
 * core. A tied operand ("+vr") may be overwritten, so code must not use it again: the compiler would copy it,
 * and set vtype to something else for the copy. The build looks for such foreign settings in the compiled kernels;
 * where it finds one it compiles again with -DSMOL_SET_ALWAYS, where every operation sets vtype itself.
 */
#ifndef SMOL_VEC_RISCV_H
#define SMOL_VEC_RISCV_H

#include <riscv_vector.h>
#include <stdint.h>
#include <string.h>

#include "smol_isa.h"

typedef vint32m1_t vec;

#define SMOL_SET_32 "vsetivli zero, 4, e32, m1, ta, ma\n\t"
#define SMOL_SET_16 "vsetivli zero, 8, e16, m1, ta, ma\n\t"
/* Emulated words leave the setting for 32 bits behind. */
#if defined(SMOL_SET_ALWAYS) || defined(SMOL_EMULATE)
#define SMOL_32 SMOL_SET_32
#define SMOL_16 SMOL_SET_16
#else
#define SMOL_32
#define SMOL_16
#endif

#define m_opaque(p) __asm__ volatile("" : "+r"(p))

static inline void v_begin(void)
{
    __asm__ volatile(SMOL_SET_32 : : : "memory");
}

#define SMOL_OP_VV(text, a, b)                                                   \
    vec d;                                                                       \
    __asm__ volatile(SMOL_32 text " %0, %1, %2" : "=vr"(d) : "vr"(a), "vr"(b));          \
    return d
/* In place: the operand is used up. */
#define SMOL_OP_AV(text, a, b)                                                               \
    __asm__ volatile(SMOL_32 text " %0, %0, %1" : "+vr"(a) : "vr"(b));                       \
    return a
#define SMOL_OP_AX(text, a, x)                                                               \
    __asm__ volatile(SMOL_32 text " %0, %0, %1" : "+vr"(a) : "r"(x));                        \
    return a
#define SMOL_OP_AF(text, a, f)                                                               \
    __asm__ volatile(SMOL_32 text " %0, %0, %1" : "+vr"(a) : "f"(f));                        \
    return a
#define SMOL_OP_VX(text, a, x)                                                   \
    vec d;                                                                       \
    __asm__ volatile(SMOL_32 text " %0, %1, %2" : "=vr"(d) : "vr"(a), "r"(x));           \
    return d
/* Generated code says where the hardware has loads and stores with an offset. */
#if defined(SMOL_ACCESSES) && defined(SMOL_EMULATE)
#undef SMOL_ACCESSES
#endif
#ifdef SMOL_ACCESSES
__asm__(SMOL_ASM_ACCESSES);
#define SMOL_LOAD_TEXT SMOL_ASM_LQ
#define SMOL_AT "m"
#else
#define SMOL_LOAD_TEXT "vl1re8.v %[d], %[at]"
#define SMOL_AT "A"
#endif
/* Whole registers. Assembly too, or a compiler that sees constants makes vectors of them, and sets vtype for that. */
#define SMOL_LOAD(type, p)                                                                       \
    type d;                                                                                      \
    __asm__(SMOL_LOAD_TEXT : [d] "=vr"(d) : [at] SMOL_AT(*(const uint8_t(*)[16])(p)));           \
    return d
static inline vec v_load(const void *p) { SMOL_LOAD(vec, p); }
#ifdef SMOL_ACCESSES
static inline void v_store(void *p, vec a)
{
    __asm__ volatile(SMOL_ASM_SQ : [at] "=m"(*(uint8_t(*)[16])(p)) : [m] "vr"(a) : "memory");
}
#else
static inline void v_store(void *p, vec a) { __asm__ volatile(SMOL_32 "vse32.v %0, (%1)" : : "vr"(a), "r"(p) : "memory"); }
#endif

static inline vec v_zero(void)
{
    vec d;
    __asm__ volatile(SMOL_32 "vmv.v.i %0, 0" : "=vr"(d));
    return d;
}

static const uint8_t smol_zeros[16] __attribute__((aligned(16)));
static inline vec v_clear(void)
{
    vec d;
    __asm__ volatile(SMOL_LOAD_TEXT : [d] "=vr"(d) : [at] SMOL_AT(smol_zeros));
    return d;
}

static inline vec v_dup(uint32_t a)
{
    vec d;
    __asm__ volatile(SMOL_32 "vmv.v.x %0, %1" : "=vr"(d) : "r"(a));
    return d;
}

#ifdef SMOL_EMULATE
#include "smol_arith.h"
/* Registers go through memory, out of line; what the compiler makes of C code may set vtype, so ours is set again. */
static __attribute__((noinline, unused)) void smol_emulate(unsigned fn, unsigned field6, int32_t *registers)
{
    smol_execute(fn, field6, registers, registers + 4, registers + 8);
}
#define SMOL_EMULATED(fn, field6, d, n, m)        \
    do {                                          \
        int32_t registers[12];                    \
        v_store(registers, (d));                  \
        v_store(registers + 4, (n));              \
        v_store(registers + 8, (m));              \
        smol_emulate((fn), (field6), registers);  \
        v_begin();                                \
        (d) = v_load(registers);                  \
    } while (0)
#define v_dot(lane, pattern, acc, w, x) SMOL_EMULATED(SMOL_FN_VDOT0 + (lane), (pattern), acc, w, x)
#define v_mac(pattern, acc, w, x) SMOL_EMULATED(SMOL_FN_VMAC, pattern, acc, w, x)
#define v_mmw(piece, acc, x, w) SMOL_EMULATED(SMOL_FN_VMM_W, piece, acc, x, w)
#define v_mmh(form, acc, x, w) SMOL_EMULATED(SMOL_FN_VMM_H, form, acc, x, w)
#define v_vmul(part, d, n, m)                    \
    do {                                         \
        (d) = v_zero();                          \
        SMOL_EMULATED(SMOL_FN_VMUL, part, d, n, m); \
    } while (0)
#define v_vmla(part, d, n, m) SMOL_EMULATED(SMOL_FN_VMLA, part, d, n, m)
#define v_qpk(pack, d, n, m) SMOL_EMULATED(SMOL_FN_VQPK, pack, d, n, m)
#define v_qpk_first(pack, d, n, m)                  \
    do {                                            \
        (d) = v_zero();                             \
        SMOL_EMULATED(SMOL_FN_VQPK, pack, d, n, m); \
    } while (0)
#define v_qpks(pack, d, n, m) SMOL_EMULATED(SMOL_FN_VQPK_S, pack, d, n, m)
#define v_qpkh(pack, d, n, m) SMOL_EMULATED(SMOL_FN_VQPK_H, pack, d, n, m)
#define v_qpkh_first(pack, d, n, m)                   \
    do {                                              \
        (d) = v_zero();                               \
        SMOL_EMULATED(SMOL_FN_VQPK_H, pack, d, n, m); \
    } while (0)
#define v_dw(taps, acc, x, w) SMOL_EMULATED(SMOL_FN_VDW, taps, acc, x, w)
#define v_unph(group, d, n)                            \
    do {                                               \
        (d) = v_zero();                                \
        SMOL_EMULATED(SMOL_FN_VUNP_H, group, d, n, n); \
    } while (0)
#define v_qpks_first(pack, d, n, m)                   \
    do {                                              \
        (d) = v_zero();                               \
        SMOL_EMULATED(SMOL_FN_VQPK_S, pack, d, n, m); \
    } while (0)
#else
__asm__(SMOL_ASM_SYMBOLS);
/* The operand names of SMOL_ASM_WORD are d, n, m: the macros' parameters must have others. */
#define v_dot(lane, pattern, acc_, w_, x_) \
    __asm__ volatile(SMOL_ASM_WORD(4 + lane, pattern) : [d] "+vr"(acc_) : [n] "vr"(w_), [m] "vr"(x_))
#define v_mac(pattern, acc_, w_, x_) \
    __asm__ volatile(SMOL_ASM_WORD(0, pattern) : [d] "+vr"(acc_) : [n] "vr"(w_), [m] "vr"(x_))
#define v_mmw(piece, acc_, x_, w_) \
    __asm__ volatile(SMOL_ASM_WORD_SECOND(8, piece) : [d] "+vr"(acc_) : [n] "vr"(x_), [m] "vr"(w_))
#define v_mmh(form, acc_, x_, w_) \
    __asm__ volatile(SMOL_ASM_WORD_SECOND(9, form) : [d] "+vr"(acc_) : [n] "vr"(x_), [m] "vr"(w_))
#define v_vmul(part, d_, n_, m_) __asm__ volatile(SMOL_ASM_WORD(1, part) : [d] "=vr"(d_) : [n] "vr"(n_), [m] "vr"(m_))
#define v_vmla(part, d_, n_, m_) __asm__ volatile(SMOL_ASM_WORD(2, part) : [d] "+vr"(d_) : [n] "vr"(n_), [m] "vr"(m_))
#define v_qpk(pack, d_, n_, m_) __asm__ volatile(SMOL_ASM_WORD(3, pack) : [d] "+vr"(d_) : [n] "vr"(n_), [m] "vr"(m_))
#define v_qpk_first(pack, d_, n_, m_) \
    __asm__ volatile(SMOL_ASM_WORD(3, pack) : [d] "=vr"(d_) : [n] "0"(n_), [m] "vr"(m_))
#define v_qpks(pack, d_, n_, m_) \
    __asm__ volatile(SMOL_ASM_WORD_SECOND(12, pack) : [d] "+vr"(d_) : [n] "vr"(n_), [m] "vr"(m_))
#define v_qpks_first(pack, d_, n_, m_) \
    __asm__ volatile(SMOL_ASM_WORD_SECOND(12, pack) : [d] "=vr"(d_) : [n] "0"(n_), [m] "vr"(m_))
#define v_qpkh(pack, d_, n_, m_) \
    __asm__ volatile(SMOL_ASM_WORD_SECOND(11, pack) : [d] "+vr"(d_) : [n] "vr"(n_), [m] "vr"(m_))
#define v_qpkh_first(pack, d_, n_, m_) \
    __asm__ volatile(SMOL_ASM_WORD_SECOND(11, pack) : [d] "=vr"(d_) : [n] "0"(n_), [m] "vr"(m_))
#define v_dw(taps, acc_, x_, w_) \
    __asm__ volatile(SMOL_ASM_WORD_SECOND(14, taps) : [d] "+vr"(acc_) : [n] "vr"(x_), [m] "vr"(w_))
#define v_unph(group, d_, n_) \
    __asm__ volatile(SMOL_ASM_WORD_SECOND(13, group) : [d] "=vr"(d_) : [n] "vr"(n_), [m] "vr"(n_))
#endif

static inline vec v_add(vec a, vec b) { SMOL_OP_VV("vadd.vv", a, b); }
static inline vec v_mul(vec a, vec b) { SMOL_OP_VV("vmul.vv", a, b); }
static inline vec v_madd(vec a, vec m, vec b)
{
    __asm__ volatile(SMOL_32 "vmadd.vv %0, %1, %2" : "+vr"(a) : "vr"(m), "vr"(b));
    return a;
}
static inline vec v_mla(vec b, vec a, vec m)
{
    __asm__ volatile(SMOL_32 "vmacc.vv %0, %1, %2" : "+vr"(b) : "vr"(a), "vr"(m));
    return b;
}

/* vmulh keeps what lies above 2^32: factors are doubled as they are loaded. */
static inline vec v_mulh(vec a, vec m) { SMOL_OP_VV("vmulh.vv", a, m); }
static inline vec v_load_high(const void *p)
{
    const vec m = v_load(p);
    return v_add(m, m);
}

/* All operations stay in order as they are. */
#define v_settle(a) ((void)(a))
static inline vec v_fresh(const void *p)
{
    vec d;
    __asm__ volatile(SMOL_LOAD_TEXT : [d] "=vr"(d) : [at] SMOL_AT(*(const uint8_t(*)[16])(p)));
    return d;
}
#define v_affine(a, m, b, p) v_madd((a), (m), (b))
static inline vec v_sra(vec a, int s) { SMOL_OP_AX("vsra.vx", a, s); }
static inline vec smol_sra_new_(vec a, int s) { SMOL_OP_VX("vsra.vx", a, s); }
static inline vec v_max(vec a, vec b) { SMOL_OP_VV("vmax.vv", a, b); }
static inline vec v_at_least(vec a, int32_t low) { SMOL_OP_AX("vmax.vx", a, low); }
static inline vec v_at_most(vec a, int32_t high) { SMOL_OP_AX("vmin.vx", a, high); }
static inline vec v_or(vec a, vec b) { SMOL_OP_AV("vor.vv", a, b); }
static inline vec v_and(vec a, vec b) { SMOL_OP_AV("vand.vv", a, b); }
/* Not even where a and b are equal may they be one register. */
static inline vec v_join(vec a, vec b)
{
    __asm__ volatile(SMOL_32 "vslideup.vi %0, %1, 2" : "+&vr"(a) : "vr"(b));
    return a;
}
/* The lower halves of a and b; their upper halves, where b alone may be overwritten. */
#define v_zip_low(a, b) v_join((a), (b))
static inline vec v_zip_high(vec a, vec b)
{
    vec d, e;
    __asm__ volatile(SMOL_32 "vslidedown.vi %0, %1, 2" : "=&vr"(d) : "vr"(a));
    __asm__ volatile(SMOL_32 "vslidedown.vi %0, %1, 2" : "=&vr"(e) : "vr"(b));
    return v_join(d, e);
}
/* Sign-extended lanes 0..3, 4..7 of 16 bits. */
static inline vec v_half16_low(vec a)
{
    vec d;
    __asm__ volatile(SMOL_32 "vsext.vf2 %0, %1" : "=&vr"(d) : "vr"(a));
    return d;
}
static inline vec v_half16_high(vec a)
{
    vec d;
    __asm__ volatile(SMOL_32 "vslidedown.vi %0, %1, 2" : "=&vr"(d) : "vr"(a));
    return v_half16_low(d);
}
#define v_load_first8(p, first) v_and(v_load(p), (first))
#define v_load_first4(p, first) v_and(v_load(p), (first))
#define v_load_first2(p, first) v_and(v_load(p), (first))
static inline vec v_sll(vec a, vec s) { SMOL_OP_AV("vsll.vv", a, s); }
static inline vec smol_and_(vec a, uint32_t mask) { SMOL_OP_AX("vand.vx", a, mask); }
static inline vec smol_srl_(vec a, vec s) { SMOL_OP_VV("vsrl.vv", a, s); }
static inline vec smol_sll_(vec a, int s) { SMOL_OP_VX("vsll.vx", a, s); }
static inline vec v_field(vec a, vec s, uint32_t mask) { return smol_and_(smol_srl_(a, s), mask); }
static inline vec smol_field_up_(vec a, int s) { SMOL_OP_AX("vsll.vx", a, s); }
static inline vec v_put_field(vec word, vec codes, vec from, int left, uint32_t mask)
{
    return v_or(word, smol_field_up_(v_field(codes, from, mask), left));
}
static inline vec v_sext8(vec a, int byte) 
{
    return byte == 3 ? smol_sra_new_(a, 24) : v_sra(smol_sll_(a, 24 - 8 * byte), 24);
}
static inline vec v_sext16(vec a, int half) 
{
    return half ? smol_sra_new_(a, 16) : v_sra(smol_sll_(a, 16), 16);
}
static inline vec v_halves(vec a, vec b) { return v_or(smol_and_(a, 0xffff), smol_sll_(b, 16)); }
static inline vec v_low16(vec a) { SMOL_OP_VX("vand.vx", a, 0xffff); }
static inline vec smol_up_(vec a, int s) { SMOL_OP_AX("vsll.vx", a, s); }
static inline vec v_natural_halves(vec a, vec b) { return v_or(a, smol_up_(b, 16)); }
static inline uint32_t v_hsum(vec a, vec zero)
{
    uint32_t sum;
    __asm__ volatile(SMOL_32 "vredsum.vs %1, %1, %2\n\tvmv.x.s %0, %1" : "=r"(sum), "+vr"(a) : "vr"(zero));
    return sum;
}

static inline vec v_sum4(vec a, vec b, vec c, vec d, vec zero)
{
    __asm__ volatile(SMOL_32 "vredsum.vs %0, %0, %4\n\tvredsum.vs %1, %1, %4\n\t"
                             "vredsum.vs %2, %2, %4\n\tvredsum.vs %3, %3, %4\n\t"
                             "vslideup.vi %0, %1, 1\n\tvslideup.vi %0, %2, 2\n\tvslideup.vi %0, %3, 3"
                     : "+vr"(a), "+vr"(b), "+vr"(c), "+vr"(d)
                     : "vr"(zero));
    return a;
}

/* Through memory: there is no way to the upper half of a register without another setting of vtype. */
static inline void v_split(uint64_t *h, vec a)
{
    __asm__ volatile("vs1r.v %1, %0" : "=A"(*(uint64_t(*)[2])h) : "vr"(a));
}
#define v_top(h, a) v_split((h), (a))
static inline void v_store_halves(uint8_t *low, uint8_t *high, vec a)
{
    uint64_t h[2];
    v_split(h, a);
    memcpy(low, h, 8);
    memcpy(high, h + 1, 8);
}
static inline void v_store_strided(uint8_t *p, long stride, vec a)
{
    __asm__ volatile(SMOL_32 "vsse32.v %0, (%1), %2" : : "vr"(a), "r"(p), "r"(stride) : "memory");
}

/* Left shifts that bring byte i of a word to the top of lane i; bit positions of the bytes. */
static const int32_t smol_byte_up[4] = {24, 16, 8, 0}, smol_byte_at[4] = {0, 8, 16, 24};

static inline vec v_load_s8(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return v_sra(v_sll(v_dup(word), v_load(smol_byte_up)), 24);
}
static inline vec v_load_u8(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return v_field(v_dup(word), v_load(smol_byte_at), 0xff);
}
static inline void v_store_s8(uint8_t *p, vec a, vec zero)
{
    const uint32_t word = v_hsum(v_sll(smol_and_(a, 0xff), v_load(smol_byte_at)), zero);
    memcpy(p, &word, sizeof word);
}

/* Eight lanes of 16 bits, for the int8 kernels' loops; v_begin() goes back to the setting above. */
typedef vint16m1_t vec16;
typedef vint32m2_t vecpair;

static inline void v_begin16(void)
{
    __asm__ volatile(SMOL_SET_16 : : : "memory");
}
static inline vec16 v_load16(const void *p) { SMOL_LOAD(vec16, p); }
/* Eight bytes, sign-extended; pair of registers += x * w, element by element. */
static inline vec16 v_load_s8x8(const void *p)
{
    vec16 bytes, d;
    __asm__ volatile(SMOL_16 "vle8.v %0, %1" : "=vr"(bytes) : "A"(*(const uint8_t(*)[8])p));
    __asm__ volatile(SMOL_16 "vsext.vf2 %0, %1" : "=&vr"(d) : "vr"(bytes));
    return d;
}
#define v_wide_mla(acc_, x_, w_) __asm__ volatile(SMOL_16 "vwmacc.vv %0, %1, %2" : "+vr"(acc_) : "vr"(x_), "vr"(w_))
/* d = w * x, d += w * x in 16 bits with a scalar x; acc += sign-extended a. */
static inline void v_store16(void *p, vec16 a) { __asm__ volatile("vs1r.v %0, (%1)" : : "vr"(a), "r"(p) : "memory"); }
#define v_mul16(d_, w_, x_) __asm__ volatile(SMOL_16 "vmul.vx %0, %1, %2" : "=vr"(d_) : "vr"(w_), "r"(x_))
#define v_mla16(d_, w_, x_) __asm__ volatile(SMOL_16 "vmacc.vx %0, %2, %1" : "+vr"(d_) : "vr"(w_), "r"(x_))
/*
 * v_wide_mac: pair of registers += w * x with a scalar x.
 * d = acc + sign-extended a, d another pair of registers: gem5 v24.0 refuses vwadd.wv where the sum goes back to its own
 * registers, as RVV allows. v_widen_add does that by multiplying with one, which takes the slower pipe.
 */
#define v_widen_into(d_, acc_, a_) \
    __asm__ volatile(SMOL_16 "vwadd.wv %0, %1, %2" : "=&vr"(d_) : "vr"(acc_), "vr"(a_))
#define v_widen(d_, a_) __asm__ volatile(SMOL_16 "vwadd.vx %0, %1, zero" : "=&vr"(d_) : "vr"(a_))
#define v_wide_mac(acc_, w_, x_) __asm__ volatile(SMOL_16 "vwmacc.vx %0, %2, %1" : "+vr"(acc_) : "vr"(w_), "r"(x_))
#define v_widen_add(acc_, a_) __asm__ volatile(SMOL_16 "vwmacc.vx %0, %2, %1" : "+vr"(acc_) : "vr"(a_), "r"(1))
/* Eight lanes of 32 bits, cleared: four and four, for v_zero() clears 128 bits under either setting. */
static inline vecpair v_zero_pair(void)
{
    vecpair d;
    __asm__ volatile(SMOL_16 "vwmul.vx %0, %1, zero" : "=&vr"(d) : "vr"(v_zero()));
    return d;
}
#define v_mul8x16(d_, x_, w_) __asm__ volatile(SMOL_16 "vmul.vv %0, %1, %2" : "=vr"(d_) : "vr"(x_), "vr"(w_))
#define v_mla8x16(d_, x_, w_) __asm__ volatile(SMOL_16 "vmacc.vv %0, %1, %2" : "+vr"(d_) : "vr"(x_), "vr"(w_))
#define v_wide_add(acc_, a_) v_widen_add(acc_, a_)
static inline vecpair v_wide(vec16 a)
{
    vecpair d;
    __asm__ volatile(SMOL_16 "vwadd.vx %0, %1, zero" : "=&vr"(d) : "vr"(a));
    return d;
}
static inline vecpair v_wide_sum(vec16 a, vec16 b)
{
    vecpair d;
    __asm__ volatile(SMOL_16 "vwadd.vv %0, %1, %2" : "=&vr"(d) : "vr"(a), "vr"(b));
    return d;
}
static inline vec16 v_twice16(vec16 a)
{
    __asm__ volatile(SMOL_16 "vadd.vv %0, %0, %0" : "+vr"(a));
    return a;
}
static inline vec16 v_as16(vec a) { return __riscv_vreinterpret_v_i32m1_i16m1(a); }
static inline vec16 v_half8_low(vec a)
{
    vec16 d;
    __asm__ volatile(SMOL_16 "vsext.vf2 %0, %1" : "=&vr"(d) : "vr"(a));
    return d;
}
static inline vec16 v_half8_high(vec a)
{
    vec16 d;
    __asm__ volatile(SMOL_16 "vslidedown.vi %0, %1, 4" : "=&vr"(d) : "vr"(a));
    return v_half8_low(__riscv_vreinterpret_v_i16m1_i32m1(d));
}
/* As v_zip_low, and of 16-bit lanes in a register of the other type: under v_begin16(). */
static inline vec v_zip16_low(vec a, vec b)
{
    __asm__ volatile(SMOL_16 "vslideup.vi %0, %1, 4" : "+&vr"(a) : "vr"(b));
    return a;
}
static inline vec v_load_high16(const void *p)
{
    vec d = v_load(p);
    __asm__ volatile(SMOL_16 "vadd.vv %0, %0, %0" : "+vr"(d));
    return d;
}
static inline vec v_mulh16(vec a, vec m)
{
    __asm__ volatile(SMOL_16 "vmulh.vv %0, %0, %1" : "+vr"(a) : "vr"(m));
    return a;
}
static inline vec v_mac16(vec b, vec a, vec m)
{
    __asm__ volatile(SMOL_16 "vmacc.vv %0, %1, %2" : "+vr"(b) : "vr"(a), "vr"(m));
    return b;
}
static const uint16_t smol_unzip16[8] __attribute__((aligned(16))) = {0, 2, 4, 6, 1, 3, 5, 7};
/* Narrowing shifts round to the nearest: gem5 v24.0 knows no other mode. Constants allow for it. */
static inline void v_begin_narrow(void)
{
    __asm__ volatile("csrwi vxrm, 0");
    v_begin16();
}
static inline vec v_zip16_high(vec a, vec b)
{
    vec d, e;
    __asm__ volatile(SMOL_16 "vslidedown.vi %0, %1, 4" : "=&vr"(d) : "vr"(a));
    __asm__ volatile(SMOL_16 "vslidedown.vi %0, %1, 4" : "=&vr"(e) : "vr"(b));
    return v_zip16_low(d, e);
}
static inline vec v_sll16(vec a, long s)
{
    __asm__ volatile(SMOL_16 "vsll.vx %0, %0, %1" : "+vr"(a) : "r"(s));
    return a;
}
static inline vec v_unzip16(vec a, vec order)
{
    vec d;
    __asm__ volatile(SMOL_16 "vrgather.vv %0, %1, %2" : "=&vr"(d) : "vr"(a), "vr"(order));
    return d;
}
static inline vecpair v_fresh_pair(const uint8_t *p)
{
    vecpair d;
    __asm__ volatile("vl2re8.v %0, %1" : "=vr"(d) : "A"(*(const uint8_t(*)[32])p));
    return d;
}
#define v_widen_mla(acc, x, w) v_wide_mla(acc, x, w)
#define v_narrow_pair(s, lo, hi, a, none) smol_clamp16_(smol_narrow_((a), (s)), (lo), (hi))
#define smol_narrow_(a_, s_) \
    ({                                                                                       \
        vec d_;                                                                              \
        __asm__ volatile(SMOL_16 "vnclip.wi %0, %1, %2" : "=&vr"(d_) : "vr"(a_), "i"(s_));   \
        d_;                                                                                  \
    })
static inline vec smol_clamp16_(vec a, long lo, long hi)
{
    if (lo > -32768)
        __asm__ volatile(SMOL_16 "vmax.vx %0, %0, %1" : "+vr"(a) : "r"(lo));
    if (hi < 32767)
        __asm__ volatile(SMOL_16 "vmin.vx %0, %0, %1" : "+vr"(a) : "r"(hi));
    return a;
}
static inline vecpair v_load_pair(const uint8_t *p)
{
    vecpair d;
    __asm__("vl2re8.v %0, %1" : "=vr"(d) : "A"(*(const uint8_t(*)[32])p));
    return d;
}
static inline void v_store_whole(void *p, vec a) { __asm__ volatile("vs1r.v %0, (%1)" : : "vr"(a), "r"(p) : "memory"); }
#define v_low(acc) __riscv_vget_v_i32m2_i32m1((acc), 0)
#define v_high(acc) __riscv_vget_v_i32m2_i32m1((acc), 1)

/* Nibble `index` of every 16-bit lane, sign-extended. */
static inline vec16 smol_sll16_(vec16 a, int s)
{
    vec16 d;
    __asm__ volatile(SMOL_16 "vsll.vx %0, %1, %2" : "=vr"(d) : "vr"(a), "r"(s));
    return d;
}
static inline vec16 smol_sra16_(vec16 a, int s)
{
    vec16 d;
    __asm__ volatile(SMOL_16 "vsra.vx %0, %1, %2" : "=vr"(d) : "vr"(a), "r"(s));
    return d;
}
#define v_nibble16(a, index) smol_sra16_((index) == 3 ? (a) : smol_sll16_((a), 12 - 4 * (index)), 12)

/* 128 mask bits, for binary kernels' loops; v_begin() goes back to the setting above. The register is named, so that
   the build knows the setting's word. */
#define SMOL_SET_BITS "li t0, 128\n\tvsetvli zero, t0, e8, m8, ta, ma\n\t"
#ifdef SMOL_SET_ALWAYS
#define SMOL_BITS SMOL_SET_BITS
#else
#define SMOL_BITS
#endif
static inline void v_begin_bits(void)
{
    __asm__ volatile(SMOL_SET_BITS : : : "t0", "memory");
}
static inline vec v_xor_bits(vec a, vec b)
{
    vec d;
    __asm__ volatile(SMOL_BITS "vmxor.mm %0, %1, %2" : "=vr"(d) : "vr"(a), "vr"(b) : "t0");
    return d;
}
/* sum += number of bits; both in one, or compilers keep many counts before they add them, and spill. */
#define v_count_bits(sum_, a_)                                              \
    do {                                                                    \
        uint64_t count_;                                                    \
        __asm__ volatile(SMOL_BITS "vcpop.m %1, %2\n\tadd %0, %0, %1"       \
                         : "+r"(sum_), "=&r"(count_) : "vr"(a_) : "t0");    \
    } while (0)
/* Lanes a, b, c, e. */
static inline vec v_from_scalars(uint64_t a, uint64_t b, uint64_t c, uint64_t e)
{
    vec d = v_dup((uint32_t)a);
    __asm__ volatile(SMOL_32 "vslide1down.vx %0, %0, %1" : "+vr"(d) : "r"(b));
    __asm__ volatile(SMOL_32 "vslide1down.vx %0, %0, %1" : "+vr"(d) : "r"(c));
    __asm__ volatile(SMOL_32 "vslide1down.vx %0, %0, %1" : "+vr"(d) : "r"(e));
    return d;
}

/* acc += w * x with a scalar float x. */
#define v_ffma_scalar(acc_, w_, x_) __asm__ volatile(SMOL_32 "vfmacc.vf %0, %2, %1" : "+vr"(acc_) : "vr"(w_), "f"(x_))
static inline vec v_fadd(vec a, vec b) { SMOL_OP_VV("vfadd.vv", a, b); }
static inline vec v_fmul(vec a, vec b) { SMOL_OP_VV("vfmul.vv", a, b); }
static inline vec v_fmla(vec b, vec a, vec m)
{
    __asm__ volatile(SMOL_32 "vfmacc.vv %0, %1, %2" : "+vr"(b) : "vr"(a), "vr"(m));
    return b;
}
static inline vec v_fmax(vec a, vec b) { SMOL_OP_VV("vfmax.vv", a, b); }
static inline vec v_fat_least(vec a, float low) { SMOL_OP_AF("vfmax.vf", a, low); }
static inline vec v_fat_most(vec a, float high) { SMOL_OP_AF("vfmin.vf", a, high); }
static inline vec v_fdiv(vec a, vec b) { SMOL_OP_VV("vfdiv.vv", a, b); }
static inline vec smol_fmadd_(vec a, vec m, vec b)
{
    __asm__ volatile(SMOL_32 "vfmadd.vv %0, %1, %2" : "+vr"(a) : "vr"(m), "vr"(b));
    return a;
}
#define v_faffine(a, m, b, p) smol_fmadd_((a), (m), (b))
static inline vec v_to_float(vec a)
{
    vec d;
    __asm__ volatile(SMOL_32 "vfcvt.f.x.v %0, %1" : "=vr"(d) : "vr"(a));
    return d;
}

#endif
