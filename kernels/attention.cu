// Causal attention over the paged cache, for any mix of prompt chunks and single tokens.
//
//   out[t, h] = softmax(scale · q[t, h] · Kᵀ) · V over the tokens that row t sees: those up to its own, or the last `window` of them
//
// with scores `cap · tanh(score / cap)` where there is a cap, and a sink's part in the softmax's sum where there are sinks.
// qkv `[T, row_len]` of 16 bits, of each row the query heads first; out `[T, Hq · D]` of 16 bits; cache as in kv_cache.cuh.
// Query head h reads key-value head h / G, with G = Hq / Hkv up to 64 (32 where D is 256). D is 64, 96, 128 or 256. A token whose
// values are not all finite has keys that are no numbers and values of zero (rope_store.cu): whoever sees it gets no number, and in an
// `mma` nobody else does.
//
// A context is cut at absolute multiples of 256 tokens. A span is computed tile by tile, with one running softmax; spans merge
// in ascending order, by `merge`, each on its own from nothing. Whether one block goes through all spans of its rows or
// each span has a block and `attention_merge` joins them, changes no bit; nor does what shares a block's rows.
//
// Work is cut into `Tile`s: up to ROWS / G rows of one sequence, or none, and spans to merge, or none: then nothing is written. Must move each sequence's keys and values once for each tile, 4 D
// bytes a token and key-value head (int8: 2 D + 8), and computes 4 D operations a row, head and visible token.
// Launch: WARPS · 32 threads, `[tiles, Hkv, 1 or spans]`, dynamic shared memory as in `Shape`, without TOTAL where no block goes through
// more than one span; to merge: a warp a row and head, in blocks of 4: `[T, ceil(Hq / 4)]`.
#include "kv_cache.cuh"

#ifdef KERNEL_SHIM
/// Of one sequence: its last `rows` of `context` tokens; k and v `[context, Hkv, D]`.
extern "C" void attention_reference(float* out, const float* q, const float* k, const float* v, const float* sinks, int rows,
                                    int context, int num_heads, int num_kv_heads, int head_dim, int window, float scale,
                                    float cap) {
    auto* scores = new double[context];
    for (int t = 0; t < rows; t++) {
        for (int h = 0; h < num_heads; h++) {
            const int end = context - rows + t + 1, start = end > window ? end - window : 0;
            const int kv_head = h / (num_heads / num_kv_heads);
            double largest = sinks ? sinks[h] : -INFINITY, sum = 0;
            for (int i = start; i < end; i++) {
                double score = 0;
                for (int d = 0; d < head_dim; d++)
                    score += double(q[(t * num_heads + h) * head_dim + d]) * k[(i * num_kv_heads + kv_head) * head_dim + d];
                score *= scale;
                scores[i] = cap > 0 ? cap * std::tanh(score / cap) : score;
                largest = std::fmax(largest, scores[i]);
            }
            for (int i = start; i < end; i++) sum += scores[i] = std::exp(scores[i] - largest);
            if (sinks) sum += std::exp(sinks[h] - largest);
            for (int d = 0; d < head_dim; d++) {
                double value = 0;
                for (int i = start; i < end; i++) value += scores[i] * v[(i * num_kv_heads + kv_head) * head_dim + d];
                out[(t * num_heads + h) * head_dim + d] = float(value / sum);
            }
        }
    }
    delete[] scores;
}
#endif

constexpr int SPAN = 256;
constexpr float LOG2_E = 1.44269504f;
/// Values of int8 count as so much less, and their scales as so much more: a weight times a scale is then of a weight's size, so that
/// 16 bits hold it as well.
constexpr float VALUE_SCALE = 128;

/// Rows of one sequence that share a block.
struct Tile {
    int first_row, num_rows;
    /// Tokens up to the first row's own; every further row has one more.
    int visible;
    /// Where its sequence's blocks begin in the block tables.
    int blocks;
    /// Where its partials begin: pairs of a span, from the first that it sees, and a row.
    int first_partial;
};

