/* The three functions that compilers call even where there is no C library. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A compiler that knows these functions by their loops would make each call itself. */
#if defined(__clang__)
#define PLAIN __attribute__((no_builtin))
#else
#define PLAIN __attribute__((optimize("no-tree-loop-distribute-patterns")))
#endif

PLAIN void *memset(void *to, int value, size_t bytes)
{
    uint8_t *d = to;
    for (; bytes && ((uintptr_t)d & 7); bytes--)
        *d++ = (uint8_t)value;
    const uint64_t word = 0x0101010101010101u * (uint8_t)value;
    for (; bytes >= 8; bytes -= 8, d += 8)
        *(uint64_t __attribute__((may_alias)) *)d = word;
    while (bytes--)
        *d++ = (uint8_t)value;
    return to;
}

PLAIN void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    uint8_t *d = to;
    const uint8_t *s = from;
    if ((((uintptr_t)d ^ (uintptr_t)s) & 7) == 0) {
        for (; bytes && ((uintptr_t)d & 7); bytes--)
            *d++ = *s++;
        for (; bytes >= 8; bytes -= 8, d += 8, s += 8)
            *(uint64_t __attribute__((may_alias)) *)d = *(const uint64_t __attribute__((may_alias)) *)s;
    }
    while (bytes--)
        *d++ = *s++;
    return to;
}

PLAIN void *memmove(void *to, const void *from, size_t bytes)
{
    uint8_t *d = to;
    const uint8_t *s = from;
    if (d <= s || d >= s + bytes)
        return memcpy(to, from, bytes);
    while (bytes--)
        d[bytes] = s[bytes];
    return to;
}
