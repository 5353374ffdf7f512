// The passages of each centroid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "alignment.h"
#include "segment.h"

namespace memstore {

struct InvertedLists {
    AlignedArray<std::int32_t> slots;
    AlignedArray<std::int64_t> offsets;  // (centroids + 1,)
};

// Throws std::out_of_range.
template <typename Code>
InvertedLists invert(const Code* codes, const Segment& segment, std::size_t centroids);

// The inverted lists as arrays of a given size, which nobody has checked.
struct ListsView {
    const std::int32_t* slots;
    std::size_t entries;
    const std::int64_t* offsets;
    std::size_t centroids;
};

// The allowed slots in the lists of these centroids, ascending. Throws std::out_of_range.
std::vector<std::int64_t> probe(const std::int32_t* cells, std::size_t count,
                                const ListsView& lists, const bool* allowed,
                                std::size_t passages);

}  // namespace memstore
