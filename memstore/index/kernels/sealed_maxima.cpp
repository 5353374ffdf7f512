#include <algorithm>
#include <limits>
#include <vector>

#include "dot_products.h"
#include "lanes.h"
#include "residual_decoder.h"
#include "residuals.h"

namespace memstore {
namespace {

constexpr float none = -std::numeric_limits<float>::infinity();

// Tokens of passages one after another, so that short passages fill blocks too.
struct Block {
    std::size_t rows = 0;
    const std::uint8_t* residuals[block_rows];
    const float* scores[block_rows];
    float inverse_norms[block_rows];
    std::int32_t starts_passage[block_rows];  // all bits set if so, else none
    float* maxima[block_rows];                // of the row's passage
};

// Folds a block into the maxima; `running` are those of the last passage so far. Every row stores
// what is the maximum up to it: a branch where a passage ends would mostly be predicted wrongly.
MEMSTORE_INLINE void fold(const Block& block, const std::int32_t* sums, const float* factors,
                          std::size_t width, float* running) {
    // Two registers at once, because each maximum waits for the one before it.
    constexpr std::size_t halves = lanes / group;
    for (std::size_t q = 0; q < width; q += lanes) {
        Floats best[halves];
        Floats factor[halves];
        for (std::size_t h = 0; h < halves; ++h) {
            load(best[h], running + q + h * group);
            load(factor[h], factors + q + h * group);
        }
        for (std::size_t r = 0; r < block.rows; ++r) {
            const Integers starts = Integers{} + block.starts_passage[r];
            const float inverse_norm = block.inverse_norms[r];
#pragma GCC unroll 2
            for (std::size_t h = 0; h < halves; ++h) {
                Floats score;
                Integers sum;
                load(score, block.scores[r] + q + h * group);
                load(sum, sums + r * width + q + h * group);
                const Floats similarity =
                    (score + __builtin_convertvector(sum, Floats) * factor[h]) * inverse_norm;
                best[h] = starts ? Floats{} + none : best[h];
                best[h] = similarity > best[h] ? similarity : best[h];
                store(best[h], block.maxima[r] + q + h * group);
            }
        }
        for (std::size_t h = 0; h < halves; ++h) store(best[h], running + q + h * group);
    }
}

// Asks for the memory of a passage that comes soon; the hardware follows the longer ones itself.
template <typename Code>
void prefetch(const SealedTokens<Code>& documents, std::size_t bytes, const TokenRange& tokens) {
    constexpr std::size_t most = 32 * sizeof(Line);
    const auto touch = [&](const void* data, std::size_t size) {
        const char* begin = static_cast<const char*>(data);
        for (std::size_t i = 0; i < std::min(size, most); i += sizeof(Line))
            __builtin_prefetch(begin + i);
    };
    const std::size_t count = tokens.end - tokens.begin;
    touch(documents.residuals + tokens.begin * bytes, count * bytes);
    touch(documents.codes + tokens.begin, count * sizeof(Code));
    touch(documents.inverse_norms + tokens.begin, count * sizeof(float));
}

}  // namespace

template <typename Code>
void sealed_maxima(const SealedTokens<Code>& documents, const std::int64_t* slots,
                   std::size_t count, const SealedQuery& query, InstructionSet set,
                   float* maxima) {
    if (count == 0) return;
    const IntegerRows rounded = round_rows(query.query, query.tokens, documents.dim);
    const Panels panels = arrange(rounded);
    const IntegerWeights weights =
        round_weights(query.bucket_weights, std::size_t{1} << documents.bits, documents.dim);
    const std::size_t width = panels.count * lanes;
    std::vector<float> factors(width);
    for (std::size_t q = 0; q < query.tokens; ++q)
        factors[q] = static_cast<float>(weights.scale * rounded.scales[q]);

    const ResidualDecoder decode(weights.values, documents.dim, documents.bits, set);
    const DotProducts multiply = dot_products_for(set);
    const auto rows = aligned_array<std::int16_t>(block_size(documents.dim));
    std::fill_n(rows.get(), block_size(documents.dim), std::int16_t{0});
    const auto sums = aligned_array<std::int32_t>(block_rows * width);
    const auto running = aligned_array<float>(width);
    std::fill_n(running.get(), width, none);
    AlignedArray<float> padded;  // maxima with whole groups of lanes in each row
    if (width != query.tokens) padded = aligned_array<float>(count * width);
    float* const rows_of_maxima = padded ? padded.get() : maxima;

    Block block;
    const auto finish_block = [&] {
        decode(block.residuals, block.rows, rows.get());
        multiply(panels, 0, panels.count, rows.get(), sums.get());
        run_with<fold>(set, block, sums.get(), factors.data(), width, running.get());
        block.rows = 0;
    };
    const std::size_t bytes = decode.bytes();
    const SealedTokens<Code> from = documents;
    const float* const scores = query.scores;
    const std::size_t centroids = query.centroids;
    TokenRange next = from.segment.range(slots[0]);
    for (std::size_t i = 0; i < count; ++i) {
        const TokenRange tokens = next;
        if (i + 1 < count) {
            next = from.segment.range(slots[i + 1]);
            prefetch(from, bytes, next);
        }
        float* const passage_maxima = rows_of_maxima + i * width;
        if (tokens.begin == tokens.end) std::fill_n(passage_maxima, width, none);
        for (std::size_t t = tokens.begin; t < tokens.end; ++t) {
            const std::size_t r = block.rows++;
            block.residuals[r] = from.residuals + t * bytes;
            block.scores[r] = scores + checked_code(from.codes[t], centroids) * width;
            block.inverse_norms[r] = from.inverse_norms[t];
            block.starts_passage[r] = t == tokens.begin ? -1 : 0;
            block.maxima[r] = passage_maxima;
            __builtin_prefetch(block.scores[r]);
            if (block.rows == block_rows) finish_block();
        }
    }
    finish_block();
    if (padded)
        for (std::size_t i = 0; i < count; ++i)
            std::copy_n(&padded[i * width], query.tokens, maxima + i * query.tokens);
}

template void sealed_maxima(const SealedTokens<std::uint16_t>&, const std::int64_t*, std::size_t,
                            const SealedQuery&, InstructionSet, float*);
template void sealed_maxima(const SealedTokens<std::uint32_t>&, const std::int64_t*, std::size_t,
                            const SealedQuery&, InstructionSet, float*);

}  // namespace memstore