/// The largest score of some tokens (times log2 e), and the sum of `2^(score - largest)`.
struct State {
    float max, sum;
};

/// What a state's sums are relative to: nothing seen is nothing, not a number less itself.
DEVICE float base(float max) { return max == -INFINITY ? 0 : max; }

/// Adds a span after those before. Gives what the sums of values of both are to be multiplied by.
DEVICE float2 merge(State& total, State span) {
    const float max = fmaxf(total.max, span.max);
    const float2 weights = {exp2_fast(total.max - base(max)), exp2_fast(span.max - base(max))};
    total = {max, fmaf(span.sum, weights.y, total.sum * weights.x)};
    return weights;
}

DEVICE float merged(float total, float span, float2 weights) { return fmaf(span, weights.y, total * weights.x); }

/// What the sums of values are divided by, in the end.
DEVICE float inverse_sum(State total, bool has_sinks, Global<const float> sinks, int head) {
    if (!has_sinks) return 1 / total.sum;
    // Not part of a fused product: two kernels do this, with the same bits.
    const float sink = rounded_product(sinks[head], LOG2_E), max = fmaxf(total.max, sink);
    const float weight = exp2_fast(total.max - max);
    return weight / fmaf(total.sum, weight, exp2_fast(sink - max));
}

/// Floats of a partial: the sums of values, the state, and what keeps it aligned.
constexpr HOST_DEVICE int partial_len(int head_dim) { return head_dim + 4; }

/// Sizes for a type of activations T, a type of the cache Unit and a head's width D.
template <class T, class Unit, int D>
struct Shape {
    static constexpr bool IS_INT8 = sizeof(Unit) == 1;
    /// What the tensor cores multiply.
    using M = std::conditional_t<IS_INT8, T, Unit>;
    static constexpr int WARPS = D > 128 ? 2 : 4, THREADS = WARPS * WARP, ROWS = WARPS * 16;
    /// Tokens of a step.
    static constexpr int TILE = D > 128 ? 32 : 64;
    /// Rows in shared memory are a little apart, so that eight of them lie in different banks.
    static constexpr int STRIDE = D + 8;
    static constexpr int QUERIES = ROWS * STRIDE * 2, WIDE = TILE * STRIDE * 2, SCALES = TILE * 4;
    /// Bytes of keys or values as they come, of which there are two.
    static constexpr int STAGE = IS_INT8 ? TILE * D + SCALES : WIDE;
    /// Where they and the sums over spans begin, which only a block that goes through all has.
    static constexpr int STAGES_AT = QUERIES + (IS_INT8 ? WIDE : 0), TOTAL_AT = STAGES_AT + 2 * STAGE;
    static constexpr int TOTAL = ROWS * D * 4;
};

/// What a launch is given besides tensors.
struct Params {
    int row_len, num_heads, num_kv_heads, block_size, window, has_sinks, is_split;
    float scale, cap;
};

template <class T, class Unit, int D>
struct Block {
    using S = Shape<T, Unit, D>;
    using M = typename S::M;
    static constexpr int TILE = S::TILE, STRIDE = S::STRIDE;

    Global<const Unit> cache;
    Global<const int> block_tables;
    Params params;
    Tile tile;
    int kv_head;
    Shared<M> queries, wide[2];
    Shared<Unit> raw[2];
    Shared<float> scales[2];

