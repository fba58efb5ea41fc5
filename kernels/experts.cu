// Routed experts: which rows go to which expert, and the sum of what comes back. Their layers are `linear` in between.
//
//   route            of each row of logits `[T, E]` f32 the k largest, of equal ones the first, and what they weigh: their part of the
//                    softmax over all E, or over the k. A row with a NaN weighs NaN. One without a slot (-1) has those of the first.
//   sort_pairs       pairs of a row and an expert by expert: rows `[T k]`, places `[T, k]` of the pairs in it, and the `RowTile`s of
//                    linear.cu, `[max_tiles]`, the last of them empty
//   gather_pairs     out[i] = x[rows[i]] of 16 bits, H a multiple of 8
//   combine_experts  out[t] = Σ weight · x[place] over the pairs of row t, the largest weight first: of 16 bits, sums f32
//
// E is up to 512, k up to 32. Must move: route 4 E bytes a row; sort_pairs 8 T k bytes for each expert, from the second-level cache;
// gather and combine 4 H and 2 (k + 1) H bytes a row and pair.
// Launch: route a warp a row, in blocks of 4; sort_pairs a block of 256 threads an expert; the others a block of 256 threads a row.
#include "common.cuh"

#ifdef KERNEL_SHIM
extern "C" void route_reference(uint32_t* experts, float* weights, const float* logits, int rows, int num_experts, int top_k,
                                int is_normalised) {
    for (int t = 0; t < rows; t++) {
        const float* row = logits + t * num_experts;
        double all = 0, kept = 0;
        for (int e = 0; e < num_experts; e++) all += std::exp(double(row[e]));
        for (int j = 0; j < top_k; j++) {
            int best = -1;
            for (int e = 0; e < num_experts; e++) {
                bool is_taken = false;
                for (int i = 0; i < j; i++) is_taken |= experts[t * top_k + i] == uint32_t(e);
                if (!is_taken && (best < 0 || row[e] > row[best])) best = e;
            }
            experts[t * top_k + j] = best;
            kept += std::exp(double(row[best]));
        }
        for (int j = 0; j < top_k; j++)
            weights[t * top_k + j] = float(std::exp(double(row[experts[t * top_k + j]])) / (is_normalised ? kept : all));
    }
}
#endif

/// The slot of rows that go nowhere.
constexpr uint32_t NOBODY = ~0u;
constexpr int MAX_EXPERTS = 512, EACH = MAX_EXPERTS / WARP, THREADS = 256;

KERNEL(route, 4 * WARP)
(Global<uint32_t> experts, Global<float> weights, Global<const float> logits, Global<const uint32_t> slots, int num_rows,
 int num_experts, int top_k, int is_normalised, int has_slots) {
    const int row = blockIdx.x * 4 + warp_idx();
    // Whole warps leave.
    if (row >= num_rows) return;
    // One that is there for the number's sake is not to meet experts that nobody else meets.
    const int64_t like = has_slots && slots[row] == NOBODY ? 0 : row;
    float own[EACH];
    float nan = 0;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const int e = i * WARP + lane_idx();
        own[i] = e < num_experts ? float(logits[like * num_experts + e]) : -INFINITY;
        if (own[i] != own[i]) nan = NAN, own[i] = -INFINITY;
    }
    nan = warp_sum(nan);
    float largest = 0, sum = 0, kept = 0;
    uint32_t taken = 0;
    for (int j = 0; j < top_k; j++) {
        float best = -INFINITY;
        int expert = MAX_EXPERTS;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int e = i * WARP + lane_idx();
            if (e < num_experts && !(taken >> i & 1) && (expert == MAX_EXPERTS || own[i] > best)) best = own[i], expert = e;
        }
#pragma unroll
        for (int mask = WARP / 2; mask > 0; mask /= 2) {
            const float other = shuffle_xor(best, mask);
            const int of = shuffle_xor(expert, mask);
            if (of < MAX_EXPERTS && (expert == MAX_EXPERTS || other > best || (other == best && of < expert))) best = other, expert = of;
        }
        if (expert % WARP == lane_idx()) taken |= 1u << expert / WARP;
        if (j == 0) {
            largest = best;
#pragma unroll
            for (int i = 0; i < EACH; i++) sum += exp2_fast((own[i] - largest) * 1.44269504f);
            sum = warp_sum(sum);
        }
        const float weight = exp2_fast((best - largest) * 1.44269504f);
        kept += weight;
        if (lane_idx() == 0) {
            experts[row * top_k + j] = expert;
            weights[row * top_k + j] = weight + nan;
        }
    }
    sync_warp();
    const float total = is_normalised ? kept : sum;
    if (lane_idx() < top_k) weights[row * top_k + lane_idx()] = weights[row * top_k + lane_idx()] / total;
}
EXPORT(route)

