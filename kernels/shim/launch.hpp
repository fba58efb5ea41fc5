// Kernels by name, and running them: what tests call, and the driver.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime.hpp"

namespace shim {

struct Kernel {
    std::string name;
    /// Of the file it is in, without its ending.
    std::string stem;
    /// Of a block, at most.
    uint32_t num_threads;
    Bind bind;
    /// Of the arguments.
    std::vector<size_t> arg_bytes, arg_alignments;
    /// Dynamic shared memory that the driver has been asked to allow.
    size_t max_shared_bytes = 48 << 10;
};

/// Null where there is none.
Kernel* kernel_of(const char* name);

}  // namespace shim

/// A buffer of global memory. Its units should be its elements; with units of zero bytes only bounds and alignment are checked. Where
/// it is not initialised, reading what no kernel has written fails.
extern "C" void* shim_alloc(const char* name, size_t num_bytes, size_t unit_bytes, bool is_initialised);
extern "C" void shim_free(void* data);

/// Runs a kernel on buffers of `shim_alloc`. Gives 0, or 1 and a message.
extern "C" int shim_launch(const char* name, const uint32_t grid[3], const uint32_t block[3], size_t shared_bytes,
                           void* const* args, const size_t* arg_bytes, size_t num_args, uint32_t seed, char* message,
                           size_t message_len);
