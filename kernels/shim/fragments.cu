// The shim's twins of the tensor cores' instructions, bare, so that a test can compare them with the tables of the PTX manual.
#include "common.cuh"

/// Of each lane: 4 registers of a, 2 of b, 4 of c, which become the product.
template <class T>
DEVICE void multiply(Global<float> c, Global<const uint32_t> a, Global<const uint32_t> b) {
    const int lane = lane_idx();
    const uint32_t own_a[4] = {a[lane * 4], a[lane * 4 + 1], a[lane * 4 + 2], a[lane * 4 + 3]};
    const uint32_t own_b[2] = {b[lane * 2], b[lane * 2 + 1]};
    float own_c[4] = {c[lane * 4], c[lane * 4 + 1], c[lane * 4 + 2], c[lane * 4 + 3]};
    mma<T>(own_c, own_a, own_b);
    for (int i = 0; i < 4; i++) c[lane * 4 + i] = own_c[i];
}

KERNEL(fragments_f16, WARP)(Global<float> c, Global<const uint32_t> a, Global<const uint32_t> b) { multiply<f16>(c, a, b); }
EXPORT(fragments_f16)
KERNEL(fragments_bf16, WARP)(Global<float> c, Global<const uint32_t> a, Global<const uint32_t> b) { multiply<bf16>(c, a, b); }
EXPORT(fragments_bf16)

/// matrices `[4, 8, 8]` of 16 bits; what each lane gets of them.
KERNEL(matrices, WARP)(Global<uint32_t> out, Global<const f16> matrices, int is_transposed) {
    SHARED(f16, rows, 4 * 64);
    for (int i = 0; i < 8; i++) rows[lane_idx() * 8 + i] = f16(matrices[lane_idx() * 8 + i]);
    sync_warp();
    uint32_t own[4];
    if (is_transposed) load_matrices_transposed(own, rows + lane_idx() * 8);
    else load_matrices(own, rows + lane_idx() * 8);
    for (int i = 0; i < 4; i++) out[lane_idx() * 4 + i] = own[i];
}
EXPORT(matrices)

/// Faults that the shim must find: which one is told by `fault`.
KERNEL(faults, 64)(Global<float> out, Global<const float> x, int fault) {
    SHARED(float, shared, 64);
    const int i = threadIdx.x;
    if (fault != 1) shared[i] = x[fault == 2 ? i + 1 : i];
    if (fault != 3) sync_block();
    if (fault == 4 && i < 32) sync_block();
    float value = shared[63 - i];
    if (fault == 6 && lane_idx() < 16) value += shuffle(value, 0);
    if (fault == 5) {
        if (lane_idx() < 16) value += warp_sum(value);
        else value -= warp_sum(value);
    }
    if (fault == 7) load<float4>(out + 1);
    if (fault == 9) value += float2(at<const float2>(x + 1)[0]).x;
    out[fault == 8 ? 0 : i] = value;
}
EXPORT(faults)

/// Every block writes the same element.
KERNEL(blocks_that_meet, WARP)(Global<float> out) {
    if (threadIdx.x == 0) out[0] = 1;
}
EXPORT(blocks_that_meet)

/// Blocks that meet in other ways: one reads what another writes; one sets what others count in.
KERNEL(blocks_in_company, WARP)(Global<uint32_t> x, int fault) {
    if (threadIdx.x != 0) return;
    if (fault == 1) x[blockIdx.x] = uint32_t(x[blockIdx.x]) + x[blockIdx.x + 1];
    if (fault == 2 && blockIdx.x == 0) x[0] = 0;
    if (fault == 0 || fault == 2) atomic_add(x, 1u);
}
EXPORT(blocks_in_company)

/// What was copied is used without waiting for it, or without a barrier where another thread has copied it.
KERNEL(copies, WARP)(Global<float> out, Global<const float> x, int fault) {
    SHARED(float, shared, 4 * WARP);
    copy_async(shared + lane_idx() * 4, x + lane_idx() * 4, true);
    copy_commit();
    if (fault == 3) shared[lane_idx() * 4] = 0;
    if (fault != 1) copy_wait<0>();
    if (fault != 2) sync_warp();
    out[lane_idx()] = shared[(WARP - 1 - lane_idx()) * 4];
}
EXPORT(copies)
