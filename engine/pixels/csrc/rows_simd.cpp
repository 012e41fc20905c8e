// The row operations with AVX2; SIMDe turns the same source into NEON where that is the architecture's baseline, and a
// second build of it for AVX-512 has twice the registers, and so fewer loads.
// The results equal the scalar ones but for the last bits: sums of weights are made in int16 and int32 here.
#include "rows.h"

#if defined(__AVX2__) || defined(__aarch64__)

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx2.h>
#include <simde/x86/fma.h>
#include <string.h>

// Where a call would pass vectors through memory.
#define GANLENS_INLINE inline __attribute__((always_inline))

namespace ganlens {
namespace {

// ---------------------------------------------------------------------------------------------- loads and stores

__m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
void save(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

// 16 bytes from one place and 16 from another
__m256i load2(const void* low, const void* high) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(low))),
                                   _mm_loadu_si128(static_cast<const __m128i*>(high)), 1);
}
void save2(void* low, void* high, __m256i v) {
    _mm_storeu_si128(static_cast<__m128i*>(low), _mm256_castsi256_si128(v));
    _mm_storeu_si128(static_cast<__m128i*>(high), _mm256_extracti128_si256(v, 1));
}

__m256i repeat(const void* p) { return _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(p))); }

// a + w * (b - a), w in 32767 parts
__m256i lerp(__m256i a, __m256i b, __m256i w) {
    return _mm256_add_epi16(a, _mm256_mulhrs_epi16(_mm256_sub_epi16(b, a), w));
}

__m256i pack(__m256i a, __m256i b) { return _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8); }

__m256i widen(const uint8_t* p) { return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }

// ---------------------------------------------------------------------------------------------- colours

// A clipped affine map of 8 pixels at once.
template <bool diagonal>
class Colors {
  public:
    Colors(const Affine& affine, float in_scale, float out_scale, float out_bias) {
        for (int c = 0; c < 3; ++c) {
            for (int j = 0; j < 3; ++j) m_[c][j] = _mm256_set1_ps(affine.m[c][j] * in_scale * out_scale);
            b_[c] = _mm256_set1_ps(affine.b[c] * out_scale + out_bias);
        }
    }
    __m256 operator()(int c, const __m256* v) const {
        if (diagonal) return _mm256_fmadd_ps(v[c], m_[c][c], b_[c]);
        __m256 sum = _mm256_fmadd_ps(v[0], m_[c][0], b_[c]);
        sum = _mm256_fmadd_ps(v[1], m_[c][1], sum);
        return _mm256_fmadd_ps(v[2], m_[c][2], sum);
    }

  private:
    __m256 m_[3][3], b_[3];
};

__m256 limit(__m256 v, __m256 low, __m256 high) { return _mm256_min_ps(_mm256_max_ps(v, low), high); }

// ---------------------------------------------------------------------------------------------- 3 channels

// Of 8 (int16) or 16 (bytes) pixels r g b r g b ... in three 128-bit vectors, element e of each holds another channel;
// the elements of one channel, taken from the three vectors by two blends, form a permutation of the pixels.
struct Byte3 {
    uint8_t mask[3][16];    // 255 where vector v holds channel (c): mask[(c - v) mod 3]
    uint8_t gather[3][16];  // pixel order from the blend of channel c
    uint8_t spread[3][16];  // the reverse
};

constexpr Byte3 make_byte3() {
    Byte3 t{};
    for (int i = 0; i < 16; ++i)
        for (int c = 0; c < 3; ++c) {
            // Byte i of vector v is byte 16 v + i of the pixels, of channel (v + i) mod 3.
            t.mask[c][i] = i % 3 == c ? 255 : 0;
            const int at = (3 * i + c) % 16;  // where channel c of pixel i lies in the blend
            t.gather[c][i] = uint8_t(at);
            t.spread[c][at] = uint8_t(i);
        }
    return t;
}
constexpr Byte3 byte3 = make_byte3();

struct Vectors3 {
    __m256i v[3];
};

