// The two kernels for a rotated square of the frame: a face. engine/pixels/reference_kernels.py specifies them.
// Small regions, another place in every frame: no tables, the positions and weights are worked out sample by sample.
#pragma once

#include <cmath>
#include <mutex>
#include <vector>

#include "kernels.h"

namespace ganlens {

// Frame to tensor, in luma coordinates and tensor coordinates: u = a x - b y + shift_u, v = b x + a y + shift_v.
struct Similarity {
    double a, b, shift_u, shift_v;
    // Tensor pixels per luma pixel. Not std::hypot, whose newer version would tie the wheel to glibc 2.35.
    double scale() const { return std::sqrt(a * a + b * b); }
};

class WarpPrepare {
  public:
    explicit WarpPrepare(const Options& options);  // the region of the options is not used
    void operator()(const Planes& planes, const Similarity& similarity, float* out) const;
    const Options options;

  private:
    Affine affine_;
};

struct Pasting {
    double border, feather;  // tensor pixels: weight 0 up to `border` from the edge, 1 from `border + feather`
    double detail;
};

class WarpCompose {
  public:
    WarpCompose(const Options& options, const Pasting& pasting);
    // composed: `translated` is a finished picture; else a segment, to be laid over `prepared` with the mask.
    // mask: null if there is none.
    void operator()(const float* translated, const float* prepared, const float* mask, bool composed, double detail,
                    double opacity, const Planes& destination, const Similarity& similarity);
    const Options options;
    const Pasting pasting;

  private:
    typedef float Four __attribute__((vector_size(16)));  // three coded samples, and how much of the frame they hide

    void code(const float* translated, const float* prepared, const float* mask, bool composed, double detail);
    Four gather(double u, double v, double support) const;
    void write(const Layer& layer, const Planes& destination, const Similarity& similarity, double opacity) const;

    std::mutex mutex_;
    Affine affine_;
    std::vector<Four> coded_;
};

}  // namespace ganlens
