// `x = cap · tanh(x / cap)`, element by element, of f32 logits (Gemma 2).
//
// Must move 4 bytes in and 4 out an element, and computes 6 operations on it.
// Launch: blocks of 256 threads, each thread four values: `[ceil(len / 1024)]`; len a multiple of 4.
#include "common.cuh"

#ifdef KERNEL_SHIM
extern "C" void softcap_reference(float* x, int len, float cap) {
    for (int i = 0; i < len; i++) x[i] = float(cap * std::tanh(double(x[i]) / cap));
}
#endif

constexpr int THREADS = 256;

KERNEL(softcap, THREADS)(Global<float> x, int64_t len, float cap) {
    const int64_t i = (int64_t(blockIdx.x) * THREADS + threadIdx.x) * 4;
    if (i >= len) return;
    // tanh y = 1 - 2 / (1 + e^2y)
    const auto capped = [&](float v) { return cap * (1 - 2 / (1 + exp2_fast(v * (2.88539008f / cap)))); };
    const float4 v = load<float4>(x + i);
    store(x + i, float4{capped(v.x), capped(v.y), capped(v.z), capped(v.w)});
}
EXPORT(softcap)
