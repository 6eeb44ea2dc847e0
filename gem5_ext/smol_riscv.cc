#include "gem5_ext/smol_riscv.hh"

#include <cstring>
#include <memory>

#include "arch/riscv/faults.hh"
#include "arch/riscv/insts/static_inst.hh"
#include "arch/riscv/regs/misc.hh"
#include "arch/riscv/regs/vector.hh"
#include "cpu/exec_context.hh"
#include "cpu/thread_context.hh"
#include "sim/sim_exit.hh"
#include "smol_arith.h"

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

/** A word of our space that names no instruction of this hardware. */
class SmolRiscvIllegal : public RiscvISA::RiscvStaticInst
{
  public:
    SmolRiscvIllegal(RiscvISA::ExtMachInst mach_inst, const std::string &why)
        : RiscvStaticInst("smol_illegal", mach_inst, No_OpClass), reason(why)
    {
        flags[IsInvalid] = true;
    }

    Fault
    execute(ExecContext *, trace::InstRecord *) const override
    {
        return std::make_shared<SmolRiscvFault>(reason, machInst);
    }

    std::string
    generateDisassembly(Addr, const loader::SymbolTable *) const override
    {
        return csprintf("%s %#010x", mnemonic, uint32_t(machInst.instBits));
    }

  private:
    const std::string reason;
};

/** Any of vmac, vdot, vmul, vmla: the arithmetic header tells them apart. */
class SmolRiscvInst : public RiscvISA::RiscvStaticInst
{
  public:
    SmolRiscvInst(RiscvISA::ExtMachInst mach_inst, const SmolInst &fields, OpClass op_class, uint32_t vlen_bits)
        : RiscvStaticInst(smol_mnemonic(fields), mach_inst, op_class), smol(fields),
          readsVd(smol_reads_vd(smol_kind(fields.fn))), vlenb(vlen_bits / 8)
    {
        setRegIdxArrays(
            reinterpret_cast<RegIdArrayPtr>(&std::remove_pointer_t<decltype(this)>::sources),
            reinterpret_cast<RegIdArrayPtr>(&std::remove_pointer_t<decltype(this)>::destinations));
        setDestRegIdx(_numDestRegs++, RiscvISA::vecRegClass[smol.vd]);
        _numTypedDestRegs[RiscvISA::vecRegClass.type()]++;
        setSrcRegIdx(_numSrcRegs++, RiscvISA::vecRegClass[smol.vn]);
        setSrcRegIdx(_numSrcRegs++, RiscvISA::vecRegClass[smol.vm]);
        // A source that is not read would be a false dependence in out-of-order cores.
        if (readsVd)
            setSrcRegIdx(_numSrcRegs++, RiscvISA::vecRegClass[smol.vd]);
        flags[IsVector] = true;
    }

    Fault
    execute(ExecContext *xc, trace::InstRecord *trace_data) const override
    {
        const RiscvISA::MISA misa = xc->readMiscReg(RiscvISA::MISCREG_ISA);
        RiscvISA::STATUS status = xc->readMiscReg(RiscvISA::MISCREG_STATUS);
        if (!misa.rvv || status.vs == RiscvISA::VPUStatus::OFF)
            return std::make_shared<SmolRiscvFault>("the vector unit is off", machInst);
        if (status.vs != RiscvISA::VPUStatus::DIRTY) {
            status.vs = RiscvISA::VPUStatus::DIRTY;
            xc->setMiscReg(RiscvISA::MISCREG_STATUS, status);
        }

        // The writable register may be a source's storage (in-order models) or hold stale data (renamed registers):
        // read all sources first, then write the whole result.
        RiscvISA::VecRegContainer operand;
        unsigned char vn[SMOL_REGISTER_BYTES], vm[SMOL_REGISTER_BYTES], result[SMOL_REGISTER_BYTES] = {};
        xc->getRegOperand(this, 0, &operand);
        std::memcpy(vn, operand.as<uint8_t>(), sizeof vn);
        xc->getRegOperand(this, 1, &operand);
        std::memcpy(vm, operand.as<uint8_t>(), sizeof vm);
        if (readsVd) {
            xc->getRegOperand(this, 2, &operand);
            std::memcpy(result, operand.as<uint8_t>(), sizeof result);
        }
        smol_execute(smol.fn, smol.field6, result, vn, vm);

        auto &vd = *static_cast<RiscvISA::VecRegContainer *>(xc->getWritableRegOperand(this, 0));
        std::memcpy(vd.as<uint8_t>(), result, sizeof result);
        // The container has room for the longest vectors; what lies above VLEN is never seen.
        std::memset(vd.as<uint8_t>() + sizeof result, 0, vlenb - sizeof result);
        if (trace_data)
            trace_data->setData(RiscvISA::vecRegClass, &vd);
        return NoFault;
    }

    std::string
    generateDisassembly(Addr, const loader::SymbolTable *) const override
    {
        return SmolUnit::disassemble(smol);
    }

  private:
    const SmolInst smol;
    const bool readsVd;
    const uint32_t vlenb;
    RegId sources[3];
    RegId destinations[1];
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
        return new SmolRiscvIllegal(mach_inst, SmolUnit::whyIllegal(legal, inst));
    return new SmolRiscvInst(mach_inst, inst, unit.opClass(inst), vlen);
}

} // namespace gem5