    /// Begins to fetch keys (`which` 0) or values (1) of the tokens `[token, token + TILE)`, zeros from `end` on.
    template <int which>
    DEVICE_MEMBER void fetch(int token, int end) const {
        const KvLayout layout{params.num_kv_heads, params.block_size, D};
        constexpr int UNITS = 16 / sizeof(Unit), CHUNKS = D / UNITS;
        for (int i = threadIdx.x; i < TILE * CHUNKS; i += S::THREADS) {
            const int t = i / CHUNKS, d = i % CHUNKS * UNITS;
            const bool is_valid = token + t < end;
            const auto from = is_valid ? part(layout, token + t, which) + (token + t) % params.block_size * D + d : cache;
            if constexpr (S::IS_INT8) copy_async(raw[which] + t * D + d, from, is_valid);
            else copy_async(wide[which] + t * STRIDE + d, from, is_valid);
        }
        if constexpr (S::IS_INT8) {
            for (int t = threadIdx.x * 4; t < TILE; t += S::THREADS * 4) {
                // Four scales share a block, whatever part of them is of tokens.
                const bool is_valid = token + t < end;
                const auto from = layout.scales(is_valid ? part(layout, token + t, which) : cache) +
                                  (is_valid ? (token + t) % params.block_size : 0);
                copy_async(scales[which] + t, from, is_valid);
            }
        }
    }

    DEVICE_MEMBER Global<const Unit> part(const KvLayout& layout, int token, int which) const {
        return cache + layout.part<Unit>(block_tables[tile.blocks + token / params.block_size], which, kv_head);
    }

    /// Waits for what was fetched last, and begins to fetch what comes next.
    template <int which>
    DEVICE_MEMBER void arrive(int next_token, int end) const {
        copy_wait<0>();
        sync_block();
        if (next_token < end) fetch<1 - which>(next_token, end);
        copy_commit();
        if constexpr (S::IS_INT8) {
            for (int i = threadIdx.x * 8; i < TILE * D; i += S::THREADS * 8) {
                const uint2 bits = load<uint2>(raw[which] + i);
                float x[8];
#pragma unroll
                for (int j = 0; j < 8; j++) {
                    x[j] = float(int8_t((j < 4 ? bits.x : bits.y) >> j % 4 * 8));
                    if constexpr (which == 1) x[j] *= 1 / VALUE_SCALE;
                }
                store8(wide[0] + i / D * STRIDE + i % D, x);
            }
            sync_block();
        }
    }
    template <int which>
    DEVICE_MEMBER Shared<M> at_hand() const {
        return wide[S::IS_INT8 ? 0 : which];
    }

    /// Queries of this block's rows; zeros where it has fewer.
    DEVICE_MEMBER void load_queries(Global<const T> qkv, int heads_per_kv) const {
        for (int i = threadIdx.x * 8; i < S::ROWS * D; i += S::THREADS * 8) {
            const int r = i / D, d = i % D, row = r / heads_per_kv, head = kv_head * heads_per_kv + r % heads_per_kv;
            float x[8] = {};
            if (row < tile.num_rows) load8(qkv + int64_t(tile.first_row + row) * params.row_len + head * D + d, x);
            store8(queries + r * STRIDE + d, x);
        }
    }

    /// `scores = q · Kᵀ` of the warp's 16 rows.
    DEVICE_MEMBER void multiply_keys(float (&scores)[TILE / 8][4]) const {
        const int lane = lane_idx();
        const Shared<M> keys = at_hand<0>();
#pragma unroll
        for (int n = 0; n < TILE / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) scores[n][i] = 0;
#pragma unroll
        for (int k = 0; k < D; k += 16) {
            uint32_t q[4];
            load_matrices(q, queries + (warp_idx() * 16 + lane % 16) * STRIDE + k + lane / 16 * 8);
#pragma unroll
            for (int n = 0; n < TILE / 8; n += 2) {
                uint32_t both[4];
                load_matrices(both, keys + (n * 8 + lane / 16 * 8 + lane % 8) * STRIDE + k + lane / 8 % 2 * 8);
                mma<M>(scores[n], q, {both[0], both[1]});
                mma<M>(scores[n + 1], q, {both[2], both[3]});
            }
        }
    }

