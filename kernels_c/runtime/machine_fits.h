/* What the programs of all modes ask of the machine before they run a network. */
#ifndef SMOL_MACHINE_FITS_H
#define SMOL_MACHINE_FITS_H

/* Whether the vector registers are as long as the kernels were generated for. */
static int machine_fits(void)
{
#if defined(__riscv)
    unsigned long bytes;
    __asm__ volatile("csrr %0, vlenb" : "=r"(bytes));
    return bytes == 16;
#else
    return 1;
#endif
}

#endif
