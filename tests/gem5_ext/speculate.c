/*
 * Branches that nobody can predict: `speculate INPUTS RESULTS COUNT`. Every bit of an input (64 random bytes) decides
 * which of two SMOL words is executed; an out-of-order core fetches and executes the other one too, on the wrong path.
 * The result is the input's first four bytes.
 */
#include "job.h"

#if defined(__aarch64__)
#define WORD(word) __asm__ volatile(".inst " #word : : : "v1", "v2")
#else
#define WORD(word) __asm__ volatile(".4byte " #word : : : "v1", "v2")
#endif
#define EXPANDED(word) WORD(word)

enum { BYTES = 64 };

static int step(unsigned char *record)
{
    for (int i = 0; i < BYTES; i++)
        for (int bit = 0; bit < 8; bit++) {
            if (record[i] >> bit & 1)
                EXPANDED(WORD_SET);
            else
                EXPANDED(WORD_CLEAR);
        }
    return 0;
}

int main(int argc, char **argv)
{
    static unsigned char record[BYTES];
    return job_run(argc, argv, record, sizeof record, 0, 4, step);
}
