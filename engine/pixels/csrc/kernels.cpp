#include "kernels.h"

#include <algorithm>
#include <cmath>

namespace ganlens {
namespace {

std::vector<double> coordinates(int count, double origin, double step, const Layer& layer, bool cosited) {
    std::vector<double> out(count);
    for (int i = 0; i < count; ++i) out[i] = sample_coordinate(origin + (i + 0.5) * step, layer.step, cosited);
    return out;
}

// Positions of the samples of a layer inside [begin, begin + length), and the index of the first of them.
struct Span {
    int first = 0;
    std::vector<double> positions;
    Span(int count, int frame_length, int step, bool cosited, double begin, double length) {
        for (int k = 0; k < count; ++k) {
            // A chroma sample may be sited beyond the frame where its size is odd.
            const double position = std::min(sample_position(k, step, cosited), frame_length - 0.5);
            if (position < begin || position >= begin + length) continue;
            if (positions.empty()) first = k;
            positions.push_back(position);
        }
    }
    std::vector<double> to_tensor(double begin, double scale) const {
        std::vector<double> out;
        for (double position : positions) out.push_back((position - begin) * scale);
        return out;
    }
};

Row scratch(int count) { return Row(size_t(count) + kSlack); }

}  // namespace

std::vector<Layer> Options::layers() const {
    if (format == Format::rgb24) return {{0, 3, 0, true, frame_height, frame_width, 1, false, false}};
    return {{0, 1, 0, false, frame_height, frame_width, 1, false, false},
            {1, 2, 1, format == Format::nv12, (frame_height + 1) / 2, (frame_width + 1) / 2, 2,
             siting == Siting::topleft, siting != Siting::center}};
}

// ------------------------------------------------------------------------------------------------ prepare

Prepare::Prepare(const Options& o) : options(o) {
    // Frame samples to the tensor's values: through R'G'B' in 0..255.
    affine_ = o.format == Format::rgb24 ? identity() : ycbcr_to_rgb(o.matrix, o.full_range);
    const float gain = (o.high - o.low) / 255;
    for (int i = 0; i < 3; ++i) {
        for (float& factor : affine_.m[i]) factor *= gain;
        affine_.b[i] = affine_.b[i] * gain + o.low;
    }
    const double step_y = o.region_height / o.height, step_x = o.region_width / o.width;
    for (const Layer& layer : o.layers()) {
        Part part{
            layer,
            Axis(coordinates(o.height, o.top, step_y, layer, layer.cosited_rows), step_y / layer.step, layer.height),
            Axis(coordinates(o.width, o.left, step_x, layer, layer.cosited_columns), step_x / layer.step, layer.width),
            {},
            {},
            {}};
        const int columns = part.across.end() - part.across.begin();
        part.mixed = scratch(columns * layer.channels);
        for (Row& row : part.samples) row = scratch(columns);
        window_.resize(std::max(window_.size(), size_t(part.down.taps())));
        parts_.push_back(std::move(part));
    }
    for (Part& part : parts_)
        part.resampler =
            part.across.resampler(part.across.begin(), true, float(1 << kPrepareShift) / float(part.down.unit()));
    for (Row& row : scratch_) row = scratch(o.width);
}

// One row of a plane, mixed vertically, its channels apart.
void Prepare::mix(Part& part, const Plane& plane, int output, int channels, int16_t* const* samples) {
    const Rows& rows = *options.rows;
    Taps taps = part.down.weights(output);
    int first = part.down.first(output);
    for (; taps.count > 1 && *taps.weight == 0; ++first) taps.drop_first();
    while (taps.count > 1 && taps.weight[taps.count - 1] == 0) --taps.count;

    const int begin = part.across.begin(), columns = part.across.end() - begin;
    for (int k = 0; k < taps.count; ++k) window_[k] = plane.row(first + k) + ptrdiff_t(begin) * channels;
    Ahead ahead{nullptr, plane.stride, 0};
    if (output + 1 < part.down.count()) {
        const int next = part.down.last(output) + 1;
        ahead.row = plane.row(next) + ptrdiff_t(begin) * channels;
        ahead.rows = part.down.last(output + 1) + 1 - next;
    }
    if (channels == 1) {
        rows.mix_bytes(window_.data(), taps, columns, samples[0], ahead);
    } else {
        rows.mix_bytes(window_.data(), taps, columns * channels, part.mixed.data(), ahead);
        rows.split(part.mixed.data(), channels, columns, samples);
    }
}

void Prepare::operator()(const Planes& planes, float* out) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const Options& o = options;
    const size_t area = size_t(o.height) * o.width;
    int16_t *samples[3], *scratch[3];
    const Resampler* resamplers[3];
    for (Part& part : parts_)
        for (int c = 0; c < part.layer.channels; ++c) {
            const int channel = part.layer.first_channel + c;
            samples[channel] = part.samples[c].data();
            scratch[channel] = scratch_[channel].data();
            resamplers[channel] = &part.resampler;
        }
    for (int y = 0; y < o.height; ++y) {
        for (Part& part : parts_) {
            const Layer& layer = part.layer;
            int16_t* const* const to = samples + layer.first_channel;
            if (layer.interleaved) {
                mix(part, planes[layer.first_plane], y, layer.channels, to);
            } else {
                for (int c = 0; c < layer.channels; ++c) mix(part, planes[layer.first_plane + c], y, 1, to + c);
            }
        }
        float* row[3];
        for (int c = 0; c < 3; ++c) row[o.bgr ? 2 - c : c] = out + c * area + size_t(y) * o.width;
        o.rows->to_floats(samples, resamplers, affine_, o.low, o.high, scratch, row);
    }
}

