// Contexts begin as ucontext and switch by longjmp, which saves no signal mask and so makes no system call.
#undef _FORTIFY_SOURCE
#include "executor.hpp"
#include "launch.hpp"

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <numeric>

namespace shim {

thread_local Thread* self = nullptr;
thread_local Executor* executor = nullptr;

namespace {

const void* const DYNAMIC = &DYNAMIC;

std::map<std::string, Kernel>& kernels() {
    // Kept to the end: threads may still launch when the process ends.
    static auto* all = new std::map<std::string, Kernel>();
    return *all;
}

std::atomic<uint64_t> next_clock{1};

Fibre& here() { return static_cast<Fibre&>(*self); }

void fibre_main() {
    for (;;) {
        executor->body->run();
        Fibre& fibre = here();
        fibre.state = Fibre::DONE;
        executor->pause(fibre);
    }
}

Region* array(const void* tag, const char* name, size_t num_bytes, size_t unit_bytes) {
    auto at = executor->shared.find(tag);
    if (at == executor->shared.end()) {
        auto data = std::make_unique<char[]>(num_bytes + 16);
        auto* aligned = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(data.get()) + 15) & ~uintptr_t(15));
        // What is read before it is written would be not a number.
        std::fill_n(aligned, num_bytes, char(0xff));
        Region region(name, aligned, num_bytes, unit_bytes, false, true);
        at = executor->shared.emplace(tag, Executor::Array{std::move(data), std::move(region)}).first;
    }
    Region& region = at->second.region;
    region.since = executor->block_start;
    return &region;
}

}  // namespace

void add_kernel(const char* name, const char* file, uint32_t num_threads, Bind bind, const size_t* arg_bytes, const size_t* arg_alignments,
                size_t num_args) {
    std::string stem = file;
    stem = stem.substr(stem.find_last_of('/') + 1);
    stem = stem.substr(0, stem.find('.'));
    kernels().emplace(name, Kernel{name, stem, num_threads, bind, {arg_bytes, arg_bytes + num_args}, {arg_alignments, arg_alignments + num_args}});
}

Kernel* kernel_of(const char* name) {
    const auto at = kernels().find(name);
    return at == kernels().end() ? nullptr : &at->second;
}

void fail(const char* format, ...) {
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    Executor& ex = *executor;
    ex.error = std::string(ex.kernel) + ": " + message;
    ex.has_failed = true;
    if (self != nullptr) {
        const Dim3 &block = self->block_idx, &thread = self->thread_idx;
        char where[128];
        snprintf(where, sizeof(where), ", in block (%u, %u, %u), thread (%u, %u, %u)", block.x, block.y, block.z, thread.x,
                 thread.y, thread.z);
        ex.error += where;
    }
    longjmp(ex.scheduler, 1);
}

void Executor::pause(Fibre& fibre) {
    if (_setjmp(fibre.context) == 0) longjmp(scheduler, 1);
}

void Executor::resume(Fibre& fibre) {
    self = &fibre;
    if (_setjmp(scheduler) == 0) {
        if (fibre.has_started) longjmp(fibre.context, 1);
        fibre.has_started = true;
        fibre.stack = std::make_unique<Stack>();
        ucontext_t context;
        getcontext(&context);
        context.uc_stack.ss_sp = fibre.stack->bottom();
        context.uc_stack.ss_size = Stack::NUM_BYTES;
        makecontext(&context, fibre_main, 0);
        setcontext(&context);
    }
    self = nullptr;
}

