// Token embedding, and picking the rows that go on to the head.
//
//   embedding_tiles  out[i] = scale · table[ids[i]], of a table in tiles, as it is for a head that shares it: weights.cuh
//   gather_rows      out[i] = x[rows[i]]
//   place_drawn      ids[pending[i].row] = drawn[pending[i].drawn], or 0 where nothing was drawn (-1)
//
// out `[T, H]` f32; table `[V, H]` in tiles; x `[S, H]` f32; ids and rows `[T]` below V and S (the caller checks); H a multiple of 8. Must
// move 4 bytes in and 4 out an element; of tiles those of 16 rows.
// Launch: a block of 256 threads a row.
#include "weights.cuh"

#ifdef KERNEL_SHIM
extern "C" void gather_rows_reference(float* out, const uint32_t* rows, const float* x, int num_rows, int width) {
    for (int t = 0; t < num_rows; t++)
        for (int i = 0; i < width; i++) out[t * width + i] = x[rows[t] * width + i];
}
#endif

constexpr int THREADS = 256;

KERNEL(gather_rows, THREADS)(Global<float> out, Global<const uint32_t> rows, Global<const float> x, int width) {
    const int64_t row = rows[blockIdx.x];
    for (int i = threadIdx.x * 8; i < width; i += THREADS * 8) {
        float v[8];
        load8(x + row * width + i, v);
        store8(out + int64_t(blockIdx.x) * width + i, v);
    }
}
EXPORT(gather_rows)

/// `pending` `[N, 2]`: rows, each once, and where in `drawn` their tokens are. Launch: a thread for each.
KERNEL(place_drawn, THREADS)
(Global<uint32_t> ids, Global<const uint32_t> pending, Global<const uint32_t> drawn, int num_pending) {
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= num_pending) return;
    const uint32_t id = drawn[pending[2 * i + 1]];
    ids[pending[2 * i]] = id == ~0u ? 0 : id;
}
EXPORT(place_drawn)

/// A tile of the row's strip a warp. Values are rounded as the head's are.
template <class T, class Format>
DEVICE void embedding_tiles(Global<float> out, Global<const uint32_t> ids, Global<const uint8_t> codes,
                            Global<const uint8_t> scales, int width, float scale) {
    const int64_t id = ids[blockIdx.x];
    const int num_tiles = ceil_div(width, TILE_K), in_strip = id % TILE_N;
    for (int tile = warp_idx(); tile < num_tiles; tile += THREADS / WARP) {
        const int64_t at = id / TILE_N * num_tiles + tile;
        const TileFragments values =
            Format::decode(Format::template load_tile<true>(codes + at * Format::CODE_BYTES, scales + at * Format::SCALE_BYTES));
        // The row is that of four lanes, 16 inputs each.
        if (lane_idx() / 4 != in_strip % 8) continue;
#pragma unroll
        for (int s = 0; s < 4; s++) {
#pragma unroll
            for (int pair = 0; pair < 2; pair++) {
                const int i = tile * TILE_K + lane_idx() % 4 * 16 + s * 4 + pair * 2;
                float2 v;
                unpack<T>(in_strip < 8 ? values.a[s][pair * 2] : values.a[s][pair * 2 + 1], v.x, v.y);
                if (i < width) store(out + int64_t(blockIdx.x) * width + i, float2{v.x * scale, v.y * scale});
            }
        }
    }
}

#define TILES(T, Format, NAME)                                                                                          \
    KERNEL(embedding_tiles_##NAME, THREADS)                                                                             \
    (Global<float> out, Global<const uint32_t> ids, Global<const uint8_t> codes, Global<const uint8_t> scales, int width, \
     float scale) {                                                                                                     \
        embedding_tiles<T, Format>(out, ids, codes, scales, width, scale);                                              \
    }                                                                                                                   \
    EXPORT(embedding_tiles_##NAME)

FOR_ALL_FORMATS(TILES)
