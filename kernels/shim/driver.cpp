// A CUDA driver for one card whose kernels are the shim's: what the driver's library is to a program, without a GPU.
//
// It is as late as it may be (streams that only copy as early, where a test says so): what a stream is asked for is done when somebody
// waits for it, so that a program that does not wait reads old numbers, and memory of the host that changes before it was copied is copied as changed. Addresses of the card's
// memory cannot be dereferenced by the host. Of a kernel's accesses to the card's memory only bounds and alignment are checked here; races
// are looked for where kernels are tested alone. The first failure is every later call's answer, until the context is given up.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "driver.hpp"
#include "launch.hpp"

using namespace driver;
using shim::ON_CARD;

namespace {

struct Stream {
    std::deque<Work> work;
    /// How much was done, and asked for.
    uint64_t num_done = 0, num_asked = 0;
    bool is_capturing = false, is_invalid = false;
    /// Whether it was asked for more than copies to the host and from there.
    bool computes = false;
    /// What captures.
    std::thread::id thread;
    std::vector<Work> captured;
};

struct Event {
    Stream* stream = nullptr;
    uint64_t after = 0;
};

struct Graph {
    std::vector<Work> work;
};

struct Card {
    std::recursive_mutex lock;
    int num_users = 0;
    Result failure = SUCCESS;
    std::string message;
    size_t total = 256 << 20, used = 0;
    std::map<uint64_t, size_t> allocations;
    std::map<const char*, size_t> pinned;
    std::set<Stream*> streams;
    uint32_t num_launches = 0;
    bool is_hasty = false;
    /// Whether a library holds the context, which never gives it up.
    bool is_held = false;
};

Card& card() {
    static Card* one = [] {
        auto* made = new Card();
        if (const char* bytes = std::getenv("SHIM_CARD_MEMORY")) made->total = std::strtoull(bytes, nullptr, 10);
        return made;
    }();
    return *one;
}

/// The management library's card has the same.
constexpr unsigned char UUID[16] = {0x0f, 0x1e, 0x2d, 0x3c, 0x4b, 0x5a, 0x69, 0x78, 0x87, 0x96, 0xa5, 0xb4, 0xc3, 0xd2, 0xe1, 0xf0};

thread_local void* current = nullptr;

bool is_pinned(const void* address, size_t len) {
    const auto* from = static_cast<const char*>(address);
    const auto& all = card().pinned;
    auto at = all.upper_bound(from);
    if (at == all.begin()) return false;
    --at;
    return from + len <= at->first + at->second;
}

Result do_up_to(Stream& stream, uint64_t after) {
    while (stream.num_done < after) {
        const Work work = std::move(stream.work.front());
        stream.work.pop_front();
        stream.num_done++;
        const Result result = work();
        if (result != SUCCESS) return result;
    }
    return SUCCESS;
}

Result do_all() {
    for (Stream* stream : card().streams)
        if (const Result result = do_up_to(*stream, stream->num_asked); result != SUCCESS) return result;
    return SUCCESS;
}

/// Null where there is none.
Stream* stream_of(void* stream) {
    auto* one = static_cast<Stream*>(stream);
    return card().streams.count(one) == 0 ? nullptr : one;
}

/// A call that a thread may not make while it captures.
Result refuse_in_capture() {
    for (Stream* stream : card().streams)
        if (stream->is_capturing && stream->thread == std::this_thread::get_id()) return stream->is_invalid = true, STREAM_CAPTURE_UNSUPPORTED;
    return SUCCESS;
}

/// Whether the card is to fail: once for every time that the file of this name is made.
bool has_been_told_to_fail() {
    static const char* path = std::getenv("SHIM_FAIL_FILE");
    return path != nullptr && std::remove(path) == 0;
}

/// By the attributes' numbers in CUDA's header.
int attribute(int which) {
    switch (which) {
        case 10: return 32;          // warp size
        case 16: return 4;           // multiprocessors
        case 75: return 8;           // compute capability, major
        case 76: return 0;           // and minor
        case 97: return 99 << 10;    // shared memory of a block, at most
        default: return 0;
    }
}

}  // namespace

