// Pixel arithmetic shared by the C++ kernels and CUDA kernels: no STL, no intrinsics, no allocation.
// engine/reference.py is the specification.
#pragma once

#if defined(__CUDACC__)
#define GANLENS_HD __host__ __device__ inline
#else
#define GANLENS_HD inline
#endif

namespace ganlens {

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
