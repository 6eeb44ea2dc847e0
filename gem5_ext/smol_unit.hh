/**
 * What the simulated hardware offers of the SMOL instructions: which of them, which values of the selectors that it may
 * lack, and the operation class of every function. Shared by the decoders of all ISAs.
 */
#ifndef GEM5_EXT_SMOL_UNIT_HH
#define GEM5_EXT_SMOL_UNIT_HH

#include <array>
#include <bitset>
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
    /** Params: of a decoder SimObject with `functions`, a list per optional selector and a class per function. */
    template <typename Params>
    explicit SmolUnit(const Params &p)
        : classes(smol_classes(p))
    {
        for (unsigned fn : p.functions) {
            fatal_if(smol_kind(fn) == SmolKind::None, "%s: there is no SMOL function %d", p.name, fn);
            functions.set(fn);
        }
        const auto lists = smol_chosen(p);
        for (unsigned selector = 0; selector < SMOL_OPTIONAL; selector++) {
            for (unsigned value : lists[selector]) {
                fatal_if(!smol_legal_optional(selector, value), "%s: there is no SMOL %s %d", p.name,
                         smol_optional[selector], value);
                chosen[selector].set(value);
            }
        }
    }

    /** Of a legal word: whether this hardware has its instruction, and the value of its selector. */
    bool
    supports(const SmolInst &inst) const
    {
        return hasFunction(inst) && hasValue(inst);
    }

    OpClass
    opClass(const SmolInst &inst) const
    {
        const unsigned kind = static_cast<unsigned>(smol_kind(inst.fn));
        panic_if(kind >= SMOL_REGISTER_KINDS, "no operation class: function %d is none on registers", inst.fn);
        return classes[kind];
    }

    /** Why a word of our space is no instruction on this hardware; `legal`: what the decode header says of it. */
    std::string
    whyIllegal(bool legal, const SmolInst &inst) const
    {
        if (!legal)
            return "the word is no SMOL instruction";
        if (!hasFunction(inst))
            return csprintf("%s is an instruction that this hardware lacks", smol_mnemonic(inst));
        return csprintf("%s needs %s %d, which this hardware lacks", smol_mnemonic(inst),
                        smol_optional[smol_function(inst.fn).optional], inst.field6);
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
    bool
    hasFunction(const SmolInst &inst) const
    {
        return functions[inst.fn];
    }

    bool
    hasValue(const SmolInst &inst) const
    {
        const int selector = smol_function(inst.fn).optional;
        return selector < 0 || chosen[selector][inst.field6];
    }

    std::bitset<SMOL_FUNCTIONS> functions;
    /** By optional selector. */
    std::array<std::bitset<64>, SMOL_OPTIONAL> chosen;
    /** By SmolKind, without loads and stores. */
    const std::array<OpClass, SMOL_REGISTER_KINDS> classes;
};

} // namespace gem5

#endif // GEM5_EXT_SMOL_UNIT_HH
