/**
 * What a compute-in-memory tile does with a descriptor: fields, checks and arithmetic, without time and without gem5.
 *
 * The simulated device and the tests on the host are built from this file. cim/checks.py and cim/model.py are the same
 * in Python: the order of the checks and every bit of the results are equal. All sums wrap at 32 bits.
 */
#ifndef GEM5_EXT_SMOL_TILE_CORE_HH
#define GEM5_EXT_SMOL_TILE_CORE_HH

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "smol_isa.h"
#include "smol_tile_format.h"

namespace smol_tile
{

/** Parameters; cim/tile.py says what they mean. */
struct Tile
{
    unsigned arrays, rows, columns, contexts;
    std::uint64_t scratchBytes, accumulators;

    unsigned rowBytes() const { return (columns + 7) / 8; }
};

/** Half open: bytes or words that a descriptor touches. */
struct Range
{
    std::uint64_t begin = 0, end = 0;

    bool overlaps(const Range &other) const { return begin < other.end && other.begin < end; }
};

#define SMOL_TILE_DECLARE(field, offset, bytes) std::uint64_t field = 0;
#define SMOL_TILE_READ(field, offset, bytes) field = number(data, offset, bytes);
#define SMOL_TILE_USED(field, offset, bytes) used(offset, bytes);

inline std::uint64_t
number(const std::uint8_t *data, unsigned offset, unsigned bytes)
{
    std::uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= static_cast<std::uint64_t>(data[offset + i]) << (8 * i);
    return value;
}

inline std::int32_t
signed32(std::uint32_t value)
{
    std::int32_t result;
    std::memcpy(&result, &value, sizeof result);
    return result;
}

inline std::uint64_t
extent(std::uint64_t count, std::uint64_t stride, std::uint64_t last)
{
    return (count - 1) * stride + last;
}

struct Fetch
{
    SMOL_TILE_FETCH_FIELDS(SMOL_TILE_DECLARE)
    explicit Fetch(const std::uint8_t *data) { SMOL_TILE_FETCH_FIELDS(SMOL_TILE_READ) }

    std::uint64_t bytes() const { return rows * row_bytes; }
    Range scratchRange() const { return {scratch, scratch + extent(rows, scratch_stride, row_bytes)}; }
};

struct Weights
{
    SMOL_TILE_WEIGHTS_FIELDS(SMOL_TILE_DECLARE)
    explicit Weights(const std::uint8_t *data) { SMOL_TILE_WEIGHTS_FIELDS(SMOL_TILE_READ) }

    std::uint64_t bytes() const { return rows * row_bytes; }
};

struct Compute
{
    bool clear, depthwise;
    SMOL_TILE_COMPUTE_FIELDS(SMOL_TILE_DECLARE)

    explicit Compute(const std::uint8_t *data)
        : clear(data[1] & SMOL_TILE_CLEAR), depthwise(data[1] & SMOL_TILE_DEPTHWISE)
    {
        SMOL_TILE_COMPUTE_FIELDS(SMOL_TILE_READ)
    }

    std::uint64_t rows() const { return taps * elements; }
    std::uint64_t pixels() const { return height * width; }
    std::uint64_t elementBytes() const { return (bit + elements * bits + 7) / 8; }
    std::uint64_t weightBytes() const { return ((depthwise ? 1 : outputs) * bits + 7) / 8; }
    Range accumulatorRange() const { return {accumulator, accumulator + extent(outputs, channel_stride, pixels())}; }

    Range
    scratchRange() const
    {
        const std::uint64_t last = tap_first + taps - 1;
        const std::uint64_t right = tap_first / taps_wide == last / taps_wide ? last % taps_wide : taps_wide - 1;
        const std::uint64_t y = (height - 1) * stride_y + last / taps_wide, x = (width - 1) * stride_x + right;
        return {scratch, scratch + y * row_stride + x * pixel_stride + elementBytes()};
    }

    /** Cycles between two pixels: bits enter one after the other, through a port of so many bytes. */
    std::uint64_t
    cyclesPerPixel(unsigned feed_bytes) const
    {
        const std::uint64_t fed = (rows() * bits + 7) / 8;
        return std::max<std::uint64_t>(bits, (fed + feed_bytes - 1) / feed_bytes);
    }
};

struct Store
{
    bool high, hasResidual, residualHigh;
    SMOL_TILE_STORE_FIELDS(SMOL_TILE_DECLARE)

