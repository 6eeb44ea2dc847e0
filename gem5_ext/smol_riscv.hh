/** RISC-V decoder with the SMOL instructions in the opcode spaces custom-0 and custom-1. */
#ifndef GEM5_EXT_SMOL_RISCV_HH
#define GEM5_EXT_SMOL_RISCV_HH

#include "arch/riscv/decoder.hh"
#include "gem5_ext/smol_unit.hh"
#include "params/SmolRiscvDecoder.hh"

namespace gem5
{

class SmolRiscvDecoder : public RiscvISA::Decoder
{
  public:
    explicit SmolRiscvDecoder(const SmolRiscvDecoderParams &p);

  protected:
    /** Sits under the stock decode cache. */
    StaticInstPtr decodeInst(RiscvISA::ExtMachInst mach_inst) override;

  private:
    const SmolUnit unit;
};

} // namespace gem5

#endif // GEM5_EXT_SMOL_RISCV_HH
