// Token embedding, and picking the rows that go on to the head.
//
//   embedding    out[i] = scale · table[ids[i]]
//   gather_rows  out[i] = x[rows[i]]
//
// out `[T, H]` f32; table `[V, H]` of f32 or 16 bits; x `[S, H]` f32; ids and rows `[T]` below V and S (the caller checks); H a
// multiple of 8. Must move 2 or 4 bytes in and 4 out an element.
// Launch: a block of 256 threads a row.
#include "common.cuh"

#ifdef KERNEL_SHIM
extern "C" void embedding_reference(float* out, const uint32_t* ids, const float* table, int rows, int width, float scale) {
    for (int t = 0; t < rows; t++)
        for (int i = 0; i < width; i++) out[t * width + i] = scale * table[ids[t] * width + i];
}
#endif

constexpr int THREADS = 256;

template <class T>
DEVICE void embedding(Global<float> out, Global<const uint32_t> ids, Global<const T> table, int width, float scale) {
    const int64_t id = ids[blockIdx.x];
    for (int i = threadIdx.x * 8; i < width; i += THREADS * 8) {
        float v[8];
        load8(table + id * width + i, v);
#pragma unroll
        for (int j = 0; j < 8; j++) v[j] *= scale;
        store8(out + int64_t(blockIdx.x) * width + i, v);
    }
}

#define KERNELS(T, NAME)                                                                                             \
    KERNEL(embedding_##NAME, THREADS)                                                                                \
    (Global<float> out, Global<const uint32_t> ids, Global<const T> table, int width, float scale) {                 \
        embedding<T>(out, ids, table, width, scale);                                                                 \
    }                                                                                                                \
    EXPORT(embedding_##NAME)

KERNELS(float, f32)
KERNELS(f16, f16)
KERNELS(bf16, bf16)

KERNEL(gather_rows, THREADS)(Global<float> out, Global<const uint32_t> rows, Global<const float> x, int width) {
    embedding<float>(out, rows, x, width, 1);
}
EXPORT(gather_rows)