    explicit Store(const std::uint8_t *data)
        : high(data[1] & SMOL_TILE_HIGH), hasResidual(data[1] & SMOL_TILE_RESIDUAL),
          residualHigh(data[1] & SMOL_TILE_RESIDUAL_HIGH)
    {
        SMOL_TILE_STORE_FIELDS(SMOL_TILE_READ)
    }

    std::uint64_t rowBytes() const { return width * pixel_bytes; }
    Range constantsRange() const { return {constants, constants + SMOL_TILE_CONSTANT_BYTES * channels}; }

    Range
    accumulatorRange() const
    {
        return {accumulator, accumulator + extent(channels, channel_stride, extent(height, row_stride, width))};
    }

    Range
    residualRange() const
    {
        return {residual, residual + extent(height, residual_row, width * residual_pixel)};
    }
};

/** Whether bytes behind the fields of a kind are all 0. */
inline bool
clean(const std::uint8_t *data)
{
    bool field[SMOL_TILE_DESCRIPTOR_BYTES] = {true, true};
    const auto used = [&field](unsigned offset, unsigned bytes) { std::fill_n(field + offset, bytes, true); };
    switch (data[0]) {
    case SMOL_TILE_FETCH: SMOL_TILE_FETCH_FIELDS(SMOL_TILE_USED) break;
    case SMOL_TILE_WEIGHTS: SMOL_TILE_WEIGHTS_FIELDS(SMOL_TILE_USED) break;
    case SMOL_TILE_COMPUTE: SMOL_TILE_COMPUTE_FIELDS(SMOL_TILE_USED) break;
    case SMOL_TILE_STORE: SMOL_TILE_STORE_FIELDS(SMOL_TILE_USED) break;
    }
    for (unsigned i = 0; i < SMOL_TILE_DESCRIPTOR_BYTES; i++) {
        if (!field[i] && data[i])
            return false;
    }
    return true;
}

/** Rows of weights in a context, and bytes per row; none before the first. */
struct Context
{
    std::uint64_t rows = 0, rowBytes = 0;
    std::vector<std::uint8_t> data;
};

/** Whether so many bytes from an address on are memory. */
using InMemory = std::function<bool(std::uint64_t address, std::uint64_t size)>;

/** Everything that a tile holds. */
class State
{
  public:
    explicit State(const Tile &tile)
        : tile(tile), scratch(tile.scratchBytes), accumulators(tile.accumulators),
          contexts(static_cast<std::size_t>(tile.arrays) * tile.contexts), sizes(contexts.size())
    {}

    const Tile tile;
    std::vector<std::uint8_t> scratch;
    std::vector<std::uint32_t> accumulators;

    const Context &context(std::uint64_t array, std::uint64_t number) const { return contexts[place(array, number)]; }

    /** What a context holds, from a checkpoint; `number` counts through all arrays. */
    void
    restore(std::uint64_t number, const Context &held)
    {
        contexts[number] = held;
        sizes[number] = {held.rows, held.rowBytes};
    }

    /**
     * The first fault of a descriptor, or SMOL_TILE_FAULT_NONE. Lists are checked in their order: weights count as
     * loaded for what follows as soon as their descriptor was found without a fault.
     */
    smol_tile_fault
    check(const std::uint8_t *data, const InMemory &in_memory)
    {
        const smol_tile_fault found = find(data, in_memory);
        if (found == SMOL_TILE_FAULT_NONE && data[0] == SMOL_TILE_WEIGHTS) {
            const Weights d(data);
            sizes[place(d.array, d.context)] = {d.rows, d.row_bytes};
        }
        return found;
    }

    /** Rows that were read, end to end. */
    void
    fetched(const Fetch &d, const std::uint8_t *from)
    {
        for (std::uint64_t row = 0; row < d.rows; row++)
            std::memcpy(&scratch[d.scratch + row * d.scratch_stride], from + row * d.row_bytes, d.row_bytes);
    }

    void
    loaded(const Weights &d, const std::uint8_t *from)
    {
        contexts[place(d.array, d.context)] = {d.rows, d.row_bytes, {from, from + d.bytes()}};
    }