namespace driver {

std::recursive_mutex& lock() { return card().lock; }

Result state() { return current == nullptr ? INVALID_CONTEXT : card().failure; }

Result fail(Result result, const std::string& message) {
    Card& c = card();
    if (c.failure == SUCCESS) c.failure = result, c.message = message;
    return result;
}

char* host(uint64_t address) { return reinterpret_cast<char*>(address & ~ON_CARD); }

bool is_on_card(uint64_t address, size_t len) {
    const auto& all = card().allocations;
    auto at = all.upper_bound(address);
    if (at == all.begin()) return false;
    --at;
    return address + len <= at->first + at->second;
}

void hold() {
    Card& c = card();
    if (!c.is_held) c.is_held = true, c.num_users++;
}

Result ask(void* on, Work work, bool computes) {
    Stream* stream = stream_of(on);
    if (stream == nullptr) return INVALID_VALUE;
    stream->computes |= computes;
    if (stream->is_capturing) {
        stream->captured.push_back(std::move(work));
    } else {
        stream->work.push_back(std::move(work));
        stream->num_asked++;
        // As early as it may be, at times.
        if (!stream->computes && card().is_hasty) return do_up_to(*stream, stream->num_asked);
    }
    return SUCCESS;
}

}  // namespace driver

extern "C" {

int cuInit(unsigned) { return SUCCESS; }
int cuDeviceGetCount(int* count) { return *count = 1, SUCCESS; }
int cuDeviceGet(int* device, int ordinal) { return ordinal == 0 ? (*device = 0, SUCCESS) : INVALID_VALUE; }
int cuDeviceGetAttribute(int* value, int which, int) { return *value = attribute(which), SUCCESS; }
int cuDeviceGetName(char* name, int len, int) { return snprintf(name, len, "a CPU as a GPU"), SUCCESS; }
int cuDeviceGetUuid_v2(unsigned char* uuid, int) { return std::memcpy(uuid, UUID, sizeof UUID), SUCCESS; }
int cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = card().total, SUCCESS; }

int cuDevicePrimaryCtxRetain(void** context, int) {
    const std::lock_guard guard(card().lock);
    card().num_users++;
    *context = &card();
    return SUCCESS;
}

int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* is_active) {
    const std::lock_guard guard(card().lock);
    *flags = 0, *is_active = card().num_users > 0;
    return SUCCESS;
}

int cuDevicePrimaryCtxReset_v2(int) {
    const std::lock_guard guard(card().lock);
    Card& c = card();
    c.num_users = 0;
    c.is_held = false;
    // With it goes what it had.
    for (const auto& [address, len] : c.allocations) shim_free(host(address));
    c.allocations.clear();
    for (const auto& [data, len] : c.pinned) std::free(const_cast<char*>(data));
    c.pinned.clear();
    c.used = 0;
    c.failure = SUCCESS;
    return SUCCESS;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
    const std::lock_guard guard(card().lock);
    return --card().num_users > 0 ? SUCCESS : cuDevicePrimaryCtxReset_v2(device);
}

int cuCtxSetCurrent(void* context) { return current = context, SUCCESS; }
int cuCtxGetCurrent(void** context) { return *context = current, SUCCESS; }

int cuCtxSynchronize() {
    BEGIN;
    if (const Result result = refuse_in_capture(); result != SUCCESS) return result;
    return do_all();
}

int cuGetErrorName(int error, const char** name) {
    switch (error) {
        case SUCCESS: *name = "CUDA_SUCCESS"; break;
        case INVALID_VALUE: *name = "CUDA_ERROR_INVALID_VALUE"; break;
        case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
        case NOT_INITIALIZED: *name = "CUDA_ERROR_NOT_INITIALIZED"; break;
        case INVALID_IMAGE: *name = "CUDA_ERROR_INVALID_IMAGE"; break;
        case INVALID_CONTEXT: *name = "CUDA_ERROR_INVALID_CONTEXT"; break;
        case NOT_FOUND: *name = "CUDA_ERROR_NOT_FOUND"; break;
        case ILLEGAL_ADDRESS: *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; break;
        case STREAM_CAPTURE_UNSUPPORTED: *name = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"; break;
        case STREAM_CAPTURE_INVALIDATED: *name = "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"; break;
        default: *name = "CUDA_ERROR_UNKNOWN";
    }
    return SUCCESS;
}