    /// `sums += weights · V`.
    DEVICE_MEMBER void multiply_values(float (&sums)[D / 8][4], const float (&weights)[TILE / 8][4]) const {
        const int lane = lane_idx();
        const Shared<M> values = at_hand<1>();
#pragma unroll
        for (int k = 0; k < TILE; k += 16) {
            const auto &low = weights[k / 8], &high = weights[k / 8 + 1];
            const uint32_t w[4] = {pack<M>(low[0], low[1]), pack<M>(low[2], low[3]), pack<M>(high[0], high[1]),
                                   pack<M>(high[2], high[3])};
#pragma unroll
            for (int n = 0; n < D / 8; n += 2) {
                uint32_t both[4];
                load_matrices_transposed(both,
                                         values + (k + lane / 8 % 2 * 8 + lane % 8) * STRIDE + n * 8 + lane / 16 * 8);
                mma<M>(sums[n], w, {both[0], both[1]});
                mma<M>(sums[n + 1], w, {both[2], both[3]});
            }
        }
    }

    /// A score becomes one of base 2, or minus infinity where the row does not see the token.
    DEVICE_MEMBER float finish_score(float score, int token, int seen) const {
        score *= params.scale;
        if (params.cap > 0) {
            // tanh y = 1 - 2 / (1 + e^2y)
            const float y = exp2_fast(score * (2 * LOG2_E / params.cap));
            score = params.cap * (1 - 2 / (1 + y));
        }
        return token < seen && token >= seen - params.window ? rounded_product(score, LOG2_E) : -INFINITY;
    }
};

