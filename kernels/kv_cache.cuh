// The paged key-value cache of one layer: `[num_blocks, 2 (K, V), Hkv, head part]`. A head's part is `[block_size, D]` values, and
// of int8 `[block_size]` f32 scales behind them. block_size is a multiple of 16 and D of 8, up to 256.
#pragma once
#include "common.cuh"

constexpr int MAX_HEAD_DIM = 256;
/// Below this `127 / largest` could overflow; such values count as zero.
constexpr float SMALLEST_SCALED = 128 * 1.17549435e-38f;

struct KvLayout {
    int num_kv_heads, block_size, head_dim;

    /// Units of a head's part.
    template <class Unit>
    DEVICE_MEMBER int64_t part_len() const {
        return int64_t(block_size) * (sizeof(Unit) == 1 ? head_dim + 4 : head_dim);
    }
    /// Where the keys (`which` 0) or values (1) of a head start in a block.
    template <class Unit>
    DEVICE_MEMBER int64_t part(int block, int which, int kv_head) const {
        return ((int64_t(block) * 2 + which) * num_kv_heads + kv_head) * part_len<Unit>();
    }
    /// The scales of a part of int8.
    template <class Unit>
    DEVICE_MEMBER auto scales(Shared<Unit> part) const {
        return at<std::conditional_t<std::is_const_v<Unit>, const float, float>>(part + block_size * head_dim);
    }
};

/// Of two values the larger, or NaN if one is.
DEVICE float larger(float a, float b) { return a != a || a > b ? a : b; }

/// The largest of a warp, or NaN if one is; every lane gets it.
DEVICE float warp_larger(float x AND_PLACE) {
#pragma unroll
    for (int mask = WARP / 2; mask > 0; mask /= 2) x = larger(x, shuffle_xor(x, mask SAME_PLACE));
    return x;
}

/// Rounds to nearest, ties to even; of int8, what 127 stands for has been divided by.
template <class Unit>
DEVICE Unit to_unit(float x, float inverse) {
    if constexpr (sizeof(Unit) == 1) return Unit(rintf(x * inverse));
    else return from_float<Unit>(x);
}
