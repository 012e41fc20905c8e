#include "warp.h"

#include <algorithm>
#include <cmath>

// The loops once more for CPUs with AVX2, chosen when the program is loaded.
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define GANLENS_CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define GANLENS_CLONES
#endif

namespace ganlens {
namespace {

// std::floor is a call into the library where the instruction set has none.
int floor_of(double value) {
    const int whole = int(value);
    return whole - (value < whole);
}

int inside(int index, int length) { return index < 0 ? 0 : index < length ? index : length - 1; }

// Positions further out see the same replicas of the edge.
double near(double at, double reach, int length) { return clip(at, -reach - 1, length + reach + 1); }

// Taps of a triangle filter along one axis, inputs beyond the ends being replicas of these.
struct Window {
    int first, count, length;
    float centre, slope;
    Window(double at, double reach, int inputs)
        : first(floor_of(near(at, reach, inputs) - reach)),
          count(int(2 * reach) + 3),
          length(inputs),
          centre(float(near(at, reach, inputs) - first - 0.5)),
          slope(float(1 / reach)) {}
    float weight(int k) const { return std::max(0.f, 1 - slope * std::abs(k - centre)); }
    int index(int k) const { return inside(first + k, length); }
};

// A row of places, a step apart, among the samples of a layer; bilinear taps.
struct Places {
    std::vector<int> left, right, above, below;
    std::vector<float> across, down;  // weights of right and below
    void resize(int count) {
        for (auto* indices : {&left, &right, &above, &below}) indices->resize(count);
        for (auto* weights : {&across, &down}) weights->resize(count);
    }
};

// first + k * step as index and weight, in floats beside a whole number that is near.
GANLENS_CLONES void places_along(double first, double step, int count, int length, int* low, int* high, float* weight) {
    const double limit = 1 << 24;
    const int base = floor_of(clip(first, -limit, limit));
    const float begin = float(first - base) - 0.5f, by = float(step);
    for (int k = 0; k < count; ++k) {
        const float at = begin + by * float(k);
        const int whole = int(at) - (at < float(int(at)) ? 1 : 0);
        weight[k] = at - float(whole);
        low[k] = std::min(std::max(base + whole, 0), length - 1);
        high[k] = std::min(std::max(base + whole + 1, 0), length - 1);
    }
}

GANLENS_CLONES void bilinear(const Plane& plane, int pixel, int channel, const Places& places, int count, float* out) {
    const uint8_t* const data = plane.data + channel;
    const ptrdiff_t stride = plane.stride;
    const int *left = places.left.data(), *right = places.right.data();
    const int *above = places.above.data(), *below = places.below.data();
    const float *across = places.across.data(), *down = places.down.data();
    for (int k = 0; k < count; ++k) {
        const uint8_t *high = data + above[k] * stride, *low = data + below[k] * stride;
        const int first = left[k] * pixel, second = right[k] * pixel;
        const float top = float(high[first]) + across[k] * float(high[second] - high[first]);
        const float bottom = float(low[first]) + across[k] * float(low[second] - low[first]);
        out[k] = top + down[k] * (bottom - top);
    }
}

const Plane& plane_of(const Layer& layer, const Planes& planes, int channel) {
    return planes[layer.first_plane + (layer.interleaved ? 0 : channel)];
}

// Samples of a layer at (x, y), by a filter wider than bilinear.
void gather(const Layer& layer, const Planes& planes, double x, double y, double support, float* out) {
    const Window across(x, support, layer.width), down(y, support, layer.height);
    const int pixel = layer.interleaved ? layer.channels : 1;
    thread_local std::vector<float> weights;
    thread_local std::vector<int> columns;
    weights.resize(across.count), columns.resize(across.count);
    float total_across = 0;
    for (int k = 0; k < across.count; ++k) {
        weights[k] = across.weight(k), columns[k] = across.index(k) * pixel;
        total_across += weights[k];
    }
    float sum[3] = {0, 0, 0}, total_down = 0;
    for (int k = 0; k < down.count; ++k) {
        const float weight = down.weight(k);
        if (weight == 0) continue;
        total_down += weight;
        for (int c = 0; c < layer.channels; ++c) {
            const uint8_t* samples = plane_of(layer, planes, c).row(down.index(k)) + (layer.interleaved ? c : 0);
            float line = 0;
            for (int i = 0; i < across.count; ++i) line += weights[i] * float(samples[columns[i]]);
            sum[c] += weight * line;
        }
    }
    for (int c = 0; c < layer.channels; ++c) out[c] = sum[c] / (total_across * total_down);
}

GANLENS_CLONES void to_values(const Affine& affine, const float* const* samples, int count, float low, float gain,
                              float* const* out) {
    for (int c = 0; c < 3; ++c)
        for (int k = 0; k < count; ++k)
            out[c][k] = low + gain * clip(apply(affine, c, samples[0][k], samples[1][k], samples[2][k]), 0.f, 255.f);
}

}  // namespace

// ------------------------------------------------------------------------------------------------ prepare

WarpPrepare::WarpPrepare(const Options& o) : options(o) {
    affine_ = o.format == Format::rgb24 ? identity() : ycbcr_to_rgb(o.matrix, o.full_range);
}

void WarpPrepare::operator()(const Planes& planes, const Similarity& s, float* out) const {
    const Options& o = options;
    const size_t area = size_t(o.height) * o.width;
    const double square = s.a * s.a + s.b * s.b, step_x = s.a / square, step_y = -s.b / square;
    std::vector<float> row_samples(3 * size_t(o.width));
    float* const samples[3] = {&row_samples[0], &row_samples[o.width], &row_samples[2 * size_t(o.width)]};
    Places places;
    places.resize(o.width);
    for (int row = 0; row < o.height; ++row) {
        const double u = 0.5 - s.shift_u, v = row + 0.5 - s.shift_v;
        for (const Layer& layer : o.layers()) {
            const double x = sample_coordinate((s.a * u + s.b * v) / square, layer.step, layer.cosited_columns);
            const double y = sample_coordinate((s.a * v - s.b * u) / square, layer.step, layer.cosited_rows);
            const double across = step_x / layer.step, down = step_y / layer.step;
            const double support = 1 / (std::sqrt(square) * layer.step);
            float* const* const to = samples + layer.first_channel;
            if (support <= 1) {
                places_along(x, across, o.width, layer.width, places.left.data(), places.right.data(),
                             places.across.data());
                places_along(y, down, o.width, layer.height, places.above.data(), places.below.data(),
                             places.down.data());
                for (int c = 0; c < layer.channels; ++c)
                    bilinear(plane_of(layer, planes, c), layer.interleaved ? layer.channels : 1,
                             layer.interleaved ? c : 0, places, o.width, to[c]);
            } else {
                for (int column = 0; column < o.width; ++column) {
                    float wide[3];
                    gather(layer, planes, x + column * across, y + column * down, support, wide);
                    for (int c = 0; c < layer.channels; ++c) to[c][column] = wide[c];
                }
            }
        }
        float* to[3];
        for (int c = 0; c < 3; ++c) to[c] = out + (o.bgr ? 2 - c : c) * area + size_t(row) * o.width;
        to_values(affine_, samples, o.width, o.low, (o.high - o.low) / 255, to);
    }
}

// ------------------------------------------------------------------------------------------------ compose

WarpCompose::WarpCompose(const Options& o, const Pasting& p) : options(o), pasting(p) {
    affine_ = o.format == Format::rgb24 ? identity() : rgb_to_ycbcr(o.matrix, o.full_range);
    coded_.resize(size_t(o.height) * o.width);
}

void WarpCompose::operator()(const float* translated, const float* prepared, const float* mask, bool composed,
                             double detail, double opacity, const Planes& destination, const Similarity& similarity) {
    const std::lock_guard<std::mutex> lock(mutex_);
    code(translated, prepared, mask, composed, detail);
    for (const Layer& layer : options.layers()) write(layer, destination, similarity, opacity);
}

// What is added to a sample, and how much of the sample is taken away, for each pixel of the tensor: the change that
// the generator makes, and for the share of the detail that is not kept, of the original what the mask shows.
void WarpCompose::code(const float* translated, const float* prepared, const float* mask, bool composed,
                       double detail) {
    const Options& o = options;
    const size_t area = size_t(o.height) * o.width;
    const float gain = 255 / (o.high - o.low), blurred = float(1 - detail);
    for (size_t i = 0; i < area; ++i) {
        const float shown = mask ? clip(mask[i], 0.f, 1.f) : 1.f, hidden = blurred * shown;
        float change[3], original[3];
        for (int c = 0; c < 3; ++c) {
            const size_t at = (o.bgr ? 2 - c : c) * area + i;
            original[c] = (clip(prepared[at], o.low, o.high) - o.low) * gain;
            change[c] = (clip(translated[at], o.low, o.high) - o.low) * gain - original[c];
            if (!composed) change[c] *= shown;
        }
        Four coded{0, 0, 0, hidden};
        for (int c = 0; c < 3; ++c)
            coded[c] = apply(affine_, c, change[0], change[1], change[2]) - affine_.b[c] +
                       hidden * apply(affine_, c, original[0], original[1], original[2]);
        coded_[i] = coded;
    }
}

// What lies at (u, v), by a filter wider than bilinear.
WarpCompose::Four WarpCompose::gather(double u, double v, double support) const {
    const Options& o = options;
    const Window across(u, support, o.width), down(v, support, o.height);
    Four sum{0, 0, 0, 0};
    float total = 0;
    for (int k = 0; k < down.count; ++k) {
        const float weight = down.weight(k);
        if (weight == 0) continue;
        const Four* const row = &coded_[size_t(down.index(k)) * o.width];
        for (int i = 0; i < across.count; ++i) {
            const float both = weight * across.weight(i);
            sum += both * row[across.index(i)];
            total += both;
        }
    }
    return sum / total;
}

namespace {

// Columns [first, end) of a row where begin <= at + k * step < end holds; a little more, for roundings.
void narrow(double at, double step, double begin, double end, int* first, int* last) {
    if (std::abs(step) < 1e-12) {
        if (at < begin || at >= end) *last = *first;
        return;
    }
    double low = (begin - at) / step, high = (end - at) / step;
    if (low > high) std::swap(low, high);
    *first = int(clip(std::floor(low), double(*first), double(*last)));
    *last = int(clip(std::ceil(high) + 1, double(*first), double(*last)));
}

// Weights of a row of samples in the square: 0 outside the border, ramps inside it.
GANLENS_CLONES void weights_along(double first, double step, int count, double border, double feather, double length,
                                  float* weight) {
    const double slope = feather > 0 ? 1 / feather : 0;
    for (int k = 0; k < count; ++k) {
        const double at = first + k * step, from = at - border, to = length - border - at;
        const double low = slope > 0 ? std::min(from * slope, 1.0) : 1,
                     high = slope > 0 ? std::min(to * slope, 1.0) : 1;
        weight[k] *= from >= 0 && to > 0 ? float(low * high) : 0.f;
    }
}

template <class Four>
inline Four bilinear_paint(const Four* coded, int width, const Places& places, int k) {
    const Four* const high = coded + size_t(places.above[k]) * width;
    const Four* const low = coded + size_t(places.below[k]) * width;
    const int left = places.left[k], right = places.right[k];
    const Four above = high[left] + places.across[k] * (high[right] - high[left]);
    const Four below = low[left] + places.across[k] * (low[right] - low[left]);
    return above + places.down[k] * (below - above);
}

template <class Four>
void blend(const Four* paint, int channel, const float* weights, int count, int pixel, uint8_t* row) {
    for (int k = 0; k < count; ++k) {
        const float weight = weights[k];
        if (weight == 0) continue;
        const float before = row[ptrdiff_t(k) * pixel];
        const float value = before + weight * (paint[k][channel] - paint[k][3] * before);
        row[ptrdiff_t(k) * pixel] = uint8_t(clip(value, 0.f, 255.f) + 0.5f);
    }
}

}  // namespace

void WarpCompose::write(const Layer& layer, const Planes& destination, const Similarity& s, double opacity) const {
    const Options& o = options;
    const double square = s.a * s.a + s.b * s.b, support = s.scale() * layer.step, border = pasting.border;
    double top = 1e30, bottom = -1e30;  // of the square's corners, in luma coordinates
    for (int corner = 0; corner < 4; ++corner) {
        const double u = (corner & 1 ? o.width : 0) - s.shift_u, v = (corner & 2 ? o.height : 0) - s.shift_v;
        const double y = (s.a * v - s.b * u) / square;
        top = std::min(top, y), bottom = std::max(bottom, y);
    }
    // A sample at the frame's end may be sited beyond it: one more is looked at, and its position decides.
    const int first_row = int(clip(std::floor(top / layer.step) - 1, 0.0, double(layer.height)));
    const int end_row = int(clip(std::ceil(bottom / layer.step) + 1, double(first_row), double(layer.height)));
    const int pixel = layer.interleaved ? layer.channels : 1;
    const double step_u = s.a * layer.step, step_v = s.b * layer.step;
    Places places;
    places.resize(layer.width);
    std::vector<float> weights(layer.width);
    std::vector<Four> paint(layer.width);

    const auto run = [&](int row, int column, int end, double x, double y) {  // columns a step apart from (x, y)
        const double u = s.a * x - s.b * y + s.shift_u, v = s.b * x + s.a * y + s.shift_v;
        int first = 0, last = end - column;
        narrow(u, step_u, border, o.width - border, &first, &last);
        narrow(v, step_v, border, o.height - border, &first, &last);
        const int count = last - first;
        if (count <= 0) return;
        const double begin_u = u + first * step_u, begin_v = v + first * step_v;
        std::fill_n(weights.begin(), count, float(opacity));
        weights_along(begin_u, step_u, count, border, pasting.feather, o.width, weights.data());
        weights_along(begin_v, step_v, count, border, pasting.feather, o.height, weights.data());
        if (support <= 1) {
            places_along(begin_u, step_u, count, o.width, places.left.data(), places.right.data(),
                         places.across.data());
            places_along(begin_v, step_v, count, o.height, places.above.data(), places.below.data(),
                         places.down.data());
        }
        for (int k = 0; k < count; ++k) {
            if (weights[k] == 0) continue;
            paint[k] = support <= 1 ? bilinear_paint(coded_.data(), o.width, places, k)
                                    : gather(begin_u + k * step_u, begin_v + k * step_v, support);
        }
        for (int c = 0; c < layer.channels; ++c)
            blend(paint.data(), layer.first_channel + c, weights.data(), count, pixel,
                  plane_of(layer, destination, c).row(row) + ptrdiff_t(column + first) * pixel +
                      (layer.interleaved ? c : 0));
    };
    const auto place_x = [&](int column) { return sample_position(column, layer.step, layer.cosited_columns); };
    // The last column may be the one that is sited beyond the frame.
    const bool odd = place_x(layer.width - 1) > o.frame_width - 0.5;
    for (int row = first_row; row < end_row; ++row) {
        const double y = std::min(sample_position(row, layer.step, layer.cosited_rows), o.frame_height - 0.5);
        run(row, 0, layer.width - odd, place_x(0), y);
        if (odd) run(row, layer.width - 1, layer.width, o.frame_width - 0.5, y);
    }
}

}  // namespace ganlens
