// Root-mean-square normalisation, and the addition to the residual stream before it.
//
//   add_rms_norm   x[t] += y[t];  out[t, i] = x[t, i] / sqrt(mean_j x[t, j]² + eps) · weight[i]
//   rms_norm       the same of y alone: out[t, i] = y[t, i] / sqrt(mean_j y[t, j]² + eps) · weight[i]
//
// x `[T, H]` f32; y and out `[T, H]` of 16 bits; weight `[H]` f32; H a multiple of 8. y may be absent where there is nothing to
// add. Must move 4 + 2 bytes in and 4 + 2 out an element (without y: 4 in, 2 out), and computes 4 operations on it.
// Launch: a block of 256 threads a row.
#include "common.cuh"

#ifdef KERNEL_SHIM
/// x becomes the sum; y may be null.
extern "C" void rms_norm_reference(float* out, float* x, const float* y, const float* weight, int rows, int width, float eps) {
    for (int t = 0; t < rows; t++) {
        double squares = 0;
        for (int i = t * width; i < (t + 1) * width; i++) {
            if (y) x[i] += y[i];
            squares += double(x[i]) * x[i];
        }
        for (int i = 0; i < width; i++)
            out[t * width + i] = float(x[t * width + i] / std::sqrt(squares / width + eps) * weight[i]);
    }
}
#endif

constexpr int THREADS = 256;

/// `out = row · scale · weight`, for the squares that this thread has summed. ROW gives eight values of the row.
template <class T, class Row>
DEVICE void normalise(Global<T> out, Global<const float> weight, int width, float eps, float squares, Row row) {
    SHARED(float, partials, THREADS / WARP);
    squares = block_sum<THREADS / WARP>(squares, partials);
    const float scale = inverse_sqrt(squares / width + eps);
    for (int i = threadIdx.x * 8; i < width; i += THREADS * 8) {
        float v[8], w[8];
        row(i, v);
        load8(weight + i, w);
#pragma unroll
        for (int j = 0; j < 8; j++) v[j] = v[j] * scale * w[j];
        store8(out + i, v);
    }
}

template <class T>
DEVICE void add_rms_norm(Global<T> out, Global<float> x, Global<const T> y, bool has_y, Global<const float> weight, int width,
                         float eps) {
    x += int64_t(blockIdx.x) * width;
    out += int64_t(blockIdx.x) * width;
    float squares = 0;
    for (int i = threadIdx.x * 8; i < width; i += THREADS * 8) {
        float v[8];
        load8(x + i, v);
        if (has_y) {
            float added[8];
            load8(y + int64_t(blockIdx.x) * width + i, added);
#pragma unroll
            for (int j = 0; j < 8; j++) v[j] += added[j];
            store8(x + i, v);
        }
#pragma unroll
        for (int j = 0; j < 8; j++) squares = fmaf(v[j], v[j], squares);
    }
    normalise<T>(out, weight, width, eps, squares, [&](int i, float(&v)[8]) { load8(x + i, v); });
}

template <class T>
DEVICE void rms_norm(Global<T> out, Global<const T> y, Global<const float> weight, int width, float eps) {
    y += int64_t(blockIdx.x) * width;
    out += int64_t(blockIdx.x) * width;
    float squares = 0;
    for (int i = threadIdx.x * 8; i < width; i += THREADS * 8) {
        float v[8];
        load8(y + i, v);
#pragma unroll
        for (int j = 0; j < 8; j++) squares = fmaf(v[j], v[j], squares);
    }
    normalise<T>(out, weight, width, eps, squares, [&](int i, float(&v)[8]) { load8(y + i, v); });
}

#define KERNELS(T)                                                                                                       \
    KERNEL(add_rms_norm_##T, THREADS)                                                                                    \
    (Global<T> out, Global<float> x, Global<const T> y, int has_y, Global<const float> weight, int width, float eps) {   \
        add_rms_norm<T>(out, x, y, has_y, weight, width, eps);                                                           \
    }                                                                                                                    \
    EXPORT(add_rms_norm_##T)                                                                                             \
    KERNEL(rms_norm_##T, THREADS)(Global<T> out, Global<const T> y, Global<const float> weight, int width, float eps) {  \
        rms_norm<T>(out, y, weight, width, eps);                                                                         \
    }                                                                                                                    \
    EXPORT(rms_norm_##T)

KERNELS(f16)
KERNELS(bf16)
