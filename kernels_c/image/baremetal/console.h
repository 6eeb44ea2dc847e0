/* The platform's serial port: PL011 of gem5's VExpress_GEM5_V1 (AArch64), 8250 of its HiFive (RISC-V). */
#ifndef SMOL_CONSOLE_H
#define SMOL_CONSOLE_H

#include <stdint.h>

void console_text(const char *text);
void console_hex(uint64_t number);
void console_decimal(uint64_t number);

#endif