// Swap between three vectors of interleaved bytes and three of blends, one per channel. The same blends do both ways:
// channel c comes from vector v where (v + i) mod 3 == c.
GANLENS_INLINE Vectors3 rotate_in(const __m256i* in) {
    const __m256i m1 = repeat(byte3.mask[1]), m2 = repeat(byte3.mask[2]);
    const auto pick = [&](__m256i at0, __m256i at1, __m256i at2) {  // by i mod 3
        return _mm256_blendv_epi8(_mm256_blendv_epi8(at0, at1, m1), at2, m2);
    };
    // Byte i belongs to channel c in vector v = (c - i) mod 3.
    return {{pick(in[0], in[2], in[1]), pick(in[1], in[0], in[2]), pick(in[2], in[1], in[0])}};
}

GANLENS_INLINE Vectors3 rotate_out(const __m256i* in) {
    const __m256i m1 = repeat(byte3.mask[1]), m2 = repeat(byte3.mask[2]);
    const auto pick = [&](__m256i at0, __m256i at1, __m256i at2) {
        return _mm256_blendv_epi8(_mm256_blendv_epi8(at0, at1, m1), at2, m2);
    };
    // Byte i of vector v comes from channel (v + i) mod 3.
    return {{pick(in[0], in[1], in[2]), pick(in[1], in[2], in[0]), pick(in[2], in[0], in[1])}};
}

// 32 pixels of 3 bytes to a vector per channel, and back.
GANLENS_INLINE Vectors3 load_rgb(const uint8_t* p) {
    const __m256i in[3] = {load2(p, p + 48), load2(p + 16, p + 64), load2(p + 32, p + 80)};
    Vectors3 out = rotate_in(in);
    for (int c = 0; c < 3; ++c) out.v[c] = _mm256_shuffle_epi8(out.v[c], repeat(byte3.gather[c]));
    return out;
}

GANLENS_INLINE void save_rgb(uint8_t* p, const __m256i* channels) {
    __m256i spread[3];
    for (int c = 0; c < 3; ++c) spread[c] = _mm256_shuffle_epi8(channels[c], repeat(byte3.spread[c]));
    const Vectors3 out = rotate_out(spread);
    for (int v = 0; v < 3; ++v) save2(p + 16 * v, p + 48 + 16 * v, out.v[v]);
}

// ---------------------------------------------------------------------------------------------- prepare

// block(at) for 32 samples each; the last block may overlap the one before.
template <class Block>
void each_32(int count, Ahead ahead, const Block& block) {
    int at = 0;
    for (; at + 64 <= count; at += 64) {
        ahead.fetch(at);
        block(at);
        block(at + 32);
    }
    ahead.fetch(at);
    if (at + 32 <= count) block(at);
    if (count % 32) block(count - 32);
}

// `known`: the number of rows, whose weights then stay in registers; 0: any number.
template <int known>
void mix_bytes_row(const uint8_t* const* rows, const Taps& taps, int count, int16_t* out, const Ahead& ahead) {
    const int taps_count = known ? known : taps.count;
    const uint8_t* row[known ? known : kMaxFixedTaps];  // a copy, which writes of samples cannot change
    __m256i weights[known ? known : kMaxFixedTaps];
    for (int k = 0; k < taps_count; ++k) {
        row[k] = rows[k];
        weights[k] = _mm256_set1_epi16(int16_t(taps.fixed[k]));
    }
    const __m256i zero = _mm256_setzero_si256();
    // Each product is cut off, by half a unit on average.
    const __m256i bias = _mm256_set1_epi16(int16_t(taps_count / 2));
    each_32(count, ahead, [&](int at) {
        __m256i low = bias, high = bias;
        for (int k = 0; k < taps_count; ++k) {
            // A byte in the upper half times 32768 parts, upper half of the product: * 128.
            const __m256i bytes = load(row[k] + at);
            low = _mm256_add_epi16(low, _mm256_mulhi_epu16(_mm256_unpacklo_epi8(zero, bytes), weights[k]));
            high = _mm256_add_epi16(high, _mm256_mulhi_epu16(_mm256_unpackhi_epi8(zero, bytes), weights[k]));
        }
        save2(out + at, out + at + 16, low);
        save2(out + at + 8, out + at + 24, high);
    });
}

