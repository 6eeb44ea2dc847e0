#include "gem5_ext/tile/smol_tile.hh"

#include <algorithm>
#include <variant>

#include "base/logging.hh"
#include "gem5_ext/tile/smol_tile_core.hh"
#include "mem/packet.hh"
#include "mem/packet_access.hh"
#include "sim/serialize.hh"

namespace gem5
{

namespace
{

const char *const KIND_NAMES[] = {"fetch", "weights", "compute", "store"};

std::uint64_t
ceilDivide(std::uint64_t a, std::uint64_t b)
{
    return (a + b - 1) / b;
}

} // anonymous namespace

/** A descriptor under way. It is complete when nothing is left of `pending`. */
struct SmolTile::Operation
{
    using Any = std::variant<smol_tile::Fetch, smol_tile::Weights, smol_tile::Compute, smol_tile::Store>;

    static Any
    decode(const std::uint8_t *data)
    {
        switch (data[0]) {
        case SMOL_TILE_FETCH: return smol_tile::Fetch(data);
        case SMOL_TILE_WEIGHTS: return smol_tile::Weights(data);
        case SMOL_TILE_COMPUTE: return smol_tile::Compute(data);
        default: return smol_tile::Store(data);
        }
    }

    Operation(const std::uint8_t *data, const smol_tile::Tile &tile)
        : kind(data[0] - SMOL_TILE_FETCH), unit(kind), any(decode(data))
    {
        using smol_tile::Range;
        if (const auto *fetch = std::get_if<smol_tile::Fetch>(&any)) {
            scratchWritten = fetch->scratchRange();
        } else if (const auto *weights = std::get_if<smol_tile::Weights>(&any)) {
            contextWritten = one(weights->array * tile.contexts + weights->context);
        } else if (const auto *compute = std::get_if<smol_tile::Compute>(&any)) {
            unit = KINDS + static_cast<unsigned>(compute->array);
            contextRead = one(compute->array * tile.contexts + compute->context);
            scratchRead[0] = compute->scratchRange();
            accumulatorsWritten = compute->accumulatorRange();
        } else {
            const auto &store = std::get<smol_tile::Store>(any);
            accumulatorsRead = store.accumulatorRange();
            scratchRead[0] = store.constantsRange();
            if (store.hasResidual)
                scratchRead[1] = store.residualRange();
        }
    }

    static smol_tile::Range one(std::uint64_t number) { return {number, number + 1}; }

    /** Whether this may not start before an earlier operation is complete. */
    bool
    needs(const Operation &other) const
    {
        const auto clash = [](const smol_tile::Range &a, const smol_tile::Range &b) { return a.overlaps(b); };
        bool scratch = clash(scratchWritten, other.scratchWritten);
        for (unsigned i = 0; i < 2; i++) {
            scratch = scratch || clash(scratchWritten, other.scratchRead[i]);
            scratch = scratch || clash(scratchRead[i], other.scratchWritten);
        }
        return scratch || unit == other.unit || clash(contextWritten, other.contextWritten) ||
               clash(contextWritten, other.contextRead) || clash(contextRead, other.contextWritten) ||
               clash(accumulatorsWritten, other.accumulatorsWritten) ||
               clash(accumulatorsWritten, other.accumulatorsRead) ||
               clash(accumulatorsRead, other.accumulatorsWritten);
    }

    const unsigned kind;
    /** Its kind's only unit, or its array behind these. */
    unsigned unit;
    const Any any;

    smol_tile::Range scratchRead[2], scratchWritten, contextRead, contextWritten, accumulatorsRead, accumulatorsWritten;