int cuGetErrorString(int error, const char** text) {
    // What the shim said of it.
    static thread_local std::string said;
    const std::lock_guard guard(card().lock);
    said = error == card().failure ? card().message : "see its name";
    *text = said.c_str();
    return SUCCESS;
}

int cuMemGetInfo_v2(size_t* free, size_t* total) {
    BEGIN;
    *total = card().total;
    *free = card().total - card().used;
    return SUCCESS;
}

int cuMemAlloc_v2(uint64_t* address, size_t len) {
    BEGIN;
    if (const Result result = refuse_in_capture(); result != SUCCESS) return result;
    Card& c = card();
    if (len == 0) return INVALID_VALUE;
    if (len > c.total - c.used) return OUT_OF_MEMORY;
    auto* data = static_cast<char*>(shim_alloc("memory of the card", len, 0, true));
    // What nobody has written is not a number.
    std::memset(data, 0xff, len);
    *address = reinterpret_cast<uint64_t>(data) | ON_CARD;
    c.allocations[*address] = len;
    c.used += len;
    return SUCCESS;
}

int cuMemFree_v2(uint64_t address) {
    BEGIN;
    const auto at = card().allocations.find(address);
    if (at == card().allocations.end()) return INVALID_VALUE;
    if (const Result result = refuse_in_capture(); result != SUCCESS) return result;
    const Result result = do_all();
    card().used -= at->second;
    card().allocations.erase(at);
    shim_free(host(address));
    return result;
}

int cuMemHostAlloc(void** data, size_t len, unsigned) {
    BEGIN;
    if (const Result result = refuse_in_capture(); result != SUCCESS) return result;
    *data = std::malloc(len);
    card().pinned[static_cast<char*>(*data)] = len;
    return SUCCESS;
}

int cuMemFreeHost(void* data) {
    const std::lock_guard guard(card().lock);
    if (card().pinned.erase(static_cast<char*>(data)) == 0) return INVALID_VALUE;
    const Result result = card().failure == SUCCESS ? do_all() : card().failure;
    std::free(data);
    return result;
}

int cuMemsetD8Async(uint64_t to, unsigned char value, size_t len, void* stream) {
    BEGIN;
    return ask(stream, [=] {
        if (!is_on_card(to, len)) return fail(ILLEGAL_ADDRESS, "memset outside of the card's memory");
        return std::memset(host(to), value, len), SUCCESS;
    }, true);
}

int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t len, void* stream) {
    BEGIN;
    return ask(stream, [=] {
        if (!is_on_card(to, len) || !is_on_card(from, len)) return fail(ILLEGAL_ADDRESS, "copy outside of the card's memory");
        return std::memmove(host(to), host(from), len), SUCCESS;
    }, true);
}

int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t len, void* stream) {
    BEGIN;
    const auto copy = [=](const char* bytes) {
        if (!is_on_card(to, len)) return fail(ILLEGAL_ADDRESS, "copy to outside of the card's memory");
        return std::memcpy(host(to), bytes, len), SUCCESS;
    };
    const auto* bytes = static_cast<const char*>(from);
    if (is_pinned(from, len)) return ask(stream, [=] { return copy(bytes); });
    if (const Result result = refuse_in_capture(); result != SUCCESS) return result;
    // Other memory is read before the call returns.
    const auto kept = std::make_shared<std::vector<char>>(bytes, bytes + len);
    return ask(stream, [=] { return copy(kept->data()); });
}

