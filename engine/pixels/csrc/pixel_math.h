// Pixel arithmetic shared by the C++ kernels and CUDA kernels: no STL, no intrinsics, no allocation.
// engine/pixels/reference_kernels.py is the specification.
#pragma once

#if defined(__CUDACC_RTC__)  // has no C headers
using uint8_t = unsigned char;
using int16_t = short;
using uint16_t = unsigned short;
#else
#include <stdint.h>
#endif

#if defined(__CUDACC__)
#define GANLENS_HD __host__ __device__ inline
#else  // always: or the linker may take one instruction set's copy for all
#define GANLENS_HD inline __attribute__((always_inline))
#endif

namespace ganlens {

// Samples between the stages are int16: value * 128 or a little less in prepare (0..32640), value * 64 + 32 in compose,
// where values may be negative and the 32 makes a shift round. Weights are in [0, 1], as 32767 or 32768 parts.
constexpr int kPrepareShift = 7;
constexpr int kComposeShift = 6;
constexpr int kComposeHalf = 1 << (kComposeShift - 1);
constexpr float kPrepareUnit = 1.f / (1 << kPrepareShift);

enum class Matrix { bt601, bt709, bt2020 };

// out[i] = sum_j m[i][j] * in[j] + b[i]
struct Affine {
    float m[3][3];
    float b[3];
};

template <class T>
GANLENS_HD T clip(T value, T low, T high) {
    // In this order NaN becomes `low`.
    value = value > low ? value : low;
    return value < high ? value : high;
}

GANLENS_HD float apply(const Affine& a, int row, float x, float y, float z) {
    return a.m[row][0] * x + a.m[row][1] * y + a.m[row][2] * z + a.b[row];
}

GANLENS_HD bool is_diagonal(const Affine& a) {
    return a.m[0][1] == 0 && a.m[0][2] == 0 && a.m[1][0] == 0 && a.m[1][2] == 0 && a.m[2][0] == 0 && a.m[2][1] == 0;
}

// Weights of R', G', B' in Y' (ITU-R BT.601, BT.709, BT.2020 non-constant luminance).
GANLENS_HD void luma_weights(Matrix matrix, double out[3]) {
    const bool hd = matrix == Matrix::bt709, uhd = matrix == Matrix::bt2020;
    out[0] = uhd ? 0.2627 : hd ? 0.2126 : 0.299;
    out[2] = uhd ? 0.0593 : hd ? 0.0722 : 0.114;
    out[1] = 1 - out[0] - out[2];
}

// R'G'B' in 0..255 to 8-bit Y'CbCr (ITU-T H.273).
GANLENS_HD Affine rgb_to_ycbcr(Matrix matrix, bool full_range) {
    double k[3];
    luma_weights(matrix, k);
    const double luma = full_range ? 1.0 : 219.0 / 255, chroma = full_range ? 1.0 : 224.0 / 255;
    Affine out{};
    for (int j = 0; j < 3; ++j) {
        out.m[0][j] = float(luma * k[j]);
        out.m[1][j] = float(chroma * ((j == 2) - k[j]) / (2 * (1 - k[2])));
        out.m[2][j] = float(chroma * ((j == 0) - k[j]) / (2 * (1 - k[0])));
    }
    out.b[0] = full_range ? 0.f : 16.f;
    out.b[1] = out.b[2] = 128.f;
    return out;
}

// The inverse of rgb_to_ycbcr.
GANLENS_HD Affine ycbcr_to_rgb(Matrix matrix, bool full_range) {
    double k[3];
    luma_weights(matrix, k);
    const double luma = full_range ? 1.0 : 255.0 / 219, chroma = full_range ? 1.0 : 255.0 / 224;
    const double red = chroma * 2 * (1 - k[0]), blue = chroma * 2 * (1 - k[2]);
    const double m[3][3] = {{luma, 0, red}, {luma, -blue * k[2] / k[1], -red * k[0] / k[1]}, {luma, blue, 0}};
    const double offset[3] = {full_range ? 0.0 : 16.0, 128, 128};
    Affine out{};
    for (int i = 0; i < 3; ++i) {
        double b = 0;
        for (int j = 0; j < 3; ++j) {
            out.m[i][j] = float(m[i][j]);
            b -= m[i][j] * offset[j];
        }
        out.b[i] = float(b);
    }
    return out;
}

// Float rows of a generator to the samples that a frame codes, value * 64 + 32.
struct Coding {
    float low, high;    // the generator's values are clipped to these
    Affine affine;      // from the generator's values
    float detail[3];    // factors of the prepared values in what is subtracted for detail
    float detail_bias;  // added to that
    int detail_in_all;  // from all samples (R, G, B), or from the first only (Y')
};

// How strongly one frame is changed; the rest of what compose needs does not change from frame to frame.
struct Strength {
    float detail[3];  // in place of those of the coding
    float detail_bias;
    int luma_factors[3];  // of the frame's samples in `detail`
    int detailed;
    double opacity;
};

// A weight in [0, 1] as 32767 parts.
GANLENS_HD int16_t weight_parts(double value) { return int16_t(value * 32767 + 0.5); }

GANLENS_HD int round_shift(int value, int shift) { return (value + (1 << (shift - 1))) >> shift; }

// A product with a weight in 32767 or 32768 parts.
GANLENS_HD int multiply(int a, int b) { return round_shift(a * b, 15); }

GANLENS_HD int16_t to_int16(float value) {
    return int16_t(clip(value + (value < 0 ? -0.5f : 0.5f), -32768.f, 32767.f));
}

// [0, 1] to 32767 parts.
GANLENS_HD int16_t to_weight(float value) { return to_int16(clip(value, 0.f, 1.f) * 32767.f); }

// What is subtracted from the samples of a pixel, of which prepare gave these values, for detail.
GANLENS_HD float detail_of(const Coding& coding, float x, float y, float z) {
    float detail = coding.detail_bias;
    detail += coding.detail[0] * clip(x, coding.low, coding.high);
    detail += coding.detail[1] * clip(y, coding.low, coding.high);
    detail += coding.detail[2] * clip(z, coding.low, coding.high);
    return detail;
}

// Sample `channel` of a pixel of the generator.
GANLENS_HD int16_t to_sample(const Coding& coding, int channel, float x, float y, float z, float detail) {
    const float coded = apply(coding.affine, channel, clip(x, coding.low, coding.high),
                              clip(y, coding.low, coding.high), clip(z, coding.low, coding.high)) -
                        (channel == 0 || coding.detail_in_all ? detail : 0.f);
    return to_int16(coded * (1 << kComposeShift) + kComposeHalf);
}

// Between two rows, `lerp` in 32767 parts.
GANLENS_HD int between(int above, int below, int lerp) { return above + multiply(below - above, lerp); }

// The 8-bit sample for a value, blended over `before` by `weight` in 32767 parts, of which 32767 leaves nothing of it.
GANLENS_HD uint8_t blend_sample(int value, uint8_t before, int weight) {
    value = clip(value, kComposeHalf, (255 << kComposeShift) + kComposeHalf);
    const int old = (before << kComposeShift) + kComposeHalf;
    return uint8_t((old + multiply(value - old, weight)) >> kComposeShift);
}

// R', G', B' or B', G', R' as they are.
GANLENS_HD Affine identity() { return Affine{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}, {0, 0, 0}}; }

GANLENS_HD double triangle(double distance, double support) {
    const double d = distance < 0 ? -distance : distance;
    return d < support ? 1 - d / support : 0;
}

// Linear ramp from 0 at the edge of a region to 1 at `width` pixels from it.
GANLENS_HD double ramp(double distance, double width) { return width > 0 ? clip(distance / width, 0.0, 1.0) : 1.0; }

// Where sample k of a plane with `step` luma pixels per sample lies, in luma coordinates (pixel k covers [k, k + 1)).
GANLENS_HD double sample_position(int k, int step, bool cosited) { return k * step + (cosited ? 0.5 : step / 2.0); }

// The reverse, as a coordinate in the plane, where sample k lies at k + 0.5.
GANLENS_HD double sample_coordinate(double position, int step, bool cosited) {
    return (position - (cosited ? 0.5 : step / 2.0)) / step + 0.5;
}

}  // namespace ganlens
