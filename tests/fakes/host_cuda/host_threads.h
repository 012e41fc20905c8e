// What engine/cuda/kernels.cu needs of CUDA, for the host: the kernels become functions that are one thread each.
#pragma once

#include <string.h>

#define GANLENS_KERNEL extern "C" void
#define __grid_constant__

struct Index {
    unsigned x, y, z;
};
inline thread_local Index threadIdx, blockIdx, blockDim;

struct half {
    unsigned short bits;
};

inline float to_float(half value) {
    const unsigned sign = (value.bits & 0x8000u) << 16, exponent = value.bits >> 10 & 31, fraction = value.bits & 1023;
    float out = float(fraction) / (1 << 24);  // subnormal
    if (exponent > 0) {
        const unsigned bits = exponent == 31 ? 0x7f800000u | fraction << 13 : (exponent + 112) << 23 | fraction << 13;
        memcpy(&out, &bits, sizeof out);
    }
    unsigned bits;
    memcpy(&bits, &out, sizeof bits);
    bits |= sign;
    memcpy(&out, &bits, sizeof out);
    return out;
}

// To the nearest, ties to even, as cvt.rn does.
inline void from_float(float value, half& out) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    const unsigned sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        out.bits = 0x7fff;
    } else if (magnitude >= 0x477ff000u) {
        out.bits = (unsigned short)(sign | 0x7c00u);
    } else if (magnitude < 0x38800000u) {  // subnormal: the addition rounds
        float shifted;
        memcpy(&shifted, &magnitude, sizeof shifted);
        shifted += 0.5f;
        memcpy(&bits, &shifted, sizeof bits);
        out.bits = (unsigned short)(sign | (bits - 0x3f000000u));
    } else {
        out.bits = (unsigned short)(sign | (((magnitude + 0xfffu + (magnitude >> 13 & 1)) >> 13) - 0x1c000u));
    }
}