bool Executor::run_block() {
    std::vector<uint32_t> order(num_threads);
    std::iota(order.begin(), order.end(), 0);
    for (uint32_t num_done = 0; num_done < num_threads;) {
        std::shuffle(order.begin(), order.end(), random);
        bool has_moved = false;
        for (uint32_t thread : order) {
            Fibre& fibre = *fibres[thread];
            if (fibre.state != Fibre::READY) continue;
            has_moved = true;
            resume(fibre);
            if (has_failed) return false;
            num_done += fibre.state == Fibre::DONE;
        }
        if (!has_moved) {
            const auto count = [&](Fibre::State state) {
                return std::count_if(fibres.begin(), fibres.begin() + num_threads,
                                     [&](const auto& fibre) { return fibre->state == state; });
            };
            const std::string block =
                std::to_string(block_idx.x) + ", " + std::to_string(block_idx.y) + ", " + std::to_string(block_idx.z);
            error = std::string(kernel) + ": in block (" + block + ") threads wait for each other for ever: " +
                    std::to_string(count(Fibre::AT_BARRIER)) + " at a barrier of the block, " +
                    std::to_string(count(Fibre::AT_WARP)) + " at one of their warp, " + std::to_string(num_done) + " done";
            return false;
        }
    }
    return true;
}

bool Executor::launch(Dim3 grid, Dim3 block, size_t shared_bytes) {
    num_threads = block.x * block.y * block.z;
    while (fibres.size() < num_threads) fibres.push_back(std::make_unique<Fibre>());
    warps.assign(num_threads / 32, Warp{});
    shared.clear();
    launch_start = next_clock.fetch_add(1);
    std::vector<uint64_t> order(uint64_t(grid.x) * grid.y * grid.z);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    for (const uint64_t at : order) {
        clock = block_start = next_clock.fetch_add(1);
        num_at_barrier = 0;
        if (shared_bytes > 0) array(DYNAMIC, "dynamic shared memory", shared_bytes, 2);
        block_idx = {uint32_t(at % grid.x), uint32_t(at / grid.x % grid.y), uint32_t(at / (uint64_t(grid.x) * grid.y))};
        for (uint32_t i = 0; i < num_threads; i++) {
            Fibre& fibre = *fibres[i];
            fibre.state = Fibre::READY;
            fibre.thread_idx = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
            fibre.block_idx = block_idx;
            fibre.block_dim = block;
            fibre.grid_dim = grid;
            fibre.linear = i;
            fibre.copies.assign(1, {});
        }
        if (!run_block()) {
            // They stand in the middle of a kernel.
            fibres.clear();
            return false;
        }
    }
    return true;
}

void wait_for_block(const char* file, int line) {
    Executor& ex = *executor;
    Fibre& fibre = here();
    if (ex.num_at_barrier == 0) {
        ex.barrier_file = file;
        ex.barrier_line = line;
    } else if (ex.barrier_line != line || std::strcmp(ex.barrier_file, file) != 0) {
        fail("threads of a block are at two barriers: lines %d and %d", ex.barrier_line, line);
    }
    if (++ex.num_at_barrier < ex.num_threads) {
        fibre.state = Fibre::AT_BARRIER;
        ex.pause(fibre);
        return;
    }
    ex.num_at_barrier = 0;
    ex.clock = next_clock.fetch_add(1);
    for (uint32_t i = 0; i < ex.num_threads; i++)
        if (ex.fibres[i]->state == Fibre::AT_BARRIER) ex.fibres[i]->state = Fibre::READY;
}

void wait_for_warp(void* slot, Together together, bool orders_memory, const char* file, int line) {
    Executor& ex = *executor;
    Fibre& fibre = here();
    const uint32_t first = fibre.linear / 32 * 32;
    Warp& warp = ex.warps[fibre.linear / 32];
    if (warp.num_waiting == 0) {
        warp.file = file;
        warp.line = line;
        warp.together = together;
    } else if (warp.line != line || std::strcmp(warp.file, file) != 0 || warp.together != together) {
        fail("lanes of a warp are at two places that need all of them: lines %d and %d", warp.line, line);
    }
    warp.slots[fibre.linear - first] = slot;
    if (++warp.num_waiting < 32) {
        fibre.state = Fibre::AT_WARP;
        ex.pause(fibre);
        return;
    }
    together(warp.slots);
    warp.num_waiting = 0;
    warp.clock += orders_memory;
    for (uint32_t i = first; i < first + 32; i++)
        if (ex.fibres[i]->state == Fibre::AT_WARP) ex.fibres[i]->state = Fibre::READY;
}

