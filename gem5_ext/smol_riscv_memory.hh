/** RISC-V's loads and stores of 128 bits at a scalar register plus an offset. Any address will do, as for vl1re8.v. */
#ifndef GEM5_EXT_SMOL_RISCV_MEMORY_HH
#define GEM5_EXT_SMOL_RISCV_MEMORY_HH

#include <cstring>
#include <vector>

#include "arch/riscv/mmu.hh"
#include "arch/riscv/regs/int.hh"
#include "gem5_ext/smol_inst.hh"
#include "mem/packet.hh"

namespace gem5
{

/** What both have: the address, and that the vector unit must be on. */
template <class Isa>
class SmolAccessInst : public Isa, public SmolStaticInstInfo
{
  protected:
    SmolAccessInst(typename Isa::Word mach_inst, const SmolInst &fields, OpClass op_class)
        : Isa(smol_mnemonic(fields), mach_inst, op_class), SmolStaticInstInfo(fields),
          enabled(SMOL_REGISTER_BYTES, true)
    {
        this->setRegIdxArrays(
            reinterpret_cast<StaticInst::RegIdArrayPtr>(&std::remove_pointer_t<decltype(this)>::sources),
            reinterpret_cast<StaticInst::RegIdArrayPtr>(&std::remove_pointer_t<decltype(this)>::destinations));
        this->setSrcRegIdx(this->_numSrcRegs++, RiscvISA::intRegClass[smol.vn]);
        this->flags[StaticInst::IsVector] = true;
    }

    Addr
    address(ExecContext *xc) const
    {
        return xc->getRegOperand(this, 0) + static_cast<int64_t>(smol.imm);
    }

    std::string
    generateDisassembly(Addr, const loader::SymbolTable *) const override
    {
        return csprintf("%s v%d, %d(x%d)", this->mnemonic, this->isLoad() ? smol.vd : smol.vm, smol.imm, smol.vn);
    }

    static constexpr Request::FlagsType ACCESS = RiscvISA::MMU::ByteAlign;
    /** All bytes are read or written. */
    const std::vector<bool> enabled;

  private:
    RegId sources[2];
    RegId destinations[1];
};

template <class Isa>
class SmolLoadInst : public SmolAccessInst<Isa>
{
  public:
    SmolLoadInst(typename Isa::Word mach_inst, const SmolInst &fields)
        : SmolAccessInst<Isa>(mach_inst, fields, SimdWholeRegisterLoadOp)
    {
        const RegClass &vectors = Isa::vectors();
        this->setDestRegIdx(this->_numDestRegs++, vectors[fields.vd]);
        this->_numTypedDestRegs[vectors.type()]++;
        this->flags[StaticInst::IsLoad] = true;
    }

    Fault
    execute(ExecContext *xc, trace::InstRecord *trace_data) const override
    {
        const Fault disabled = this->enable(xc);
        if (disabled != NoFault)
            return disabled;
        unsigned char content[SMOL_REGISTER_BYTES];
        const Fault fault = xc->readMem(this->address(xc), content, sizeof content, this->ACCESS, this->enabled);
        if (fault == NoFault)
            write(xc, content, trace_data);
        return fault;
    }

    Fault
    initiateAcc(ExecContext *xc, trace::InstRecord *) const override
    {
        const Fault disabled = this->enable(xc);
        if (disabled != NoFault)
            return disabled;
        return xc->initiateMemRead(this->address(xc), SMOL_REGISTER_BYTES, this->ACCESS, this->enabled);
    }

    Fault
    completeAcc(PacketPtr pkt, ExecContext *xc, trace::InstRecord *trace_data) const override
    {
        write(xc, pkt->getConstPtr<unsigned char>(), trace_data);
        return NoFault;
    }

  private:
    void
    write(ExecContext *xc, const unsigned char *content, trace::InstRecord *trace_data) const
    {
        auto &vd = *static_cast<typename Isa::Register *>(xc->getWritableRegOperand(this, 0));
        std::memset(vd.template as<uint8_t>() + SMOL_REGISTER_BYTES, 0, this->registerBytes() - SMOL_REGISTER_BYTES);
        std::memcpy(vd.template as<uint8_t>(), content, SMOL_REGISTER_BYTES);
        if (trace_data)
            trace_data->setData(Isa::vectors(), &vd);
    }
};

template <class Isa>
class SmolStoreInst : public SmolAccessInst<Isa>
{
  public:
    SmolStoreInst(typename Isa::Word mach_inst, const SmolInst &fields)
        : SmolAccessInst<Isa>(mach_inst, fields, SimdWholeRegisterStoreOp)
    {
        this->setSrcRegIdx(this->_numSrcRegs++, Isa::vectors()[fields.vm]);
        this->flags[StaticInst::IsStore] = true;
    }

    Fault
    execute(ExecContext *xc, trace::InstRecord *trace_data) const override
    {
        return initiateAcc(xc, trace_data);
    }

    Fault
    initiateAcc(ExecContext *xc, trace::InstRecord *) const override
    {
        const Fault disabled = this->enable(xc);
        if (disabled != NoFault)
            return disabled;
        typename Isa::Register source;
        xc->getRegOperand(this, 1, &source);
        unsigned char content[SMOL_REGISTER_BYTES];
        std::memcpy(content, source.template as<uint8_t>(), sizeof content);
        return xc->writeMem(content, sizeof content, this->address(xc), this->ACCESS, nullptr, this->enabled);
    }

    Fault
    completeAcc(PacketPtr, ExecContext *, trace::InstRecord *) const override
    {
        return NoFault;
    }
};

} // namespace gem5

#endif // GEM5_EXT_SMOL_RISCV_MEMORY_HH
