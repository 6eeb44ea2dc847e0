/*
 * Times instruction sequences: `micro INPUTS RESULTS COUNT --roi`. The first byte of an input (4 bytes) picks a body; it
 * runs REPEATS times to warm up, then REPEATS times between a reset and a dump of gem5's statistics. BODIES_FILE defines
 * BODIES(X) and, for every body, BODY_<k>: assembler text that may use all vector registers and the scratch register
 * (x9, t1), which holds the address of a pointer to itself.
 */
#include <stdio.h>
#include <stdlib.h>

#include BODIES_FILE

#define REPEATS 200

#define CLOBBERS \
    "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", \
    "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31", "memory"

#if defined(__aarch64__)
#define RUN(body) __asm__ volatile("mov x9, %[self]\n\t" body : : [self] "r"(self) : "x9", CLOBBERS)
#define PSEUDO(function) \
    __asm__ volatile("dsb sy\n\tisb\n\tmov x0, #0\n\tmov x1, #0\n\t.inst 0xff000110|(" #function "<<16)\n\tdsb sy\n\tisb" \
                     : : : "x0", "x1", "memory")
#else
#define RUN(body) \
    __asm__ volatile("vsetivli zero, 4, e32, m1, ta, ma\n\tmv t1, %[self]\n\t" body \
                     : : [self] "r"(self) : "t1", CLOBBERS)
#define PSEUDO(function) \
    __asm__ volatile("fence\n\tli a0, 0\n\tli a1, 0\n\t.4byte 0x0000007b|(" #function "<<25)\n\tfence" \
                     : : : "a0", "a1", "memory")
#endif

static void *self_pointer = &self_pointer;

#define DEFINE(k)                                        \
    static void body_##k(void)                           \
    {                                                    \
        void **self = (void **)&self_pointer;            \
        for (int pass = 0; pass < 2; pass++) {           \
            if (pass)                                    \
                PSEUDO(0x40);                            \
            for (int i = 0; i < REPEATS; i++)            \
                RUN(BODY_##k);                           \
        }                                                \
        PSEUDO(0x42);                                    \
    }
BODIES(DEFINE)

#define ENTRY(k) body_##k,
static void (*const bodies[])(void) = {BODIES(ENTRY)};

int main(int argc, char **argv)
{
    if (argc < 4)
        return fprintf(stderr, "usage: micro INPUTS RESULTS COUNT\n"), 1;
    FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
    if (!in || !out)
        return fprintf(stderr, "micro: cannot open %s\n", in ? argv[2] : argv[1]), 1;
    for (long i = strtol(argv[3], NULL, 10); i > 0; i--) {
        unsigned char record[4];
        if (fread(record, sizeof record, 1, in) != 1 || record[0] >= sizeof bodies / sizeof bodies[0])
            return fprintf(stderr, "micro: %s is too short\n", argv[1]), 1;
        bodies[record[0]]();
        if (fwrite(record, sizeof record, 1, out) != 1)
            return fprintf(stderr, "micro: cannot write %s\n", argv[2]), 1;
    }
    return fclose(out) != 0;
}
