/*
 * Times instruction sequences: `micro INPUTS RESULTS COUNT --roi`. The first byte of an input (4 bytes) picks a body; it
 * runs REPEATS times to warm up, then REPEATS times between a reset and a dump of gem5's statistics. BODIES_FILE defines
 * BODIES(X) and, for every body, BODY_<k>: assembler text that may use all vector registers and the scratch register
 * (x9, t1), which holds the address of a pointer to itself.
 */
#include "job.h"
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

static int step(unsigned char *record)
{
    if (record[0] >= sizeof bodies / sizeof bodies[0])
        return fprintf(stderr, "micro: no body %d\n", record[0]), 1;
    bodies[record[0]]();
    return 0;
}

int main(int argc, char **argv)
{
    static unsigned char record[4];
    return job_run(argc, argv, record, sizeof record, 0, sizeof record, step);
}
