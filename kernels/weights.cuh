// Weights as the tensor cores take them, without a detour through shared memory.
//
// A weight `[N, K]` is cut into tiles of 16 outputs by 64 inputs, `[N / 16, K / 64]`, filled up with zeros. Of a tile, lane l of a
// warp has the outputs `g = l / 4` and `g + 8`, and of each the 16 neighbouring inputs from `l % 4 * 16` on. These are four steps
// of `mma.m16n8k16`, whose K is permuted: in step s, the lane's columns `{2 t, 2 t + 1, 2 t + 8, 2 t + 9}` (t = l % 4) stand for the
// inputs `4 s + {0, 1, 2, 3}` of the 16. A row of activations, cut the same way, is two loads of 16 bytes.
//
// `codes` has of each tile the lanes' codes of 4 bits (`[32 lanes, 4 steps, 8]`: outputs and inputs in the order of a fragment), and
// behind them those of further bits; 8 bits come as two such planes `[2, 32 lanes, 2 steps, 8]`, 16 bits as four.
// `scales` has of each tile `[groups, 8, 2]` values for the outputs g and g + 8, where a group is 32 inputs or 16, and of formats
// with a minimum, or with a code of their own for zero, pairs of them.
#pragma once
#include "common.cuh"

constexpr int TILE_N = 16, TILE_K = 64;

/// What a launch reads once leaves the caches first.
template <class V, bool IS_ONCE, class P>
DEVICE V load_weight(P p) {
    if constexpr (IS_ONCE) return load_once<V>(p);
    else return load<V>(p);
}

/// The fragments of four steps.
struct TileFragments {
    uint32_t a[4][4];
};

/// 16-bit floats as they are.
template <class T>
struct Dense {
    static constexpr int CODE_BYTES = TILE_N * TILE_K * 2, SCALE_BYTES = 0;
    struct Raw {
        uint4 steps[4];
    };
    template <bool IS_ONCE>
    DEVICE_MEMBER static Raw load_tile(Global<const uint8_t> codes, Global<const uint8_t>) {
        Raw raw;
#pragma unroll
        for (int s = 0; s < 4; s++) raw.steps[s] = load_weight<uint4, IS_ONCE>(codes + (s * WARP + lane_idx()) * 16);
        return raw;
    }
    DEVICE_MEMBER static TileFragments decode(const Raw& raw) {
        TileFragments tile;
#pragma unroll
        for (int s = 0; s < 4; s++) {
            tile.a[s][0] = raw.steps[s].x, tile.a[s][1] = raw.steps[s].y;
            tile.a[s][2] = raw.steps[s].z, tile.a[s][3] = raw.steps[s].w;
        }
        return tile;
    }
};

/// What 4 bits stand for, of IQ4_NL and IQ4_XS (`kvalues_iq4nl`) and twice the floats E2M1 of MXFP4, eight to a number.
enum class Levels { LINEAR, IQ4, E2M1, E4M3 };

template <Levels LEVELS>
DEVICE float level(uint32_t code) {
    constexpr bool IS_IQ4 = LEVELS == Levels::IQ4;
    constexpr uint64_t LOW = IS_IQ4 ? 0xf6eaddcfbfad9881 : 0x0c08060403020100;
    constexpr uint64_t HIGH = IS_IQ4 ? 0x7159453526190d01 : 0xf4f8fafcfdfeff00;
    return float(int8_t((code < 8 ? LOW : HIGH) >> code % 8 * 8));
}

/// A float of 8 bits with 4 of exponent and 3 of mantissa (E4M3), by way of a half, whose exponent's bias is 8 more.
DEVICE float e4m3(uint32_t code) {
    return to_float(from_bits<f16>(uint16_t((code & 0x80) << 8 | (code & 0x7f) << 7))) * 256;
}

/// What a group has besides a scale: nothing; a minimum, which is added to scaled codes; or the code that counts as zero.
enum class Beside { NONE, MIN, ZERO };

/// Codes of BITS bits, OFFSET of which count as zero, that are scaled by SCALE for GROUP inputs.
template <int BITS, int OFFSET, int GROUP, Beside BESIDE, class Scale = f16, Levels LEVELS = Levels::LINEAR>
struct Quantised {
    static constexpr bool HAS_PAIR = BESIDE != Beside::NONE;
    static constexpr int WORDS = BITS == 8 ? 2 : 1, MORE = BITS == 8 ? 0 : BITS - 4;
    static constexpr int CODE_BYTES = WARP * (16 * WORDS + 4 * MORE);
    static constexpr int SCALE_BYTES = TILE_K / GROUP * TILE_N * sizeof(Scale) * (HAS_PAIR ? 2 : 1);
    using Pair = std::conditional_t<sizeof(Scale) == 4 || HAS_PAIR, uint2, uint32_t>;
    struct Raw {
        uint4 words[WORDS];
        uint32_t more[MORE + 1];
        Pair scales;
    };

