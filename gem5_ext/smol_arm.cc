#include "gem5_ext/smol_arm.hh"

#include <cstring>
#include <memory>

#include "arch/arm/faults.hh"
#include "arch/arm/insts/misc64.hh"
#include "arch/arm/insts/static_inst.hh"
#include "arch/arm/regs/misc.hh"
#include "arch/arm/regs/vec.hh"
#include "cpu/exec_context.hh"
#include "cpu/thread_context.hh"
#include "sim/full_system.hh"
#include "sim/sim_exit.hh"
#include "smol_arith.h"

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

/** A word of our space that names no instruction of this hardware. */
class SmolArmIllegal : public ArmISA::ArmStaticInst
{
  public:
    SmolArmIllegal(ArmISA::ExtMachInst mach_inst, const std::string &why)
        : ArmStaticInst("smol_illegal", mach_inst, No_OpClass), reason(why)
    {
        flags[IsInvalid] = true;
    }

    Fault
    execute(ExecContext *, trace::InstRecord *) const override
    {
        return std::make_shared<SmolArmFault>(reason, machInst);
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
class SmolArmInst : public ArmISA::ArmStaticInst
{
  public:
    SmolArmInst(ArmISA::ExtMachInst mach_inst, const SmolInst &fields, OpClass op_class)
        : ArmStaticInst(smol_mnemonic(fields), mach_inst, op_class), smol(fields),
          readsVd(smol_reads_vd(smol_kind(fields.fn)))
    {
        setRegIdxArrays(
            reinterpret_cast<RegIdArrayPtr>(&std::remove_pointer_t<decltype(this)>::sources),
            reinterpret_cast<RegIdArrayPtr>(&std::remove_pointer_t<decltype(this)>::destinations));
        setDestRegIdx(_numDestRegs++, ArmISA::vecRegClass[smol.vd]);
        _numTypedDestRegs[ArmISA::vecRegClass.type()]++;
        setSrcRegIdx(_numSrcRegs++, ArmISA::vecRegClass[smol.vn]);
        setSrcRegIdx(_numSrcRegs++, ArmISA::vecRegClass[smol.vm]);
        // A source that is not read would be a false dependence in out-of-order cores.
        if (readsVd)
            setSrcRegIdx(_numSrcRegs++, ArmISA::vecRegClass[smol.vd]);
        flags[IsVector] = true;
    }

    Fault
    execute(ExecContext *xc, trace::InstRecord *trace_data) const override
    {
        const ArmISA::CPSR cpsr = xc->readMiscReg(ArmISA::MISCREG_CPSR);
        const ArmISA::CPACR cpacr = xc->readMiscReg(ArmISA::MISCREG_CPACR_EL1);
        const Fault disabled = checkFPAdvSIMDEnabled64(xc->tcBase(), cpsr, cpacr);
        if (disabled != NoFault)
            return disabled;

        // The writable register may be a source's storage (in-order models) or hold stale data (renamed registers):
        // read all sources first, then write the whole result.
        ArmISA::VecRegContainer operand;
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

        auto &vd = *static_cast<ArmISA::VecRegContainer *>(xc->getWritableRegOperand(this, 0));
        vd.zero();
        std::memcpy(vd.as<uint8_t>(), result, sizeof result);
        if (trace_data)
            trace_data->setData(ArmISA::vecRegClass, &vd);
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
    RegId sources[3];
    RegId destinations[1];
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
        return new SmolArmIllegal(mach_inst, SmolUnit::whyIllegal(legal, inst));
    return new SmolArmInst(mach_inst, inst, unit.opClass(inst));
}

} // namespace gem5
