/*
 * prog IMAGES LOGITS COUNT [--roi]
 *
 * Reads COUNT images (u8, height x width x channels, one after the other) and writes their logits (little-endian
 * int32 or float32). Exit status 0, or 1 with one line on standard error. --roi makes gem5 write statistics per layer.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine_fits.h"
#include "smol_net.h"

static int fail(const char *what, const char *which)
{
    fprintf(stderr, "%s: %s %s\n", smol_net.name, what, which);
    return 1;
}

/*
 * All of `bytes` through read() and write(): the C library's streams use readv, which gem5's system-call emulation lacks.
 * Return 1, or 0 where the file ends early or refuses.
 */
static int read_all(int file, uint8_t *to, size_t bytes)
{
    while (bytes > 0) {
        const ssize_t got = read(file, to, bytes);
        if (got <= 0)
            return 0;
        to += got;
        bytes -= (size_t)got;
    }
    return 1;
}

static int write_all(int file, const uint8_t *from, size_t bytes)
{
    while (bytes > 0) {
        const ssize_t put = write(file, from, bytes);
        if (put <= 0)
            return 0;
        from += put;
        bytes -= (size_t)put;
    }
    return 1;
}

static int run(int images, int logits, long count, int regions, uint8_t *arena, uint8_t *image, uint8_t *answer,
               char *const *names)
{
    /* The arena is poisoned so that nothing can lean on fresh memory being zero. */
    memset(arena, 0xa5, smol_net.arena_bytes);
    smol_net_init(arena);
    for (long i = 0; i < count; i++) {
        if (!read_all(images, image, smol_net.image_bytes))
            return fail("fewer images than asked for in", names[0]);
        smol_net_run(arena, image, answer, regions);
        if (!write_all(logits, answer, smol_net.logits_bytes))
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
    if (!machine_fits())
        return fail("needs a processor with", "128-bit vector registers (VLEN=128)");
    const long count = strtol(argv[3], &end, 10);
    if (end == argv[3] || *end != '\0' || count < 1)
        return fail("COUNT must be a positive number, not", argv[3]);
    const int images = open(argv[1], O_RDONLY);
    if (images < 0)
        return fail("cannot read", argv[1]);
    const int logits = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (logits < 0) {
        close(images);
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
    close(images);
    if (close(logits) != 0 && status == 0)
        status = fail("cannot write", argv[2]);
    return status;
}
