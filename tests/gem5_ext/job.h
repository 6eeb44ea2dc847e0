/*
 * Input and output of the test programs: `prog INPUTS RESULTS COUNT [--roi]`. Plain read and write: gem5's system-call
 * emulation has no readv, which C libraries' buffered reading uses.
 */
#ifndef JOB_H
#define JOB_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef int job_step(unsigned char *record); /* returns 0, or 1 after saying why on standard error */

/* Apply `step` to each record, then write `result_bytes` of it from offset `result_at`. Returns the exit status. */
static int job_run(int argc, char **argv, unsigned char *record, size_t bytes, size_t result_at, size_t result_bytes,
                   job_step *step)
{
    const int in = argc < 4 ? -1 : open(argv[1], O_RDONLY);
    const int out = argc < 4 ? -1 : open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (in < 0 || out < 0)
        return fprintf(stderr, "cannot open the inputs or the results: prog INPUTS RESULTS COUNT\n"), 1;
    for (long i = strtol(argv[3], NULL, 10); i > 0; i--) {
        for (size_t have = 0; have < bytes;) {
            const ssize_t got = read(in, record + have, bytes - have);
            if (got <= 0)
                return fprintf(stderr, "%s is too short\n", argv[1]), 1;
            have += (size_t)got;
        }
        if (step(record))
            return 1;
        if (write(out, record + result_at, result_bytes) != (ssize_t)result_bytes)
            return fprintf(stderr, "cannot write %s\n", argv[2]), 1;
    }
    return close(out) != 0;
}

#endif