// The same with exact 8-bit weights, two rows at once.
template <int known>
void mix_bytes_exact(const uint8_t* const* rows, const Taps& taps, int count, int16_t* out, const Ahead& ahead) {
    const int taps_count = known ? known : taps.count;
    const uint8_t* row[known ? known : kMaxFixedTaps];
    __m256i weights[known ? (known + 1) / 2 : kMaxFixedTaps / 2];
    for (int k = 0; k < taps_count; ++k) row[k] = rows[k];
    for (int k = 0; k < taps_count; k += 2)
        weights[k / 2] = _mm256_set1_epi16(int16_t(taps.exact[k] | (k + 1 < taps_count ? taps.exact[k + 1] << 8 : 0)));
    each_32(count, ahead, [&](int at) {
        __m256i low = _mm256_setzero_si256(), high = low;
        for (int k = 0; k < taps_count; k += 2) {
            const __m256i a = load(row[k] + at), b = k + 1 < taps_count ? load(row[k + 1] + at) : a;
            low = _mm256_add_epi16(low, _mm256_maddubs_epi16(_mm256_unpacklo_epi8(a, b), weights[k / 2]));
            high = _mm256_add_epi16(high, _mm256_maddubs_epi16(_mm256_unpackhi_epi8(a, b), weights[k / 2]));
        }
        save2(out + at, out + at + 16, low);
        save2(out + at + 8, out + at + 24, high);
    });
}

template <int known>
void mix_bytes_known(const uint8_t* const* rows, const Taps& taps, int count, int16_t* out, const Ahead& ahead) {
    taps.exact ? mix_bytes_exact<known>(rows, taps, count, out, ahead)
               : mix_bytes_row<known>(rows, taps, count, out, ahead);
}

void mix_bytes(const uint8_t* const* rows, const Taps& taps, int count, int16_t* out, const Ahead& ahead) {
    if (taps.count > kMaxFixedTaps || count < 32) return scalar_rows().mix_bytes(rows, taps, count, out, ahead);
    switch (taps.count) {
        case 1:
            return mix_bytes_known<1>(rows, taps, count, out, ahead);
        case 2:
            return mix_bytes_known<2>(rows, taps, count, out, ahead);
        case 3:
            return mix_bytes_known<3>(rows, taps, count, out, ahead);
        case 4:
            return mix_bytes_known<4>(rows, taps, count, out, ahead);
        case 5:
            return mix_bytes_known<5>(rows, taps, count, out, ahead);
        case 6:
            return mix_bytes_known<6>(rows, taps, count, out, ahead);
        default:
            return mix_bytes_known<0>(rows, taps, count, out, ahead);
    }
}

void split(const int16_t* in, int channels, int count, int16_t* const* out) {
    if (channels == 2) {
        for (int i = 0; i < count; i += 16) {
            // (even, odd) pairs to 8 evens and 8 odds per lane, by sign-extending packs.
            const __m256i a = load(in + 2 * i), b = load(in + 2 * i + 16);
            const __m256i even = _mm256_packs_epi32(_mm256_srai_epi32(_mm256_slli_epi32(a, 16), 16),
                                                    _mm256_srai_epi32(_mm256_slli_epi32(b, 16), 16));
            const __m256i odd = _mm256_packs_epi32(_mm256_srai_epi32(a, 16), _mm256_srai_epi32(b, 16));
            save(out[0] + i, _mm256_permute4x64_epi64(even, 0xd8));
            save(out[1] + i, _mm256_permute4x64_epi64(odd, 0xd8));
        }
        return;
    }
    // Element e of 8-element vector v holds channel (2 v + e) mod 3; channel c of pixel p lies at (3 p + c) mod 8.
    const __m256i order0 = repeat("\0\1\6\7\14\15\2\3\10\11\16\17\4\5\12\13");
    const __m256i order1 = repeat("\2\3\10\11\16\17\4\5\12\13\0\1\6\7\14\15");
    const __m256i order2 = repeat("\4\5\12\13\0\1\6\7\14\15\2\3\10\11\16\17");
    for (int i = 0; i < count; i += 16) {
        const int16_t* p = in + 3 * i;
        const __m256i a = load2(p, p + 24), b = load2(p + 8, p + 32), c = load2(p + 16, p + 40);
        const __m256i red = _mm256_blend_epi16(_mm256_blend_epi16(a, b, 0x92), c, 0x24);
        const __m256i green = _mm256_blend_epi16(_mm256_blend_epi16(a, b, 0x24), c, 0x49);
        const __m256i blue = _mm256_blend_epi16(_mm256_blend_epi16(a, b, 0x49), c, 0x92);
        save(out[0] + i, _mm256_shuffle_epi8(red, order0));
        save(out[1] + i, _mm256_shuffle_epi8(green, order1));
        save(out[2] + i, _mm256_shuffle_epi8(blue, order2));
    }
}

