#include "gem5_ext/smol_riscv.hh"

#include <memory>

#include "arch/riscv/faults.hh"
#include "arch/riscv/insts/static_inst.hh"
#include "arch/riscv/regs/misc.hh"
#include "arch/riscv/regs/vector.hh"
#include "gem5_ext/smol_riscv_memory.hh"
#include "sim/sim_exit.hh"

namespace gem5
{

namespace
{

/** Illegal-instruction exception; where there is no operating system to take it, the simulation ends with one line. */
class SmolRiscvFault : public RiscvISA::IllegalInstFault
{
  public:
    SmolRiscvFault(const std::string &why, RiscvISA::ExtMachInst inst)
        : RiscvISA::IllegalInstFault(why, inst), reason(why)
    {}

    void
    invokeSE(ThreadContext *tc, const StaticInstPtr &inst) override
    {
        exitSimLoop(SmolUnit::exitMessage(trap_value(), tc->pcState().instAddr(), reason), 1);
    }

  private:
    const std::string reason;
};

/** What RISC-V decides for itself. */
class SmolRiscv : public RiscvISA::RiscvStaticInst
{
  protected:
    /** An instruction word and the length of the hardware's vector registers. */
    struct Word
    {
        RiscvISA::ExtMachInst inst;
        uint32_t vlenBits;
    };
    using Register = RiscvISA::VecRegContainer;

    SmolRiscv(const char *mnem, const Word &word, OpClass op_class)
        : RiscvStaticInst(mnem, word.inst, op_class), vlenb(word.vlenBits / 8)
    {}

    static const RegClass &
    vectors()
    {
        return RiscvISA::vecRegClass;
    }

    /** The container has room for the longest vectors; what lies above VLEN is never seen. */
    size_t
    registerBytes() const
    {
        return vlenb;
    }

    Fault
    enable(ExecContext *xc) const
    {
        const RiscvISA::MISA misa = xc->readMiscReg(RiscvISA::MISCREG_ISA);
        RiscvISA::STATUS status = xc->readMiscReg(RiscvISA::MISCREG_STATUS);
        if (!misa.rvv || status.vs == RiscvISA::VPUStatus::OFF)
            return std::make_shared<SmolRiscvFault>("the vector unit is off", machInst);
        if (status.vs != RiscvISA::VPUStatus::DIRTY) {
            status.vs = RiscvISA::VPUStatus::DIRTY;
            xc->setMiscReg(RiscvISA::MISCREG_STATUS, status);
        }
        return NoFault;
    }

    Fault
    illegal(const std::string &why) const
    {
        return std::make_shared<SmolRiscvFault>(why, machInst);
    }

  private:
    const uint32_t vlenb;
};

} // anonymous namespace

SmolRiscvDecoder::SmolRiscvDecoder(const SmolRiscvDecoderParams &p) : RiscvISA::Decoder(p), unit(p)
{
    fatal_if(vlen < 8 * SMOL_REGISTER_BYTES, "%s: SMOL needs vector registers of 128 bits or more", p.name);
}

StaticInstPtr
SmolRiscvDecoder::decodeInst(RiscvISA::ExtMachInst mach_inst)
{
    const uint32_t word = mach_inst.instBits;
    if (!smol_in_riscv_space(word))
        return RiscvISA::Decoder::decodeInst(mach_inst);
    SmolInst inst{};
    const bool legal = smol_decode_riscv(word, inst);
    if (!legal || !unit.supports(inst))
        return new SmolIllegalInst<SmolRiscv>({mach_inst, vlen}, unit.whyIllegal(legal, inst));
    switch (smol_kind(inst.fn)) {
      case SmolKind::Lq:
        return new SmolLoadInst<SmolRiscv>({mach_inst, vlen}, inst);
      case SmolKind::Sq:
        return new SmolStoreInst<SmolRiscv>({mach_inst, vlen}, inst);
      default:
        return new SmolVectorInst<SmolRiscv>({mach_inst, vlen}, inst, unit.opClass(inst));
    }
}

} // namespace gem5
