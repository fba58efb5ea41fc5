// Rotary position embedding of queries and keys, their normalisation before it where a model has one, and the storing of keys and
// values in the paged cache.
//
// qkv `[T, (Hq + 2 Hkv) D]` of 16 bits: of each row the query heads, then the keys, then the values. Queries are turned in place;
// keys and values go to slot `slots[t]` of the cache, rounded to its type; nowhere if that is -1.
// turns `[positions, R / 2]` of (cos, sin) f32, for the first R values of a head, which turn in pairs: `(2i, 2i + 1)` if
// interleaved, else `(i, i + R / 2)`. q_norm and k_norm `[D]` f32 or absent: `x / sqrt(mean x² + eps) · weight` of each head.
//
// The cache is `[num_blocks, 2 (K, V), Hkv, head part]`. A head's part is `[block_size, D]` values and, of int8, `[block_size]` f32
// scales behind: largest magnitude / 127, and NaN if a value is not finite. Of 16 bits, where a value of a token's head is not finite
// once it is rounded, its values are zeros and its keys NaN: what sees the token is to be NaN, but zero times infinity is not to be
// added where it is not seen.
// Must move 2 bytes in an element, 2 out of queries, and 2 (1) out of keys and values; a dozen operations each.
// Launch: a warp a head, in blocks of 4: `[T, ceil((Hq + 2 Hkv) / 4)]`.
#include "kv_cache.cuh"

#ifdef KERNEL_SHIM
/// qkv in float; keys and values stay where they are, turned, and are not rounded.
extern "C" void rope_store_reference(float* qkv, const uint32_t* positions, const float* turns, const float* q_norm,
                                     const float* k_norm, int rows, int num_heads, int num_kv_heads, int head_dim,
                                     int rotary_dim, int is_interleaved, float eps) {
    const int heads_in_row = num_heads + 2 * num_kv_heads;
    for (int t = 0; t < rows; t++) {
        for (int h = 0; h < num_heads + num_kv_heads; h++) {
            float* head = qkv + (t * heads_in_row + h) * head_dim;
            const float* norm = h < num_heads ? q_norm : k_norm;
            if (norm) {
                double squares = 0;
                for (int d = 0; d < head_dim; d++) squares += double(head[d]) * head[d];
                for (int d = 0; d < head_dim; d++) head[d] *= float(norm[d] / std::sqrt(squares / head_dim + eps));
            }
            for (int i = 0; i < rotary_dim / 2; i++) {
                const float* turn = turns + (positions[t] * (rotary_dim / 2) + i) * 2;
                float& a = head[is_interleaved ? 2 * i : i];
                float& b = head[is_interleaved ? 2 * i + 1 : i + rotary_dim / 2];
                const double turned_a = double(a) * turn[0] - double(b) * turn[1];
                b = float(double(b) * turn[0] + double(a) * turn[1]);
                a = float(turned_a);
            }
        }
    }
}
#endif

constexpr int HEADS = 4, THREADS = HEADS * WARP;
/// The slot of rows that go nowhere.
constexpr uint32_t NOBODY = ~0u;
/// Pairs of a head that a lane holds, at most.
constexpr int PAIRS = MAX_HEAD_DIM / 2 / WARP;

struct Rope {
    int head_dim, rotary_dim, is_interleaved;

    /// Where the two values of a pair stand in their head. What does not turn comes in pairs of neighbours, too.
    DEVICE_MEMBER void pair(int i, int& a, int& b) const {
        const bool are_neighbours = is_interleaved || i >= rotary_dim / 2;
        a = are_neighbours ? 2 * i : i;
        b = are_neighbours ? 2 * i + 1 : i + rotary_dim / 2;
    }
};

