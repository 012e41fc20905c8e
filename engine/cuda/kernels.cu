// Prepare and compose on the GPU: one thread makes one pixel, one launch each for a batch of frames.
//
// The numbers are those of the C++ kernels' scalar rows, bit for bit: same tables, same arithmetic, same roundings
// (compiled without fused multiply-add). The frame is a block of memory that holds, for each plane, the samples that
// the region needs and no others. The tests compile this file for the host too, where one loop plays all threads.
#include "pixel_math.h"

#if defined(__CUDACC__)
#define GANLENS_KERNEL extern "C" __global__ void
// cuda_fp16.h is not always there at run time; these two instructions are all that is needed of it.
struct half {
    unsigned short bits;
};
__device__ inline float to_float(half value) {
    float out;
    asm("cvt.f32.f16 %0, %1;" : "=f"(out) : "h"(value.bits));
    return out;
}
__device__ inline void from_float(float value, half& out) {
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(value));
}
#else
#include "host_threads.h"  // of the tests
#endif
GANLENS_HD float to_float(float value) { return value; }
GANLENS_HD void from_float(float value, float& out) { out = value; }

namespace ganlens {

// Which inputs, with which weights, make each output along one axis. Weight k of output i lies at k * count + i.
struct Taps {
    const int* first;
    const float* weight;
    int taps, count;
};

// Where the samples of a channel lie in the block.
struct Channel {
    long long offset;  // of the first, in bytes
    int stride;        // from row to row
    int step;          // from sample to sample
};

// The frames of one launch: row i of the generator's batch is made of the block at[i], or goes into it.
constexpr int kBlocks = 16;
struct Blocks {
    uint8_t* at[kBlocks];
};

struct PreparePart {
    Taps down, across;
    float unit;  // of the vertical sums
};

struct PrepareTables {
    PreparePart parts[2];
    Channel channels[3];
    int part_of[3];  // the channels'
    Affine affine;
    float low, high;
    int height, width, bgr;
};

struct ComposePart {
    Taps down, across;
    const int16_t* lerp;
    const double* row_ramp;
    const int16_t* column_ramp;
    int rows, columns, channels, first_channel, luma;
    Channel samples[3];  // from the first one to write on
};

struct ComposeTables {
    ComposePart parts[2];
    Coding coding;                         // without detail
    Strength strength;                     // of frames that bring none of their own
    long long strength_at;                 // of the frame's own one in its block; negative: it has none
    int height, width, bgr, masked, used;  // how many of the parts
};

struct Pixel {
    int x, y;
};

GANLENS_HD int horizontal(const PreparePart& part, const Channel& channel, const uint8_t* block, Pixel at) {
    const uint8_t* rows = block + channel.offset + (long long)(part.down.first[at.y]) * channel.stride;
    float sum = 0;
    for (int k = 0; k < part.across.taps; ++k) {
        const uint8_t* sample = rows + (part.across.first[at.x] + k) * channel.step;
        float mixed = 0;
        for (int j = 0; j < part.down.taps; ++j)
            mixed += part.down.weight[j * part.down.count + at.y] * float(sample[(long long)(j)*channel.stride]);
        sum += part.across.weight[k * part.across.count + at.x] * float(to_int16(mixed * part.unit));
    }
    return to_int16(sum);
}

template <class T>
GANLENS_HD void prepare(const PrepareTables& t, const uint8_t* block, T* out, Pixel at) {
    float value[3];
    for (int c = 0; c < 3; ++c) value[c] = horizontal(t.parts[t.part_of[c]], t.channels[c], block, at) * kPrepareUnit;
    const long long area = (long long)(t.height) * t.width;
    for (int c = 0; c < 3; ++c)
        from_float(clip(apply(t.affine, c, value[0], value[1], value[2]), t.low, t.high),
                   out[(t.bgr ? 2 - c : c) * area + (long long)(at.y) * t.width + at.x]);
}

// The generator's output as the frame codes it, and its mask.
template <class T>
struct Answer {
    const ComposeTables& t;
    const Coding coding;
    const T *translated, *mask, *prepared;