// Between neighbours; `rows` rows share the tables.
template <int rows, bool near>
void resample_between(const int16_t* const* in, const Resampler& r, int16_t* const* out) {
    const int16_t *from[rows], *fixed = r.fixed;
    int16_t* to[rows];
    for (int c = 0; c < rows; ++c) from[c] = in[c], to[c] = out[c];
    const int *base = r.base, groups = r.groups;
    const __m256i next = _mm256_set1_epi8(2);
    for (int g = 0, at = 0; g < groups; g += near ? 1 : 2, at += 16) {
        const int low = base[g], high = base[near ? g : g + 1];
        const __m256i control = load(r.control + 2 * at), weights = load(fixed + at);
        const __m256i control_b = _mm256_add_epi8(control, next);
        for (int c = 0; c < rows; ++c) {
            const __m256i x = near ? repeat(from[c] + low) : load2(from[c] + low, from[c] + high);
            const __m256i y = near ? x : load2(from[c] + low + 1, from[c] + high + 1);
            save(to[c] + at,
                 lerp(_mm256_shuffle_epi8(x, control), _mm256_shuffle_epi8(y, near ? control_b : control), weights));
        }
    }
}

template <bool near>
void resample_lerp(const int16_t* const* in, int rows, const Resampler& r, int16_t* const* out) {
    switch (rows) {
        case 1:
            return resample_between<1, near>(in, r, out);
        case 2:
            return resample_between<2, near>(in, r, out);
        case 3:
            return resample_between<3, near>(in, r, out);
        default:
            return resample_between<4, near>(in, r, out);
    }
}

// Eight outputs from `at` on, a multiple of 8, in 16384 parts; their tables are loaded once for several rows of inputs.
template <int pairs>
class Gathered {
  public:
    explicit Gathered(const Resampler& r) : r_(r) {}
    template <int rows>
    GANLENS_INLINE void operator()(const int16_t* const* in, int at, __m256i* out) const {
        const int g = at / 4, low = r_.base[g], high = r_.base[g + 1];
        const __m256i control = load(r_.control + 16 * g);
        for (int c = 0; c < rows; ++c) out[c] = _mm256_setzero_si256();
        for (int p = 0; p < pairs; ++p) {
            const __m256i weights = load(r_.fixed + 8 * (p * r_.groups + g));
            for (int c = 0; c < rows; ++c) {
                const __m256i samples = _mm256_shuffle_epi8(load2(in[c] + low + 2 * p, in[c] + high + 2 * p), control);
                out[c] = _mm256_add_epi32(out[c], _mm256_madd_epi16(samples, weights));
            }
        }
    }

  private:
    const Resampler r_;
};

template <int pairs>
class Twos {
  public:
    explicit Twos(const Resampler& r) : r_(r), first_(r.first[0]) {}
    template <int rows>
    GANLENS_INLINE void operator()(const int16_t* const* in, int at, __m256i* out) const {
        for (int c = 0; c < rows; ++c) out[c] = _mm256_setzero_si256();
        for (int p = 0; p < pairs; ++p) {
            const __m256i weights = load(r_.fixed + 8 * p * r_.groups + 2 * at);
            for (int c = 0; c < rows; ++c)
                out[c] = _mm256_add_epi32(out[c], _mm256_madd_epi16(load(in[c] + first_ + 2 * (at + p)), weights));
        }
    }

  private:
    const Resampler r_;
    const int first_;
};

class Ones {
  public:
    explicit Ones(const Resampler& r) : fixed_(r.fixed), first_(r.first[0]) {}
    template <int rows>
    GANLENS_INLINE void operator()(const int16_t* const* in, int at, __m256i* out) const {
        const __m256i weights = load(fixed_ + 2 * at);
        for (int c = 0; c < rows; ++c) {
            const auto samples = reinterpret_cast<const __m128i*>(in[c] + first_ + at);
            out[c] = _mm256_madd_epi16(_mm256_cvtepi16_epi32(_mm_loadu_si128(samples)), weights);
        }
    }