    /** Sums of products into accumulators. */
    void
    compute(const Compute &d)
    {
        const Context &held = context(d.array, d.context);
        std::vector<std::int32_t> inputs(d.rows());
        for (std::uint64_t y = 0; y < d.height; y++) {
            for (std::uint64_t x = 0; x < d.width; x++) {
                gather(d, y, x, inputs);
                for (std::uint64_t k = 0; k < d.outputs; k++) {
                    std::uint32_t &sum = accumulators[d.accumulator + k * d.channel_stride + y * d.width + x];
                    sum = (d.clear ? 0 : sum) + dot(d, held, inputs, k);
                }
            }
        }
    }

    /** Requantised pixels of row y of a store: width * pixel_bytes bytes. */
    std::vector<std::uint8_t>
    stored(const Store &d, std::uint64_t y) const
    {
        std::vector<std::uint8_t> row(d.rowBytes());
        for (std::uint64_t x = 0; x < d.width; x++) {
            for (std::uint64_t k = 0; k < d.channels; k++)
                put(&row[x * d.pixel_bytes], d.pixel_bytes, constant(d, k, 4), requantised(d, y, x, k));
        }
        return row;
    }

  private:
    struct Size
    {
        std::uint64_t rows = 0, rowBytes = 0;
    };

    std::vector<Context> contexts;
    /** Of the contexts, once all descriptors are done that were found without a fault. */
    std::vector<Size> sizes;

    std::size_t
    place(std::uint64_t array, std::uint64_t number) const
    {
        return static_cast<std::size_t>(array * tile.contexts + number);
    }

    /** An element's place in a pixel of so many bytes. */
    struct Place
    {
        std::uint64_t bit;
        unsigned bits;
        bool fits;

        Place(std::uint32_t word, std::uint64_t pixel_bytes)
            : bit(word & ((1u << SMOL_TILE_PLACE_BITS) - 1)), bits(0), fits(false)
        {
            const unsigned width = word >> SMOL_TILE_PLACE_BITS;
            if (width > 5)
                return;
            bits = 1u << width;
            fits = bit % std::min(bits, 8u) == 0 && bit + bits <= 8 * pixel_bytes;
        }
    };

    static unsigned
    align(std::uint64_t bits)
    {
        return bits == 4 ? SMOL_ALIGN_4 : bits == 2 ? SMOL_ALIGN_2 : bits == 1 ? SMOL_ALIGN_1 : 0;
    }

    /** The number that stands at a bit: the odd integer of a code, or a signed byte. */
    static std::int32_t
    element(const std::uint8_t *data, std::uint64_t bit, unsigned bits)
    {
        const unsigned byte = data[bit >> 3];
        if (bits == 8)
            return static_cast<std::int32_t>(byte ^ 128u) - 128;
        const int top = (1 << bits) - 1;
        return 2 * static_cast<int>(byte >> (bit & 7) & static_cast<unsigned>(top)) - top;
    }

    void
    gather(const Compute &d, std::uint64_t y, std::uint64_t x, std::vector<std::int32_t> &inputs) const
    {
        const unsigned bits = static_cast<unsigned>(d.bits);
        for (std::uint64_t t = 0; t < d.taps; t++) {
            const std::uint64_t tap = d.tap_first + t;
            const std::uint64_t row = y * d.stride_y + tap / d.taps_wide, column = x * d.stride_x + tap % d.taps_wide;
            const std::uint8_t *pixel = &scratch[d.scratch + row * d.row_stride + column * d.pixel_stride];
            for (std::uint64_t e = 0; e < d.elements; e++)
                inputs[t * d.elements + e] = element(pixel, d.bit + e * bits, bits);
        }
    }

    /** Aligned sum of one output. */
    static std::uint32_t
    dot(const Compute &d, const Context &held, const std::vector<std::int32_t> &inputs, std::uint64_t k)
    {
        const unsigned bits = static_cast<unsigned>(d.bits);
        std::uint32_t sum = 0;
        if (d.depthwise) {
            for (std::uint64_t row = k; row < inputs.size(); row += d.elements)
                sum += static_cast<std::uint32_t>(inputs[row] * element(&held.data[row * held.rowBytes], 0, bits));
        } else {
            for (std::uint64_t row = 0; row < inputs.size(); row++)
                sum += static_cast<std::uint32_t>(
                    inputs[row] * element(&held.data[row * held.rowBytes], k * bits, bits));
        }
        return sum << align(d.bits);
    }

