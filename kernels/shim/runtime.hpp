// Threads of a block as fibres of one thread, and what they do together.
#pragma once
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "memory.hpp"

namespace shim {

struct Dim3 {
    uint32_t x, y, z;
};

/// The thread of the grid that is at work.
struct Thread {
    Dim3 thread_idx, block_idx, block_dim, grid_dim;
    uint32_t linear;
};
extern thread_local Thread* self;

/// Waits for all threads of the block; `place` is where in the source.
void wait_for_block(const char* file, int line);

/// What the lanes of a warp do together: the last to come does it for all, by their slots.
using Together = void (*)(void* const (&slots)[32]);
void wait_for_warp(void* slot, Together together, bool orders_memory, const char* file, int line);

/// An array of the block: the same for all threads that name the same tag.
Region* shared_array(const void* tag, const char* name, size_t num_bytes, size_t unit_bytes);
Region* dynamic_shared();

void copy_async(Region* to, ptrdiff_t to_offset, const Region* from, ptrdiff_t from_offset, bool is_valid);
void copy_commit();
void copy_wait(int num_pending);

/// Kernels by name, with how to call them on an array of addresses of arguments.
struct Body {
    virtual ~Body() = default;
    virtual void run() const = 0;
};
using Bind = Body* (*)(void* const* args);
/// `file` is its source, `num_threads` those of a block, at most.
void add_kernel(const char* name, const char* file, uint32_t num_threads, Bind bind, const size_t* arg_bytes, const size_t* arg_alignments,
                size_t num_args);

template <class A>
struct Argument {
    static constexpr size_t num_bytes = sizeof(A);
    static A read(const void* at) {
        A value;
        std::memcpy(&value, at, sizeof(A));
        return value;
    }
};
template <class T>
struct Argument<Pointer<T>> {
    static constexpr size_t num_bytes = sizeof(void*);
    static Pointer<T> read(const void* at) {
        uintptr_t bits;
        std::memcpy(&bits, at, sizeof(bits));
        char* const address = reinterpret_cast<char*>(bits & ~ON_CARD);
        Region* region = region_of(address);
        return {region, address - region->data};
    }
};

template <auto kernel, class... A>
struct BoundBody : Body {
    std::tuple<A...> args;
    template <size_t... I>
    BoundBody(void* const* args, std::index_sequence<I...>) : args(Argument<A>::read(args[I])...) {}
    void run() const override { std::apply(kernel, args); }
};

template <auto kernel, class... A>
bool add_kernel_of(const char* name, const char* file, uint32_t num_threads, void (*)(A...)) {
    static const size_t arg_bytes[] = {Argument<A>::num_bytes...};
    static const size_t arg_alignments[] = {alignof(A)...};
    add_kernel(
        name, file, num_threads,
        [](void* const* args) -> Body* {
            return new BoundBody<kernel, A...>(args, std::index_sequence_for<A...>());
        },
        arg_bytes, arg_alignments, sizeof...(A));
    return true;
}

}  // namespace shim