  private:
    const int16_t* const fixed_;
    const int first_;
};

template <int fixed_taps>
class Dots {
  public:
    explicit Dots(const Resampler& r) : r_(r) {}
    template <int rows>
    GANLENS_INLINE void operator()(const int16_t* const* in, int at, __m256i* out) const {
        for (int c = 0; c < rows; ++c) {
            const __m256i a = _mm256_hadd_epi32(dot(in[c], at), dot(in[c], at + 1));
            const __m256i b = _mm256_hadd_epi32(dot(in[c], at + 2), dot(in[c], at + 3));
            out[c] = _mm256_hadd_epi32(a, b);
        }
    }

  private:
    // Products of the outputs i and i + 4.
    GANLENS_INLINE __m256i dot(const int16_t* in, int i) const {
        const int taps = fixed_taps ? fixed_taps : r_.fixed_taps;
        const int16_t *low = in + r_.first[i], *high = in + r_.first[i + 4];
        const int16_t* weights = r_.fixed + size_t(i / 8 * 4 + i % 4) * 2 * taps;
        __m256i total = _mm256_setzero_si256();
        for (int k = 0; k < taps; k += 8)
            total = _mm256_add_epi32(total, _mm256_madd_epi16(load2(low + k, high + k), load(weights + 2 * k)));
        return total;
    }
    const Resampler r_;
};

// use(eight), where `eight` computes eight outputs of this resampler; false if there is no such class, or from `use`.
template <class Use>
bool with_eight(const Resampler& r, const Use& use) {
    switch (r.kind) {
        case Resampler::Kind::ones:
            return use(Ones(r));
        case Resampler::Kind::twos:
            return r.fixed_taps == 2 ? use(Twos<1>(r)) : r.fixed_taps == 4 ? use(Twos<2>(r)) : use(Twos<3>(r));
        case Resampler::Kind::pairs:
            return r.fixed_taps == 2   ? use(Gathered<1>(r))
                   : r.fixed_taps == 4 ? use(Gathered<2>(r))
                                       : use(Gathered<3>(r));
        case Resampler::Kind::dot:
            return r.fixed_taps == 8 ? use(Dots<8>(r)) : r.fixed_taps == 16 ? use(Dots<16>(r)) : use(Dots<0>(r));
        default:
            return false;
    }
}

void resample(const int16_t* const* in, int rows, const Resampler& r, int16_t* const* out) {
    if (r.kind == Resampler::Kind::near) return resample_lerp<true>(in, rows, r, out);
    if (r.kind == Resampler::Kind::lerp) return resample_lerp<false>(in, rows, r, out);
    const bool done = with_eight(r, [&](const auto& eight) {
        for (int row = 0; row < rows; ++row) {
            const auto rounded = [&](int at) {
                __m256i sum;
                eight.template operator()<1>(in + row, at, &sum);
                return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(1 << 13)), 14);
            };
            for (int at = 0; at < r.count; at += 16) save(out[row] + at, pack(rounded(at), rounded(at + 8)));
        }
        return true;
    });
    if (!done) scalar_rows().resample(in, rows, r, out);
}

// 8 pixels at a time: eight(x, v) gives the samples from pixel x on, in `parts` of a value each.
template <bool diagonal, class Eight>
void color_row(const Eight& eight, float parts, const Affine& affine, float low, float high, int count,
               float* const* out) {
    const Colors<diagonal> color(affine, 1 / parts, 1, 0);
    const __m256 lowest = _mm256_set1_ps(low), highest = _mm256_set1_ps(high);
    float* const to[3] = {out[0], out[1], out[2]};
    int at = 0;
    __m256 v[3];
    for (; at + 8 <= count; at += 8) {
        eight(at, v);
        for (int c = 0; c < 3; ++c) _mm256_storeu_ps(to[c] + at, limit(color(c, v), lowest, highest));
    }
    if (at == count) return;
    eight(at, v);
    for (int c = 0; c < 3; ++c) {
        float end[8];
        _mm256_storeu_ps(end, limit(color(c, v), lowest, highest));
        memcpy(to[c] + at, end, sizeof(float) * (count - at));
    }
}

