/** AArch64 decoder with the SMOL instructions in the unallocated space 28:21 = 0b00010000. */
#ifndef GEM5_EXT_SMOL_ARM_HH
#define GEM5_EXT_SMOL_ARM_HH

#include <cstdint>
#include <unordered_map>

#include "arch/arm/decoder.hh"
#include "gem5_ext/smol_unit.hh"
#include "params/SmolArmDecoder.hh"

namespace gem5
{

class SmolArmDecoder : public ArmISA::Decoder
{
  public:
    explicit SmolArmDecoder(const SmolArmDecoderParams &p);

    /**
     * The stock decoder first, so that everything about the program counter, single steps and alignment stays its own;
     * where it knows no instruction for a word of our space, ours.
     */
    StaticInstPtr decode(PCStateBase &pc) override;

  private:
    StaticInstPtr decodeSmol(ArmISA::ExtMachInst mach_inst) const;

    const SmolUnit unit;
    /** Own cache: the stock one is shared by all decoders and knows no pattern sets. */
    std::unordered_map<std::uint32_t, StaticInstPtr> cache;
};

} // namespace gem5

#endif // GEM5_EXT_SMOL_ARM_HH
