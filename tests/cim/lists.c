/*
 * Lists of descriptors for a tile in gem5, as the bare-metal program runs networks: an "image" is a head (descriptors,
 * doorbells), the memory that the list finds, and the list; its "logits" are the descriptors done, the fault, the refused
 * doorbells, and the memory behind the list. LISTS_MEMORY, LISTS_MOST and TILE_ADDRESS come from the command line.
 */
#include "smol_net.h"
#include "smol_roi.h"
#include "smol_tile.h"

#define HEAD 64
#define LIST_BYTES (LISTS_MOST * SMOL_TILE_DESCRIPTOR_BYTES)

const smol_net_info smol_net = {"lists", LISTS_MEMORY + LIST_BYTES, HEAD + LISTS_MEMORY + LIST_BYTES,
                                12 + LISTS_MEMORY, 3 + LISTS_MEMORY / 4};

void smol_net_init(uint8_t *arena)
{
    memset(arena, 0, LISTS_MEMORY + LIST_BYTES);
}

void smol_net_run(uint8_t *arena, const uint8_t *image, uint8_t *logits, int regions)
{
    uint8_t *list = arena + LISTS_MEMORY;
    uint32_t head[2], found[3];
    const uint32_t refused = smol_tile_read(TILE_ADDRESS, SMOL_TILE_REG_REFUSED);
    memcpy(head, image, sizeof head);
    memcpy(arena, image + HEAD, LISTS_MEMORY + LIST_BYTES);
    smol_regions_begin(regions);
    if (head[1] > 1) {
        smol_tile_ring(TILE_ADDRESS, list, head[0]);
        smol_tile_ring(TILE_ADDRESS, list, head[0]);
        found[1] = smol_tile_wait(TILE_ADDRESS, list);
    } else {
        found[1] = smol_tile_run(TILE_ADDRESS, list, head[0]);
    }
    smol_region_end(regions);
    found[0] = smol_tile_read(TILE_ADDRESS, SMOL_TILE_REG_DONE);
    found[2] = smol_tile_read(TILE_ADDRESS, SMOL_TILE_REG_REFUSED) - refused;
    memcpy(logits, found, sizeof found);
    memcpy(logits + sizeof found, arena, LISTS_MEMORY);
}
