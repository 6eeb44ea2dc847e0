/*
 * prog IMAGES LOGITS COUNT [--roi]
 *
 * Reads COUNT images (u8, height x width x channels, one after the other) and writes their logits (little-endian
 * int32 or float32). Exit status 0, or 1 with one line on standard error. --roi makes gem5 write statistics per layer.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smol_net.h"

static int fail(const char *what, const char *which)
{
    fprintf(stderr, "%s: %s %s\n", smol_net.name, what, which);
    return 1;
}

static int run(FILE *images, FILE *logits, long count, int regions, uint8_t *arena, uint8_t *image, uint8_t *answer,
               char *const *names)
{
    /* The arena is poisoned so that nothing can lean on fresh memory being zero. */
    memset(arena, 0xa5, smol_net.arena_bytes);
    smol_net_init(arena);
    for (long i = 0; i < count; i++) {
        if (fread(image, 1, smol_net.image_bytes, images) != smol_net.image_bytes)
            return fail("fewer images than asked for in", names[0]);
        smol_net_run(arena, image, answer, regions);
        if (fwrite(answer, 1, smol_net.logits_bytes, logits) != smol_net.logits_bytes)
            return fail("cannot write", names[1]);
    }
    return 0;
}

int main(int argc, char **argv)
{
    char *end = NULL;
    const int regions = argc == 5 && strcmp(argv[4], "--roi") == 0;
    if (argc != 4 && !regions)
        return fail("usage:", "prog IMAGES LOGITS COUNT [--roi]");
    const long count = strtol(argv[3], &end, 10);
    if (end == argv[3] || *end != '\0' || count < 1)
        return fail("COUNT must be a positive number, not", argv[3]);
    FILE *images = fopen(argv[1], "rb");
    if (images == NULL)
        return fail("cannot read", argv[1]);
    FILE *logits = fopen(argv[2], "wb");
    if (logits == NULL) {
        fclose(images);
        return fail("cannot write", argv[2]);
    }
    uint8_t *memory = malloc(smol_net.arena_bytes + smol_net.image_bytes + smol_net.logits_bytes + 63);
    int status;
    if (memory == NULL) {
        status = fail("no memory for", "the activations");
    } else {
        uint8_t *arena = (uint8_t *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
        uint8_t *image = arena + smol_net.arena_bytes, *answer = image + smol_net.image_bytes;
        status = run(images, logits, count, regions, arena, image, answer, argv + 1);
    }
    free(memory);
    fclose(images);
    if (fclose(logits) != 0 && status == 0)
        status = fail("cannot write", argv[2]);
    return status;
}