int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t len, void* stream) {
    BEGIN;
    const auto copy = [=] {
        if (!is_on_card(from, len)) return fail(ILLEGAL_ADDRESS, "copy from outside of the card's memory");
        return std::memcpy(to, host(from), len), SUCCESS;
    };
    if (is_pinned(to, len)) return ask(stream, copy);
    if (const Result result = refuse_in_capture(); result != SUCCESS) return result;
    Stream* on = stream_of(stream);
    if (on == nullptr) return INVALID_VALUE;
    const Result result = do_up_to(*on, on->num_asked);
    return result == SUCCESS ? copy() : result;
}

int cuStreamCreate(void** stream, unsigned) {
    BEGIN;
    auto* made = new Stream();
    card().streams.insert(made);
    *stream = made;
    return SUCCESS;
}

int cuStreamDestroy_v2(void* stream) {
    const std::lock_guard guard(card().lock);
    auto* one = static_cast<Stream*>(stream);
    if (card().streams.erase(one) == 0) return INVALID_VALUE;
    const Result result = card().failure == SUCCESS ? do_up_to(*one, one->num_asked) : card().failure;
    delete one;
    return result;
}

int cuStreamSynchronize(void* stream) {
    BEGIN;
    if (const Result result = refuse_in_capture(); result != SUCCESS) return result;
    Stream* one = stream_of(stream);
    if (one == nullptr) return INVALID_VALUE;
    return do_up_to(*one, one->num_asked);
}

int cuStreamBeginCapture_v2(void* stream, int) {
    BEGIN;
    Stream* one = stream_of(stream);
    if (one == nullptr) return INVALID_VALUE;
    if (one->is_capturing) return INVALID_VALUE;
    one->is_capturing = true;
    one->thread = std::this_thread::get_id();
    one->is_invalid = false;
    one->captured.clear();
    return SUCCESS;
}

int cuStreamEndCapture(void* stream, void** graph) {
    BEGIN;
    Stream* one = stream_of(stream);
    if (one == nullptr) return INVALID_VALUE;
    if (!one->is_capturing) return INVALID_VALUE;
    one->is_capturing = false;
    *graph = nullptr;
    if (one->is_invalid) return STREAM_CAPTURE_INVALIDATED;
    *graph = new Graph{std::move(one->captured)};
    return SUCCESS;
}

int cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long) {
    BEGIN;
    *exec = new Graph(*static_cast<Graph*>(graph));
    return SUCCESS;
}

int cuGraphLaunch(void* exec, void* stream) {
    BEGIN;
    for (const Work& work : static_cast<Graph*>(exec)->work)
        if (const Result result = ask(stream, work, true); result != SUCCESS) return result;
    return SUCCESS;
}

int cuGraphDestroy(void* graph) { return delete static_cast<Graph*>(graph), SUCCESS; }
int cuGraphExecDestroy(void* exec) { return delete static_cast<Graph*>(exec), SUCCESS; }

int cuEventCreate(void** event, unsigned) {
    BEGIN;
    *event = new Event();
    return SUCCESS;
}

int cuEventDestroy_v2(void* event) { return delete static_cast<Event*>(event), SUCCESS; }

int cuEventRecord(void* event, void* stream) {
    BEGIN;
    Stream* one = stream_of(stream);
    if (one == nullptr) return INVALID_VALUE;
    if (one->is_capturing) return one->is_invalid = true, STREAM_CAPTURE_UNSUPPORTED;
    *static_cast<Event*>(event) = {one, one->num_asked};
    return SUCCESS;
}

int cuStreamWaitEvent(void* stream, void* event, unsigned) {
    BEGIN;
    const Stream* one = stream_of(stream);
    if (one == nullptr || one->is_capturing) return INVALID_VALUE;
    // What was recorded by now; nothing is nothing to wait for.
    const Event on = *static_cast<Event*>(event);
    return ask(stream, [=] { return stream_of(on.stream) == nullptr ? SUCCESS : do_up_to(*on.stream, on.after); });
}

int cuEventSynchronize(void* event) {
    BEGIN;
    if (const Result result = refuse_in_capture(); result != SUCCESS) return result;
    const auto* one = static_cast<Event*>(event);
    return stream_of(one->stream) == nullptr ? SUCCESS : do_up_to(*one->stream, one->after);
}