    bool started = false;
    Tick start = 0;
    std::uint64_t pending = 0;
    /** Cycles that its port needs. */
    std::uint64_t port = 0;
    /** What is read, or the rows that are written. */
    std::vector<std::uint8_t> data;
};

SmolTile::SmolTile(const Params &p)
    : DmaDevice(p), pioAddr(p.pio_addr), pioLatency(p.pio_latency), memory(p.memory.begin(), p.memory.end()),
      state(std::make_unique<smol_tile::State>(
          smol_tile::Tile{p.arrays, p.rows, p.columns, p.contexts, p.scratch_bytes, p.accumulators})),
      chunk(CHUNK * BYTES), listEvent([this] { listRead(); }, name() + ".list"),
      issueEvent([this] { issue(); }, name() + ".issue"), stats(this)
{
    fatal_if(!p.arrays || !p.rows || !p.columns || !p.contexts || !p.scratch_bytes || !p.accumulators ||
                 !p.fetch_bytes || !p.weight_bytes || !p.store_bytes || !p.feed_bytes || !p.store_lanes || !p.window,
             "%s: a parameter is 0", name());
}

SmolTile::~SmolTile() = default;

AddrRangeList
SmolTile::getAddrRanges() const
{
    return {RangeSize(pioAddr, SMOL_TILE_REG_BYTES)};
}

// --- registers ---

std::uint64_t
SmolTile::readRegister(Addr offset) const
{
    switch (offset) {
    case SMOL_TILE_REG_ID: return SMOL_TILE_ID;
    case SMOL_TILE_REG_STATUS: return status;
    case SMOL_TILE_REG_RING: return list;
    case SMOL_TILE_REG_DOORBELL: return count;
    case SMOL_TILE_REG_FAULT: return fault;
    case SMOL_TILE_REG_DONE: return done;
    case SMOL_TILE_REG_REFUSED: return refused;
    case SMOL_TILE_REG_ARRAYS: return state->tile.arrays;
    case SMOL_TILE_REG_ROWS: return state->tile.rows;
    case SMOL_TILE_REG_COLUMNS: return state->tile.columns;
    case SMOL_TILE_REG_CONTEXTS: return state->tile.contexts;
    case SMOL_TILE_REG_SCRATCH: return state->tile.scratchBytes;
    case SMOL_TILE_REG_ACCUMULATORS: return state->tile.accumulators;
    }
    return 0;
}

Tick
SmolTile::read(PacketPtr pkt)
{
    pkt->setUintX(readRegister(pkt->getAddr() - pioAddr), ByteOrder::little);
    pkt->makeResponse();
    return pioLatency;
}

Tick
SmolTile::write(PacketPtr pkt)
{
    const Addr offset = pkt->getAddr() - pioAddr;
    const std::uint64_t value = pkt->getUintX(ByteOrder::little);
    if (offset == SMOL_TILE_REG_DOORBELL) {
        ring(static_cast<std::uint32_t>(value));
    } else if (offset == SMOL_TILE_REG_RING && !(status & SMOL_TILE_RUNNING)) {
        list = value;
    }
    pkt->makeResponse();
    return pioLatency;
}

// --- a list ---

void
SmolTile::ring(std::uint32_t descriptors)
{
    if (status & SMOL_TILE_RUNNING) {
        refused++;
        stats.refused++;
        return;
    }
    status = SMOL_TILE_RUNNING;
    fault = done = asked = issued = 0;
    count = descriptors;
    began = curTick();
    stats.lists++;
    if (!count || count > SMOL_TILE_MOST_DESCRIPTORS)
        stop(SMOL_TILE_FAULT_COUNT);
    else if (list % BYTES || !inMemory(list, std::uint64_t{count} * BYTES))
        stop(SMOL_TILE_FAULT_RING);
    else
        readList();
}

void
SmolTile::stop(unsigned code)
{
    fault = code;
    stats.faults++;
    waiting.clear();
    asked = count;
    finishIfDone();
}

void
SmolTile::finishIfDone()
{
    const bool all = fault || issued == count;
    if (!(status & SMOL_TILE_RUNNING) || !all || reading || !underWay.empty())
        return;
    status = fault ? SMOL_TILE_FAULTED : SMOL_TILE_FINISHED;
    stats.cycles += static_cast<std::uint64_t>(ticksToCycles(curTick() - began));
    signalDrainDone();
}

void
SmolTile::readList()
{
    if (reading || asked == count || waiting.size() > CHUNK)
        return;
    const std::uint32_t next = std::min<std::uint32_t>(CHUNK, count - asked);
    reading = true;
    dmaRead(list + std::uint64_t{asked} * BYTES, next * BYTES, &listEvent, chunk.data());
    asked += next;
}

void
SmolTile::listRead()
{
    reading = false;
    if (!fault) {
        const std::uint32_t arrived = asked - issued - static_cast<std::uint32_t>(waiting.size());
        for (std::uint32_t i = 0; i < arrived; i++) {
            Bytes bytes;
            std::copy_n(&chunk[i * BYTES], BYTES, bytes.begin());
            waiting.push_back(bytes);
        }
        readList();
        issueSoon();
    }
    finishIfDone();
}

bool
SmolTile::inMemory(Addr address, std::uint64_t size) const
{
    return std::any_of(memory.begin(), memory.end(), [=](const AddrRange &range) {
        return range.contains(address) && size <= range.end() - address;
    });
}

void
SmolTile::issueSoon()
{
    if (!issueEvent.scheduled() && !waiting.empty())
        schedule(issueEvent, clockEdge(Cycles(1)));
}

void
SmolTile::issue()
{
    if (waiting.empty() || underWay.size() >= params().window)
        return;
    const Bytes bytes = waiting.front();
    if (bytes[1] & SMOL_TILE_FENCE && !underWay.empty())
        return;
    const auto found = state->check(
        bytes.data(), [this](std::uint64_t address, std::uint64_t size) { return inMemory(address, size); });
    if (found != SMOL_TILE_FAULT_NONE) {
        stop(found);
        return;
    }
    waiting.pop_front();
    issued++;
    underWay.push_back(std::make_unique<Operation>(bytes.data(), state->tile));
    stats.descriptors[underWay.back()->kind]++;
    readList();
    startReady();
    issueSoon();
}

// --- operations ---

bool
SmolTile::waits(const Operation &operation) const
{
    for (const auto &earlier : underWay) {
        if (earlier.get() == &operation)
            return false;
        if (operation.needs(*earlier))
            return true;
    }
    return false;
}

void
SmolTile::startReady()
{
    for (const auto &operation : underWay) {
        if (!operation->started && !waits(*operation))
            start(*operation);
    }
}

void
SmolTile::start(Operation &operation)
{
    operation.started = true;
    operation.start = curTick();
    switch (operation.kind + SMOL_TILE_FETCH) {
    case SMOL_TILE_FETCH: startFetch(operation); break;
    case SMOL_TILE_WEIGHTS: startWeights(operation); break;
    case SMOL_TILE_COMPUTE: startCompute(operation); break;
    default: startStore(operation);
    }
}

void
SmolTile::startFetch(Operation &operation)
{
    const auto &d = std::get<smol_tile::Fetch>(operation.any);
    operation.data.resize(d.bytes());
    operation.port = ceilDivide(d.bytes(), params().fetch_bytes);
    operation.pending = d.rows + 1;
    stats.bytes[operation.kind] += d.bytes();
    for (std::uint64_t row = 0; row < d.rows; row++)
        transfer(operation, false, d.memory + row * d.memory_stride, d.row_bytes, &operation.data[row * d.row_bytes]);
    after(operation, operation.port);
}

void
SmolTile::startWeights(Operation &operation)
{
    const auto &d = std::get<smol_tile::Weights>(operation.any);
    operation.data.resize(d.bytes());
    operation.port = std::max(d.rows, ceilDivide(d.bytes(), params().weight_bytes));
    operation.pending = 2;
    stats.bytes[operation.kind] += d.bytes();
    transfer(operation, false, d.memory, d.bytes(), operation.data.data());
    after(operation, operation.port);
}

void
SmolTile::startCompute(Operation &operation)
{
    const auto &d = std::get<smol_tile::Compute>(operation.any);
    operation.pending = 1;
    after(operation, params().start_cycles + d.pixels() * d.cyclesPerPixel(params().feed_bytes));
}

void
SmolTile::startStore(Operation &operation)
{
    const auto &d = std::get<smol_tile::Store>(operation.any);
    const std::uint64_t row = d.width * ceilDivide(d.channels, params().store_lanes);
    operation.data.resize(d.height * d.rowBytes());
    operation.pending = d.height + 1;
    stats.bytes[operation.kind] += operation.data.size();
    for (std::uint64_t y = 0; y < d.height; y++) {
        auto *event = new EventFunctionWrapper(
            [this, &operation, y] { storeRow(operation, static_cast<unsigned>(y)); }, name() + ".row", true);
        schedule(event, clockEdge(Cycles(params().start_cycles + (y + 1) * row)));
    }
    after(operation, params().start_cycles + row + ceilDivide(operation.data.size(), params().store_bytes));
}

void
SmolTile::storeRow(Operation &operation, unsigned y)
{
    const auto &d = std::get<smol_tile::Store>(operation.any);
    const std::vector<std::uint8_t> row = state->stored(d, y);
    std::uint8_t *data = &operation.data[y * d.rowBytes()];
    std::copy(row.begin(), row.end(), data);
    transfer(operation, true, d.memory + y * d.memory_stride, row.size(), data);
}

void
SmolTile::after(Operation &operation, std::uint64_t cycles)
{
    auto *event =
        new EventFunctionWrapper([this, &operation] { arrived(operation); }, name() + ".unit", true);
    schedule(event, clockEdge(Cycles(cycles)));
}

void
SmolTile::transfer(Operation &operation, bool to_memory, Addr address, std::uint64_t size, std::uint8_t *data)
{
    auto *event =
        new EventFunctionWrapper([this, &operation] { arrived(operation); }, name() + ".transfer", true);
    if (to_memory)
        dmaWrite(address, static_cast<int>(size), event, data);
    else
        dmaRead(address, static_cast<int>(size), event, data);
}

void
SmolTile::arrived(Operation &operation)
{
    if (--operation.pending == 0)
        complete(operation);
}

void
SmolTile::complete(Operation &operation)
{
    if (const auto *fetch = std::get_if<smol_tile::Fetch>(&operation.any))
        state->fetched(*fetch, operation.data.data());
    else if (const auto *weights = std::get_if<smol_tile::Weights>(&operation.any))
        state->loaded(*weights, operation.data.data());
    else if (const auto *compute = std::get_if<smol_tile::Compute>(&operation.any))
        state->compute(*compute);
    const std::uint64_t took = ticksToCycles(curTick() - operation.start);
    stats.busy[operation.kind] += took;
    if (operation.port && took > operation.port)
        stats.memoryCycles += took - operation.port;
    done++;
    const auto own = std::find_if(underWay.begin(), underWay.end(),
                                  [&operation](const auto &each) { return each.get() == &operation; });
    underWay.erase(own);
    startReady();
    issueSoon();
    finishIfDone();
}

// --- checkpoints ---

DrainState
SmolTile::drain()
{
    return status & SMOL_TILE_RUNNING ? DrainState::Draining : DrainState::Drained;
}

void
SmolTile::serialize(CheckpointOut &cp) const
{
    fatal_if(status & SMOL_TILE_RUNNING, "%s: no checkpoint while a list is under way", name());
    SERIALIZE_SCALAR(status);
    SERIALIZE_SCALAR(fault);
    SERIALIZE_SCALAR(done);
    SERIALIZE_SCALAR(refused);
    SERIALIZE_SCALAR(list);
    SERIALIZE_SCALAR(count);
    arrayParamOut(cp, "scratch", state->scratch);
    arrayParamOut(cp, "accumulators", state->accumulators);
    for (unsigned i = 0; i < state->tile.arrays * state->tile.contexts; i++) {
        const smol_tile::Context &held = state->context(0, i);
        const std::string section = csprintf("context%d", i);
        paramOut(cp, section + ".rows", held.rows);
        paramOut(cp, section + ".row_bytes", held.rowBytes);
        arrayParamOut(cp, section + ".data", held.data);
    }
}

void
SmolTile::unserialize(CheckpointIn &cp)
{
    UNSERIALIZE_SCALAR(status);
    UNSERIALIZE_SCALAR(fault);
    UNSERIALIZE_SCALAR(done);
    UNSERIALIZE_SCALAR(refused);
    UNSERIALIZE_SCALAR(list);
    UNSERIALIZE_SCALAR(count);
    issued = asked = count;
    arrayParamIn(cp, "scratch", state->scratch);
    arrayParamIn(cp, "accumulators", state->accumulators);
    for (unsigned i = 0; i < state->tile.arrays * state->tile.contexts; i++) {
        smol_tile::Context held;
        const std::string section = csprintf("context%d", i);
        paramIn(cp, section + ".rows", held.rows);
        paramIn(cp, section + ".row_bytes", held.rowBytes);
        arrayParamIn(cp, section + ".data", held.data);
        state->restore(i, held);
    }
}

// --- statistics ---

SmolTile::Stats::Stats(statistics::Group *parent)
    : statistics::Group(parent),
      ADD_STAT(lists, statistics::units::Count::get(), "Lists of descriptors that were begun"),
      ADD_STAT(faults, statistics::units::Count::get(), "Lists that ended in a fault"),
      ADD_STAT(refused, statistics::units::Count::get(), "Doorbells while a list was under way"),
      ADD_STAT(cycles, statistics::units::Cycle::get(), "Cycles of the tile from a doorbell to the end of its list"),
      ADD_STAT(descriptors, statistics::units::Count::get(), "Descriptors issued, by kind"),
      ADD_STAT(busy, statistics::units::Cycle::get(), "Cycles that operations took, by kind, those of all arrays added"),
      ADD_STAT(bytes, statistics::units::Byte::get(), "Bytes moved, by kind"),
      ADD_STAT(memoryCycles, statistics::units::Cycle::get(),
               "Cycles that fetches and loads of weights took beyond what their ports need")
{
    for (statistics::Vector *each : {&descriptors, &busy, &bytes}) {
        each->init(KINDS).flags(statistics::total | statistics::nozero);
        for (unsigned kind = 0; kind < KINDS; kind++)
            each->subname(kind, KIND_NAMES[kind]);
    }
}

} // namespace gem5
