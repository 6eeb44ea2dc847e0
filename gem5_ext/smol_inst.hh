/**
 * The SMOL instructions as gem5 executes them, written once for all ISAs. What an ISA decides for itself (its register
 * container, whether the vector unit is on, what an illegal word raises) stands in the `Isa` class that the templates
 * are given: a subclass of the ISA's StaticInst.
 */
#ifndef GEM5_EXT_SMOL_INST_HH
#define GEM5_EXT_SMOL_INST_HH

#include <cstring>
#include <string>
#include <type_traits>

#include "cpu/exec_context.hh"
#include "cpu/static_inst.hh"
#include "gem5_ext/smol_unit.hh"
#include "smol_arith.h"

namespace gem5
{

/** What an instruction object of any ISA tells of itself: listeners find it by dynamic_cast from StaticInst. */
class SmolStaticInstInfo
{
  public:
    const SmolInst smol;

    virtual ~SmolStaticInstInfo() = default;

  protected:
    explicit SmolStaticInstInfo(const SmolInst &fields) : smol(fields) {}
};

/** Any legal instruction on registers: the arithmetic header tells them apart. */
template <class Isa>
class SmolVectorInst : public Isa, public SmolStaticInstInfo
{
  public:
    SmolVectorInst(typename Isa::Word mach_inst, const SmolInst &fields, OpClass op_class)
        : Isa(smol_mnemonic(fields), mach_inst, op_class), SmolStaticInstInfo(fields),
          function(smol_function(fields.fn))
    {
        const RegClass &vectors = Isa::vectors();
        this->setRegIdxArrays(
            reinterpret_cast<StaticInst::RegIdArrayPtr>(&std::remove_pointer_t<decltype(this)>::sources),
            reinterpret_cast<StaticInst::RegIdArrayPtr>(&std::remove_pointer_t<decltype(this)>::destinations));
        this->setDestRegIdx(this->_numDestRegs++, vectors[smol.vd]);
        this->_numTypedDestRegs[vectors.type()]++;
        // A source that is not read would be a false dependence in out-of-order cores.
        if (function.readsVn)
            this->setSrcRegIdx(this->_numSrcRegs++, vectors[smol.vn]);
        if (function.readsVm)
            this->setSrcRegIdx(this->_numSrcRegs++, vectors[smol.vm]);
        if (function.readsVd)
            this->setSrcRegIdx(this->_numSrcRegs++, vectors[smol.vd]);
        this->flags[StaticInst::IsVector] = true;
    }

    Fault
    execute(ExecContext *xc, trace::InstRecord *trace_data) const override
    {
        const Fault disabled = this->enable(xc);
        if (disabled != NoFault)
            return disabled;

        // The writable register may be a source's storage (in-order models) or hold stale data (renamed registers):
        // read all sources first, then write the whole result.
        typename Isa::Register operand;
        unsigned char vn[SMOL_REGISTER_BYTES] = {}, vm[SMOL_REGISTER_BYTES] = {}, result[SMOL_REGISTER_BYTES] = {};
        int source = 0;
        const auto read = [&](unsigned char (&content)[SMOL_REGISTER_BYTES]) {
            xc->getRegOperand(this, source++, &operand);
            std::memcpy(content, operand.template as<uint8_t>(), sizeof content);
        };
        if (function.readsVn)
            read(vn);
        if (function.readsVm)
            read(vm);
        if (function.readsVd)
            read(result);
        smol_execute(smol.fn, smol.field6, result, vn, vm);

        auto &vd = *static_cast<typename Isa::Register *>(xc->getWritableRegOperand(this, 0));
        std::memset(vd.template as<uint8_t>() + sizeof result, 0, this->registerBytes() - sizeof result);
        std::memcpy(vd.template as<uint8_t>(), result, sizeof result);
        if (trace_data)
            trace_data->setData(Isa::vectors(), &vd);
        return NoFault;
    }

    std::string
    generateDisassembly(Addr, const loader::SymbolTable *) const override
    {
        return SmolUnit::disassemble(smol);
    }

  private:
    const SmolFunction &function;
    RegId sources[3];
    RegId destinations[1];
};

/** A word of our space that names no instruction of this hardware. */
template <class Isa>
class SmolIllegalInst : public Isa
{
  public:
    SmolIllegalInst(typename Isa::Word mach_inst, const std::string &why)
        : Isa("smol_illegal", mach_inst, No_OpClass), reason(why)
    {
        this->flags[StaticInst::IsInvalid] = true;
    }

    Fault
    execute(ExecContext *, trace::InstRecord *) const override
    {
        return this->illegal(reason);
    }

    std::string
    generateDisassembly(Addr, const loader::SymbolTable *) const override
    {
        return csprintf("%s %#010x", this->mnemonic, uint32_t(this->machInst.instBits));
    }

  private:
    const std::string reason;
};

} // namespace gem5

#endif // GEM5_EXT_SMOL_INST_HH
