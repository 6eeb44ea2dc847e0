#include "gem5_ext/smol_arm.hh"

#include <memory>

#include "arch/arm/faults.hh"
#include "arch/arm/insts/misc64.hh"
#include "arch/arm/insts/static_inst.hh"
#include "arch/arm/regs/misc.hh"
#include "arch/arm/regs/vec.hh"
#include "cpu/thread_context.hh"
#include "gem5_ext/smol_inst.hh"
#include "sim/full_system.hh"
#include "sim/sim_exit.hh"

namespace gem5
{

namespace
{

/** Undefined-instruction exception; where there is no operating system to take it, the simulation ends with one line. */
class SmolArmFault : public ArmISA::UndefinedInstruction
{
  public:
    SmolArmFault(const std::string &why, ArmISA::ExtMachInst inst)
        : ArmISA::UndefinedInstruction(inst, true), word(inst.instBits), reason(why)
    {}

    void
    invoke(ThreadContext *tc, const StaticInstPtr &inst) override
    {
        if (FullSystem)
            ArmISA::UndefinedInstruction::invoke(tc, inst);
        else
            exitSimLoop(SmolUnit::exitMessage(word, tc->pcState().instAddr(), reason), 1);
    }

  private:
    const uint32_t word;
    const std::string reason;
};

/** What AArch64 decides for itself. */
class SmolArm : public ArmISA::ArmStaticInst
{
  protected:
    using ArmISA::ArmStaticInst::ArmStaticInst;
    using Word = ArmISA::ExtMachInst;
    using Register = ArmISA::VecRegContainer;

    static const RegClass &
    vectors()
    {
        return ArmISA::vecRegClass;
    }

    /** Bytes of a register, all cleared above the result. */
    static constexpr size_t
    registerBytes()
    {
        return ArmISA::VecRegSizeBytes;
    }

    Fault
    enable(ExecContext *xc) const
    {
        const ArmISA::CPSR cpsr = xc->readMiscReg(ArmISA::MISCREG_CPSR);
        const ArmISA::CPACR cpacr = xc->readMiscReg(ArmISA::MISCREG_CPACR_EL1);
        return checkFPAdvSIMDEnabled64(xc->tcBase(), cpsr, cpacr);
    }

    Fault
    illegal(const std::string &why) const
    {
        return std::make_shared<SmolArmFault>(why, machInst);
    }
};

} // anonymous namespace

SmolArmDecoder::SmolArmDecoder(const SmolArmDecoderParams &p) : ArmISA::Decoder(p), unit(p)
{}

StaticInstPtr
SmolArmDecoder::decode(PCStateBase &pc)
{
    const ArmISA::ExtMachInst mach_inst = emi; // the stock decoder clears it
    StaticInstPtr stock = ArmISA::Decoder::decode(pc);
    const uint32_t word = mach_inst.instBits;
    if (!stock || !mach_inst.aarch64 || !smol_in_arm_space(word) || !dynamic_cast<UnknownOp64 *>(stock.get()))
        return stock;
    StaticInstPtr &inst = cache[word];
    if (!inst) {
        inst = decodeSmol(mach_inst);
        inst->size(4);
    }
    return inst;
}

StaticInstPtr
SmolArmDecoder::decodeSmol(ArmISA::ExtMachInst mach_inst) const
{
    SmolInst inst{};
    const bool legal = smol_decode_arm(mach_inst.instBits, inst);
    if (!legal || !unit.supports(inst))
        return new SmolIllegalInst<SmolArm>(mach_inst, unit.whyIllegal(legal, inst));
    return new SmolVectorInst<SmolArm>(mach_inst, inst, unit.opClass(inst));
}

} // namespace gem5