    /** Word 0 to 5 of a channel's constants. */
    std::uint32_t
    constant(const Store &d, std::uint64_t k, unsigned word) const
    {
        return static_cast<std::uint32_t>(
            number(&scratch[d.constants + SMOL_TILE_CONSTANT_BYTES * k], 4 * word, 4));
    }

    static std::uint32_t
    product(std::uint32_t x, std::uint32_t factor, std::uint64_t left, bool high)
    {
        if (!high)
            return x * factor;
        const std::int64_t exact = static_cast<std::int64_t>(signed32(x << left)) * signed32(factor);
        return static_cast<std::uint32_t>(exact < 0 ? ~(~exact >> 31) : exact >> 31);
    }

    std::uint32_t
    residual(const Store &d, std::uint64_t y, std::uint64_t x, std::uint64_t k) const
    {
        const Place place(constant(d, k, 5), d.residual_pixel);
        if (!place.fits)
            return 0;
        const std::uint8_t *pixel = &scratch[d.residual + y * d.residual_row + x * d.residual_pixel];
        if (place.bits <= 8)
            return static_cast<std::uint32_t>(element(pixel, place.bit, place.bits));
        const std::uint64_t value = number(pixel, static_cast<unsigned>(place.bit >> 3), place.bits / 8);
        const std::uint64_t sign = std::uint64_t{1} << (place.bits - 1);
        return static_cast<std::uint32_t>((value ^ sign) - sign);
    }

    std::int32_t
    requantised(const Store &d, std::uint64_t y, std::uint64_t x, std::uint64_t k) const
    {
        const std::uint32_t sum = accumulators[d.accumulator + k * d.channel_stride + y * d.row_stride + x];
        std::uint32_t total = product(sum + constant(d, k, 0), constant(d, k, 1), d.pre, d.high) + constant(d, k, 2);
        if (d.hasResidual)
            total += product(residual(d, y, x, k), constant(d, k, 3), d.residual_left, d.residualHigh);
        const std::int32_t shifted =
            total >> 31 ? signed32(~(~total >> d.shift)) : signed32(total >> d.shift);
        const std::int32_t lo = signed32(static_cast<std::uint32_t>(d.lo));
        const std::int32_t hi = signed32(static_cast<std::uint32_t>(d.hi));
        return std::max(std::min(shifted, hi), lo);
    }

    static void
    put(std::uint8_t *pixel, std::uint64_t pixel_bytes, std::uint32_t word, std::int32_t value)
    {
        const Place place(word, pixel_bytes);
        if (!place.fits)
            return;
        std::uint8_t *at = pixel + (place.bit >> 3);
        if (place.bits < 8) {
            const int mask = (1 << place.bits) - 1, left = static_cast<int>(place.bit & 7);
            const int code = std::min(value, mask) & mask;
            *at = static_cast<std::uint8_t>((*at & ~(mask << left)) | code << left);
            return;
        }
        for (unsigned i = 0; i < place.bits / 8; i++)
            at[i] = static_cast<std::uint8_t>(static_cast<std::uint32_t>(value) >> (8 * i));
    }

    // --- checks ---

    smol_tile_fault
    find(const std::uint8_t *data, const InMemory &in_memory) const
    {
        switch (data[0]) {
        case SMOL_TILE_FETCH: return common(data, SMOL_TILE_FETCH_FLAGS, checked(Fetch(data), in_memory));
        case SMOL_TILE_WEIGHTS: return common(data, SMOL_TILE_WEIGHTS_FLAGS, checked(Weights(data), in_memory));
        case SMOL_TILE_COMPUTE: return common(data, SMOL_TILE_COMPUTE_FLAGS, checked(Compute(data)));
        case SMOL_TILE_STORE: return common(data, SMOL_TILE_STORE_FLAGS, checked(Store(data), in_memory));
        }
        return SMOL_TILE_FAULT_KIND;
    }

    using Check = std::function<smol_tile_fault()>;

    static smol_tile_fault
    common(const std::uint8_t *data, unsigned flags, const Check &rest)
    {
        if (data[1] & ~flags)
            return SMOL_TILE_FAULT_FLAGS;
        if (!clean(data))
            return SMOL_TILE_FAULT_RESERVED;
        return rest();
    }

