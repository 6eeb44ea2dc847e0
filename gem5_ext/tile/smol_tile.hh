/**
 * The compute-in-memory tile as a device: registers, a list of descriptors read from memory, DMA that takes part in the
 * caches' coherence, and units that work at the same time. cim/timing.py has the rules of who waits for whom.
 */
#ifndef GEM5_EXT_SMOL_TILE_HH
#define GEM5_EXT_SMOL_TILE_HH

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "base/addr_range.hh"
#include "base/statistics.hh"
#include "dev/dma_device.hh"
#include "params/SmolTile.hh"

namespace smol_tile
{
class State;
} // namespace smol_tile

namespace gem5
{

class SmolTile : public DmaDevice
{
  public:
    PARAMS(SmolTile);
    explicit SmolTile(const Params &p);
    ~SmolTile() override;

    AddrRangeList getAddrRanges() const override;
    Tick read(PacketPtr pkt) override;
    Tick write(PacketPtr pkt) override;

    DrainState drain() override;
    void serialize(CheckpointOut &cp) const override;
    void unserialize(CheckpointIn &cp) override;

  private:
    static constexpr unsigned BYTES = 64;
    /** Descriptors that are read at a time. */
    static constexpr unsigned CHUNK = 32;
    static constexpr unsigned KINDS = 4;

    using Bytes = std::array<std::uint8_t, BYTES>;
    struct Operation;
    using Operations = std::deque<std::unique_ptr<Operation>>;

    /** A list begins, unless one is under way. */
    void ring(std::uint32_t count);
    void stop(unsigned fault);
    void finishIfDone();

    /** Reads more of the list where there is room for it. */
    void readList();
    void listRead();

    /** Issues the next descriptor, if it may be. */
    void issue();
    void issueSoon();
    bool inMemory(Addr address, std::uint64_t size) const;

    /** Starts every operation that waits for nothing. */
    void startReady();
    bool waits(const Operation &operation) const;
    void start(Operation &operation);
    void startFetch(Operation &operation);
    void startWeights(Operation &operation);
    void startCompute(Operation &operation);
    void startStore(Operation &operation);
    void storeRow(Operation &operation, unsigned y);

    /** One of the things that an operation waits for happens so many cycles from now. */
    void after(Operation &operation, std::uint64_t cycles);
    void transfer(Operation &operation, bool to_memory, Addr address, std::uint64_t size, std::uint8_t *data);
    void arrived(Operation &operation);
    void complete(Operation &operation);

    std::uint64_t readRegister(Addr offset) const;

    const Addr pioAddr;
    const Tick pioLatency;
    const AddrRangeList memory;
    const std::unique_ptr<smol_tile::State> state;

    std::uint32_t status = 0, fault = 0, done = 0, refused = 0;
    std::uint64_t list = 0;
    Tick began = 0;

    /** Of the list: descriptors in it, asked for from memory, issued. */
    std::uint32_t count = 0, asked = 0, issued = 0;
    bool reading = false;
    std::vector<std::uint8_t> chunk;
    std::deque<Bytes> waiting;
    Operations underWay;

    EventFunctionWrapper listEvent, issueEvent;

    struct Stats : public statistics::Group
    {
        explicit Stats(statistics::Group *parent);

        statistics::Scalar lists;
        statistics::Scalar faults;
        statistics::Scalar refused;
        statistics::Scalar cycles;
        statistics::Vector descriptors;
        statistics::Vector busy;
        statistics::Vector bytes;
        /** Cycles that fetches and loads of weights took beyond what their ports need. */
        statistics::Scalar memoryCycles;
    } stats;
};

} // namespace gem5

#endif // GEM5_EXT_SMOL_TILE_HH
