#include "inverted_lists.h"

#include <algorithm>

namespace memstore {

template <typename Code>
InvertedLists invert(const Code* codes, const Segment& segment, std::size_t centroids) {
    InvertedLists lists{nullptr, aligned_array<std::int64_t>(centroids + 1)};
    std::int64_t* offsets = lists.offsets.get();
    std::fill_n(offsets, centroids + 1, 0);
    constexpr std::int32_t none = -1;
    std::vector<std::int32_t> last_slot(centroids, none);
    const auto passages = static_cast<std::int32_t>(segment.passages);
    for (std::int32_t slot = 0; slot < passages; ++slot) {
        const TokenRange tokens = segment.range(slot);
        for (std::size_t t = tokens.begin; t < tokens.end; ++t) {
            const std::size_t centroid = checked_code(codes[t], centroids);
            offsets[centroid + 1] += last_slot[centroid] != slot;
            last_slot[centroid] = slot;
        }
    }
    for (std::size_t k = 0; k < centroids; ++k) offsets[k + 1] += offsets[k];
    lists.slots = aligned_array<std::int32_t>(offsets[centroids]);
    std::fill(last_slot.begin(), last_slot.end(), none);
    std::vector<std::int64_t> end(offsets, offsets + centroids);
    for (std::int32_t slot = 0; slot < passages; ++slot) {
        const TokenRange tokens = segment.range(slot);
        for (std::size_t t = tokens.begin; t < tokens.end; ++t) {
            // Checked again: another thread may have written to the array since.
            const std::size_t centroid = checked_code(codes[t], centroids);
            if (last_slot[centroid] == slot) continue;
            last_slot[centroid] = slot;
            lists.slots[end[centroid]++] = slot;
        }
    }
    return lists;
}

template InvertedLists invert(const std::uint16_t*, const Segment&, std::size_t);
template InvertedLists invert(const std::uint32_t*, const Segment&, std::size_t);

std::vector<std::int64_t> probe(const std::int32_t* cells, std::size_t count,
                                const ListsView& lists, const bool* allowed,
                                std::size_t passages) {
    constexpr std::size_t word_bits = 64;
    std::vector<std::uint64_t> met(round_up(passages, word_bits) / word_bits);
    for (std::size_t i = 0; i < count; ++i) {
        const std::int32_t cell = cells[i];
        if (cell < 0 || static_cast<std::size_t>(cell) >= lists.centroids)
            fail_range("there is no centroid", cell, lists.centroids);
        const std::int64_t begin = lists.offsets[cell];
        const std::int64_t end = lists.offsets[cell + 1];
        if (begin < 0 || begin > end || static_cast<std::size_t>(end) > lists.entries)
            throw std::out_of_range("the list of centroid " + std::to_string(cell) +
                                    " is entries " + std::to_string(begin) + " to " +
                                    std::to_string(end) + " of " +
                                    std::to_string(lists.entries));
        for (std::int64_t e = begin; e < end; ++e) {
            const std::int32_t slot = lists.slots[e];
            if (slot < 0 || static_cast<std::size_t>(slot) >= passages)
                fail_range("there is no slot", slot, passages);
            met[slot / word_bits] |= std::uint64_t{1} << slot % word_bits;
        }
    }
    std::vector<std::int64_t> found;
    for (std::size_t word = 0; word < met.size(); ++word) {
        for (std::uint64_t rest = met[word]; rest != 0; rest &= rest - 1) {
            const std::size_t slot = word * word_bits + __builtin_ctzll(rest);
            if (allowed[slot]) found.push_back(static_cast<std::int64_t>(slot));
        }
    }
    return found;
}

}  // namespace memstore