template <class T, class Unit>
DEVICE void rope_store(Global<T> qkv, Global<Unit> cache, Global<const uint32_t> positions, Global<const uint32_t> slots,
                       Global<const float2> turns, Global<const float> q_norm, Global<const float> k_norm, int has_norm,
                       int num_heads, int num_kv_heads, int block_size, Rope rope, float eps) {
    const int head = blockIdx.y * HEADS + warp_idx(), row = blockIdx.x;
    // Whole warps leave.
    if (head >= num_heads + 2 * num_kv_heads) return;
    const bool is_query = head < num_heads, is_value = head >= num_heads + num_kv_heads;
    const auto values = qkv + (int64_t(row) * (num_heads + 2 * num_kv_heads) + head) * rope.head_dim;
    float2 pairs[PAIRS];
    float squares = 0;
#pragma unroll
    for (int j = 0; j < PAIRS; j++) {
        const int i = j * WARP + lane_idx();
        pairs[j] = {0, 0};
        if (i < rope.head_dim / 2) {
            int a, b;
            rope.pair(i, a, b);
            pairs[j] = {to_float(T(values[a])), to_float(T(values[b]))};
        }
        squares = fmaf(pairs[j].x, pairs[j].x, fmaf(pairs[j].y, pairs[j].y, squares));
    }
    const bool is_normed = has_norm && !is_value;
    const float scale = is_normed ? inverse_sqrt(warp_sum(squares) / rope.head_dim + eps) : 1;
    float largest = 0;
#pragma unroll
    for (int j = 0; j < PAIRS; j++) {
        const int i = j * WARP + lane_idx();
        if (i >= rope.head_dim / 2) continue;
        int a, b;
        rope.pair(i, a, b);
        float2& pair = pairs[j];
        if (is_normed) {
            const auto weight = is_query ? q_norm : k_norm;
            pair = {pair.x * scale * weight[a], pair.y * scale * weight[b]};
        }
        if (!is_value && i < rope.rotary_dim / 2) {
            const float2 turn = turns[int64_t(positions[row]) * (rope.rotary_dim / 2) + i];
            pair = {pair.x * turn.x - pair.y * turn.y, pair.y * turn.x + pair.x * turn.y};
        }
        if (is_query) {
            values[a] = from_float<T>(pair.x);
            values[b] = from_float<T>(pair.y);
        }
        largest = larger(larger(largest, fabsf(pair.x)), fabsf(pair.y));
    }
    // Whole warps leave: the row is there for the number's sake.
    if (is_query || slots[row] == NOBODY) return;
    const KvLayout layout{num_kv_heads, block_size, rope.head_dim};
    const int kv_head = is_value ? head - num_heads - num_kv_heads : head - num_heads;
    const int slot = slots[row];
    const auto part = cache + layout.part<Unit>(slot / block_size, is_value, kv_head);
    const int offset = slot % block_size;
    float inverse = 1;
    bool is_bad = false;
    if constexpr (sizeof(Unit) == 1) {
        largest = warp_larger(largest);
        inverse = largest >= SMALLEST_SCALED ? 127 / largest : 0;
        if (lane_idx() == 0)
            layout.scales(part)[offset] = largest < INFINITY ? largest / 127 : NAN;
    } else {
        const auto own = qkv + (int64_t(row) * (num_heads + 2 * num_kv_heads) + num_heads + num_kv_heads + kv_head) * rope.head_dim;
        for (int i = lane_idx(); i < rope.head_dim; i += WARP) is_bad |= !(fabsf(to_float(from_float<Unit>(to_float(T(own[i]))))) < INFINITY);
        is_bad = vote(is_bad) != 0;
    }
#pragma unroll
    for (int j = 0; j < PAIRS; j++) {
        const int i = j * WARP + lane_idx();
        if (i >= rope.head_dim / 2) continue;
        int a, b;
        rope.pair(i, a, b);
        float2 pair = pairs[j];
        if (is_bad) pair = is_value ? float2{0, 0} : float2{NAN, NAN};
        part[offset * rope.head_dim + a] = to_unit<Unit>(pair.x, inverse);
        part[offset * rope.head_dim + b] = to_unit<Unit>(pair.y, inverse);
    }
}

#define KERNELS(T, Unit, NAME)                                                                                        \
    KERNEL(rope_store_##T##_##NAME, THREADS)                                                                          \
    (Global<T> qkv, Global<Unit> cache, Global<const uint32_t> positions, Global<const uint32_t> slots,               \
     Global<const float2> turns, Global<const float> q_norm, Global<const float> k_norm, int has_norm, int num_heads, \
     int num_kv_heads, int block_size, int head_dim, int rotary_dim, int is_interleaved, float eps) {                 \
        rope_store<T, Unit>(qkv, cache, positions, slots, turns, q_norm, k_norm, has_norm, num_heads, num_kv_heads,   \
                            block_size, Rope{head_dim, rotary_dim, is_interleaved}, eps);                             \
    }                                                                                                                 \
    EXPORT(rope_store_##T##_##NAME)

KERNELS(f16, f16, f16)
KERNELS(f16, bf16, bf16)
KERNELS(f16, int8_t, int8)
KERNELS(bf16, f16, f16)
KERNELS(bf16, bf16, bf16)
KERNELS(bf16, int8_t, int8)