void to_floats(const int16_t* const* in, const Resampler* const* resamplers, const Affine& affine, float low,
               float high, int16_t* const* scratch, float* const* out) {
    constexpr int parts = 16384 << kPrepareShift;
    const int count = resamplers[0]->count;
    const int16_t* const from[3] = {in[0], in[1], in[2]};
    const auto to_float = [](const __m256i* sums, __m256* v) {
        for (int c = 0; c < 3; ++c) v[c] = _mm256_cvtepi32_ps(sums[c]);
    };
    bool done;
    if (is_diagonal(affine)) {  // R, G, B: resampled alike
        done = with_eight(*resamplers[0], [&](const auto& all) {
            const auto eight = [&](int at, __m256* v) {
                __m256i sums[3];
                all.template operator()<3>(from, at, sums);
                to_float(sums, v);
            };
            color_row<true>(eight, parts, affine, low, high, count, out);
            return true;
        });
    } else {  // Cb and Cr alike
        done = with_eight(*resamplers[0], [&](const auto& luma) {
            return with_eight(*resamplers[1], [&](const auto& chroma) {
                const auto eight = [&](int at, __m256* v) {
                    __m256i sums[3];
                    luma.template operator()<1>(from, at, sums);
                    chroma.template operator()<2>(from + 1, at, sums + 1);
                    to_float(sums, v);
                };
                color_row<false>(eight, parts, affine, low, high, count, out);
                return true;
            });
        });
    }
    if (done) return;
    for (int c = 0; c < 3; ++c) resample(in + c, 1, *resamplers[c], scratch + c);
    const auto eight = [&](int at, __m256* v) {
        for (int c = 0; c < 3; ++c)
            v[c] = _mm256_cvtepi32_ps(
                _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(scratch[c] + at))));
    };
    if (is_diagonal(affine))
        color_row<true>(eight, 1 << kPrepareShift, affine, low, high, count, out);
    else
        color_row<false>(eight, 1 << kPrepareShift, affine, low, high, count, out);
}

// ---------------------------------------------------------------------------------------------- compose

template <bool diagonal, bool detailed>
void to_samples_row(const float* const* in, const float* const* prepared, const Coding& coding, int count,
                    int16_t* const* out) {
    constexpr float unit = 1 << kComposeShift;
    const Colors<diagonal> color(coding.affine, 1, unit, kComposeHalf);
    const __m256 low = _mm256_set1_ps(coding.low), high = _mm256_set1_ps(coding.high);
    const __m256 detail_bias = _mm256_set1_ps(-coding.detail_bias * unit);
    const __m256 rest = _mm256_set1_ps(coding.detail_in_all ? 1.f : 0.f);
    __m256 factors[3];
    for (int c = 0; c < 3; ++c) factors[c] = _mm256_set1_ps(-coding.detail[c] * unit);
    int16_t* const to[3] = {out[0], out[1], out[2]};

    const auto eight = [&](const float* const* from, const float* const* original, int at, __m256i* result) {
        __m256 v[3], detail = detail_bias;
        for (int c = 0; c < 3; ++c) v[c] = limit(_mm256_loadu_ps(from[c] + at), low, high);
        if (detailed)
            for (int c = 0; c < 3; ++c)
                detail = _mm256_fmadd_ps(limit(_mm256_loadu_ps(original[c] + at), low, high), factors[c], detail);
        for (int c = 0; c < 3; ++c) {
            __m256 sum = color(c, v);
            if (detailed) sum = c == 0 ? _mm256_add_ps(sum, detail) : _mm256_fmadd_ps(detail, rest, sum);
            result[c] = _mm256_cvtps_epi32(sum);
        }
    };
    const auto block = [&](const float* const* from, const float* const* original, int from_at, int at) {
        __m256i a[3], b[3];
        eight(from, original, from_at, a);
        eight(from, original, from_at + 8, b);
        for (int c = 0; c < 3; ++c) save(to[c] + at, pack(a[c], b[c]));
    };
    int at = 0;
    for (; at + 16 <= count; at += 16) block(in, prepared, at, at);
    if (at == count) return;
    float end[2][3][16] = {};
    for (int c = 0; c < 3; ++c) {
        memcpy(end[0][c], in[c] + at, sizeof(float) * (count - at));
        if (detailed) memcpy(end[1][c], prepared[c] + at, sizeof(float) * (count - at));
    }
    const float* const ends[2][3] = {{end[0][0], end[0][1], end[0][2]}, {end[1][0], end[1][1], end[1][2]}};
    block(ends[0], ends[1], 0, at);
}

