// Low-rank additions to linear layers, by groups of rows (LoRA).
//
//   out[t, column + n] += Σ_j b[j, n] · (Σ_k a[j, k] · x[t, k])      for the rows t of a group
//
// x `[T, K]` and out `[T, out_len]` of 16 bits; a `[r, K]` and b `[r, N]` (B's columns, times the adapter's scale) of 16 bits, all
// groups' in one array, each from a multiple of 8 on; K a multiple of 8, r up to 256. The inner sums are f32, by warps in a fixed order;
// the outer ones ascend. Up to 5 groups a launch.
// Must move a and b once for each row, r (K + N) · 2 bytes, mostly from the second-level cache, and computes 2 r (K + N) operations.
// Launch: a block of 256 threads a row: `[most rows of a group, groups]`.
#include "common.cuh"

#ifdef KERNEL_SHIM
/// Of one row.
extern "C" void low_rank_reference(float* out, const float* x, const float* a, const float* b, int rank, int n, int k) {
    for (int j = 0; j < rank; j++) {
        double inner = 0;
        for (int i = 0; i < k; i++) inner += double(a[j * k + i]) * x[i];
        for (int i = 0; i < n; i++) out[i] += float(b[j * n + i] * inner);
    }
}
#endif

constexpr int THREADS = 256, MAX_RANK = 256, MAX_GROUPS = 5;

struct Group {
    int first_row, num_rows, column, rank, n;
    /// Where its matrices begin, in eights of values.
    int a, b;
};

struct Groups {
    Group of[MAX_GROUPS];
};

template <class T>
DEVICE void add_low_rank(Global<T> out, Global<const T> x, Global<const T> matrices, const Groups& groups, int k,
                         int out_len) {
    SHARED(float, inner, MAX_RANK);
    const Group group = groups.of[blockIdx.y];
    // Whole blocks leave.
    if (int(blockIdx.x) >= group.num_rows) return;
    const int64_t row = group.first_row + blockIdx.x;
    for (int j = warp_idx(); j < group.rank; j += THREADS / WARP) {
        float sum = 0;
        for (int i = lane_idx() * 8; i < k; i += WARP * 8) {
            float v[8], w[8];
            load8(x + row * k + i, v);
            load8(matrices + int64_t(group.a) * 8 + int64_t(j) * k + i, w);
#pragma unroll
            for (int e = 0; e < 8; e++) sum = fmaf(v[e], w[e], sum);
        }
        sum = warp_sum(sum);
        if (lane_idx() == 0) inner[j] = sum;
    }
    sync_block();
    for (int i = threadIdx.x; i < group.n; i += THREADS) {
        float sum = 0;
        for (int j = 0; j < group.rank; j++)
            sum = fmaf(inner[j], to_float(T(matrices[int64_t(group.b) * 8 + int64_t(j) * group.n + i])), sum);
        const auto to = out + (row * out_len + group.column + i);
        to[0] = from_float<T>(to_float(T(to[0])) + sum);
    }
}

#define KERNELS(T)                                                                                               \
    KERNEL_OF(add_low_rank_##T, THREADS, 4)                                                                      \
    (Global<T> out, Global<const T> x, Global<const T> matrices, Groups groups, int k, int out_len) {            \
        add_low_rank<T>(out, x, matrices, groups, k, out_len);                                                   \
    }                                                                                                            \
    EXPORT(add_low_rank_##T)

KERNELS(f16)
KERNELS(bf16)
