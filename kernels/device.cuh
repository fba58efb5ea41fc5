// The words of common.cuh on a GPU: sm_80 and later.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cstdint>
#include <type_traits>

#define DEVICE static __device__ __forceinline__
#define DEVICE_MEMBER __device__ __forceinline__
#define HOST_DEVICE __host__ __device__
#define KERNEL(name, threads) extern "C" __global__ void __launch_bounds__(threads) name
/// With a bound on the blocks that a multiprocessor is to hold, which bounds registers.
#define KERNEL_OF(name, threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks) name
#define EXPORT(name)
#define SHARED(T, name, n) __shared__ __align__(16) T name[n]
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]

using f16 = __half;
using bf16 = __nv_bfloat16;

template <class T>
using Global = T* __restrict__;
template <class T>
using Shared = T*;
template <class P>
using Element = std::remove_cv_t<std::remove_reference_t<decltype(*std::declval<P>())>>;

/// Elements `[offset, offset + n)` of dynamic shared memory, counted in bytes and in T.
template <class T>
DEVICE T* carve(unsigned char* shared, int offset, int) {
    return reinterpret_cast<T*>(shared + offset);
}

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(f16 x) { return __half2float(x); }
DEVICE float to_float(bf16 x) { return __bfloat162float(x); }
template <class T>
DEVICE T from_float(float x) {
    if constexpr (std::is_same_v<T, f16>) return __float2half_rn(x);
    else if constexpr (std::is_same_v<T, bf16>) return __float2bfloat16_rn(x);
    else return x;
}
template <class T>
DEVICE T from_bits(uint16_t bits) {
    if constexpr (std::is_same_v<T, f16>) return __ushort_as_half(bits);
    else return __ushort_as_bfloat16(bits);
}
DEVICE uint32_t pack_bits(f16 low, f16 high) {
    return __half_as_ushort(low) | uint32_t(__half_as_ushort(high)) << 16;
}
DEVICE uint32_t pack_bits(bf16 low, bf16 high) {
    return __bfloat16_as_ushort(low) | uint32_t(__bfloat16_as_ushort(high)) << 16;
}

/// Without a fused product before or behind it.
DEVICE float rounded_product(float a, float b) { return __fmul_rn(a, b); }
DEVICE double rounded_product(double a, double b) { return __dmul_rn(a, b); }
DEVICE float rounded_sum(float a, float b) { return __fadd_rn(a, b); }
DEVICE int count_bits(uint32_t x) { return __popc(x); }
/// Of a number that is not zero.
DEVICE int first_bit(uint32_t x) { return __ffs(x) - 1; }
DEVICE int leading_ones(uint64_t x) { return __clzll(~x); }
/// What was there before.
DEVICE uint32_t atomic_add(uint32_t* p, uint32_t x) { return atomicAdd(p, x); }
DEVICE void atomic_or(uint32_t* p, uint32_t x) { atomicOr(p, x); }

DEVICE uint32_t float_to_bits(float x) { return __float_as_uint(x); }
DEVICE float bits_to_float(uint32_t bits) { return __uint_as_float(bits); }

template <class U, class T>
DEVICE U* at(T* p) {
    return reinterpret_cast<U*>(p);
}
template <class V, class T>
DEVICE V load(const T* p) {
    return *reinterpret_cast<const V*>(p);
}
/// First to go from the caches: for what a launch reads once.
template <class V, class T>
DEVICE V load_once(const T* p) {
    return __ldcs(reinterpret_cast<const V*>(p));
}
template <class V, class T>
DEVICE void store(T* p, V value) {
    *reinterpret_cast<V*>(p) = value;
}

// Where a caller stands is the shim's business.
#define AND_PLACE
#define SAME_PLACE

DEVICE void sync_block() { __syncthreads(); }
DEVICE void sync_warp() { __syncwarp(); }
template <class T>
DEVICE T shuffle(T x, int lane) {
    return __shfl_sync(0xffffffffu, x, lane);
}
template <class T>
DEVICE T shuffle_xor(T x, int mask) {
    return __shfl_xor_sync(0xffffffffu, x, mask);
}
DEVICE uint32_t vote(bool is_true) { return __ballot_sync(0xffffffffu, is_true); }

DEVICE uint32_t shared_address(const void* p) { return uint32_t(__cvta_generic_to_shared(p)); }

/// Begins to copy 16 bytes; zeros where the source is not valid, which is then not read.
template <class T, class S>
DEVICE void copy_async(T* to, const S* from, bool is_valid) {
    const int num_bytes = is_valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(num_bytes));
}
DEVICE void copy_commit() { asm volatile("cp.async.commit_group;"); }
/// Until no more than the N newest groups of this thread are under way.
template <int N>
DEVICE void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/// Four 8×8 matrices of 16-bit elements: lane l names row `l % 8` of matrix `l / 8`.
template <class T>
DEVICE void load_matrices(uint32_t (&r)[4], const T* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}
/// The same, each matrix transposed.
template <class T>
DEVICE void load_matrices_transposed(uint32_t (&r)[4], const T* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/// `c += a · b`: a `[16, 16]` by rows, b `[16, 8]` by columns, c `[16, 8]` f32.
template <class T>
DEVICE void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (std::is_same_v<T, f16>)
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// `2^x`, within two units of the last place.
DEVICE float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
/// `1 / sqrt(x)`, rounded to nearest.
DEVICE float inverse_sqrt(float x) { return __frcp_rn(__fsqrt_rn(x)); }