    Check
    checked(Fetch d, const InMemory &in_memory) const
    {
        return [this, d, &in_memory]() {
            if (!d.rows || !d.row_bytes)
                return SMOL_TILE_FAULT_ZERO;
            if (d.rows > 1 && d.scratch_stride < d.row_bytes)
                return SMOL_TILE_FAULT_SCRATCH;
            if (d.scratchRange().end > tile.scratchBytes)
                return SMOL_TILE_FAULT_SCRATCH;
            if (!in_memory(d.memory, extent(d.rows, d.memory_stride, d.row_bytes)))
                return SMOL_TILE_FAULT_MEMORY;
            return SMOL_TILE_FAULT_NONE;
        };
    }

    Check
    checked(Weights d, const InMemory &in_memory) const
    {
        return [this, d, &in_memory]() {
            if (!d.rows || !d.row_bytes)
                return SMOL_TILE_FAULT_ZERO;
            if (d.array >= tile.arrays)
                return SMOL_TILE_FAULT_ARRAY;
            if (d.context >= tile.contexts)
                return SMOL_TILE_FAULT_CONTEXT;
            if (d.rows > tile.rows)
                return SMOL_TILE_FAULT_ROWS;
            if (d.row_bytes > tile.rowBytes())
                return SMOL_TILE_FAULT_COLUMNS;
            return in_memory(d.memory, d.bytes()) ? SMOL_TILE_FAULT_NONE : SMOL_TILE_FAULT_MEMORY;
        };
    }

    Check
    checked(Compute d) const
    {
        return [this, d]() {
            if (!d.taps_wide || !d.elements || !d.outputs || !d.taps || !d.height || !d.width || !d.stride_y ||
                !d.stride_x)
                return SMOL_TILE_FAULT_ZERO;
            if ((d.bits != 1 && d.bits != 2 && d.bits != 4 && d.bits != 8) || d.bit > 7 || d.bit % d.bits)
                return SMOL_TILE_FAULT_BITS;
            if (d.array >= tile.arrays)
                return SMOL_TILE_FAULT_ARRAY;
            if (d.context >= tile.contexts)
                return SMOL_TILE_FAULT_CONTEXT;
            if (d.rows() > tile.rows)
                return SMOL_TILE_FAULT_ROWS;
            if (d.outputs * d.bits > tile.columns)
                return SMOL_TILE_FAULT_COLUMNS;
            if (d.depthwise && d.outputs != d.elements)
                return SMOL_TILE_FAULT_OUTPUTS;
            const Size &held = sizes[place(d.array, d.context)];
            if (d.rows() > held.rows || d.weightBytes() > held.rowBytes)
                return SMOL_TILE_FAULT_NOT_LOADED;
            if (d.scratchRange().end > tile.scratchBytes)
                return SMOL_TILE_FAULT_SCRATCH;
            if (d.outputs > 1 && d.channel_stride < d.pixels())
                return SMOL_TILE_FAULT_ACCUMULATORS;
            if (d.accumulatorRange().end > tile.accumulators)
                return SMOL_TILE_FAULT_ACCUMULATORS;
            return SMOL_TILE_FAULT_NONE;
        };
    }

    Check
    checked(Store d, const InMemory &in_memory) const
    {
        return [this, d, &in_memory]() {
            if (!d.channels || !d.height || !d.width || !d.pixel_bytes)
                return SMOL_TILE_FAULT_ZERO;
            if (std::max({d.shift, d.pre, d.residual_left}) > 31)
                return SMOL_TILE_FAULT_SHIFT;
            if (d.accumulatorRange().end > tile.accumulators)
                return SMOL_TILE_FAULT_ACCUMULATORS;
            if (d.constantsRange().end > tile.scratchBytes)
                return SMOL_TILE_FAULT_SCRATCH;
            if (d.hasResidual) {
                if (!d.residual_pixel)
                    return SMOL_TILE_FAULT_ZERO;
                if (d.residualRange().end > tile.scratchBytes)
                    return SMOL_TILE_FAULT_SCRATCH;
            }
            if (d.height > 1 && d.memory_stride < d.rowBytes())
                return SMOL_TILE_FAULT_MEMORY;
            if (!in_memory(d.memory, extent(d.height, d.memory_stride, d.rowBytes())))
                return SMOL_TILE_FAULT_MEMORY;
            return SMOL_TILE_FAULT_NONE;
        };
    }
};

#undef SMOL_TILE_DECLARE
#undef SMOL_TILE_READ
#undef SMOL_TILE_USED

} // namespace smol_tile

#endif // GEM5_EXT_SMOL_TILE_CORE_HH
