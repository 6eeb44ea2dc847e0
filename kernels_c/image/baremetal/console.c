#include "console.h"

#if defined(__aarch64__)
#define PORT 0x1c090000ul
#define STATUS (PORT + 0x18) /* UARTFR */
#define BUSY(status) ((status) & 0x20) /* transmit FIFO full */
#else
#define PORT 0x10000000ul
#define STATUS (PORT + 5) /* line status */
#define BUSY(status) (!((status) & 0x20)) /* transmitter holding register full */
#endif

static void console_byte(char c)
{
    while (BUSY(*(volatile uint8_t *)STATUS))
        ;
    *(volatile uint8_t *)PORT = (uint8_t)c;
}

void console_text(const char *text)
{
    while (*text)
        console_byte(*text++);
}

static void console_number(uint64_t number, unsigned base)
{
    char digits[21];
    char *at = digits + sizeof digits;
    *--at = '\0';
    do {
        *--at = "0123456789abcdef"[number % base];
        number /= base;
    } while (number);
    console_text(at);
}

void console_hex(uint64_t number)
{
    console_text("0x");
    console_number(number, 16);
}

void console_decimal(uint64_t number)
{
    console_number(number, 10);
}
