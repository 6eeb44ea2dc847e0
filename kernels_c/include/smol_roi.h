/*
 * Regions of interest: gem5's pseudo-instructions as words (no library of gem5 is linked). They are illegal anywhere
 * but inside gem5, so programs execute them only where the user asks for regions. A barrier on both sides keeps a
 * layer's instructions inside its region.
 */
#ifndef SMOL_ROI_H
#define SMOL_ROI_H

#define SMOL_M5_RESET_STATS 0x40
#define SMOL_M5_DUMP_RESET_STATS 0x42

#if defined(__aarch64__)
#define SMOL_M5(function)                                                                     \
    do {                                                                                      \
        register unsigned long smol_delay __asm__("x0") = 0, smol_period __asm__("x1") = 0;   \
        __asm__ volatile("dsb sy\n\tisb\n\t.inst 0xff000110 | (%c2 << 16)\n\tdsb sy\n\tisb"    \
                         : "+r"(smol_delay), "+r"(smol_period)                                \
                         : "i"(function)                                                      \
                         : "memory");                                                         \
    } while (0)
#elif defined(__riscv)
#define SMOL_M5(function)                                                                     \
    do {                                                                                      \
        register unsigned long smol_delay __asm__("a0") = 0, smol_period __asm__("a1") = 0;   \
        __asm__ volatile("fence\n\t.4byte 0x0000007b | (%c2 << 25)\n\tfence"                    \
                         : "+r"(smol_delay), "+r"(smol_period)                                \
                         : "i"(function)                                                      \
                         : "memory");                                                         \
    } while (0)
#else
#define SMOL_M5(function) ((void)0)
#endif

static inline void smol_regions_begin(int regions)
{
    if (regions)
        SMOL_M5(SMOL_M5_RESET_STATS);
}

static inline void smol_region_end(int regions)
{
    if (regions)
        SMOL_M5(SMOL_M5_DUMP_RESET_STATS);
}

#endif
