/*
 * A network without an operating system, inside gem5. The system's init_param says how many images (low 32 bits) and
 * whether statistics per layer are wanted (bit 32); images come through gem5's read_file, logits leave through its
 * write_file as logits.bin, messages go to the serial port. Ends with gem5's exit, or fail with status 1.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../../runtime/gem5_ops.h"
#include "../../runtime/machine_fits.h"
#include "console.h"
#include "smol_net.h"
#include "smol_tile.h"

extern uint8_t smol_heap_start[], smol_heap_end[];

void smol_exit(uint64_t status)
{
    gem5_end(status);
    for (;;)
        ; /* gem5 ends at its next event, a few instructions later */
}

static uint64_t fail(const char *what)
{
    console_text(smol_net.name);
    console_text(": ");
    console_text(what);
    console_text("\n");
    return 1;
}

/* A layer that the tile did not compute; nothing is left to go on with. */
void smol_tile_failed(const char *layer, uint32_t reason)
{
    console_text(smol_net.name);
    console_text(": tile: ");
    console_text(layer);
    console_text(": ");
    console_text(smol_tile_meaning(reason));
    console_text("\n");
    smol_exit(1);
}

static const char *cause_name(uint64_t cause)
{
#if defined(__aarch64__)
    switch (cause >> 26 & 63) { /* ESR_EL1.EC */
    case 0x00: return "undefined instruction";
    case 0x07: return "FP/SIMD is off";
    case 0x21: return "instruction abort";
    case 0x22: return "misaligned pc";
    case 0x25: return "data abort";
    case 0x26: return "misaligned stack pointer";
    }
#else
    switch (cause) { /* mcause */
    case 0: return "misaligned pc";
    case 1: return "instruction access fault";
    case 2: return "illegal instruction";
    case 4: return "misaligned load";
    case 5: return "load access fault";
    case 6: return "misaligned store";
    case 7: return "store access fault";
    }
#endif
    return "unexpected trap";
}

/* Nothing is resumed. cause: ESR_EL1 or mcause; value: FAR_EL1 or mtval (an address, or the illegal word). */
void smol_trap(uint64_t cause, uint64_t pc, uint64_t value)
{
    console_text(smol_net.name);
    console_text(": trap: ");
    console_text(cause_name(cause));
    console_text(", cause ");
    console_hex(cause);
    console_text(", pc ");
    console_hex(pc);
    console_text(", value ");
    console_hex(value);
    console_text("\n");
    smol_exit(1);
}

uint64_t smol_main(void)
{
    const uint64_t parameter = gem5_init_param();
    const uint64_t count = (uint32_t)parameter;
    const int regions = (int)(parameter >> 32 & 1);
    if (!machine_fits())
        return fail("needs a processor with 128-bit vector registers (VLEN=128)");
    uint8_t *arena = (uint8_t *)(((uintptr_t)smol_heap_start + 63) & ~(uintptr_t)63);
    uint8_t *image = arena + smol_net.arena_bytes, *answer = image + smol_net.image_bytes;
    if (smol_net.arena_bytes + smol_net.image_bytes + smol_net.logits_bytes > (size_t)(smol_heap_end - arena))
        return fail("no memory for the activations");
    /* The arena is poisoned so that nothing can lean on fresh memory being zero. */
    memset(arena, 0xa5, smol_net.arena_bytes);
    smol_net_init(arena);
    for (uint64_t i = 0; i < count; i++) {
        if (gem5_read_file(image, smol_net.image_bytes, i * smol_net.image_bytes) != smol_net.image_bytes)
            return fail("fewer images than asked for");
        smol_net_run(arena, image, answer, regions);
        gem5_write_file(answer, smol_net.logits_bytes, i * smol_net.logits_bytes, "logits.bin");
    }
    console_text(smol_net.name);
    console_text(": ");
    console_decimal(count);
    console_text(" images done\n");
    return 0;
}
