// The gated activations of feed-forwards.
//
//   silu (0)       gate σ(gate) · up
//   gelu_tanh (1)  gate Φ(gate) · up, with Φ(x) ≈ σ(2 √(2/π) (x + 0.044715 x³))
//   clamped (2)    g σ(1.702 g) · (u + 1), where g is the gate or `limit` if that is less, and u is up within ±limit
//
// gate_up `[T, 2 I]`, of each row the gates before the ups; out `[T, I]`; both of 16 bits, I a multiple of 8. Must move 4 bytes in
// and 2 out an element, and computes 8 to 14 operations on it.
// Launch: blocks of 256 threads, each thread eight values: `[T, ceil(I / 2048)]`.
#include "common.cuh"

enum Glu : int { SILU, GELU_TANH, CLAMPED };

#ifdef KERNEL_SHIM
extern "C" void glu_reference(float* out, const float* gate_up, int rows, int width, int glu, float limit) {
    const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
    for (int t = 0; t < rows; t++) {
        for (int i = 0; i < width; i++) {
            const double gate = gate_up[t * 2 * width + i], up = gate_up[t * 2 * width + width + i];
            const double cubed = std::sqrt(8 / M_PI) * (gate + 0.044715 * gate * gate * gate);
            const double least = std::fmin(gate, limit), within = std::fmax(-limit, std::fmin(limit, up));
            out[t * width + i] = float(glu == SILU        ? gate * sigmoid(gate) * up
                                       : glu == GELU_TANH ? gate * sigmoid(cubed) * up
                                                          : least * sigmoid(1.702 * least) * (within + 1));
        }
    }
}
#endif

constexpr int THREADS = 256;

/// The value that the sigmoid weighs, what the sigmoid is of, and the factor. A NaN stays one.
DEVICE float gated(float gate, float up, int glu, float limit) {
    float x = gate;
    if (glu == GELU_TANH) {
        x = 1.5957691f * fmaf(0.044715f * gate * gate, gate, gate);
    } else if (glu == CLAMPED) {
        gate = gate > limit ? limit : gate;
        up = up > limit ? limit : up < -limit ? -limit : up;
        up += 1;
        x = 1.702f * gate;
    }
    return gate / (1 + exp2_fast(-1.44269504f * x)) * up;
}

template <class T>
DEVICE void gated_activation(Global<T> out, Global<const T> gate_up, int width, int glu, float limit) {
    const int i = (blockIdx.y * THREADS + threadIdx.x) * 8;
    if (i >= width) return;
    const int64_t row = blockIdx.x;
    float gate[8], up[8];
    load8(gate_up + row * 2 * width + i, gate);
    load8(gate_up + row * 2 * width + width + i, up);
#pragma unroll
    for (int j = 0; j < 8; j++) gate[j] = gated(gate[j], up[j], glu, limit);
    store8(out + row * width + i, gate);
}

#define KERNELS(T)                                                                                                     \
    KERNEL(gated_activation_##T, THREADS)(Global<T> out, Global<const T> gate_up, int width, int glu, float limit) {   \
        gated_activation<T>(out, gate_up, width, glu, limit);                                                          \
    }                                                                                                                  \
    EXPORT(gated_activation_##T)

KERNELS(f16)
KERNELS(bf16)
