// What kernels are written in. On a GPU this is CUDA C++; on a CPU the same source runs over `shim/`, which checks every
// access to memory, every barrier and every race while it computes. Both define the same names:
//
//   Global<T>, Shared<T>        pointers; index and add to them, never take an element's address
//   KERNEL(name, threads)       begins a kernel; EXPORT(name) after its body makes it known
//   SHARED(T, name, n)          an array that the block shares; DYNAMIC_SHARED and carve<T> for what is sized at launch
//   load<V>, store<V>           vectors of 4, 8 or 16 bytes, aligned; load_once for what is read once in a launch
//   at<U>(p)                    the same address for elements of another type
//   copy_async, copy_commit, copy_wait<n>    16 bytes from global to shared memory, in groups
//   sync_block, sync_warp, shuffle, shuffle_xor, vote
//   load_matrices, mma          fragments of the tensor cores (`mma.sync.m16n8k16`)
#pragma once

#ifdef __CUDACC__
#include "device.cuh"
#else
#include "shim/device.hpp"
#endif

constexpr int WARP = 32;

DEVICE int lane_idx() { return threadIdx.x % WARP; }
DEVICE int warp_idx() { return threadIdx.x / WARP; }

constexpr HOST_DEVICE int ceil_div(int a, int b) { return (a + b - 1) / b; }

/// The sum over a warp in a fixed order; every lane gets it.
DEVICE float warp_sum(float x AND_PLACE) {
#pragma unroll
    for (int mask = WARP / 2; mask > 0; mask /= 2) x += shuffle_xor(x, mask SAME_PLACE);
    return x;
}

/// The largest value of a warp; every lane gets it. A NaN is passed over unless all are.
DEVICE float warp_max(float x AND_PLACE) {
#pragma unroll
    for (int mask = WARP / 2; mask > 0; mask /= 2) x = fmaxf(x, shuffle_xor(x, mask SAME_PLACE));
    return x;
}

/// The sum over a block of WARPS warps in a fixed order; every thread gets it. Threads may share `partials`, of WARPS
/// floats, with a later call only after a barrier.
template <int WARPS>
DEVICE float block_sum(float x, Shared<float> partials) {
    x = warp_sum(x);
    if (lane_idx() == 0) partials[warp_idx()] = x;
    sync_block();
    float sum = 0;
#pragma unroll
    for (int w = 0; w < WARPS; w++) sum += partials[w];
    return sum;
}

/// 16-bit floats in pairs, the lower index in the lower half, as the tensor cores take them.
template <class T>
DEVICE uint32_t pack(float low, float high) {
    return pack_bits(from_float<T>(low), from_float<T>(high));
}

template <class T>
DEVICE void unpack(uint32_t pair, float& low, float& high) {
    low = to_float(from_bits<T>(uint16_t(pair)));
    high = to_float(from_bits<T>(uint16_t(pair >> 16)));
}

/// Eight floats of 16 or 32 bits: `p` must lie at a multiple of 16 bytes.
template <class P>
DEVICE void load8(P p, float (&x)[8]) {
    using T = Element<P>;
    if constexpr (sizeof(T) == 4) {
        const float4 low = load<float4>(p), high = load<float4>(p + 4);
        x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
        x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
    } else {
        const uint4 bits = load<uint4>(p);
        unpack<T>(bits.x, x[0], x[1]);
        unpack<T>(bits.y, x[2], x[3]);
        unpack<T>(bits.z, x[4], x[5]);
        unpack<T>(bits.w, x[6], x[7]);
    }
}

template <class P>
DEVICE void store8(P p, const float (&x)[8]) {
    using T = Element<P>;
    if constexpr (sizeof(T) == 4) {
        store(p, float4{x[0], x[1], x[2], x[3]});
        store(p + 4, float4{x[4], x[5], x[6], x[7]});
    } else {
        store(p, uint4{pack<T>(x[0], x[1]), pack<T>(x[2], x[3]), pack<T>(x[4], x[5]), pack<T>(x[6], x[7])});
    }
}
