// The operations on rows of samples from which the kernels are made; one table of them per instruction set.
//
// Samples and weights between the stages are as pixel_math.h says. Rows made by the kernels themselves ("scratch") may
// be read and written up to kSlack elements past their end; rows of the caller may not. No STL here: these headers are
// compiled with the flags of each instruction set.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "pixel_math.h"

namespace ganlens {

constexpr int kSlack = 64;
constexpr int kMaxFixedTaps = 32;  // more taps than these are summed in float: 15-bit weights would be too coarse

// Weights of the input samples of one output.
struct Taps {
    const float* weight;
    const uint16_t* fixed;  // 32768 parts, sum 32768
    const uint8_t* exact;   // `unit` parts, sum `unit`; null where the weights are no such fractions
    int unit;               // at most 128, which it is where there are none
    int count;

    void drop_first() { ++weight, ++fixed, exact += exact ? 1 : 0, --count; }
};

// Rows of the caller that are needed next, to be fetched from memory meanwhile.
struct Ahead {
    const uint8_t* row;
    ptrdiff_t stride;
    int rows;
    void fetch(int at) const {
        for (int k = 0; k < rows; ++k) __builtin_prefetch(row + k * stride + at);
    }
};

// How a row of samples becomes another by a triangle filter; the tables of class Axis.
struct Resampler {
    enum class Kind { near, lerp, ones, twos, pairs, dot, general };
    Kind kind;
    int count;            // outputs
    int taps;             // inputs per output
    const int* first;     // (count) first input of each output
    const float* weight;  // (count, taps)

    // near, lerp: groups of 16 outputs whose inputs lie in base[g] .. base[g] + 7, or of 8 and base[g] + 8,
    //        fixed: (count) second weight, 32767 parts.
    // pairs: groups of 4 outputs with inputs in base[g] .. base[g] + 7 (+ 2 per further pair),
    //        fixed: (pairs, groups, 4, 2) weights, 16384 parts.
    // All three: control: (groups, 32 or 16) byte shuffle of 8 int16.
    // ones, twos: like pairs, with one tap and each output's input one further than that of the output before, or any
    //        taps and two further. dot: fixed: (count / 8, 4, fixed_taps / 8, 2, 8) weights of the outputs i and i + 4,
    //        16384 parts.
    int groups;
    int fixed_taps;
    const int* base;
    const uint8_t* control;
    const int16_t* fixed;
};

// One row of 8-bit samples to write: value = above + lerp * (below - above) [+ detail], blended over `row` by `blend`.
struct Store {
    uint8_t* row;
    int channels;  // interleaved in `row`: 1, 2 or 3
    int count;     // pixels
    const int16_t* above[3];
    const int16_t* below[3];
    int16_t lerp;           // 32767 parts
    const int16_t* detail;  // value * 64, or null
    const int16_t* blend;   // 32767 parts, or null: `row` is not read
    const uint8_t* ahead;   // where the same pixels of the next row lie, to be fetched meanwhile, or null
};

struct Rows {
    const char* name;

    // out[i] = sum over k of taps[k] * rows[k][i], * taps.unit
    void (*mix_bytes)(const uint8_t* const* rows, const Taps& taps, int count, int16_t* out, const Ahead& ahead);
    // Interleaved samples of `channels` (2 or 3) to rows of their own.
    void (*split)(const int16_t* in, int channels, int count, int16_t* const* out);
    // `rows` (1 to 4) rows alike
    void (*resample)(const int16_t* const* in, int rows, const Resampler& resampler, int16_t* const* out);
    // out = clip(affine(resampled in)); three rows each, `out` belongs to the caller
    void (*to_floats)(const int16_t* const* in, const Resampler* const* resamplers, const Affine& affine, float low,
                      float high, int16_t* const* scratch, float* const* out);

    // `in` and `prepared` (null: no detail) belong to the caller
    void (*to_samples)(const float* const* in, const float* const* prepared, const Coding& coding, int count,
                       int16_t* const* out);
    // [0, 1] to 32767 parts; `in` belongs to the caller
    void (*to_weights)(const float* in, int count, int16_t* out);
    void (*mix_samples)(const int16_t* const* rows, const Taps& taps, int count, int16_t* out);
    // out[i] = (above + lerp * (below - above))[i] * ramp[i] * factor, all 32767 parts; above null: 1
    void (*mix_weights)(const int16_t* above, const int16_t* below, int16_t lerp, const int16_t* ramp, int16_t factor,
                        int count, int16_t* out);
    // out[i] = sum over the interleaved channels (1 or 3) of factor * row, * 64; factors in 32767 parts
    void (*luma)(const uint8_t* row, int channels, const int16_t* factors, int count, int16_t* out);
    void (*store)(const Store& store);
};

const Rows& scalar_rows();
// Null where the build has none or the CPU cannot run it.
const Rows* simd_rows();    // AVX2 or NEON
const Rows* avx512_rows();  // x86-64 only

}  // namespace ganlens
