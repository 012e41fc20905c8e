// The row operations in plain C++: for every CPU, for the ends of rows, and for very long filters.
#include "rows.h"

namespace ganlens {
namespace {

int multiply(int a, int b) { return round_shift(a * b, 15); }

int16_t to_int16(float value) { return int16_t(clip(value + (value < 0 ? -0.5f : 0.5f), -32768.f, 32767.f)); }

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

void resample(const int16_t* in, const Resampler& r, int16_t* out) {
    for (int i = 0; i < r.count; ++i) {
        float sum = 0;
        for (int k = 0; k < r.taps; ++k) sum += r.weight[i * r.taps + k] * float(in[r.first[i] + k]);
        out[i] = to_int16(sum);
    }
}

void to_floats(const int16_t* const* in, const Resampler* const* resamplers, const Affine& affine, float low,
               float high, int16_t* const* scratch, float* const* out) {
    constexpr float unit = 1.f / (1 << kPrepareShift);
    for (int c = 0; c < 3; ++c) resample(in[c], *resamplers[c], scratch[c]);
    for (int i = 0; i < resamplers[0]->count; ++i)
        for (int c = 0; c < 3; ++c)
            out[c][i] =
                clip(apply(affine, c, scratch[0][i] * unit, scratch[1][i] * unit, scratch[2][i] * unit), low, high);
}

void to_samples(const float* const* in, const float* const* prepared, const Coding& coding, int count,
                int16_t* const* out) {
    for (int i = 0; i < count; ++i) {
        float value[3], detail = 0;
        for (int c = 0; c < 3; ++c) value[c] = clip(in[c][i], coding.low, coding.high);
        if (prepared) {
            detail = coding.detail_bias;
            for (int c = 0; c < 3; ++c) detail += coding.detail[c] * clip(prepared[c][i], coding.low, coding.high);
        }
        for (int c = 0; c < 3; ++c) {
            const float subtract = c == 0 || coding.detail_in_all ? detail : 0.f;
            const float coded = apply(coding.affine, c, value[0], value[1], value[2]) - subtract;
            out[c][i] = to_int16(coded * (1 << kComposeShift) + kComposeHalf);
        }
    }
}

void to_weights(const float* in, int count, int16_t* out) {
    for (int i = 0; i < count; ++i) out[i] = to_int16(clip(in[i], 0.f, 1.f) * 32767.f);
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
        if (above) weight = multiply(weight, above[i] + multiply(below[i] - above[i], lerp));
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
    constexpr int white = (255 << kComposeShift) + kComposeHalf;
    for (int c = 0; c < s.channels; ++c)
        for (int i = 0; i < s.count; ++i) {
            uint8_t& sample = s.row[s.channels * i + c];
            int value = s.above[c][i] + multiply(s.below[c][i] - s.above[c][i], s.lerp);
            if (s.detail) value += s.detail[i];
            value = clip(value, kComposeHalf, white);
            if (s.blend) {
                const int before = (sample << kComposeShift) + kComposeHalf;
                value = before + multiply(value - before, s.blend[i]);
            }
            sample = uint8_t(value >> kComposeShift);
        }
}

}  // namespace

const Rows& scalar_rows() {
    static const Rows rows{"scalar",   mix_bytes,   split,       resample, to_floats, to_samples,
                           to_weights, mix_samples, mix_weights, luma,     store};
    return rows;
}

}  // namespace ganlens
