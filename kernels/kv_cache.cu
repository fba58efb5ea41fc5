// Copying whole blocks of the paged cache: within it, to the arena in the host's memory, and back.
//
// `moves` has pairs of a block of `from` and one of `to`, none of which is written twice or written and read: copies that depend on
// each other are launches of their own. block_len is a block's bytes, a multiple of 16.
// Must move the bytes in and out.
// Launch: blocks of 256 threads, each thread four pieces of 16 bytes: `[moves, ceil(block_len / 16384)]`.
#include "common.cuh"

#ifdef KERNEL_SHIM
extern "C" void copy_blocks_reference(uint8_t* to, const uint8_t* from, const uint32_t* moves, int num_moves, int block_len) {
    for (int i = 0; i < num_moves; i++)
        std::memcpy(to + int64_t(moves[2 * i + 1]) * block_len, from + int64_t(moves[2 * i]) * block_len, block_len);
}
#endif

constexpr int THREADS = 256, PIECES = 4;

KERNEL(copy_blocks, THREADS)
(Global<uint8_t> to, Global<const uint8_t> from, Global<const uint2> moves, int64_t block_len) {
    const uint2 move = moves[blockIdx.x];
    const int64_t first = (int64_t(blockIdx.y) * PIECES * THREADS + threadIdx.x) * 16;
    uint4 pieces[PIECES];
    // All loads are under way before the first store.
#pragma unroll
    for (int i = 0; i < PIECES; i++) {
        const int64_t at = first + i * THREADS * 16;
        if (at < block_len) pieces[i] = load_once<uint4>(from + move.x * block_len + at);
    }
#pragma unroll
    for (int i = 0; i < PIECES; i++) {
        const int64_t at = first + i * THREADS * 16;
        if (at < block_len) store(to + move.y * block_len + at, pieces[i]);
    }
}
EXPORT(copy_blocks)