struct RowTile {
    int first_row, num_rows, weight;
};

KERNEL(sort_pairs, THREADS)
(Global<uint32_t> rows, Global<uint32_t> places, Global<RowTile> tiles, Global<const uint32_t> experts, int num_pairs,
 int top_k, int num_experts, int tile_rows, int max_tiles) {
    SHARED(uint32_t, counts, MAX_EXPERTS);
    SHARED(uint32_t, in_warps, THREADS / WARP);
    const int expert = blockIdx.x;
    for (int e = threadIdx.x; e < num_experts; e += THREADS) counts[e] = 0;
    sync_block();
    for (int i = threadIdx.x; i < num_pairs; i += THREADS) atomic_add(counts + uint32_t(experts[i]), 1u);
    sync_block();
    // Pairs and tiles of the experts before, and tiles of all.
    int first = 0, first_tile = 0, num_tiles = 0;
    for (int e = 0; e < num_experts; e++) {
        const int count = counts[e];
        if (e < expert) first += count, first_tile += ceil_div(count, tile_rows);
        num_tiles += ceil_div(count, tile_rows);
    }
    const int count = counts[expert];
    for (int i = threadIdx.x; i < ceil_div(count, tile_rows); i += THREADS) {
        const int left = count - i * tile_rows;
        tiles[first_tile + i] = RowTile{first + i * tile_rows, left < tile_rows ? left : tile_rows, expert};
    }
    if (expert == num_experts - 1)
        for (int i = num_tiles + threadIdx.x; i < max_tiles; i += THREADS) tiles[i] = RowTile{0, 0, 0};
    // In the order of the pairs.
    for (int start = 0; start < num_pairs; start += THREADS) {
        const int pair = start + threadIdx.x;
        const bool is_own = pair < num_pairs && experts[pair] == uint32_t(expert);
        const uint32_t own = vote(is_own);
        if (lane_idx() == 0) in_warps[warp_idx()] = count_bits(own);
        sync_block();
        int before = count_bits(own & ((1u << lane_idx()) - 1)), all = 0;
        for (int w = 0; w < THREADS / WARP; w++) {
            if (w < warp_idx()) before += in_warps[w];
            all += in_warps[w];
        }
        if (is_own) rows[first + before] = pair / top_k, places[pair] = first + before;
        first += all;
        sync_block();
    }
}
EXPORT(sort_pairs)

template <class T>
DEVICE void gather_pairs(Global<T> out, Global<const T> x, Global<const uint32_t> rows, int width) {
    const int64_t from = rows[blockIdx.x];
    for (int i = threadIdx.x * 8; i < width; i += THREADS * 8)
        store(out + int64_t(blockIdx.x) * width + i, load<uint4>(x + from * width + i));
}

template <class T>
DEVICE void combine_experts(Global<T> out, Global<const T> x, Global<const uint32_t> places, Global<const float> weights,
                            int top_k, int width) {
    const int64_t row = blockIdx.x;
    for (int i = threadIdx.x * 8; i < width; i += THREADS * 8) {
        float sum[8] = {};
        for (int j = 0; j < top_k; j++) {
            const float weight = weights[row * top_k + j];
            float v[8];
            load8(x + int64_t(uint32_t(places[row * top_k + j])) * width + i, v);
#pragma unroll
            for (int e = 0; e < 8; e++) sum[e] = fmaf(weight, v[e], sum[e]);
        }
        store8(out + row * width + i, sum);
    }
}

#define KERNELS(T)                                                                                                    \
    KERNEL(gather_pairs_##T, THREADS)(Global<T> out, Global<const T> x, Global<const uint32_t> rows, int width) {     \
        gather_pairs<T>(out, x, rows, width);                                                                         \
    }                                                                                                                 \
    EXPORT(gather_pairs_##T)                                                                                          \
    KERNEL(combine_experts_##T, THREADS)                                                                              \
    (Global<T> out, Global<const T> x, Global<const uint32_t> places, Global<const float> weights, int top_k, int width) { \
        combine_experts<T>(out, x, places, weights, top_k, width);                                                    \
    }                                                                                                                 \
    EXPORT(combine_experts_##T)

KERNELS(f16)
KERNELS(bf16)
