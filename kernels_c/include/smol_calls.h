/* The SMOL instructions of smol_arith.h as calls on registers in memory, kept out of line: callers have many. */
#ifndef SMOL_CALLS_H
#define SMOL_CALLS_H

#include "smol_arith.h"

static __attribute__((noinline, unused)) void smol_call_vdot(void *d, const void *n, const void *m, unsigned pattern,
                                                             unsigned lane)
{
    smol_vdot(d, n, m, pattern, lane);
}

static __attribute__((noinline, unused)) void smol_call_vmac(void *d, const void *n, const void *m, unsigned pattern)
{
    smol_vmac(d, n, m, pattern);
}

static __attribute__((noinline, unused)) void smol_call_vmul(void *d, const void *n, const void *m, unsigned part)
{
    smol_vmul(d, n, m, part);
}

static __attribute__((noinline, unused)) void smol_call_vmla(void *d, const void *n, const void *m, unsigned part)
{
    smol_vmla(d, n, m, part);
}

static __attribute__((noinline, unused)) void smol_call_vqpk(void *d, const void *n, const void *m, unsigned field6)
{
    smol_vqpk(d, n, m, field6);
}

#endif
