// Linear layers: dense, quantised and of experts, for one row or thousands.
//
//   out[t, column + n] = Σ_k x[t, k] · w[n, k] + bias[n]
//
// x `[T, K]` of 16 bits, K a multiple of 8; w as in weights.cuh, whose values are rounded to 16 bits where they are quantised; out
// `[T, out_len]` of 16 bits or f32; bias `[N]` f32 or absent.
//
// Each output's K is cut into eight slices of whole tiles, by K alone. A slice is one chain of `mma` in ascending K; slices are added
// in ascending order. `linear_few` gives each slice a warp, `linear_many` goes through them one after the other: the same bits, so
// that a row's result depends neither on the other rows nor on how many they are.
//
// Rows come in `RowTile`s with a weight each, so that experts are one launch. Must move the weights once for each row tile (few: up to
// ROWS rows; many: 128), and computes 2 N K operations a row.
// Launch, few: 256 threads, `[row tiles, ceil(N / 16)]`; many: 256 threads, `[row tiles, ceil(N / 128)]`, 3 · 128 · 144 bytes of dynamic
// shared memory. Blocks that meet the same weights are neighbours. Without row tiles (null) all rows meet the first weight, in tiles as
// large as the kernel takes. For few rows K may be 0: each row is then the bias.
#include "weights.cuh"

#ifdef KERNEL_SHIM
extern "C" void linear_reference(float* out, const float* x, const float* w, const float* bias, int rows, int n, int k) {
    for (int t = 0; t < rows; t++) {
        for (int o = 0; o < n; o++) {
            double sum = bias ? bias[o] : 0;
            for (int i = 0; i < k; i++) sum += double(x[t * k + i]) * w[o * k + i];
            out[t * n + o] = float(sum);
        }
    }
}
#endif

constexpr int SLICES = 8;

/// Neighbouring rows that meet the same weight; none in a tile that is there to fill a launch.
struct RowTile {
    int first_row, num_rows, weight;
};

struct Params {
    int n, k, out_len, column, has_bias, is_float;
    /// Without row tiles: how many rows there are.
    int num_rows;
};

/// The rows of this block.
DEVICE RowTile own_rows(Global<const RowTile> row_tiles, const Params& params, int max_rows) {
    if (params.num_rows == 0) return row_tiles[blockIdx.x];
    const int first = blockIdx.x * max_rows, left = params.num_rows - first;
    return {first, left < max_rows ? left : max_rows, 0};
}

struct Slices {
    int num_tiles;
    DEVICE_MEMBER int start(int slice) const { return int(int64_t(num_tiles) * slice / SLICES); }
};

/// The 16 inputs of a lane in a tile of K, in two halves; zeros outside of the row.
template <class P>
DEVICE void load_inputs(uint4 (&x)[2], P row, int tile_k, int k, bool is_valid) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int at = tile_k * TILE_K + lane_idx() % 4 * 16 + i * 8;
        x[i] = is_valid && at < k ? load<uint4>(row + at) : uint4{0, 0, 0, 0};
    }
}

/// Four steps of a tile with eight rows of activations.
template <class T>
DEVICE void multiply(float (&sums)[4], const TileFragments& w, const uint4 (&x)[2]) {
    mma<T>(sums, w.a[0], {x[0].x, x[0].y});
    mma<T>(sums, w.a[1], {x[0].z, x[0].w});
    mma<T>(sums, w.a[2], {x[1].x, x[1].y});
    mma<T>(sums, w.a[3], {x[1].z, x[1].w});
}

/// Writes what a lane has of 16 outputs and eight rows: outputs g and g + 8, rows `2 t` and `2 t + 1`.
template <class T>
DEVICE void write(Global<T> out, Global<float> float_out, Global<const float> bias, const Params& params, const RowTile& rows,
                  int first_output, int first_row, const float (&sums)[4]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int n = first_output + lane_idx() / 4 + i / 2 * 8, row = first_row + lane_idx() % 4 * 2 + i % 2;
        if (n >= params.n || row >= rows.num_rows) continue;
        const float sum = params.has_bias ? sums[i] + bias[int64_t(rows.weight) * params.n + n] : sums[i];
        const int64_t at = int64_t(rows.first_row + row) * params.out_len + params.column + n;
        if (params.is_float) float_out[at] = sum;
        else out[at] = from_float<T>(sum);
    }
}

