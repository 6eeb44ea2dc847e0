/* What kernels and runtime use of <string.h>, where there is no C library (memory.c). */
#ifndef SMOL_STRING_H
#define SMOL_STRING_H

#include <stddef.h>

void *memset(void *to, int value, size_t bytes);
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);

#endif