    GANLENS_HD float value(const T* image, int c, long long at) const {
        return to_float(image[(t.bgr ? 2 - c : c) * ((long long)(t.height) * t.width) + at]);
    }
    GANLENS_HD int16_t sample(int channel, int y, int x) const {
        const long long at = (long long)(y)*t.width + x;
        if (channel == 3) return to_weight(to_float(mask[at]));
        float detail = 0;
        if (prepared && (channel == 0 || coding.detail_in_all))
            detail = detail_of(coding, value(prepared, 0, at), value(prepared, 1, at), value(prepared, 2, at));
        return to_sample(coding, channel, value(translated, 0, at), value(translated, 1, at), value(translated, 2, at),
                         detail);
    }
    // Resampled to one of the frame's samples.
    GANLENS_HD int operator()(const ComposePart& part, int channel, Pixel at) const {
        float sum = 0;
        int above = 0, below = 0;
        for (int j = 0; j < part.down.taps; ++j) {
            float row = 0;
            for (int k = 0; k < part.across.taps; ++k)
                row += part.across.weight[k * part.across.count + at.x] *
                       float(sample(channel, part.down.first[at.y] + j, part.across.first[at.x] + k));
            below = to_int16(row);
            if (j == 0) above = below;
            sum += part.down.weight[j * part.down.count + at.y] * float(below);
        }
        return part.down.taps > 2 ? to_int16(sum) : between(above, below, part.lerp[at.y]);
    }
};

GANLENS_HD Coding with_detail(Coding coding, const Strength& s) {
    for (int j = 0; j < 3; ++j) coding.detail[j] = s.detail[j];
    coding.detail_bias = s.detail_bias;
    return coding;
}

template <class T>
GANLENS_HD void compose(const ComposeTables& t, int which, const T* translated, const T* mask, const T* prepared,
                        const Strength& s, uint8_t* block, Pixel at) {
    const ComposePart& part = t.parts[which];
    if (at.x >= part.columns || at.y >= part.rows) return;
    const double row_factor = s.opacity * part.row_ramp[at.y];
    if (row_factor == 0) return;
    const Answer<T> answer{t, with_detail(t.coding, s), translated, mask, s.detailed ? prepared : nullptr};
    int weight = part.column_ramp[at.x];
    if (t.masked) weight = multiply(weight, answer(part, 3, at));
    if (t.masked || row_factor < 1) weight = multiply(weight, weight_parts(row_factor));

    uint8_t* sample[3];
    int detail = 0;
    for (int c = 0; c < part.channels; ++c) {
        const Channel& channel = part.samples[c];
        sample[c] = block + channel.offset + (long long)(at.y) * channel.stride + at.x * channel.step;
        if (s.detailed && part.luma) detail += multiply(*sample[c] << kComposeShift, s.luma_factors[c]);
    }
    for (int c = 0; c < part.channels; ++c)
        *sample[c] = blend_sample(answer(part, part.first_channel + c, at) + detail, *sample[c], weight);
}

}  // namespace ganlens

#define GANLENS_KERNELS(name, T)                                                                                      \
    GANLENS_KERNEL prepare_##name(const __grid_constant__ ganlens::PrepareTables tables,                              \
                                  const __grid_constant__ ganlens::Blocks blocks, T* out) {                           \
        const ganlens::Pixel at{int(blockIdx.x * blockDim.x + threadIdx.x),                                           \
                                int(blockIdx.y * blockDim.y + threadIdx.y)};                                          \
        const long long area = (long long)(tables.height) * tables.width;                                             \
        if (at.x < tables.width && at.y < tables.height)                                                              \
            ganlens::prepare(tables, blocks.at[blockIdx.z], out + blockIdx.z * 3 * area, at);                         \
    }                                                                                                                 \
    GANLENS_KERNEL compose_##name(const __grid_constant__ ganlens::ComposeTables tables,                              \
                                  const __grid_constant__ ganlens::Blocks blocks, const T* translated, const T* mask, \
                                  const T* prepared) {                                                                \
        const ganlens::Pixel at{int(blockIdx.x * blockDim.x + threadIdx.x),                                           \
                                int(blockIdx.y * blockDim.y + threadIdx.y)};                                          \
        const unsigned row = blockIdx.z / unsigned(tables.used), part = blockIdx.z % unsigned(tables.used);           \
        const long long area = (long long)(tables.height) * tables.width;                                             \
        uint8_t* block = blocks.at[row];                                                                              \
        const ganlens::Strength& strength =                                                                           \
            tables.strength_at < 0 ? tables.strength                                                                  \
                                   : *reinterpret_cast<const ganlens::Strength*>(block + tables.strength_at);         \
        ganlens::compose(tables, int(part), translated + row * 3 * area, mask ? mask + row * area : nullptr,          \
                         prepared ? prepared + row * 3 * area : nullptr, strength, block, at);                        \
    }

GANLENS_KERNELS(float32, float)
GANLENS_KERNELS(float16, half)