int cuEventQuery(void* event) {
    BEGIN;
    const auto* one = static_cast<Event*>(event);
    return stream_of(one->stream) == nullptr || one->stream->num_done >= one->after ? SUCCESS : NOT_READY;
}

/// Whether what is asked of streams that only copy is done at once, instead of when somebody waits for it.
void shim_be_hasty(bool is_hasty) {
    const std::lock_guard guard(card().lock);
    card().is_hasty = is_hasty;
}

// An image of the shim is the name of the file; any other is taken for one that has all kernels.
int cuModuleLoadData(void** module, const void* image) {
    BEGIN;
    const auto* text = static_cast<const char*>(image);
    return *module = new std::string(std::strncmp(text, "shim:", 5) == 0 ? text + 5 : ""), SUCCESS;
}

int cuModuleUnload(void* module) { return delete static_cast<std::string*>(module), SUCCESS; }

int cuModuleGetFunction(void** function, void* module, const char* name) {
    BEGIN;
    shim::Kernel* kernel = shim::kernel_of(name);
    const auto& stem = *static_cast<std::string*>(module);
    if (kernel == nullptr || (!stem.empty() && kernel->stem != stem)) return NOT_FOUND;
    return *function = kernel, SUCCESS;
}

int cuFuncSetAttribute(void* function, int which, int value) {
    BEGIN;
    // Dynamic shared memory.
    if (which != 8 || value < 0 || value > attribute(97)) return INVALID_VALUE;
    static_cast<shim::Kernel*>(function)->max_shared_bytes = value;
    return SUCCESS;
}

int cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                   unsigned block_z, unsigned shared_bytes, void* stream, void** params, void** extra) {
    BEGIN;
    const auto* kernel = static_cast<shim::Kernel*>(function);
    // Arguments come in a buffer: its address, and its length.
    if (params != nullptr || extra == nullptr || extra[0] != reinterpret_cast<void*>(1) ||
        extra[2] != reinterpret_cast<void*>(2) || extra[4] != nullptr)
        return fail(INVALID_VALUE, kernel->name + ": arguments must come in a buffer");
    const size_t len = *static_cast<size_t*>(extra[3]);
    size_t end = 0;
    std::vector<size_t> starts;
    for (size_t i = 0; i < kernel->arg_bytes.size(); i++) {
        const size_t alignment = kernel->arg_alignments[i];
        starts.push_back((end + alignment - 1) / alignment * alignment);
        end = starts.back() + kernel->arg_bytes[i];
    }
    if (len != end)
        return fail(INVALID_VALUE, kernel->name + ": " + std::to_string(len) + " bytes of arguments, it takes " + std::to_string(end));
    if (shared_bytes > kernel->max_shared_bytes)
        return fail(INVALID_VALUE, kernel->name + ": not prepared for " + std::to_string(shared_bytes) + " bytes of shared memory");
    if (grid_x == 0 || grid_y == 0 || grid_z == 0 || grid_y > 65535 || grid_z > 65535)
        return fail(INVALID_VALUE, kernel->name + ": a grid that no card takes");
    const auto* bytes = static_cast<const char*>(extra[1]);
    const auto args = std::make_shared<std::vector<char>>(bytes, bytes + len);
    const auto work = [=]() -> Result {
        if (has_been_told_to_fail()) return fail(ILLEGAL_ADDRESS, kernel->name + ": as asked by SHIM_FAIL_FILE");
        std::vector<void*> addresses;
        for (const size_t start : starts) addresses.push_back(args->data() + start);
        const uint32_t grid[3] = {grid_x, grid_y, grid_z}, block[3] = {block_x, block_y, block_z};
        char message[1024];
        const bool has_failed =
            shim_launch(kernel->name.c_str(), grid, block, shared_bytes, addresses.data(), kernel->arg_bytes.data(),
                        kernel->arg_bytes.size(), card().num_launches++, message, sizeof(message));
        return has_failed ? fail(ILLEGAL_ADDRESS, message) : SUCCESS;
    };
    return ask(stream, work, true);
}

}  // extern "C"
