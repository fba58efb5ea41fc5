// The words of common.cuh on a CPU.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "runtime.hpp"

#define DEVICE static inline
#define DEVICE_MEMBER inline
#define HOST_DEVICE
#define KERNEL(name, threads)                        \
    static constexpr uint32_t name##_threads = (threads); \
    static void name
#define KERNEL_OF(name, threads, blocks) KERNEL(name, threads)
#define EXPORT(name) \
    [[maybe_unused]] static const bool name##_is_known = shim::add_kernel_of<name>(#name, __FILE__, name##_threads, name);
#define SHARED(T, name, n)                                                                                        \
    static const char name##_tag = 0;                                                                             \
    const Shared<T> name(shim::shared_array(&name##_tag, #name, (n) * sizeof(T), sizeof(T)), 0)
#define DYNAMIC_SHARED(name) shim::Region* const name = shim::dynamic_shared()

#define threadIdx (shim::self->thread_idx)
#define blockIdx (shim::self->block_idx)
#define blockDim (shim::self->block_dim)
#define gridDim (shim::self->grid_dim)
#define __restrict__

struct alignas(8) uint2 {
    uint32_t x, y;
};
struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

using f16 = _Float16;
struct bf16 {
    uint16_t bits;
};

template <class T>
using Global = shim::Pointer<T>;
template <class T>
using Shared = shim::Pointer<T>;
template <class P>
struct ElementOf;
template <class T>
struct ElementOf<shim::Pointer<T>> {
    using Type = std::remove_cv_t<T>;
};
template <class P>
using Element = typename ElementOf<std::remove_cv_t<std::remove_reference_t<P>>>::Type;

template <class T>
DEVICE Shared<T> carve(shim::Region* shared, int offset, int n) {
    shared->check_bounds("carve", offset, n * sizeof(T));
    return {shared, offset};
}

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(f16 x) { return float(x); }
DEVICE float to_float(bf16 x) {
    const uint32_t bits = uint32_t(x.bits) << 16;
    float y;
    std::memcpy(&y, &bits, 4);
    return y;
}
template <class T>
DEVICE T from_float(float x) {
    if constexpr (std::is_same_v<T, bf16>) {
        uint32_t bits;
        std::memcpy(&bits, &x, 4);
        if (x != x) return {0x7fff};
        // To nearest, ties to even.
        return {uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
    } else {
        return T(x);
    }
}
template <class T>
DEVICE T from_bits(uint16_t bits) {
    T x;
    std::memcpy(&x, &bits, 2);
    return x;
}
template <class T>
DEVICE uint32_t pack_bits(T low, T high) {
    uint16_t bits[2];
    std::memcpy(&bits[0], &low, 2);
    std::memcpy(&bits[1], &high, 2);
    return bits[0] | uint32_t(bits[1]) << 16;
}

// The compiler is told to fuse nothing.
DEVICE float rounded_product(float a, float b) { return a * b; }
DEVICE double rounded_product(double a, double b) { return a * b; }
DEVICE float rounded_sum(float a, float b) { return a + b; }
DEVICE int count_bits(uint32_t x) { return __builtin_popcount(x); }
DEVICE int first_bit(uint32_t x) { return __builtin_ctz(x); }
DEVICE int leading_ones(uint64_t x) { return x == ~uint64_t(0) ? 64 : __builtin_clzll(~x); }
template <class T>
DEVICE T atomic_add(shim::Pointer<T> p, T x) {
    return p.update([&](T old) { return T(old + x); });
}
DEVICE void atomic_or(shim::Pointer<uint32_t> p, uint32_t x) {
    p.update([&](uint32_t old) { return old | x; });
}

DEVICE uint32_t float_to_bits(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}
DEVICE float bits_to_float(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

template <class U, class T>
DEVICE shim::Pointer<U> at(shim::Pointer<T> p) {
    return {p.region, p.offset};
}
template <class V, class P>
DEVICE V load(P p) {
    return p.template aligned_get<V>();
}
template <class V, class P>
DEVICE V load_once(P p) {
    return p.template aligned_get<V>();
}
template <class P, class V>
DEVICE void store(P p, V value) {
    p.aligned_put(value);
}

// Where the caller stands, so that threads which meet at different places are told apart.
#define PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()
// The same behind other parameters, and handed on.
#define AND_PLACE , PLACE
#define SAME_PLACE , file, line

DEVICE void sync_block(PLACE) { shim::wait_for_block(file, line); }
DEVICE void sync_warp(PLACE) {
    shim::wait_for_warp(nullptr, [](void* const(&)[32]) {}, true, file, line);
}
template <class T>
struct Shuffled {
    T value;
    int lane;
    T result;
};
template <class T>
DEVICE T shuffle(T x, int lane, PLACE) {
    if (lane < 0 || lane >= 32) shim::fail("shuffle from lane %d", lane);
    Shuffled<T> slot{x, lane, x};
    const auto together = [](void* const(&slots)[32]) {
        for (void* slot : slots) {
            auto* mine = static_cast<Shuffled<T>*>(slot);
            mine->result = static_cast<Shuffled<T>*>(slots[mine->lane])->value;
        }
    };
    shim::wait_for_warp(&slot, together, false, file, line);
    return slot.result;
}
template <class T>
DEVICE T shuffle_xor(T x, int mask, PLACE) {
    return shuffle(x, int(threadIdx.x % 32) ^ mask, file, line);
}
DEVICE uint32_t vote(bool is_true, PLACE) {
    struct Slot {
        bool is_true;
        uint32_t result;
    } slot{is_true, 0};
    const auto together = [](void* const(&slots)[32]) {
        uint32_t result = 0;
        for (int lane = 0; lane < 32; lane++) result |= uint32_t(static_cast<Slot*>(slots[lane])->is_true) << lane;
        for (void* slot : slots) static_cast<Slot*>(slot)->result = result;
    };
    shim::wait_for_warp(&slot, together, false, file, line);
    return slot.result;
}

template <class T, class S>
DEVICE void copy_async(Shared<T> to, Global<S> from, bool is_valid) {
    to.check_space(true);
    from.check_space(false);
    to.check_alignment(16);
    if (is_valid) from.template aligned_get<uint4>();
    shim::copy_async(to.region, to.offset, from.region, from.offset, is_valid);
}
DEVICE void copy_commit() { shim::copy_commit(); }
template <int N>
DEVICE void copy_wait() {
    shim::copy_wait(N);
}

struct MatrixRows {
    uint16_t row[8];
    uint32_t result[4];
};
template <bool IS_TRANSPOSED, class P>
DEVICE void load_matrices_as(uint32_t (&r)[4], P row, const char* file, int line) {
    MatrixRows slot;
    row.check_space(true);
    const uint4 bits = row.template aligned_get<uint4>();
    std::memcpy(slot.row, &bits, 16);
    const auto together = [](void* const(&slots)[32]) {
        for (int lane = 0; lane < 32; lane++) {
            for (int matrix = 0; matrix < 4; matrix++) {
                const auto element = [&](int i, int j) {
                    return static_cast<MatrixRows*>(slots[8 * matrix + i])->row[j];
                };
                const int i = lane / 4, j = lane % 4 * 2;
                const uint32_t low = IS_TRANSPOSED ? element(j, i) : element(i, j);
                const uint32_t high = IS_TRANSPOSED ? element(j + 1, i) : element(i, j + 1);
                static_cast<MatrixRows*>(slots[lane])->result[matrix] = low | high << 16;
            }
        }
    };
    shim::wait_for_warp(&slot, together, false, file, line);
    for (int i = 0; i < 4; i++) r[i] = slot.result[i];
}
template <class P>
DEVICE void load_matrices(uint32_t (&r)[4], P row, PLACE) {
    load_matrices_as<false>(r, row, file, line);
}
template <class P>
DEVICE void load_matrices_transposed(uint32_t (&r)[4], P row, PLACE) {
    load_matrices_as<true>(r, row, file, line);
}

struct Fragments {
    float* c;
    const uint32_t *a, *b;
};
template <class T>
DEVICE void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], PLACE) {
    Fragments slot{c, a, b};
    const auto together = [](void* const(&slots)[32]) {
        const auto lane = [&](int i) { return static_cast<Fragments*>(slots[i]); };
        const auto half = [](uint32_t pair, int i) { return to_float(from_bits<T>(uint16_t(pair >> 16 * i))); };
        float a[16][16], b[8][16];
        for (int l = 0; l < 32; l++) {
            const int group = l / 4, in_group = l % 4;
            for (int i = 0; i < 8; i++) {
                const int row = group + (i / 2 % 2) * 8, column = in_group * 2 + i % 2 + i / 4 * 8;
                a[row][column] = half(lane(l)->a[i / 2], i % 2);
            }
            for (int i = 0; i < 4; i++) b[group][in_group * 2 + i % 2 + i / 2 * 8] = half(lane(l)->b[i / 2], i % 2);
        }
        for (int l = 0; l < 32; l++) {
            for (int i = 0; i < 4; i++) {
                const int row = l / 4 + i / 2 * 8, column = l % 4 * 2 + i % 2;
                float sum = lane(l)->c[i];
                for (int k = 0; k < 16; k++) sum = std::fma(a[row][k], b[column][k], sum);
                lane(l)->c[i] = sum;
            }
        }
    };
    shim::wait_for_warp(&slot, together, false, file, line);
}

DEVICE float exp2_fast(float x) { return std::exp2(x); }
DEVICE float inverse_sqrt(float x) { return 1.0f / std::sqrt(x); }