template <class T, class Format, int NUM_EIGHTS>
DEVICE void linear_few(Global<T> out, Global<float> float_out, Global<const T> x, Global<const uint8_t> codes,
                       Global<const uint8_t> scales, Global<const float> bias, Global<const RowTile> row_tiles, Params params) {
    SHARED(float, partials, (SLICES - 1) * NUM_EIGHTS * 4 * WARP);
    const RowTile rows = own_rows(row_tiles, params, NUM_EIGHTS * 8);
    if (rows.num_rows == 0) return;
    const Slices slices{ceil_div(params.k, TILE_K)};
    const int slice = warp_idx(), start = slices.start(slice), end = slices.start(slice + 1);
    const int64_t first_tile = (int64_t(rows.weight) * ceil_div(params.n, TILE_N) + blockIdx.y) * slices.num_tiles;
    // Tiles of weights that are under way, so that a warp alone keeps the memory busy.
    constexpr int AHEAD = sizeof(typename Format::Raw) > 32 ? 2 : 4;
    typename Format::Raw raw[AHEAD];
    const auto fetch = [&](int tile) {
        const int64_t at = first_tile + tile;
        return Format::template load_tile<true>(codes + at * Format::CODE_BYTES, scales + at * Format::SCALE_BYTES);
    };
#pragma unroll
    for (int i = 0; i < AHEAD; i++)
        if (start + i < end) raw[i] = fetch(start + i);
    float sums[NUM_EIGHTS][4] = {};
    for (int first = start; first < end; first += AHEAD) {
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const int tile = first + i;
            if (tile >= end) continue;
            const TileFragments w = Format::decode(raw[i]);
            if (tile + AHEAD < end) raw[i] = fetch(tile + AHEAD);
#pragma unroll
            for (int e = 0; e < NUM_EIGHTS; e++) {
                const int row = e * 8 + lane_idx() / 4;
                uint4 inputs[2];
                load_inputs(inputs, x + int64_t(rows.first_row + row) * params.k, tile, params.k, row < rows.num_rows);
                multiply<T>(sums[e], w, inputs);
            }
        }
    }
#pragma unroll
    for (int e = 0; e < NUM_EIGHTS; e++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (slice > 0) partials[(((slice - 1) * NUM_EIGHTS + e) * 4 + i) * WARP + lane_idx()] = sums[e][i];
    sync_block();
    if (slice > 0) return;
#pragma unroll
    for (int e = 0; e < NUM_EIGHTS; e++) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            for (int s = 0; s < SLICES - 1; s++) sums[e][i] += partials[((s * NUM_EIGHTS + e) * 4 + i) * WARP + lane_idx()];
        write<T>(out, float_out, bias, params, rows, blockIdx.y * TILE_N, e * 8, sums[e]);
    }
}

/// Rows and outputs of a block of `linear_many`, and of a warp of its 4 · 2.
constexpr int ROWS = 128, OUTPUTS = 128, MANY_THREADS = 256, WARP_TILES = 2, WARP_EIGHTS = 8;
/// Tiles of K that are under way, and the distance of rows in them, which sets eight rows into different banks.
constexpr int STAGES = 3, STRIDE = TILE_K + 8, STAGE = ROWS * STRIDE;

