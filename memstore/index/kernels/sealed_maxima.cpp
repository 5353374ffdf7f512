#include <algorithm>
#include <limits>
#include <vector>

#include "dot_products.h"
#include "columns.h"
#include "residual_decoder.h"
#include "residuals.h"

namespace memstore {
namespace {

constexpr float none = -std::numeric_limits<float>::infinity();

// Some tokens of a passage that follow one another in a panel.
struct Run {
    std::size_t begin;
    std::size_t end;
    std::size_t passage;
    bool continues;  // the one before it
};

// Tokens of passages one after another, so that short passages fill panels too.
struct Tokens {
    std::size_t count = 0;
    const std::uint8_t* residuals[panel_vectors];
    std::uint32_t code[panel_vectors];
    float inverse_norm[panel_vectors];
    std::size_t runs = 0;
    Run run[panel_vectors];
};

// Folds tokens into the maxima of their passages.
struct Fold {
    template <std::size_t group>
    MEMSTORE_INLINE static void run(const Tokens& tokens, const float* scores,
                                    const std::int32_t* sums, const float* factors,
                                    std::size_t width, float* maxima) {
        using Floats = typename Lanes<group>::Floats;
        using Integers = typename Lanes<group>::Integers;
        for (std::size_t q = 0; q < width; q += group) {
            Floats factor;
            load(factor, factors + q);
            const auto include = [&](std::size_t t, Floats& best) __attribute__((always_inline)) {
                Floats score;
                Integers sum;
                load(score, scores + tokens.code[t] * width + q);
                load(sum, sums + t * width + q);
                const Floats similarity = (score + __builtin_convertvector(sum, Floats) * factor) *
                                          tokens.inverse_norm[t];
                best = similarity > best ? similarity : best;
            };
            for (std::size_t r = 0; r < tokens.runs; ++r) {
                const Run& run = tokens.run[r];
                float* const of_passage = maxima + run.passage * width + q;
                // Two at once, because each maximum waits for the one before it.
                Floats best = Floats{} + none;
                if (run.continues) load(best, of_passage);
                Floats other = best;
                std::size_t t = run.begin;
                for (; t + 2 <= run.end; t += 2) {
                    include(t, best);
                    include(t + 1, other);
                }
                if (t < run.end) include(t, best);
                best = other > best ? other : best;
                // Which of two zeros came first depends on the panel: adding one makes both +0.
                store(best + 0.0F, of_passage);
            }
        }
    }
};

// Asks for the memory of tokens that come soon, a few at a time: the processor waits when it is
// asked for more lines at once than it can fetch.
template <typename Code>
class Ahead {
public:
    Ahead(const SealedTokens<Code>& documents, std::size_t bytes, const std::int64_t* slots,
          std::size_t count)
        : documents_(documents), bytes_(bytes), slots_(slots), count_(count) {}

    void ask(std::size_t lines) {
        while (lines > 0) {
            if (next_ >= end_) {
                if (slot_ == count_) return;
                enter(documents_.segment.range(slots_[slot_++]));
            }
            for (; lines > 0 && next_ < end_; --lines, next_ += sizeof(Line))
                __builtin_prefetch(next_);
        }
    }

private:
    static void touch(const void* begin, const void* end) {
        const char* at = static_cast<const char*>(begin);
        for (std::size_t i = 0; i < most_lines && at < end; ++i, at += sizeof(Line))
            __builtin_prefetch(at);
    }

    void enter(const TokenRange& range) {
        const std::uint8_t* const residuals = documents_.residuals;
        next_ = residuals + range.begin * bytes_;
        end_ = residuals + range.end * bytes_;
        touch(documents_.codes + range.begin, documents_.codes + range.end);
        touch(documents_.inverse_norms + range.begin, documents_.inverse_norms + range.end);
        if (slot_ + ranges_ahead < count_)
            __builtin_prefetch(documents_.segment.offsets + slots_[slot_ + ranges_ahead]);
    }

    static constexpr std::size_t ranges_ahead = 8;
    static constexpr std::size_t most_lines = 8;  // the hardware follows longer passages itself

