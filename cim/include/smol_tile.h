/*
 * Driver of the compute-in-memory tile: lists of descriptors are placed, started and waited for. The caller owns all
 * memory; nothing here keeps state. The tile reads and writes physical addresses, through the caches' coherence.
 */
#ifndef SMOL_TILE_H
#define SMOL_TILE_H

#include <stdint.h>
#include <string.h>

#include "smol_tile_format.h"

/* What smol_tile_run() says beside the faults of the tile. */
#define SMOL_TILE_ABSENT 254u
#define SMOL_TILE_BUSY 253u

#if defined(__aarch64__)
#define SMOL_TILE_BARRIER() __asm__ volatile("dsb sy" ::: "memory")
#elif defined(__riscv)
#define SMOL_TILE_BARRIER() __asm__ volatile("fence iorw, iorw" ::: "memory")
#else
#error "the tile is simulated beside AArch64 and RISC-V"
#endif

static inline uint32_t smol_tile_read(uintptr_t tile, unsigned reg)
{
    return *(volatile uint32_t *)(tile + reg);
}

/* Start a list at a multiple of 64 bytes. */
static inline void smol_tile_ring(uintptr_t tile, const uint8_t *list, uint32_t count)
{
    SMOL_TILE_BARRIER();
    *(volatile uint64_t *)(tile + SMOL_TILE_REG_RING) = (uintptr_t)list;
    *(volatile uint32_t *)(tile + SMOL_TILE_REG_DOORBELL) = count;
}

/*
 * Wait for the end of a list, which always comes: lists are finite, and what is wrong ends them. Returns its fault.
 * With SMOL_TILE_READS the core meanwhile reads so many bytes of memory behind `list` again and again, a line at a time,
 * to measure how both compete for the bus.
 */
static inline uint32_t smol_tile_wait(uintptr_t tile, const uint8_t *list)
{
#ifdef SMOL_TILE_READS
    uint32_t at = 0;
#endif
    (void)list;
    while (smol_tile_read(tile, SMOL_TILE_REG_STATUS) & SMOL_TILE_RUNNING) {
#ifdef SMOL_TILE_READS
        for (int i = 0; i < 32; i++, at += 64)
            (void)*(const volatile uint8_t *)(list + at % (uint32_t)(SMOL_TILE_READS));
#endif
    }
    SMOL_TILE_BARRIER();
    return smol_tile_read(tile, SMOL_TILE_REG_FAULT);
}

/* Run a list; its fault, or SMOL_TILE_ABSENT (no tile of this format), or SMOL_TILE_BUSY (another list runs). */
static inline uint32_t smol_tile_run(uintptr_t tile, const uint8_t *list, uint32_t count)
{
    if (smol_tile_read(tile, SMOL_TILE_REG_ID) != SMOL_TILE_ID)
        return SMOL_TILE_ABSENT;
    if (smol_tile_read(tile, SMOL_TILE_REG_STATUS) & SMOL_TILE_RUNNING)
        return SMOL_TILE_BUSY;
    smol_tile_ring(tile, list, count);
    return smol_tile_wait(tile, list);
}

/* Add to the address of a descriptor; those of computations have none. */
static inline void smol_tile_move(uint8_t *descriptor, uint64_t by)
{
    unsigned at = 0;
    uint64_t address;
    switch (descriptor[0]) {
    case SMOL_TILE_FETCH: at = SMOL_TILE_FETCH_MEMORY; break;
    case SMOL_TILE_WEIGHTS: at = SMOL_TILE_WEIGHTS_MEMORY; break;
    case SMOL_TILE_STORE: at = SMOL_TILE_STORE_MEMORY; break;
    default: return;
    }
    memcpy(&address, descriptor + at, sizeof address);
    address += by;
    memcpy(descriptor + at, &address, sizeof address);
}

/* The program's: says that the tile did not compute a layer, and does not return. */
void smol_tile_failed(const char *layer, uint32_t reason);

/* The words of a fault. */
static inline const char *smol_tile_meaning(uint32_t fault)
{
#define SMOL_TILE_CASE(name, meaning) \
    case SMOL_TILE_FAULT_##name: return meaning;
    switch (fault) {
        SMOL_TILE_FAULTS(SMOL_TILE_CASE)
    case SMOL_TILE_ABSENT: return "there is no tile of this format";
    case SMOL_TILE_BUSY: return "the tile runs another list";
    }
#undef SMOL_TILE_CASE
    return "an unknown fault";
}

#endif