    template <bool IS_ONCE>
    DEVICE_MEMBER static Raw load_tile(Global<const uint8_t> codes, Global<const uint8_t> scales) {
        Raw raw;
#pragma unroll
        for (int i = 0; i < WORDS; i++) raw.words[i] = load_weight<uint4, IS_ONCE>(codes + (i * WARP + lane_idx()) * 16);
#pragma unroll
        for (int i = 0; i < MORE; i++)
            raw.more[i] = load_weight<uint32_t, IS_ONCE>(codes + WARP * 16 * WORDS + (i * WARP + lane_idx()) * 4);
        const int group = lane_idx() % 4 * 16 / GROUP;
        raw.scales = load_weight<Pair, IS_ONCE>(scales + (group * 8 + lane_idx() / 4) * int(sizeof(Pair)));
        return raw;
    }

    DEVICE_MEMBER static TileFragments decode(const Raw& raw) {
        float scale[2], beside[2] = {0, 0};
        if constexpr (sizeof(Scale) == 4) {
            scale[0] = bits_to_float(raw.scales.x), scale[1] = bits_to_float(raw.scales.y);
        } else if constexpr (HAS_PAIR) {
            unpack<Scale>(raw.scales.x, scale[0], beside[0]);
            unpack<Scale>(raw.scales.y, scale[1], beside[1]);
        } else {
            unpack<Scale>(raw.scales, scale[0], scale[1]);
        }
        TileFragments tile;
#pragma unroll
        for (int s = 0; s < 4; s++) {
#pragma unroll
            for (int r = 0; r < 4; r++) {
                float x[2];
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    // Of the fragment: two inputs of output g, two of g + 8, the next two of g, and of g + 8.
                    const int place = r * 2 + i, value = s * 8 + place;
                    float code;
                    if constexpr (BITS == 8) {
                        const uint4& words = raw.words[s / 2];
                        const uint32_t word = s % 2 == 0 ? (place < 4 ? words.x : words.y) : (place < 4 ? words.z : words.w);
                        const uint32_t byte = word >> place % 4 * 8 & 0xff;
                        if constexpr (LEVELS == Levels::E4M3) code = e4m3(byte);
                        else code = float(int8_t(byte));
                    } else {
                        const uint4& words = raw.words[0];
                        const uint32_t word = s == 0 ? words.x : s == 1 ? words.y : s == 2 ? words.z : words.w;
                        uint32_t bits = word >> place * 4 & 15;
#pragma unroll
                        for (int m = 0; m < MORE; m++) bits |= (raw.more[m] >> value & 1) << (4 + m);
                        if constexpr (LEVELS == Levels::LINEAR) code = float(int(bits) - OFFSET);
                        else code = level<LEVELS>(bits);
                    }
                    // Rows of a fragment's registers are g, g + 8, g, g + 8.
                    if constexpr (BESIDE == Beside::MIN) x[i] = fmaf(code, scale[r % 2], beside[r % 2]);
                    else if constexpr (BESIDE == Beside::ZERO) x[i] = (code - beside[r % 2]) * scale[r % 2];
                    else x[i] = code * scale[r % 2];
                }
                tile.a[s][r] = pack<bf16>(x[0], x[1]);
            }
        }
        return tile;
    }
};

using Q4 = Quantised<4, 8, 32, Beside::NONE>;                                    // Q4_0
using Q4Min = Quantised<4, 0, 32, Beside::MIN>;                                  // Q4_1, Q4_K
using Q4Zero = Quantised<4, 0, 32, Beside::ZERO>;                           // AWQ, GPTQ
using Q5 = Quantised<5, 16, 32, Beside::NONE>;                                   // Q5_0
using Q5Min = Quantised<5, 0, 32, Beside::MIN>;                                  // Q5_1, Q5_K
using Q8 = Quantised<8, 0, 32, Beside::NONE>;                                    // Q8_0
using Q6Of16 = Quantised<6, 32, 16, Beside::NONE>;                               // Q6_K
using Q4Of16 = Quantised<4, 8, 16, Beside::NONE>;                                // Q3_K, TQ1_0, TQ2_0
using Q4MinOf16 = Quantised<4, 0, 16, Beside::MIN>;                              // Q2_K
using Iq4 = Quantised<4, 0, 32, Beside::NONE, f16, Levels::IQ4>;                 // IQ4_NL, IQ4_XS
using Mxfp4 = Quantised<4, 0, 32, Beside::NONE, bf16, Levels::E2M1>;             // MXFP4
using Fp8 = Quantised<8, 0, 32, Beside::NONE, float, Levels::E4M3>;              // FP8

/// `DO(type of activations, format, its name in names of kernels)`.
#define FOR_ALL_FORMATS(DO)           \
    DO(f16, Dense<f16>, f16)          \
    DO(bf16, Dense<bf16>, bf16)       \
    DO(bf16, Q4, q4)                  \
    DO(bf16, Q4Min, q4_min)           \
    DO(bf16, Q4Zero, q4_zero)         \
    DO(bf16, Q5, q5)                  \
    DO(bf16, Q5Min, q5_min)           \
    DO(bf16, Q8, q8)                  \
    DO(bf16, Q6Of16, q6_of_16)        \
    DO(bf16, Q4Of16, q4_of_16)        \
    DO(bf16, Q4MinOf16, q4_min_of_16) \
    DO(bf16, Iq4, iq4)                \
    DO(bf16, Mxfp4, mxfp4)            \
    DO(bf16, Fp8, fp8)
