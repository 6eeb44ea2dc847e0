/**
 * Statistics of the SMOL instructions that a core commits, through gem5's statistics package: a block of stats.txt holds
 * them for its own interval, as it does everything else.
 */
#ifndef GEM5_EXT_SMOL_STATS_HH
#define GEM5_EXT_SMOL_STATS_HH

#include <bitset>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "base/statistics.hh"
#include "cpu/exetrace.hh"
#include "cpu/o3/dyn_inst_ptr.hh"
#include "cpu/op_class.hh"
#include "cpu/static_inst.hh"
#include "gem5_ext/smol_decode.hh"
#include "params/SmolStats.hh"
#include "params/SmolTracer.hh"
#include "sim/probe/probe.hh"

namespace gem5
{

class BaseCPU;
class BaseSimpleCPU;
class SimpleThread;

/** gem5's tracer, which also calls `committed` with every instruction of the chosen classes that commits. */
class SmolTracer : public trace::ExeTracer
{
  public:
    explicit SmolTracer(const SmolTracerParams &p) : ExeTracer(p) {}

    using Listener = std::function<void(const StaticInst &)>;

    void
    listen(const std::bitset<Num_OpClasses> &of_classes, Listener call)
    {
        classes = of_classes;
        committed = std::move(call);
    }

    trace::InstRecord *getInstRecord(
        Tick when, ThreadContext *tc, const StaticInstPtr inst, const PCStateBase &pc,
        const StaticInstPtr macro) override;

  private:
    class Record;

    std::bitset<Num_OpClasses> classes;
    Listener committed;
};

/**
 * Where the models tell what they commit: O3 and Atomic by their probe "Commit", Timing by "RetiredInstsPC" with the
 * instruction that stands in the core, Minor by its tracer.
 */
class SmolStats : public ProbeListenerObject
{
  public:
    explicit SmolStats(const SmolStatsParams &p);

    void regProbeListeners() override;

  private:
    void count(const StaticInst &inst);

    /** Probe "Commit" of O3. */
    void committedOutOfOrder(const o3::DynInstPtr &inst);
    /** Probe "Commit" of Atomic. */
    void committedAtomic(const std::pair<SimpleThread *, const StaticInstPtr> &inst);
    /** Probe "RetiredInstsPC" of Timing, which also speaks where an instruction faults: it then counts none. */
    void retired(const Addr &pc);

    BaseCPU &core;
    BaseSimpleCPU *const timing;
    SmolTracer *const tracer;
    std::bitset<Num_OpClasses> classes;
    /** Instructions that the core had committed when it last spoke. */
    Counter committedBefore = 0;

    static constexpr unsigned FIELDS = 64;

    struct Stats : public statistics::Group
    {
        Stats(statistics::Group *parent, BaseCPU &core, unsigned units);

        /** By function. */
        statistics::Vector insts;
        /** Loads and stores, by function; the SMOL units' issue slots are not theirs. */
        statistics::Vector accesses;
        /** By SmolKind: each function by what its field6 selects, under the function's name. */
        std::vector<std::unique_ptr<statistics::Vector>> byField;
        /** By precision; elements that fill up a register are among them. */
        statistics::Vector macs;
        statistics::Formula units;
        /** insts / (units x cycles). */
        statistics::Formula slotShare;
    } stats;
};

} // namespace gem5

#endif // GEM5_EXT_SMOL_STATS_HH
