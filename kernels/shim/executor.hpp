// What runs a launch: its blocks one after the other, a block's threads as fibres in an order that a seed shuffles.
#pragma once
#include <csetjmp>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <ucontext.h>
#include <vector>

#include "runtime.hpp"

namespace shim {

struct PendingCopy {
    Region *to;
    ptrdiff_t to_offset;
    char bytes[16];
};

/// A thread with a stack of its own; it runs one thread of the grid after the other.
struct Fibre : Thread {
    enum State { READY, AT_BARRIER, AT_WARP, DONE } state;
    jmp_buf context;
    bool has_started = false;
    std::unique_ptr<char[]> stack;
    /// Groups of asynchronous copies, the newest last; the last is not committed.
    std::vector<std::vector<PendingCopy>> copies;
};

struct Warp {
    /// Of its barriers.
    uint32_t clock;
    uint32_t num_waiting;
    void* slots[32];
    const char* file;
    int line;
};

struct Executor {
    std::vector<std::unique_ptr<Fibre>> fibres;
    std::vector<Warp> warps;
    const Body* body;
    jmp_buf scheduler;
    std::string error;
    bool has_failed;
    std::mt19937 random;

    /// Advances with every barrier and block, and never goes back. Memory outlives launches, so all executors share one.
    uint64_t clock, block_start, launch_start;
    uint32_t num_threads, num_at_barrier;
    const char* barrier_file;
    int barrier_line;

    struct Array {
        std::unique_ptr<char[]> data;
        Region region;
    };
    std::map<const void*, Array> shared;
    const char* kernel;

    bool launch(Dim3 grid, Dim3 block, size_t shared_bytes);
    bool run_block();
    void resume(Fibre& fibre);
    /// Back to the scheduler.
    void pause(Fibre& fibre);
};
extern thread_local Executor* executor;

}  // namespace shim
