// What the libraries of NVIDIA that the shim stands for have in common: one card, with its streams, its memory and its first failure.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

namespace driver {

/// By the numbers in CUDA's header.
enum Result : int {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    INVALID_CONTEXT = 201,
    INVALID_IMAGE = 200,
    NOT_FOUND = 500,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    STREAM_CAPTURE_UNSUPPORTED = 900,
    STREAM_CAPTURE_INVALIDATED = 901,
};

/// Something that a stream is asked for.
using Work = std::function<Result()>;

/// Held by every call.
std::recursive_mutex& lock();
/// What a call answers before it does anything: that the thread has no context, or the card's first failure.
Result state();
/// Notes a failure; the first is every later call's answer.
Result fail(Result result, const std::string& message);
/// Appends to what a stream is to do or, while it captures, to what it has captured. `computes` says that it is more than a copy to the
/// host or from there.
Result ask(void* stream, Work work, bool computes = false);
/// Holds the card's context until somebody resets it.
void hold();
bool is_on_card(uint64_t address, size_t len);
/// Where the host has what the card has at that address.
char* host(uint64_t address);

}  // namespace driver

/// What every call begins with.
#define BEGIN                                    \
    const std::lock_guard guard(driver::lock()); \
    if (const driver::Result result = driver::state(); result != driver::SUCCESS) return result