    const SealedTokens<Code> documents_;
    const std::size_t bytes_;
    const std::int64_t* const slots_;
    const std::size_t count_;
    std::size_t slot_ = 0;
    const std::uint8_t* next_ = nullptr;
    const std::uint8_t* end_ = nullptr;
};

// The rows with their values in the order given; zero for dimensions that they do not have.
IntegerRows in_order(const IntegerRows& rows, const std::vector<std::size_t>& dimensions) {
    IntegerRows result{rows.rows, dimensions.size(),
                       std::vector<std::int16_t>(rows.rows * dimensions.size()), rows.scales};
    std::vector<std::int16_t> row(*std::max_element(dimensions.begin(), dimensions.end()) + 1);
    for (std::size_t r = 0; r < rows.rows; ++r) {
        std::copy_n(&rows.values[r * rows.dim], rows.dim, row.begin());
        std::int16_t* const values = &result.values[r * result.dim];
        for (std::size_t d = 0; d < result.dim; ++d) values[d] = row[dimensions[d]];
    }
    return result;
}

}  // namespace

template <typename Code>
void sealed_maxima(const SealedTokens<Code>& documents, const std::int64_t* slots,
                   std::size_t count, const SealedQuery& query, InstructionSet set,
                   float* maxima) {
    if (count == 0) return;
    const IntegerRows rounded = round_rows(query.query, query.tokens, documents.dim, set);
    const IntegerWeights weights =
        round_weights(query.bucket_weights, std::size_t{1} << documents.bits, documents.dim);
    const std::size_t width = round_up(query.tokens, block_rows);
    std::vector<float> factors(width);
    for (std::size_t q = 0; q < query.tokens; ++q)
        factors[q] = static_cast<float>(weights.scale * rounded.scales[q]);

    const ResidualDecoder decode(weights.values, documents.dim, documents.bits, set);
    const auto blocks = blocks_of(in_order(rounded, decode.dimensions()));
    const DotProducts& products = dot_products_for(set);
    const auto panel = aligned_array<std::int16_t>(panel_size(decode.steps()));
    const auto sums = aligned_array<std::int32_t>(block_rows * panel_vectors);
    const auto rows = aligned_array<std::int32_t>(panel_vectors * width);
    AlignedArray<float> padded;  // maxima with whole blocks of query tokens in each row
    if (width != query.tokens) padded = aligned_array<float>(count * width);
    float* const rows_of_maxima = padded ? padded.get() : maxima;

    Tokens tokens;
    const std::size_t bytes = decode.bytes();
    const SealedTokens<Code> from = documents;
    const float* const scores = query.scores;
    const std::size_t centroids = query.centroids;
    Ahead<Code> soon(documents, bytes, slots, count);
    // A panel's worth is asked for while one is worked on, half of it before the longest part.
    const std::size_t lines = round_up(panel_vectors * bytes, 4 * sizeof(Line)) / sizeof(Line);
    const auto finish_panel = [&] {
        for (std::size_t t = 0; t < tokens.count; ++t)
            __builtin_prefetch(scores + checked_code(tokens.code[t], centroids) * width);
        std::fill(tokens.residuals + tokens.count, tokens.residuals + panel_vectors,
                  tokens.residuals[0]);
        soon.ask(lines / 4);
        decode(tokens.residuals, panel.get());
        soon.ask(lines / 2);
        for (std::size_t q = 0; q < width; q += block_rows) {
            const std::size_t block = std::min(block_rows, query.tokens - q);
            products.multiply(panel.get(), decode.steps(), 0,
                              blocks.get() + q / block_rows * block_size(2 * decode.steps()), block,
                              sums.get());
            products.transpose(sums.get(), block, rows.get() + q, width);
        }
        soon.ask(lines / 4);
        run_in_lanes<Fold>(set, tokens, scores, rows.get(), factors.data(), width, rows_of_maxima);
        tokens.count = tokens.runs = 0;
    };
    soon.ask(2 * lines);
    for (std::size_t i = 0; i < count; ++i) {
        const TokenRange range = from.segment.range(slots[i]);
        if (range.begin == range.end) std::fill_n(rows_of_maxima + i * width, width, none);
        for (std::size_t begin = range.begin; begin < range.end;) {
            const std::size_t first = tokens.count;
            const std::size_t some = std::min(panel_vectors - first, range.end - begin);
            const std::uint8_t* residual = from.residuals + begin * bytes;
            for (std::size_t t = 0; t < some; ++t, residual += bytes) {
                tokens.residuals[first + t] = residual;
                tokens.code[first + t] = from.codes[begin + t];
                tokens.inverse_norm[first + t] = from.inverse_norms[begin + t];
            }
            tokens.run[tokens.runs++] = {first, first + some, i, begin != range.begin};
            tokens.count += some;
            begin += some;
            if (tokens.count == panel_vectors) finish_panel();
        }
    }
    if (tokens.count > 0) finish_panel();
    if (padded)
        for (std::size_t i = 0; i < count; ++i)
            std::copy_n(&padded[i * width], query.tokens, maxima + i * query.tokens);
}

template void sealed_maxima(const SealedTokens<std::uint16_t>&, const std::int64_t*, std::size_t,
                            const SealedQuery&, InstructionSet, float*);
template void sealed_maxima(const SealedTokens<std::uint32_t>&, const std::int64_t*, std::size_t,
                            const SealedQuery&, InstructionSet, float*);

}  // namespace memstore