/// Goes through the spans of a tile's rows: all of them, or (split) that of blockIdx.z.
template <class T, class Unit, int D>
DEVICE void attention(Global<T> out, Global<const T> qkv, Global<const Unit> cache, Global<const Tile> tiles,
                      Global<const int> block_tables, Global<const float> sinks, Global<float> partials, Params params) {
    using S = Shape<T, Unit, D>;
    using M = typename S::M;
    constexpr int TILE = S::TILE;
    DYNAMIC_SHARED(shared);
    const Tile tile = tiles[blockIdx.x];
    // One that is there for the number's sake; whole blocks leave.
    if (tile.num_rows == 0) return;
    const int heads_per_kv = params.num_heads / params.num_kv_heads;
    constexpr int STAGE_0 = S::STAGES_AT, STAGE_1 = STAGE_0 + S::STAGE, RAW = S::IS_INT8 ? TILE * D : 0;
    const Block<T, Unit, D> block{
        cache,
        block_tables,
        params,
        tile,
        int(blockIdx.y),
        carve<M>(shared, 0, S::ROWS * S::STRIDE),
        {carve<M>(shared, S::IS_INT8 ? S::QUERIES : STAGE_0, TILE * S::STRIDE),
         carve<M>(shared, S::IS_INT8 ? S::QUERIES : STAGE_1, TILE * S::STRIDE)},
        {carve<Unit>(shared, STAGE_0, RAW), carve<Unit>(shared, STAGE_1, RAW)},
        {carve<float>(shared, STAGE_0 + RAW, RAW / D), carve<float>(shared, STAGE_1 + RAW, RAW / D)},
    };
    const int first_seen = tile.visible > params.window ? tile.visible - params.window : 0;
    int start = first_seen / SPAN * SPAN, end = tile.visible + tile.num_rows - 1;
    if (params.is_split) {
        start += blockIdx.z * SPAN;
        // Whole blocks leave.
        if (start >= end) return;
        end = end < start + SPAN ? end : start + SPAN;
    }
    block.template fetch<0>(start, end);
    copy_commit();
    block.load_queries(qkv, heads_per_kv);

    // A lane has the rows `lane / 4` and 8 more of its warp's 16, and of 8 columns those at `lane % 4 * 2`.
    int seen[2];
#pragma unroll
    for (int i = 0; i < 2; i++) seen[i] = tile.visible + (warp_idx() * 16 + lane_idx() / 4 + 8 * i) / heads_per_kv;
    const bool is_busy = warp_idx() * 16 < tile.num_rows * heads_per_kv;
    State span[2], total[2] = {{-INFINITY, 0}, {-INFINITY, 0}};
    float sums[D / 8][4];
    const bool has_total = !params.is_split && end > start / SPAN * SPAN + SPAN;
    // `[D / 8 · 4, threads]`: each thread has its own.
    Shared<float> totals = carve<float>(shared, has_total ? S::TOTAL_AT : 0, has_total ? S::ROWS * D : 0);
    if (has_total)
        for (int i = 0; i < D / 2; i++) totals[i * S::THREADS + threadIdx.x] = 0;

    for (int token = start; token < end; token += TILE) {
        if (token % SPAN == 0 || token == start) {
            span[0] = span[1] = {-INFINITY, 0};
#pragma unroll
            for (int n = 0; n < D / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) sums[n][i] = 0;
        }
        block.template arrive<0>(token, end);
        float scores[TILE / 8][4];
        if (is_busy) {
            block.multiply_keys(scores);
            float max[2] = {span[0].max, span[1].max};
#pragma unroll
            for (int n = 0; n < TILE / 8; n++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const int at = n * 8 + lane_idx() % 4 * 2 + i % 2;
                    float score = scores[n][i];
                    if constexpr (S::IS_INT8) score *= block.scales[0][at];
                    scores[n][i] = block.finish_score(score, token + at, seen[i / 2]);
                    // Not fmaxf: a NaN is to show.
                    max[i / 2] = larger(max[i / 2], scores[n][i]);
                }
            }
#pragma unroll
            for (int i = 0; i < 2; i++) {
                max[i] = larger(max[i], shuffle_xor(max[i], 1));
                max[i] = larger(max[i], shuffle_xor(max[i], 2));
                const float kept = exp2_fast(span[i].max - base(max[i]));
                float sum = 0;
#pragma unroll
                for (int n = 0; n < TILE / 8; n++) {
#pragma unroll
                    for (int j = 2 * i; j < 2 * i + 2; j++) {
                        scores[n][j] = exp2_fast(scores[n][j] - base(max[i]));
                        sum += scores[n][j];
                    }
                }
                sum += shuffle_xor(sum, 1);
                sum += shuffle_xor(sum, 2);
                span[i] = {max[i], fmaf(span[i].sum, kept, sum)};
#pragma unroll
                for (int n = 0; n < D / 8; n++) sums[n][2 * i] *= kept, sums[n][2 * i + 1] *= kept;
            }
        }
        block.template arrive<1>(token + TILE, end);
        if (is_busy) {
            if constexpr (S::IS_INT8) {
#pragma unroll
                for (int n = 0; n < TILE / 8; n++)
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        // What no row sees may have any scale, also none that is a number.
                        if (scores[n][i] != 0)
                            scores[n][i] *= block.scales[1][n * 8 + lane_idx() % 4 * 2 + i % 2] * VALUE_SCALE;
            }
            block.multiply_values(sums, scores);
        }
        if (has_total && ((token + TILE) % SPAN == 0 || token + TILE >= end)) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const float2 weights = merge(total[i], span[i]);
#pragma unroll
                for (int n = 0; n < D / 8; n++) {
#pragma unroll
                    for (int j = 2 * i; j < 2 * i + 2; j++) {
                        const int at = (n * 4 + j) * S::THREADS + threadIdx.x;
                        totals[at] = sums[n][j] = merged(totals[at], sums[n][j], weights);
                    }
                }
            }
        }
    }
    if (!is_busy) return;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int r = warp_idx() * 16 + lane_idx() / 4 + 8 * i, row = r / heads_per_kv;
        const int head = block.kv_head * heads_per_kv + r % heads_per_kv;
        if (row >= tile.num_rows) continue;
        const State state = has_total ? total[i] : span[i];
        if (params.is_split) {
            const int64_t partial = tile.first_partial + int64_t(blockIdx.z) * tile.num_rows + row;
            const auto to = partials + (partial * params.num_heads + head) * partial_len(D);
#pragma unroll
            for (int n = 0; n < D / 8; n++)
                store(to + n * 8 + lane_idx() % 4 * 2, float2{sums[n][2 * i], sums[n][2 * i + 1]});
            if (lane_idx() % 4 == 0) store(to + D, float2{state.max, state.sum});
        } else {
            const float inverse = inverse_sum(state, params.has_sinks, sinks, head);
            const auto to = out + (int64_t(tile.first_row + row) * params.num_heads + head) * D;
#pragma unroll
            for (int n = 0; n < D / 8; n++)
                store(to + n * 8 + lane_idx() % 4 * 2,
                      pack<T>(sums[n][2 * i] * inverse, sums[n][2 * i + 1] * inverse));
        }
    }
}

