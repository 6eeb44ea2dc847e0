// Decodes words with the generated header: `decode ISA` reads 32-bit words (little-endian) from standard input and
// writes nine bytes for each: legal, in SMOL's space, fn, field6, vd, vn, vm, imm (two). `decode ISA --all` walks all
// words of the ISA's spaces instead; it prints their number and then, for every function and field6, how many are legal.
#include <cstdio>
#include <cstring>

#include "smol_decode.hh"

int
main(int argc, char **argv)
{
    if (argc < 2)
        return 1;
    const bool riscv = !std::strcmp(argv[1], "riscv");
    auto decode = riscv ? smol_decode_riscv : smol_decode_arm;
    auto inside = riscv ? smol_in_riscv_space : smol_in_arm_space;
    SmolInst inst{};
    if (argc > 2) {
        static unsigned long long legal[SMOL_FUNCTIONS][64];
        unsigned long long total = 0;
        // The free bits of each space: all but the opcode (RISC-V), all but 28:21 (AArch64).
        const unsigned count = riscv ? 1u << 25 : 1u << 24;
        for (unsigned space = 0; space < 2; space++) {
            for (unsigned i = 0; i < count; i++) {
                const unsigned word = riscv ? i << 7 | (space ? 0x2b : 0x0b)
                                            : (i >> 21) << 29 | 0x02000000 | space << 21 | (i & 0x1fffff);
                if (!inside(word))
                    return 2;
                total++;
                if (decode(word, inst))
                    legal[inst.fn][inst.field6]++;
            }
        }
        std::printf("%llu\n", total);
        for (unsigned fn = 0; fn < SMOL_FUNCTIONS; fn++)
            for (int field6 = 0; field6 < 64; field6++)
                std::printf("%llu\n", legal[fn][field6]);
        return 0;
    }
    unsigned char bytes[4];
    while (std::fread(bytes, 4, 1, stdin) == 1) {
        const unsigned word = bytes[0] | bytes[1] << 8 | bytes[2] << 16 | unsigned(bytes[3]) << 24;
        unsigned char answer[9] = {decode(word, inst), inside(word)};
        if (answer[0]) {
            const unsigned char fields[5] = {inst.fn, inst.field6, inst.vd, inst.vn, inst.vm};
            std::memcpy(answer + 2, fields, sizeof fields);
            answer[7] = static_cast<unsigned char>(inst.imm);
            answer[8] = static_cast<unsigned char>(inst.imm >> 8);
        }
        std::fwrite(answer, sizeof answer, 1, stdout);
    }
    return 0;
}
