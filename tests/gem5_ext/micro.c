/*
 * Times instruction sequences: `micro INPUTS RESULTS COUNT --roi`. The first byte of an input (4 bytes) picks a body; it
 * runs WARM_UP times, then REPEATS times between a reset and a dump of gem5's statistics. BODIES_FILE defines
 * BODIES(X) and, for every body, BODY_<k>: assembler text that may use all vector registers and a scratch register
 * (x9, t1), which holds the address of a pointer to itself; RING_BODY: the one body for which it holds the address of a
 * ring of pointers, in no order, that is larger than the first cache. The register keeps its value from run to run.
 */
#include "job.h"
#include BODIES_FILE

#define REPEATS 200
#define WARM_UP 20

#define CLOBBERS \
    "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", \
    "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31", "memory"

#if defined(__aarch64__)
#define RUN(body) __asm__ volatile("mov x9, %[at]\n\t" body "mov %[at], x9" : [at] "+r"(at) : : "x9", CLOBBERS)
#define SET_UP() (void)0
#define PSEUDO(function) \
    __asm__ volatile("dsb sy\n\tisb\n\tmov x0, #0\n\tmov x1, #0\n\t.inst 0xff000110|(" #function "<<16)\n\tdsb sy\n\tisb" \
                     : : : "x0", "x1", "memory")
#else
#define RUN(body) \
    __asm__ volatile("mv t1, %[at]\n\t" body "mv %[at], t1" : [at] "+r"(at) : : "t1", CLOBBERS)
/* Once, before the loop: gem5 v24.0 mispredicts after every vset. */
#define SET_UP() __asm__ volatile("vsetivli zero, 4, e32, m1, ta, ma")
#define PSEUDO(function) \
    __asm__ volatile("fence\n\tli a0, 0\n\tli a1, 0\n\t.4byte 0x0000007b|(" #function "<<25)\n\tfence" \
                     : : : "a0", "a1", "memory")
#endif

#define LINES 2048
static void *self_pointer = &self_pointer;
static struct { void *next; char rest[56]; } ring[LINES];

/* A one-to-one scrambling of line numbers: no stride that a prefetcher could follow. */
static unsigned scrambled(unsigned i)
{
    for (int round = 0; round < 3; round++) {
        i = i * 1237 % LINES;
        i ^= i >> 5;
    }
    return i;
}

static void make_ring(void)
{
    for (unsigned i = 0; i < LINES; i++)
        ring[scrambled(i)].next = &ring[scrambled((i + 1) % LINES)];
}

#define DEFINE(k)                                                               \
    static void body_##k(void)                                                  \
    {                                                                           \
        SET_UP();                                                               \
        void *at = k == RING_BODY ? (void *)ring : (void *)&self_pointer;       \
        for (int pass = 0; pass < 2; pass++) {                                  \
            if (pass)                                                           \
                PSEUDO(0x40);                                                   \
            for (int i = 0; i < (pass ? REPEATS : WARM_UP); i++)                \
                RUN(BODY_##k);                                                  \
        }                                                                       \
        PSEUDO(0x42);                                                           \
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
    make_ring();
    return job_run(argc, argv, record, sizeof record, 0, sizeof record, step);
}