void to_samples(const float* const* in, const float* const* prepared, const Coding& coding, int count,
                int16_t* const* out) {
    if (is_diagonal(coding.affine))
        prepared ? to_samples_row<true, true>(in, prepared, coding, count, out)
                 : to_samples_row<true, false>(in, prepared, coding, count, out);
    else
        prepared ? to_samples_row<false, true>(in, prepared, coding, count, out)
                 : to_samples_row<false, false>(in, prepared, coding, count, out);
}

void to_weights(const float* in, int count, int16_t* out) {
    const __m256 one = _mm256_set1_ps(1), unit = _mm256_set1_ps(32767);
    const auto eight = [&](const float* p) {
        const __m256 v = _mm256_min_ps(_mm256_max_ps(_mm256_loadu_ps(p), _mm256_setzero_ps()), one);
        return _mm256_cvtps_epi32(_mm256_mul_ps(v, unit));
    };
    int at = 0;
    for (; at + 16 <= count; at += 16) save(out + at, pack(eight(in + at), eight(in + at + 8)));
    if (at < count) scalar_rows().to_weights(in + at, count - at, out + at);
}

void mix_samples(const int16_t* const* rows, const Taps& taps, int count, int16_t* out) {
    if (taps.count > 8) return scalar_rows().mix_samples(rows, taps, count, out);
    __m256i weights[8];
    for (int k = 0; k < taps.count; ++k) {
        const int weight = taps.fixed[k];
        weights[k] = _mm256_set1_epi16(int16_t(weight < 32767 ? weight : 32767));
    }
    for (int at = 0; at < count; at += 16) {
        __m256i sum = _mm256_mulhrs_epi16(load(rows[0] + at), weights[0]);
        for (int k = 1; k < taps.count; ++k)
            sum = _mm256_add_epi16(sum, _mm256_mulhrs_epi16(load(rows[k] + at), weights[k]));
        save(out + at, sum);
    }
}

void mix_weights(const int16_t* above, const int16_t* below, int16_t between, const int16_t* ramp, int16_t factor,
                 int count, int16_t* out) {
    const __m256i w = _mm256_set1_epi16(between), f = _mm256_set1_epi16(factor);
    for (int at = 0; at < count; at += 16) {
        __m256i weight = load(ramp + at);
        if (above) weight = _mm256_mulhrs_epi16(weight, lerp(load(above + at), load(below + at), w));
        save(out + at, _mm256_mulhrs_epi16(weight, f));
    }
}

void luma(const uint8_t* row, int channels, const int16_t* factors, int count, int16_t* out) {
    const auto scaled = [&](__m256i bytes, int channel) {
        return _mm256_mulhrs_epi16(_mm256_slli_epi16(bytes, kComposeShift), _mm256_set1_epi16(factors[channel]));
    };
    int at = 0;
    if (channels == 1) {
        for (; at + 16 <= count; at += 16) save(out + at, scaled(widen(row + at), 0));
    } else {
        for (; at + 32 <= count; at += 32) {
            const Vectors3 rgb = load_rgb(row + 3 * at);
            __m256i sum[2];
            for (int half = 0; half < 2; ++half) {
                const auto bytes = [&](int c) {
                    return _mm256_cvtepu8_epi16(half ? _mm256_extracti128_si256(rgb.v[c], 1)
                                                     : _mm256_castsi256_si128(rgb.v[c]));
                };
                sum[half] =
                    _mm256_add_epi16(_mm256_add_epi16(scaled(bytes(0), 0), scaled(bytes(1), 1)), scaled(bytes(2), 2));
            }
            save(out + at, sum[0]);
            save(out + at + 16, sum[1]);
        }
    }
    if (at < count) scalar_rows().luma(row + channels * at, channels, factors, count - at, out + at);
}

// 32 pixels of each channel in `row`, as bytes in vectors of their own.
template <int channels>
GANLENS_INLINE Vectors3 load_pixels(const uint8_t* row) {
    if (channels == 3) return load_rgb(row);
    if (channels == 1) return {{load(row), load(row), load(row)}};
    const __m256i a = load(row), b = load(row + 32), low = _mm256_set1_epi16(255);
    const __m256i even = _mm256_packus_epi16(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
    const __m256i odd = _mm256_packus_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8));
    return {{_mm256_permute4x64_epi64(even, 0xd8), _mm256_permute4x64_epi64(odd, 0xd8), odd}};
}

