#include "gem5_ext/smol_stats.hh"

#include <memory>
#include <string>

#include "base/logging.hh"
#include "cpu/base.hh"
#include "cpu/minor/cpu.hh"
#include "cpu/o3/cpu.hh"
#include "cpu/o3/dyn_inst.hh"
#include "cpu/simple/atomic.hh"
#include "cpu/simple/exec_context.hh"
#include "cpu/simple/timing.hh"
#include "debug/ExecEnable.hh"
#include "gem5_ext/smol_inst.hh"

namespace gem5
{

namespace
{

constexpr unsigned PRECISIONS = 3;
/** Bits of an element, in the order of the statistics. */
constexpr unsigned BITS[PRECISIONS] = {4, 2, 1};

/** What follows the function in an instruction's name, without the number of the function code where it has several. */
std::string
selector(const SmolInst &inst)
{
    const SmolFunction &function = smol_function(inst.fn);
    const std::string name = smol_mnemonic(inst);
    const auto begin = std::string(function.name).size() + 1;
    return name.substr(begin, function.codes > 1 ? name.rfind('.') - begin : std::string::npos);
}

/** A vector of statistics for each function, in the order of the table. */
std::vector<std::unique_ptr<statistics::Vector>>
vectorPerFunction(statistics::Group *group)
{
    std::vector<std::unique_ptr<statistics::Vector>> vectors;
    for (unsigned kind = 0; kind < SMOL_REGISTER_KINDS; kind++) {
        const SmolFunction &function = smol_functions[kind];
        vectors.push_back(std::make_unique<statistics::Vector>(
            group, function.symbol, statistics::units::Count::get(), function.counted));
    }
    return vectors;
}

} // anonymous namespace

/** Lives as long as its instruction is in flight; the model calls dump() where it commits and deletes it where not. */
class SmolTracer::Record : public trace::ExeTracerRecord
{
  public:
    Record(
        Tick when, ThreadContext *tc, const StaticInstPtr inst, const PCStateBase &pc, const SmolTracer &from,
        const StaticInstPtr macro)
        : ExeTracerRecord(when, tc, inst, pc, from, macro), owner(from)
    {}

    void
    dump() override
    {
        if (debug::ExecEnable)
            ExeTracerRecord::dump();
        if (!getFaulting())
            owner.committed(*staticInst);
    }

