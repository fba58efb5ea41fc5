// What runs a launch: its blocks one after the other, a block's threads as fibres in an order that a seed shuffles.
#pragma once
#include <sys/mman.h>

#include <csetjmp>
#include <cstdlib>
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

/// Below it lies memory that nobody may touch.
class Stack {
  public:
    static constexpr size_t NUM_BYTES = 128 << 10, GUARD = 64 << 10;
    Stack() {
        all = static_cast<char*>(mmap(nullptr, GUARD + NUM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (all == MAP_FAILED) std::abort();
        mprotect(all, GUARD, PROT_NONE);
    }
    ~Stack() { munmap(all, GUARD + NUM_BYTES); }
    Stack(const Stack&) = delete;
    char* bottom() const { return all + GUARD; }

  private:
    char* all;
};

/// A thread with a stack of its own; it runs one thread of the grid after the other.
struct Fibre : Thread {
    enum State { READY, AT_BARRIER, AT_WARP, DONE } state;
    jmp_buf context;
    bool has_started = false;
    std::unique_ptr<Stack> stack;
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
    Together together;
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
    Dim3 block_idx;

    bool launch(Dim3 grid, Dim3 block, size_t shared_bytes);
    bool run_block();
    void resume(Fibre& fibre);
    /// Back to the scheduler.
    void pause(Fibre& fibre);
};
extern thread_local Executor* executor;

}  // namespace shim
