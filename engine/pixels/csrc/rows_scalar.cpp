// The row operations in plain C++: for every CPU, for the ends of rows, and for very long filters.
#include "rows.h"

namespace ganlens {
namespace {

void mix_bytes(const uint8_t* const* rows, const Taps& taps, int count, int16_t* out, const Ahead&) {
    for (int i = 0; i < count; ++i) {
        float sum = 0;
        for (int k = 0; k < taps.count; ++k) sum += taps.weight[k] * float(rows[k][i]);
        out[i] = to_int16(sum * float(taps.unit));
    }
}

void split(const int16_t* in, int channels, int count, int16_t* const* out) {
    for (int i = 0; i < count; ++i)
        for (int c = 0; c < channels; ++c) out[c][i] = in[channels * i + c];
}

void resample(const int16_t* const* in, int rows, const Resampler& r, int16_t* const* out) {
    for (int row = 0; row < rows; ++row)
        for (int i = 0; i < r.count; ++i) {
            float sum = 0;
            for (int k = 0; k < r.taps; ++k) sum += r.weight[i * r.taps + k] * float(in[row][r.first[i] + k]);
            out[row][i] = to_int16(sum);
        }
}

void to_floats(const int16_t* const* in, const Resampler* const* resamplers, const Affine& affine, float low,
               float high, int16_t* const* scratch, float* const* out) {
    for (int c = 0; c < 3; ++c) resample(in + c, 1, *resamplers[c], scratch + c);
    for (int i = 0; i < resamplers[0]->count; ++i)
        for (int c = 0; c < 3; ++c)
            out[c][i] = clip(apply(affine, c, scratch[0][i] * kPrepareUnit, scratch[1][i] * kPrepareUnit,
                                   scratch[2][i] * kPrepareUnit),
                             low, high);
}

void to_samples(const float* const* in, const float* const* prepared, const Coding& coding, int count,
                int16_t* const* out) {
    for (int i = 0; i < count; ++i) {
        const float detail = prepared ? detail_of(coding, prepared[0][i], prepared[1][i], prepared[2][i]) : 0.f;
        for (int c = 0; c < 3; ++c) out[c][i] = to_sample(coding, c, in[0][i], in[1][i], in[2][i], detail);
    }
}

void to_weights(const float* in, int count, int16_t* out) {
    for (int i = 0; i < count; ++i) out[i] = to_weight(in[i]);
}

void mix_samples(const int16_t* const* rows, const Taps& taps, int count, int16_t* out) {
    for (int i = 0; i < count; ++i) {
        float sum = 0;
        for (int k = 0; k < taps.count; ++k) sum += taps.weight[k] * float(rows[k][i]);
        out[i] = to_int16(sum);
    }
}

void mix_weights(const int16_t* above, const int16_t* below, int16_t lerp, const int16_t* ramp, int16_t factor,
                 int count, int16_t* out) {
    for (int i = 0; i < count; ++i) {
        int weight = ramp[i];
        if (above) weight = multiply(weight, between(above[i], below[i], lerp));
        out[i] = int16_t(multiply(weight, factor));
    }
}

void luma(const uint8_t* row, int channels, const int16_t* factors, int count, int16_t* out) {
    for (int i = 0; i < count; ++i) {
        int sum = 0;
        for (int c = 0; c < channels; ++c) sum += multiply(row[channels * i + c] << kComposeShift, factors[c]);
        out[i] = int16_t(sum);
    }
}

void store(const Store& s) {
    for (int c = 0; c < s.channels; ++c)
        for (int i = 0; i < s.count; ++i) {
            uint8_t& sample = s.row[s.channels * i + c];
            const int value = between(s.above[c][i], s.below[c][i], s.lerp) + (s.detail ? s.detail[i] : 0);
            sample = blend_sample(value, sample, s.blend ? s.blend[i] : 32767);
        }
}

}  // namespace

const Rows& scalar_rows() {
    static const Rows rows{"scalar",   mix_bytes,   split,       resample, to_floats, to_samples,
                           to_weights, mix_samples, mix_weights, luma,     store};
    return rows;
}

}  // namespace ganlens