Region* shared_array(const void* tag, const char* name, size_t num_bytes, size_t unit_bytes) {
    return array(tag, name, num_bytes, unit_bytes);
}

Region* dynamic_shared() {
    const auto at = executor->shared.find(DYNAMIC);
    if (at == executor->shared.end()) fail("the launch has no dynamic shared memory");
    return &at->second.region;
}

void copy_async(Region* to, ptrdiff_t to_offset, const Region* from, ptrdiff_t from_offset, bool is_valid) {
    PendingCopy copy{to, to_offset, {}};
    // The bytes may arrive at any time from now on.
    to->check_write(to_offset, 16);
    to->set_pending(to_offset, 16, true);
    std::fill_n(to->data + to_offset, 16, char(0xff));
    if (is_valid) std::memcpy(copy.bytes, from->data + from_offset, 16);
    here().copies.back().push_back(copy);
}

void copy_commit() { here().copies.emplace_back(); }

void copy_wait(int num_pending) {
    auto& copies = here().copies;
    while (int(copies.size()) - 1 > num_pending) {
        for (const PendingCopy& copy : copies.front()) {
            copy.to->set_pending(copy.to_offset, 16, false);
            copy.to->check_write(copy.to_offset, 16);
            std::memcpy(copy.to->data + copy.to_offset, copy.bytes, 16);
        }
        copies.erase(copies.begin());
    }
}

}  // namespace shim

using namespace shim;

extern "C" int shim_launch(const char* name, const uint32_t grid[3], const uint32_t block[3], size_t shared_bytes,
                           void* const* args, const size_t* arg_bytes, size_t num_args, uint32_t seed, char* message,
                           size_t message_len) {
    static thread_local Executor here;
    executor = &here;
    here.error.clear();
    here.has_failed = false;
    here.kernel = name;
    here.random.seed(seed);
    const Kernel* kernel = kernel_of(name);
    const uint32_t num_threads = block[0] * block[1] * block[2];
    if (kernel == nullptr) {
        here.error = std::string(name) + ": no such kernel";
    } else if (kernel->arg_bytes != std::vector<size_t>(arg_bytes, arg_bytes + num_args)) {
        here.error = std::string(name) + ": arguments of other number or sizes";
    } else if (num_threads == 0 || num_threads % 32 != 0 || num_threads > 1024) {
        here.error = std::string(name) + ": a block has whole warps, up to 32";
    } else if (num_threads > kernel->num_threads) {
        here.error = std::string(name) + ": a block has up to " + std::to_string(kernel->num_threads) + " threads";
    } else if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0) {
        here.error = std::string(name) + ": a grid of no blocks";
    } else if (grid[1] > 65535 || grid[2] > 65535) {
        here.error = std::string(name) + ": a grid has up to 65535 blocks in its second and third dimension";
    } else if (shared_bytes > 227 << 10) {
        here.error = std::string(name) + ": more shared memory than a block can have";
    } else {
        self = nullptr;
        std::unique_ptr<const Body> body;
        if (_setjmp(here.scheduler) == 0) body.reset(kernel->bind(args));
        if (!here.has_failed) {
            here.body = body.get();
            here.launch({grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, shared_bytes);
        }
    }
    snprintf(message, message_len, "%s", here.error.c_str());
    return !here.error.empty();
}

/// How many kernels there are, and their names.
extern "C" size_t shim_kernels(const char** names, size_t max) {
    size_t i = 0;
    for (const auto& [name, kernel] : kernels())
        if (i++ < max) names[i - 1] = name.c_str();
    return kernels().size();
}