  private:
    const SmolTracer &owner;
};

trace::InstRecord *
SmolTracer::getInstRecord(
    Tick when, ThreadContext *tc, const StaticInstPtr inst, const PCStateBase &pc, const StaticInstPtr macro)
{
    // A fetch that faults has no instruction in the in-order model.
    if (committed && inst && classes[inst->opClass()])
        return new Record(when, tc, inst, pc, *this, macro);
    return ExeTracer::getInstRecord(when, tc, inst, pc, macro);
}

SmolStats::SmolStats(const SmolStatsParams &p)
    : ProbeListenerObject(p), core(*p.core), timing(dynamic_cast<TimingSimpleCPU *>(p.core)), tracer(p.tracer),
      stats(this, *p.core, p.units)
{
    for (OpClass op_class : p.classes)
        classes.set(op_class);
    if (dynamic_cast<MinorCPU *>(p.core)) {
        fatal_if(!tracer, "%s: the model Minor needs a SmolTracer", name());
        warn_if(!TRACING_ON, "%s: this gem5 is built without tracing: nothing is counted on Minor", name());
        tracer->listen(classes, [this](const StaticInst &inst) { count(inst); });
    }
}

void
SmolStats::regProbeListeners()
{
    // The listeners add themselves to the core's probe points; the base class removes them.
    if (dynamic_cast<o3::CPU *>(&core)) {
        listeners.push_back(
            new ProbeListenerArg<SmolStats, o3::DynInstPtr>(this, "Commit", &SmolStats::committedOutOfOrder));
    } else if (dynamic_cast<AtomicSimpleCPU *>(&core)) {
        listeners.push_back(new ProbeListenerArg<SmolStats, std::pair<SimpleThread *, const StaticInstPtr>>(
            this, "Commit", &SmolStats::committedAtomic));
    } else if (timing) {
        listeners.push_back(new ProbeListenerArg<SmolStats, Addr>(this, "RetiredInstsPC", &SmolStats::retired));
    } else {
        fatal_if(!dynamic_cast<MinorCPU *>(&core), "%s: cannot count on cores of this model", name());
    }
}

void
SmolStats::committedOutOfOrder(const o3::DynInstPtr &inst)
{
    if (classes[inst->opClass()])
        count(*inst->staticInst);
}

void
SmolStats::committedAtomic(const std::pair<SimpleThread *, const StaticInstPtr> &inst)
{
    if (classes[inst.second->opClass()])
        count(*inst.second);
}

void
SmolStats::retired(const Addr &)
{
    Counter committed = 0;
    for (const SimpleExecContext *thread : timing->threadInfo)
        committed += thread->numInst;
    if (committed == committedBefore)
        return;
    committedBefore = committed;
    if (classes[timing->curStaticInst->opClass()])
        count(*timing->curStaticInst);
}

void
SmolStats::count(const StaticInst &inst)
{
    const auto *info = dynamic_cast<const SmolStaticInstInfo *>(&inst);
    if (!info)
        return;
    const SmolInst &smol = info->smol;
    const unsigned kind = static_cast<unsigned>(smol_kind(smol.fn));
    if (kind >= SMOL_REGISTER_KINDS) {
        stats.accesses[kind - SMOL_REGISTER_KINDS]++;
        return;
    }
    stats.insts[kind]++;
    (*stats.byField[kind])[smol.field6]++;
    for (unsigned i = 0; i < PRECISIONS; i++)
        stats.macs[i] += smol_macs(smol, i);
}

SmolStats::Stats::Stats(statistics::Group *parent, BaseCPU &core, unsigned unit_count)
    : statistics::Group(parent),
      ADD_STAT(insts, statistics::units::Count::get(), "SMOL instructions on registers committed, by function"),
      ADD_STAT(accesses, statistics::units::Count::get(), "SMOL loads and stores committed, by function"),
      byField(vectorPerFunction(this)),
      ADD_STAT(macs, statistics::units::Count::get(),
               "Multiply-accumulates of the committed SMOL instructions, by precision"),
      ADD_STAT(units, statistics::units::Count::get(), "SMOL instructions that can start per cycle"),
      ADD_STAT(slotShare, statistics::units::Ratio::get(),
               "Share of the SMOL units' issue slots that committed instructions filled: insts / (units x cycles)")
{
    accesses.init(SMOL_KINDS - SMOL_REGISTER_KINDS).flags(statistics::total | statistics::nozero);
    for (unsigned kind = SMOL_REGISTER_KINDS; kind < SMOL_KINDS; kind++)
        accesses.subname(kind - SMOL_REGISTER_KINDS, smol_functions[kind].symbol);
    insts.init(SMOL_REGISTER_KINDS).flags(statistics::total | statistics::nozero);
    for (unsigned kind = 0; kind < SMOL_REGISTER_KINDS; kind++) {
        const SmolFunction &function = smol_functions[kind];
        insts.subname(kind, function.symbol);
        byField[kind]->init(FIELDS).flags(statistics::total | statistics::nozero);
        for (std::uint8_t field6 = 0; field6 < FIELDS; field6++) {
            if (smol_legal(function.first, field6))
                byField[kind]->subname(field6, selector({function.first, field6, 0, 0, 0, 0}));
        }
    }
    macs.init(PRECISIONS).flags(statistics::total | statistics::nozero);
    for (unsigned i = 0; i < PRECISIONS; i++)
        macs.subname(i, std::to_string(BITS[i]) + "bit");
    units = statistics::constant(unit_count);
    slotShare.precision(6);
    slotShare = sum(insts) / (statistics::constant(unit_count) * core.baseStats.numCycles);
}

} // namespace gem5
