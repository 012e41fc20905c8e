#include "axis.h"

#include <algorithm>
#include <cmath>

namespace ganlens {

Axis::Axis(const std::vector<double>& centres, double scale, int length)
    : count_(int(centres.size())), taps_(1), unit_(1 << kPrepareShift) {
    const double support = std::max(1.0, scale);
    std::vector<std::vector<double>> weights(count_);
    first_.resize(count_);
    for (int i = 0; i < count_; ++i) {
        const double low = std::floor(centres[i] - support), high = std::ceil(centres[i] + support);
        const int begin = int(clip(low, 0.0, length - 1.0)), end = int(clip(high, 0.0, length - 1.0)) + 1;
        std::vector<double>& w = weights[i];
        w.assign(end - begin, 0);
        double sum = 0;
        for (double k = low; k <= high; ++k) {
            const double weight = triangle(k + 0.5 - centres[i], support);
            w[int(clip(k, double(begin), end - 1.0)) - begin] += weight;
            sum += weight;
        }
        for (double& weight : w) weight /= sum;
        first_[i] = begin;
        while (w.size() > 1 && w.back() == 0) w.pop_back();
        while (w.size() > 1 && w.front() == 0) {
            w.erase(w.begin());
            ++first_[i];
        }
        taps_ = std::max(taps_, int(w.size()));
    }
    find_exact_weights(weights);
    weight_.assign(size_t(count_) * taps_, 0);
    fixed_.assign(size_t(count_) * taps_, 0);
    for (int i = 0; i < count_; ++i) {
        const int shift = std::max(0, first_[i] + taps_ - length);  // keep the window inside the row
        first_[i] -= shift;
        if (!exact_.empty())
            for (size_t k = 0; k < weights[i].size(); ++k)
                exact_[size_t(i) * taps_ + shift + k] = uint8_t(std::lround(weights[i][k] * unit_));
        int rest = 32768, largest = 0;
        for (size_t k = 0; k < weights[i].size(); ++k) {
            const size_t at = size_t(i) * taps_ + shift + k;
            weight_[at] = float(weights[i][k]);
            fixed_[at] = uint16_t(std::lround(weights[i][k] * 32768));
            rest -= fixed_[at];
            if (weights[i][k] > weights[i][largest]) largest = int(k);
        }
        fixed_[size_t(i) * taps_ + shift + largest] = uint16_t(fixed_[size_t(i) * taps_ + shift + largest] + rest);
    }
}

// Simple ratios of sizes have weights that are whole numbers of a part of which 128 or fewer make 1: the sums are then
// exact with weights of 7 bits. Leaves `exact_` empty if the weights are not such.
void Axis::find_exact_weights(const std::vector<std::vector<double>>& weights) {
    const auto fits = [&](int unit) {
        for (const std::vector<double>& row : weights)
            for (double weight : row)
                if (weight * unit > 127.5 || std::abs(weight * unit - std::round(weight * unit)) > 1e-6) return false;
        return true;
    };
    for (int unit = 1 << kPrepareShift; unit > 64 && taps_ > 1; --unit) {  // one at or below 64 has a multiple above
        if (!fits(unit)) continue;
        unit_ = unit;
        exact_.assign(size_t(count_) * taps_, 0);
        return;
    }
}

bool Axis::advances_by(int step) const {
    for (int i = 1; i < count_; ++i)
        if (first_[i] != first_[i - 1] + step) return false;
    return true;
}

int16_t Axis::weight_16384(int output, int tap) const {
    return tap < taps_ ? int16_t(std::lround(weight_[size_t(output) * taps_ + tap] * 16384)) : int16_t(0);
}

// Groups of `size` outputs whose first inputs differ by at most `reach`, shuffled by `bytes` (an int16, or a pair of
// them) each; false if there is a group that does not.
bool Axis::make_groups(int size, int bytes, int reach, int origin) {
    const int groups = (count_ + 15) / 16 * 16 / size;
    base_.resize(groups);
    control_.resize(size_t(groups) * size * bytes);
    for (int g = 0; g < groups; ++g) {
        const int start = std::min(g * size, count_ - 1);
        base_[g] = first_[start] - origin;
        for (int j = 0; j < size; ++j) {
            const int output = std::min(g * size + j, count_ - 1), offset = first_[output] - first_[start];
            if (offset > reach) return false;
            for (int b = 0; b < bytes; ++b) control_[size_t(g * size + j) * bytes + b] = uint8_t(2 * offset + b);
        }
    }
    return true;
}

Resampler Axis::resampler(int origin, bool to_floats, float gain) {
    for (float& weight : weight_) weight *= gain;
    Resampler r{};
    r.count = count_;
    r.taps = taps_;
    r.weight = weight_.data();
    relative_ = first_;
    for (int& first : relative_) first -= origin;
    const int padded = (count_ + 15) / 16 * 16;  // whole vectors of outputs
    relative_.resize(padded, relative_.back());
    r.first = relative_.data();
    const bool lerp = !to_floats && taps_ <= 2, near = lerp && make_groups(16, 2, 6, origin);
    if (near || (lerp && make_groups(8, 2, 7, origin))) {
        r.kind = near ? Resampler::Kind::near : Resampler::Kind::lerp;
        r.groups = int(base_.size());
        table_.assign(size_t(padded), 0);
        for (int i = 0; i < count_ && taps_ == 2; ++i)
            table_[i] = int16_t(std::lround(weight_[size_t(i) * 2 + 1] * 32767));
    } else if (taps_ <= 6 && make_groups(4, 4, 6, origin)) {
        r.kind = taps_ == 1 && advances_by(1) ? Resampler::Kind::ones
                 : advances_by(2)             ? Resampler::Kind::twos
                                              : Resampler::Kind::pairs;
        r.groups = int(base_.size());
        r.fixed_taps = (taps_ + 1) / 2 * 2;
        table_.assign(size_t(r.groups) * 4 * r.fixed_taps, 0);
        for (int i = 0; i < count_; ++i)
            for (int k = 0; k < taps_; ++k)
                table_[size_t(k / 2) * r.groups * 8 + size_t(i) * 2 + k % 2] = weight_16384(i, k);
    } else if (taps_ <= kMaxFixedTaps) {
        r.kind = Resampler::Kind::dot;
        r.fixed_taps = (taps_ + 7) / 8 * 8;
        table_.assign(size_t(padded) * r.fixed_taps, 0);
        for (int i = 0; i < count_; ++i)
            for (int k = 0; k < taps_; ++k) {
                const size_t half = size_t(i / 8 * 4 + i % 4) * r.fixed_taps / 8 + k / 8;
                table_[half * 16 + i / 4 % 2 * 8 + k % 8] = weight_16384(i, k);
            }
    } else {
        r.kind = Resampler::Kind::general;
    }
    r.base = base_.data();
    r.control = control_.data();
    r.fixed = table_.data();
    return r;
}

}  // namespace ganlens