template <int channels>
GANLENS_INLINE void save_pixels(uint8_t* row, const __m256i* v) {
    if (channels == 3) return save_rgb(row, v);
    if (channels == 1) return save(row, v[0]);
    const __m256i a = _mm256_unpacklo_epi8(v[0], v[1]), b = _mm256_unpackhi_epi8(v[0], v[1]);
    save(row, _mm256_permute2x128_si256(a, b, 0x20));
    save(row + 32, _mm256_permute2x128_si256(a, b, 0x31));
}

template <int channels, bool blended, bool detailed>
void store_row(const Store& store) {
    const Store s = store;  // a copy, which writes of bytes cannot change
    const __m256i w = _mm256_set1_epi16(s.lerp), half = _mm256_set1_epi16(kComposeHalf);
    const __m256i white = _mm256_set1_epi16((255 << kComposeShift) + kComposeHalf);
    const auto block = [&](uint8_t* row, int at) {
        Vectors3 before{}, after{};
        if (blended) before = load_pixels<channels>(row);
        for (int c = 0; c < channels; ++c) {
            __m256i values[2];
            for (int i = 0; i < 2; ++i) {
                const int x = at + 16 * i;
                __m256i v = lerp(load(s.above[c] + x), load(s.below[c] + x), w);
                if (detailed) v = _mm256_adds_epi16(v, load(s.detail + x));
                if (blended) {
                    v = _mm256_min_epi16(_mm256_max_epi16(v, half), white);
                    const __m256i bytes = _mm256_cvtepu8_epi16(i ? _mm256_extracti128_si256(before.v[c], 1)
                                                                 : _mm256_castsi256_si128(before.v[c]));
                    const __m256i old = _mm256_add_epi16(_mm256_slli_epi16(bytes, kComposeShift), half);
                    v = lerp(old, v, load(s.blend + x));
                }
                values[i] = _mm256_srai_epi16(v, kComposeShift);
            }
            after.v[c] = _mm256_permute4x64_epi64(_mm256_packus_epi16(values[0], values[1]), 0xd8);
        }
        save_pixels<channels>(row, after.v);
    };
    int at = 0;
    for (; at + 32 <= s.count; at += 32) {
        if (s.ahead)
            for (int line = 0; line < 32 * channels; line += 64) __builtin_prefetch(s.ahead + channels * at + line);
        block(s.row + channels * at, at);
    }
    if (at == s.count) return;
    uint8_t end[32 * channels] = {};
    memcpy(end, s.row + channels * at, size_t(channels) * (s.count - at));
    block(end, at);
    memcpy(s.row + channels * at, end, size_t(channels) * (s.count - at));
}

template <int channels>
void store_channels(const Store& s) {
    if (s.detail)
        s.blend ? store_row<channels, true, true>(s) : store_row<channels, false, true>(s);
    else
        s.blend ? store_row<channels, true, false>(s) : store_row<channels, false, false>(s);
}

void store(const Store& s) {
    switch (s.channels) {
        case 1:
            return store_channels<1>(s);
        case 2:
            return store_channels<2>(s);
        default:
            return store_channels<3>(s);
    }
}

#if defined(__AVX512VL__)
#define GANLENS_ROWS avx512_rows
bool runs_here() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}
constexpr const char* kName = "avx512";
#elif defined(__AVX2__)
#define GANLENS_ROWS simd_rows
bool runs_here() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
constexpr const char* kName = "avx2";
#else
#define GANLENS_ROWS simd_rows
bool runs_here() { return true; }
constexpr const char* kName = "neon";
#endif

}  // namespace

const Rows* GANLENS_ROWS() {
    static const Rows rows{kName,      mix_bytes,   split,       resample, to_floats, to_samples,
                           to_weights, mix_samples, mix_weights, luma,     store};
    return runs_here() ? &rows : nullptr;
}

}  // namespace ganlens

#else

namespace ganlens {
const Rows* simd_rows() { return nullptr; }
}  // namespace ganlens

#endif
