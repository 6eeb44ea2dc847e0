/*
 * Lists of descriptors on the tile's core, without time: run_tile < lists > results. A list is ten 64-bit numbers (arrays,
 * rows, columns, contexts, bytes of the scratchpad, accumulators, first address and bytes of the memory, descriptors, 0),
 * the memory, and the descriptors. The result is two 64-bit numbers (descriptors done, fault), the memory, the scratchpad
 * and the accumulators.
 */
#include <cstdio>
#include <vector>

#include "smol_tile_core.hh"

static void
put(const void *data, std::size_t size)
{
    if (std::fwrite(data, 1, size, stdout) != size)
        std::exit(1);
}

int
main()
{
    std::uint64_t head[10];
    while (std::fread(head, sizeof head, 1, stdin) == 1) {
        const smol_tile::Tile tile = {unsigned(head[0]), unsigned(head[1]), unsigned(head[2]), unsigned(head[3]), head[4],
                                      head[5]};
        const std::uint64_t base = head[6];
        std::vector<std::uint8_t> memory(head[7]), list(head[8] * SMOL_TILE_DESCRIPTOR_BYTES);
        if (std::fread(memory.data(), 1, memory.size(), stdin) != memory.size() ||
            std::fread(list.data(), 1, list.size(), stdin) != list.size())
            return 1;
        smol_tile::State state(tile);
        const auto in_memory = [&](std::uint64_t address, std::uint64_t size) {
            return address >= base && size <= memory.size() && address - base <= memory.size() - size;
        };
        std::uint64_t result[2] = {0, SMOL_TILE_FAULT_NONE};
        for (; result[0] < head[8]; result[0]++) {
            const std::uint8_t *data = &list[result[0] * SMOL_TILE_DESCRIPTOR_BYTES];
            result[1] = state.check(data, in_memory);
            if (result[1] != SMOL_TILE_FAULT_NONE)
                break;
            if (data[0] == SMOL_TILE_FETCH) {
                const smol_tile::Fetch d(data);
                std::vector<std::uint8_t> rows;
                for (std::uint64_t row = 0; row < d.rows; row++) {
                    const std::uint8_t *from = &memory[d.memory + row * d.memory_stride - base];
                    rows.insert(rows.end(), from, from + d.row_bytes);
                }
                state.fetched(d, rows.data());
            } else if (data[0] == SMOL_TILE_WEIGHTS) {
                const smol_tile::Weights d(data);
                state.loaded(d, &memory[d.memory - base]);
            } else if (data[0] == SMOL_TILE_COMPUTE) {
                state.compute(smol_tile::Compute(data));
            } else {
                const smol_tile::Store d(data);
                for (std::uint64_t y = 0; y < d.height; y++) {
                    const std::vector<std::uint8_t> row = state.stored(d, y);
                    std::copy(row.begin(), row.end(), &memory[d.memory + y * d.memory_stride - base]);
                }
            }
        }
        put(result, sizeof result);
        put(memory.data(), memory.size());
        put(state.scratch.data(), state.scratch.size());
        put(state.accumulators.data(), 4 * state.accumulators.size());
    }
    return 0;
}
