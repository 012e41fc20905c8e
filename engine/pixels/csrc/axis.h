// Resampling along one axis: which inputs, with which weights, make each output.
#pragma once

#include <vector>

#include "rows.h"

namespace ganlens {

class Axis {
  public:
    // centres: where the outputs lie among `length` inputs, of which input k lies at k + 0.5, rising.
    // scale: inputs per output; the triangle filter reaches max(1, scale) inputs to each side. Inputs before the first
    // and after the last are replicas of these.
    Axis(const std::vector<double>& centres, double scale, int length);

    int count() const { return count_; }
    int taps() const { return taps_; }
    int first(int output) const { return first_[output]; }
    int last(int output) const { return first_[output] + taps_ - 1; }
    Taps weights(int output) const {
        const size_t at = size_t(output) * taps_;
        return {&weight_[at], &fixed_[at], exact_.empty() ? nullptr : &exact_[at], unit_, taps_};
    }
    // The inputs in use are [begin(), end()).
    int begin() const { return first_.front(); }
    int end() const { return first_.back() + taps_; }

    // The parts in which Rows::mix_bytes gives its sums.
    int unit() const { return unit_; }

    // Tables for a row whose element 0 is input `origin`; they live as long as this object. `to_floats`: for
    // Rows::to_floats, which takes pairs where Rows::resample is faster with lerp. All weights are multiplied by
    // `gain`.
    Resampler resampler(int origin, bool to_floats, float gain = 1);

  private:
    void find_exact_weights(const std::vector<std::vector<double>>& weights);
    bool make_groups(int size, int bytes, int reach, int origin);
    bool advances_by(int step) const;
    int16_t weight_16384(int output, int tap) const;

    int count_, taps_, unit_;
    std::vector<int> first_;
    std::vector<float> weight_;
    std::vector<uint16_t> fixed_;
    std::vector<uint8_t> exact_;
    std::vector<int> relative_, base_;
    std::vector<uint8_t> control_;
    std::vector<int16_t> table_;
};

}  // namespace ganlens
