#include "forward.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

#include "attention.h"
#include "elementwise.h"
#include "linear.h"
#include "panels.h"

namespace memstore {
namespace {

// Sequences computed together share the reading of the weights, and no panel is left half empty
// between them. Enough of both at so many tokens; fewer where there is less work than threads.
constexpr std::size_t group_tokens = 256;
constexpr std::size_t smallest_group = 64;
// What is between two multiplications stays in the second cache: bytes of its widest part.
constexpr std::size_t block_bytes = 512 * 1024;

struct Group {
    std::size_t first_token;  // of the whole call
    std::size_t tokens;
    std::size_t first_sequence;
    std::size_t sequences;
};

std::vector<Group> groups_of(const std::vector<Length>& lengths, std::size_t threads) {
    std::size_t total = 0;
    for (const Length& length : lengths) total += length.tokens;
    const std::size_t fair = (total + threads - 1) / threads;
    const std::size_t wanted = std::min(group_tokens, std::max(smallest_group, fair));
    std::vector<Group> groups;
    std::size_t token = 0;
    for (std::size_t s = 0; s < lengths.size(); ++s) {
        if (groups.empty() || groups.back().tokens >= wanted)
            groups.push_back({token, 0, s, 0});
        groups.back().tokens += lengths[s].tokens;
        groups.back().sequences += 1;
        token += lengths[s].tokens;
    }
    return groups;
}

AlignedArray<float> zeros(std::size_t size) {
    auto array = aligned_array<float>(size);
    std::fill_n(array.get(), size, 0.0F);
    return array;
}

std::size_t block_of(const Bert& bert) {
    const std::size_t widest = std::max(3 * bert.hidden, bert.intermediate);
    // Even, because two panels share what is read of the weights.
    return std::max<std::size_t>(
        2, block_bytes / (widest * panel_tokens * sizeof(float)) / 2 * 2);
}

std::size_t largest_rank(const Bert& bert) {
    std::size_t rank = bert.head ? bert.head->rank : 0;
    for (const Layer& layer : bert.layers)
        for (const Linear* linear : {&layer.query, &layer.key, &layer.value,
                                     &layer.attention_output, &layer.intermediate, &layer.output})
            rank = std::max(rank, linear->rank);
    return rank;
}

// What one thread needs for groups of up to so many tokens. All lanes hold numbers from the start,
// so that those without a token never cost what computing with other bits may cost.
class Workspace {
public:
    Workspace(const Bert& bert, InstructionSet set, std::size_t tokens)
        : bert_(bert),
          set_(set),
          block_(std::min(block_of(bert), panels_of(tokens))),
          states_(panels(panels_of(tokens), bert.hidden)),
          heads_(panels(panels_of(tokens), 3 * bert.hidden)),
          attended_(panels(panels_of(tokens), bert.hidden)),
          mixed_(panels(block_, bert.hidden)),
          expanded_(panels(block_, std::max(bert.intermediate, width_of(bert)))),
          adapter_(panels(block_, largest_rank(bert))),
          scratch_(zeros(attention_scratch(tokens, bert.hidden / bert.heads))) {}

    void encode(const std::int32_t* ids, const Length* lengths, std::size_t sequences,
                std::size_t tokens, float* rows) {
        tokens_ = tokens;
        begin(ids, lengths, sequences);
        for (const Layer& layer : bert_.layers) {
            for_blocks([&](std::size_t panel, std::size_t count) {
                const float* states = at(states_, panel, bert_.hidden);
                float* heads = at(heads_, panel, 3 * bert_.hidden);
                const Linear* parts[] = {&layer.query, &layer.key, &layer.value};
                for (std::size_t p = 0; p < 3; ++p)
                    linear(*parts[p], states, count, heads, 3 * bert_.hidden, p * bert_.hidden);
            });
            for (const Sequence& sequence : sequences_)
                attend(set_, sequence, bert_.heads, bert_.hidden / bert_.heads, heads_.get(),
                       attended_.get(), scratch_.get());
            for_blocks([&](std::size_t panel, std::size_t count) { after(layer, panel, count); });
        }
        for_blocks([&](std::size_t panel, std::size_t count) {
            finish(panel, count, rows + panel * panel_tokens * width_of(bert_));
        });
    }

private:
    static AlignedArray<float> panels(std::size_t count, std::size_t features) {
        return zeros(count * features * panel_tokens);
    }

    static float* at(const AlignedArray<float>& panels, std::size_t panel, std::size_t features) {
        return panels.get() + panel * features * panel_tokens;
    }

