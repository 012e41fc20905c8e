// The two kernels: the region of a frame to a generator's tensor, and a generator's output into a frame.
// engine/pixels/reference_kernels.py specifies them; bind.cpp checks all arguments before they come here.
#pragma once

#include <array>
#include <cmath>
#include <mutex>
#include <string>
#include <vector>

#include "axis.h"
#include "pixel_math.h"
#include "rows.h"

namespace ganlens {

enum class Format { rgb24, yuv420p, nv12 };
enum class Siting { left, center, topleft };

struct Plane {
    uint8_t* data;
    ptrdiff_t stride;  // bytes from row to row
    uint8_t* row(int y) const { return data + y * stride; }
};
using Planes = std::array<Plane, 3>;

// Samples of one resolution in a frame: R, G, B, or Y', or Cb and Cr.
struct Layer {
    int first_plane, channels, first_channel;
    bool interleaved;
    int height, width, step;
    bool cosited_rows, cosited_columns;
};

// What both kernels are told.
struct Options {
    Format format;
    int frame_height, frame_width;
    double top, left, region_height, region_width;
    int height, width;  // of the generator's tensor
    Matrix matrix;
    bool full_range;
    Siting siting;
    float low, high;
    bool bgr;
    const Rows* rows;

    std::vector<Layer> layers() const;
};

using Row = std::vector<int16_t>;  // scratch: kSlack elements longer than its content

class Prepare {
  public:
    explicit Prepare(const Options& options);
    void operator()(const Planes& planes, float* out);  // calls of several threads wait for each other
    const Options options;

    struct Part {
        Layer layer;
        Axis down, across;
        Resampler resampler;
        Row mixed;
        Row samples[3];
    };
    const std::vector<Part>& parts() const { return parts_; }
    const Affine& affine() const { return affine_; }  // from the frame's samples to the tensor's values

  private:
    void mix(Part& part, const Plane& plane, int output, int channels, int16_t* const* samples);

    std::mutex mutex_;
    Affine affine_;
    std::vector<Part> parts_;
    std::vector<const uint8_t*> window_;
    Row scratch_[3];
};

struct Blending {
    std::array<double, 4> feather;  // top, bottom, left, right
    double detail, opacity;
};

class Compose {
  public:
    Compose(const Options& options, const Blending& blending);
    // mask, prepared: null if there is none. source: the planes that `detail` is taken from.
    void operator()(const float* translated, const Planes& destination, const float* mask, const float* prepared,
                    const Planes& source, double detail, double opacity);
    const Options options;
    const Blending blending;

    struct Part {
        Layer layer;
        int top, left;  // of the samples to write
        Axis down, across;
        Resampler resampler;
        std::vector<double> row_ramp;
        Row column_ramp;
        int ramp_end, ramp_begin;  // the columns between have ramp 1
        bool luma;                 // takes part in `detail`
        std::vector<Row> ring[4];  // resampled rows of the samples, and of the mask
        int next;                  // next row to write
    };
    const std::vector<Part>& parts() const { return parts_; }
    struct Strength {
        Coding coding;
        int16_t luma_factors[3];  // of the frame's samples in `detail`
        double detail, opacity;
        bool detailed(const Part& part) const { return detail > 0 && part.luma; }
        double row_factor(const Part& part, int row) const { return opacity * part.row_ramp[row]; }
    };
    Strength strength(double detail, double opacity) const;
    const Coding& coding() const { return coding_; }  // without detail

  private:
    void add(Part& part, int row, bool masked);
    void write(Part& part, int row, const Planes& destination, const Planes& source, bool masked);
    void blend(const Part& part, Store store, const int16_t* weights);

    std::mutex mutex_;
    Coding coding_;                      // without detail
    double detail_[3], bias_, luma_[3];  // of full detail
    Strength strength_;                  // of the frame in hand
    std::vector<Part> parts_;
    std::vector<const int16_t*> window_;
    Row samples_[4], mixed_[4], weights_, added_;
};

}  // namespace ganlens