// ------------------------------------------------------------------------------------------------ compose

Compose::Compose(const Options& o, const Blending& b) : options(o), blending(b) {
    const bool rgb = o.format == Format::rgb24;
    const double gain = 255 / (double(o.high) - o.low);

    coding_ = {o.low, o.high, rgb ? identity() : rgb_to_ycbcr(o.matrix, o.full_range), {}, 0, rgb};
    const Affine luma = rgb_to_ycbcr(o.matrix, o.full_range || rgb);
    for (int i = 0; i < 3; ++i) {
        double bias = coding_.affine.b[i];
        for (float& factor : coding_.affine.m[i]) {
            factor = float(factor * gain);
            bias -= double(factor) * o.low;
        }
        coding_.affine.b[i] = float(bias);
    }
    double bias = luma.b[0];
    for (int j = 0; j < 3; ++j) {
        detail_[j] = luma.m[0][j] * gain;
        bias -= detail_[j] * o.low;
        luma_[j] = rgb ? double(luma.m[0][j]) : 1.0;
    }
    bias_ = bias;

    const double scale_y = o.height / o.region_height, scale_x = o.width / o.region_width;
    int widest = 0;
    size_t most_taps = 2;
    for (const Layer& layer : o.layers()) {
        const Span rows(layer.height, o.frame_height, layer.step, layer.cosited_rows, o.top, o.region_height);
        const Span columns(layer.width, o.frame_width, layer.step, layer.cosited_columns, o.left, o.region_width);
        if (rows.positions.empty() || columns.positions.empty()) continue;
        Part part{layer,
                  rows.first,
                  columns.first,
                  Axis(rows.to_tensor(o.top, scale_y), scale_y * layer.step, o.height),
                  Axis(columns.to_tensor(o.left, scale_x), scale_x * layer.step, o.width),
                  {},
                  {},
                  {},
                  0,
                  0,
                  layer.first_channel == 0,
                  {},
                  0};
        for (double y : rows.positions)
            part.row_ramp.push_back(ramp(y - o.top, b.feather[0]) * ramp(o.top + o.region_height - y, b.feather[1]));
        const int count = part.across.count();
        part.column_ramp = scratch(count);
        part.ramp_begin = count;
        for (int i = 0; i < count; ++i) {
            const double x = columns.positions[i];
            const double weight = ramp(x - o.left, b.feather[2]) * ramp(o.left + o.region_width - x, b.feather[3]);
            part.column_ramp[i] = weight_parts(weight);
            if (weight < 1 && (x - o.left < b.feather[2])) part.ramp_end = i + 1;
        }
        while (part.ramp_begin > part.ramp_end &&
               o.left + o.region_width - columns.positions[part.ramp_begin - 1] < b.feather[3])
            --part.ramp_begin;
        for (int c = 0; c < 4; ++c)
            if (c == 3 || c < layer.channels) part.ring[c].assign(part.down.taps(), scratch(count + 16));
        widest = std::max(widest, count);
        most_taps = std::max(most_taps, size_t(part.down.taps()));
        parts_.push_back(std::move(part));
    }
    for (Part& part : parts_) part.resampler = part.across.resampler(0, false);
    window_.resize(most_taps);
    for (int c = 0; c < 4; ++c) {
        samples_[c] = scratch(o.width);
        mixed_[c] = scratch(widest);
    }
    weights_ = scratch(widest);
    added_ = scratch(widest);
}

Compose::Strength Compose::strength(double detail, double opacity) const {
    Strength s{coding_, {}, detail, opacity};
    for (int j = 0; j < 3; ++j) {
        s.coding.detail[j] = float(detail * detail_[j]);
        s.luma_factors[j] = weight_parts(detail * luma_[j]);
    }
    s.coding.detail_bias = float(detail * bias_);
    return s;
}