template <class T, class Format>
DEVICE void linear_many(Global<T> out, Global<float> float_out, Global<const T> x, Global<const uint8_t> codes,
                        Global<const uint8_t> scales, Global<const float> bias, Global<const RowTile> row_tiles, Params params) {
    DYNAMIC_SHARED(shared);
    const Shared<T> stages = carve<T>(shared, 0, STAGES * STAGE);
    const RowTile rows = own_rows(row_tiles, params, ROWS);
    if (rows.num_rows == 0) return;
    const Slices slices{ceil_div(params.k, TILE_K)};
    const int tiles_n = ceil_div(params.n, TILE_N);
    const int first_output = blockIdx.y * OUTPUTS / TILE_N + warp_idx() / 2 * WARP_TILES;
    const int first_row = warp_idx() % 2 * WARP_EIGHTS * 8;

    const auto fetch = [&](int tile) {
        if (tile < slices.num_tiles) {
            for (int i = threadIdx.x; i < ROWS * (TILE_K / 8); i += MANY_THREADS) {
                const int row = i / (TILE_K / 8), at = i % (TILE_K / 8) * 8, k = tile * TILE_K + at;
                const bool is_valid = row < rows.num_rows && k < params.k;
                const auto from = is_valid ? x + int64_t(rows.first_row + row) * params.k + k : x;
                copy_async(stages + tile % STAGES * STAGE + row * STRIDE + at, from, is_valid);
            }
        }
        copy_commit();
    };
    // Tiles of outputs beyond the last are computed as the last, and not written.
    int strips[WARP_TILES];
#pragma unroll
    for (int m = 0; m < WARP_TILES; m++) {
        const int tile_n = first_output + m < tiles_n ? first_output + m : tiles_n - 1;
        strips[m] = (rows.weight * tiles_n + tile_n) * slices.num_tiles;
    }
    const auto load_tile = [&](int m, int tile) {
        const int64_t at = strips[m] + (tile < slices.num_tiles ? tile : slices.num_tiles - 1);
        return Format::template load_tile<false>(codes + at * Format::CODE_BYTES, scales + at * Format::SCALE_BYTES);
    };

    float total[WARP_TILES][WARP_EIGHTS][4] = {}, sums[WARP_TILES][WARP_EIGHTS][4] = {};
    typename Format::Raw raw[WARP_TILES];
#pragma unroll
    for (int tile = 0; tile < STAGES - 1; tile++) fetch(tile);
#pragma unroll
    for (int m = 0; m < WARP_TILES; m++) raw[m] = load_tile(m, 0);
    int slice = 0;
    for (int tile = 0; tile < slices.num_tiles; tile++) {
        // Slices may be empty. The first is where the total begins; the sums of nothing are added to it as they are elsewhere.
        while (tile == slices.start(slice + 1)) {
            slice++;
#pragma unroll
            for (int m = 0; m < WARP_TILES; m++)
#pragma unroll
                for (int e = 0; e < WARP_EIGHTS; e++)
#pragma unroll
                    for (int i = 0; i < 4; i++) total[m][e][i] += sums[m][e][i], sums[m][e][i] = 0;
        }
        copy_wait<STAGES - 2>();
        sync_block();
        fetch(tile + STAGES - 1);
        TileFragments w[WARP_TILES];
#pragma unroll
        for (int m = 0; m < WARP_TILES; m++) {
            w[m] = Format::decode(raw[m]);
            raw[m] = load_tile(m, tile + 1);
        }
        const Shared<T> stage = stages + tile % STAGES * STAGE;
#pragma unroll
        for (int e = 0; e < WARP_EIGHTS; e++) {
            uint4 inputs[2];
            load_inputs(inputs, stage + (first_row + e * 8 + lane_idx() / 4) * STRIDE, 0, TILE_K, true);
#pragma unroll
            for (int m = 0; m < WARP_TILES; m++) multiply<T>(sums[m][e], w[m], inputs);
        }
    }
#pragma unroll
    for (int m = 0; m < WARP_TILES; m++) {
#pragma unroll
        for (int e = 0; e < WARP_EIGHTS; e++) {
#pragma unroll
            for (int i = 0; i < 4; i++) sums[m][e][i] = total[m][e][i] + sums[m][e][i];
            write<T>(out, float_out, bias, params, rows, (first_output + m) * TILE_N, first_row + e * 8, sums[m][e]);
        }
    }
}

#define KERNEL_FOR(NAME, THREADS, T, CALL)                                                                             \
    KERNEL(NAME, THREADS)                                                                                              \
    (Global<T> out, Global<float> float_out, Global<const T> x, Global<const uint8_t> codes,                           \
     Global<const uint8_t> scales, Global<const float> bias, Global<const RowTile> row_tiles, Params params) {         \
        CALL(out, float_out, x, codes, scales, bias, row_tiles, params);                                               \
    }                                                                                                                  \
    EXPORT(NAME)
#define KERNELS(T, Format, NAME)                                                           \
    KERNEL_FOR(linear_##NAME##_8, SLICES * WARP, T, (linear_few<T, Format, 1>))            \
    KERNEL_FOR(linear_##NAME##_32, SLICES * WARP, T, (linear_few<T, Format, 4>))           \
    KERNEL_FOR(linear_##NAME##_many, MANY_THREADS, T, (linear_many<T, Format>))

FOR_ALL_FORMATS(KERNELS)