/// Joins the partials of a row and head. `rows` has of each row its first partial, its distance to the next span's, and the number of
/// spans from the first that its tile sees to its own last.
template <class T>
DEVICE void attention_merge(Global<T> out, Global<const float> partials, Global<const int> rows, Global<const float> sinks,
                            int has_sinks, int num_heads, int head_dim) {
    const int head = blockIdx.y * 4 + warp_idx(), row = blockIdx.x;
    if (head >= num_heads) return;
    const int first = rows[row * 3], step = rows[row * 3 + 1], num_spans = rows[row * 3 + 2];
    if (num_spans == 0) return;
    State total = {-INFINITY, 0};
    float sums[MAX_HEAD_DIM / WARP] = {};
    for (int s = 0; s < num_spans; s++) {
        const auto from = partials + ((first + int64_t(s) * step) * num_heads + head) * partial_len(head_dim);
        const float2 state = load<float2>(from + head_dim);
        const float2 weights = merge(total, {state.x, state.y});
#pragma unroll
        for (int j = 0; j < MAX_HEAD_DIM / WARP; j++) {
            const int d = j * WARP + lane_idx();
            if (d < head_dim) sums[j] = merged(sums[j], from[d], weights);
        }
    }
    const float inverse = inverse_sum(total, has_sinks, sinks, head);
#pragma unroll
    for (int j = 0; j < MAX_HEAD_DIM / WARP; j++) {
        const int d = j * WARP + lane_idx();
        if (d < head_dim) out[(int64_t(row) * num_heads + head) * head_dim + d] = from_float<T>(sums[j] * inverse);
    }
}

#define KERNELS_OF(T, Unit, NAME, D)                                                                                     \
    KERNEL_OF(attention_##T##_##NAME##_##D, (Shape<T, Unit, D>::THREADS), D > 96 ? 2 : 3)                                            \
    (Global<T> out, Global<const T> qkv, Global<const Unit> cache, Global<const Tile> tiles,                             \
     Global<const int> block_tables, Global<const float> sinks, Global<float> partials, Params params) {                 \
        attention<T, Unit, D>(out, qkv, cache, tiles, block_tables, sinks, partials, params);                            \
    }                                                                                                                    \
    EXPORT(attention_##T##_##NAME##_##D)
#define KERNELS(T, Unit, NAME)       \
    KERNELS_OF(T, Unit, NAME, 64)    \
    KERNELS_OF(T, Unit, NAME, 96)    \
    KERNELS_OF(T, Unit, NAME, 128)   \
    KERNELS_OF(T, Unit, NAME, 256)
#define MERGE(T)                                                                                                         \
    KERNEL(attention_merge_##T, 4 * WARP)                                                                                \
    (Global<T> out, Global<const float> partials, Global<const int> rows, Global<const float> sinks, int has_sinks,      \
     int num_heads, int head_dim) {                                                                                      \
        attention_merge<T>(out, partials, rows, sinks, has_sinks, num_heads, head_dim);                                  \
    }                                                                                                                    \
    EXPORT(attention_merge_##T)

KERNELS(f16, f16, f16)
KERNELS(f16, int8_t, int8)
KERNELS(bf16, bf16, bf16)
KERNELS(bf16, f16, f16)
KERNELS(bf16, int8_t, int8)
MERGE(f16)
MERGE(bf16)