void Compose::operator()(const float* translated, const Planes& destination, const float* mask, const float* prepared,
                         const Planes& source, double detail, double opacity) {
    const std::lock_guard<std::mutex> lock(mutex_);
    strength_ = strength(detail, opacity);
    const Options& o = options;
    const size_t area = size_t(o.height) * o.width;
    int16_t* const samples[3] = {samples_[0].data(), samples_[1].data(), samples_[2].data()};
    for (Part& part : parts_) part.next = 0;

    for (int y = 0; y < o.height; ++y) {
        bool needed = false;
        for (const Part& part : parts_)
            needed = needed || (part.next < part.down.count() && part.down.first(part.next) <= y);
        if (!needed) continue;

        const float *in[3], *original[3];
        for (int c = 0; c < 3; ++c) {
            const size_t offset = (o.bgr ? 2 - c : c) * area + size_t(y) * o.width;
            in[c] = translated + offset;
            original[c] = prepared ? prepared + offset : nullptr;
        }
        o.rows->to_samples(in, prepared ? original : nullptr, strength_.coding, o.width, samples);
        if (mask) o.rows->to_weights(mask + size_t(y) * o.width, o.width, samples_[3].data());

        for (Part& part : parts_) {
            if (part.next == part.down.count() || part.down.first(part.next) > y) continue;
            add(part, y, mask != nullptr);
            for (; part.next < part.down.count() && part.down.last(part.next) <= y; ++part.next)
                write(part, part.next, destination, source, mask != nullptr);
        }
    }
}

// Resample a row of the generator's samples horizontally into the ring of a part.
void Compose::add(Part& part, int row, bool masked) {
    const int slot = row % part.down.taps();
    const int16_t* in[4];
    int16_t* out[4];
    int rows = 0;
    for (int c = 0; c < 4; ++c) {
        if (c == 3 ? !masked : c >= part.layer.channels) continue;
        in[rows] = samples_[c == 3 ? 3 : part.layer.first_channel + c].data();
        out[rows++] = part.ring[c][slot].data();
    }
    options.rows->resample(in, rows, part.resampler, out);
}

void Compose::write(Part& part, int row, const Planes& destination, const Planes& source, bool masked) {
    const Rows& rows = *options.rows;
    const double row_factor = strength_.row_factor(part, row);
    if (row_factor == 0) return;
    const Layer& layer = part.layer;
    const Taps taps = part.down.weights(row);
    const int first = part.down.first(row), ring = part.down.taps(), count = part.across.count();

    // Up to two rows are mixed while they are written; more of them before.
    const int16_t *above[4] = {}, *below[4] = {};
    const int16_t lerp = taps.count == 2 ? weight_parts(taps.weight[1]) : int16_t(0);
    for (int c = 0; c < 4; ++c) {
        if (c == 3 ? !masked : c >= layer.channels) continue;
        if (taps.count <= 2) {
            above[c] = part.ring[c][first % ring].data();
            below[c] = part.ring[c][(first + taps.count - 1) % ring].data();
        } else {
            for (int k = 0; k < taps.count; ++k) window_[k] = part.ring[c][(first + k) % ring].data();
            rows.mix_samples(window_.data(), taps, count, mixed_[c].data());
            above[c] = below[c] = mixed_[c].data();
        }
    }

    const int y = part.top + row;
    const ptrdiff_t offset = ptrdiff_t(part.left) * (layer.interleaved ? layer.channels : 1);
    const bool detailed = strength_.detailed(part);
    if (detailed)
        rows.luma(source[layer.first_plane].row(y) + offset, layer.channels, strength_.luma_factors, count,
                  added_.data());
    const int16_t* weights = nullptr;
    if (masked || row_factor < 1) {
        rows.mix_weights(above[3], below[3], lerp, part.column_ramp.data(), weight_parts(row_factor), count,
                         weights_.data());
        weights = weights_.data();
    }
    Store store;  // without initial values, which would cost more than a short row
    store.lerp = lerp;
    store.detail = detailed ? added_.data() : nullptr;
    store.channels = layer.interleaved ? layer.channels : 1;
    const int planes = layer.interleaved ? 1 : layer.channels;
    for (int plane = 0; plane < planes; ++plane) {
        store.row = destination[layer.first_plane + plane].row(y) + offset;
        // Regions end in the middle of rows, where hardware prefetchers lose the track.
        store.ahead =
            row + 1 < part.down.count() ? destination[layer.first_plane + plane].row(y + 1) + offset : nullptr;
        for (int c = 0; c < store.channels; ++c) store.above[c] = above[plane + c], store.below[c] = below[plane + c];
        blend(part, store, weights);
    }
}

// Write a row; without weights of its own it has those of the columns, and is not read where they are 1.
void Compose::blend(const Part& part, Store store, const int16_t* weights) {
    int at = 0;
    const auto columns = [&](int end, const int16_t* blend) {
        store.count = end - at;
        store.blend = blend ? blend + at : nullptr;
        if (store.count) options.rows->store(store);
        at = end;
        store.row += ptrdiff_t(store.count) * store.channels;
        if (store.ahead) store.ahead += ptrdiff_t(store.count) * store.channels;
        for (int c = 0; c < store.channels; ++c) store.above[c] += store.count, store.below[c] += store.count;
        if (store.detail) store.detail += store.count;
    };
    const int count = part.across.count();
    if (weights) return columns(count, weights);
    columns(part.ramp_end, part.column_ramp.data());
    columns(part.ramp_begin, nullptr);
    columns(count, part.column_ramp.data());
}

}  // namespace ganlens
