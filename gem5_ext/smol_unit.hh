/**
 * What the simulated hardware offers of the SMOL instructions: the supported patterns and the operation class of every
 * function. Shared by the decoders of all ISAs.
 */
#ifndef GEM5_EXT_SMOL_UNIT_HH
#define GEM5_EXT_SMOL_UNIT_HH

#include <array>
#include <cstdint>
#include <string>

#include "base/cprintf.hh"
#include "base/logging.hh"
#include "cpu/op_class.hh"
#include "gem5_ext/smol_decode.hh"

namespace gem5
{

class SmolUnit
{
  public:
    /** Params: of a decoder SimObject with `patterns` and a class parameter per function. */
    template <typename Params>
    explicit SmolUnit(const Params &p)
        : classes(smol_classes(p))
    {
        for (unsigned pattern : p.patterns) {
            fatal_if(!smol_legal_pattern(pattern), "%s: there is no SMOL pattern %d", p.name, pattern);
            patterns |= std::uint64_t(1) << pattern;
        }
    }

    /** Patterns limit the instructions that have one; the others are always there. */
    bool
    supports(const SmolInst &inst) const
    {
        return !smol_function(inst.fn).hasPattern || (patterns >> inst.field6 & 1);
    }

    OpClass
    opClass(const SmolInst &inst) const
    {
        const SmolKind kind = smol_kind(inst.fn);
        panic_if(kind == SmolKind::None, "no operation class: there is no function %d", inst.fn);
        return classes[static_cast<unsigned>(kind)];
    }

    /** Why a word of our space is no instruction on this hardware; `legal`: what the decode header says of it. */
    static std::string
    whyIllegal(bool legal, const SmolInst &inst)
    {
        if (!legal)
            return "the word is no SMOL instruction";
        return csprintf("%s needs pattern %d, which this hardware lacks", smol_mnemonic(inst), inst.field6);
    }

    static std::string
    disassemble(const SmolInst &inst)
    {
        return csprintf("%s v%d, v%d, v%d", smol_mnemonic(inst), inst.vd, inst.vn, inst.vm);
    }

    /** What a simulation of user programs ends with where one executes an illegal word. */
    static std::string
    exitMessage(std::uint32_t word, std::uint64_t pc, const std::string &reason)
    {
        return csprintf("illegal instruction %#010x at pc %#x: %s", word, pc, reason);
    }

  private:
    std::uint64_t patterns = 0;
    /** By SmolKind. */
    const std::array<OpClass, SMOL_KINDS> classes;
};

} // namespace gem5

#endif // GEM5_EXT_SMOL_UNIT_HH