    template <typename Work>
    void for_blocks(const Work& work) const {
        for (std::size_t panel = 0; panel < panels_of(tokens_); panel += block_)
            work(panel, std::min(block_ * panel_tokens, tokens_ - panel * panel_tokens));
    }

    void linear(const Linear& by, const float* from, std::size_t tokens, float* to,
                std::size_t features, std::size_t first) const {
        multiply(set_, by, from, tokens, to, features, first, adapter_.get());
    }

    void begin(const std::int32_t* ids, const Length* lengths, std::size_t sequences) {
        sequences_.clear();
        places_.clear();
        for (std::size_t s = 0; s < sequences; ++s) {
            const std::size_t begin = places_.size();
            sequences_.push_back({begin, begin + lengths[s].tokens, begin + lengths[s].seen});
            for (std::size_t place = 0; place < lengths[s].tokens; ++place)
                places_.push_back(static_cast<std::int32_t>(place));
        }
        embed(bert_, ids, places_.data(), tokens_, states_.get());
        normalise(set_, bert_.norm, bert_.epsilon, bert_.hidden, panels_of(tokens_), nullptr,
                  states_.get());
    }

    // What follows attention in a layer.
    void after(const Layer& layer, std::size_t panel, std::size_t tokens) const {
        const std::size_t hidden = bert_.hidden;
        const std::size_t count = panels_of(tokens);
        float* states = at(states_, panel, hidden);
        linear(layer.attention_output, at(attended_, panel, hidden), tokens, mixed_.get(), hidden,
               0);
        normalise(set_, layer.attention_norm, bert_.epsilon, hidden, count, mixed_.get(), states);
        linear(layer.intermediate, states, tokens, expanded_.get(), bert_.intermediate, 0);
        gelu(set_, bert_.intermediate, count, expanded_.get());
        linear(layer.output, expanded_.get(), tokens, mixed_.get(), hidden, 0);
        normalise(set_, layer.output_norm, bert_.epsilon, hidden, count, mixed_.get(), states);
    }

    void finish(std::size_t panel, std::size_t tokens, float* rows) const {
        float* states = at(states_, panel, bert_.hidden);
        if (!bert_.head) return to_rows(states, bert_.hidden, tokens, rows);
        const std::size_t dim = bert_.head->outputs;
        const std::size_t count = panels_of(tokens);
        to_unit_length(set_, bert_.hidden, count, states);
        linear(*bert_.head, states, tokens, expanded_.get(), dim, 0);
        to_unit_length(set_, dim, count, expanded_.get());
        to_rows(expanded_.get(), dim, tokens, rows);
    }

    const Bert& bert_;
    const InstructionSet set_;
    const std::size_t block_;  // panels
    AlignedArray<float> states_;
    AlignedArray<float> heads_;
    AlignedArray<float> attended_;
    AlignedArray<float> mixed_;
    AlignedArray<float> expanded_;
    AlignedArray<float> adapter_;
    AlignedArray<float> scratch_;
    std::size_t tokens_ = 0;
    std::vector<Sequence> sequences_;
    std::vector<std::int32_t> places_;
};

}  // namespace

std::size_t width_of(const Bert& bert) { return bert.head ? bert.head->outputs : bert.hidden; }

void encode(InstructionSet set, const Bert& bert, const std::int32_t* ids,
            const std::vector<Length>& lengths, std::size_t threads, float* rows) {
    const std::vector<Group> groups = groups_of(lengths, threads);
    std::size_t longest = 0;
    for (const Group& group : groups) longest = std::max(longest, group.tokens);
    std::atomic<std::size_t> next{0};
    std::mutex failing;
    std::exception_ptr failure;

    const auto work = [&]() noexcept {
        try {
            Workspace workspace(bert, set, longest);
            for (std::size_t g; (g = next.fetch_add(1)) < groups.size();) {
                const Group& group = groups[g];
                workspace.encode(ids + group.first_token, &lengths[group.first_sequence],
                                 group.sequences, group.tokens,
                                 rows + group.first_token * width_of(bert));
            }
        } catch (...) {
            const std::lock_guard<std::mutex> lock(failing);
            failure = std::current_exception();
        }
    };

    std::vector<std::thread> others;
    others.reserve(threads);
    while (others.size() + 1 < std::min(threads, groups.size())) {
        try {
            others.emplace_back(work);
        } catch (const std::system_error&) {
            break;  // the threads that there are do it
        }
    }
    work();
    for (std::thread& other : others) other.join();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace memstore
