// The weights of a BERT: all are pointers into memory that others own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace memstore {

// y = weight x + bias + up (down x); without a bias or an adapter its pointers are null.
struct Linear {
    std::size_t inputs;
    std::size_t outputs;
    const float* weight;  // [outputs][inputs]
    const float* bias;
    std::size_t rank;
    const float* down;  // [rank][inputs]
    const float* up;    // [outputs][rank]
};

struct Norm {
    const float* scale;
    const float* shift;
};

struct Layer {
    Linear query;
    Linear key;
    Linear value;
    Linear attention_output;
    Norm attention_norm;
    Linear intermediate;
    Linear output;
    Norm output_norm;
};

struct Bert {
    std::size_t hidden;
    std::size_t intermediate;
    std::size_t heads;
    std::size_t vocabulary;
    std::size_t longest;  // positions there are
    float epsilon;
    const float* words;      // [vocabulary][hidden]
    const float* positions;  // [longest][hidden]
    const float* segment;    // [hidden]
    Norm norm;
    std::vector<Layer> layers;
    const Linear* head;  // of the states at unit length; null for the states themselves
};

}  // namespace memstore
