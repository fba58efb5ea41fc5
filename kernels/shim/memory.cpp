#include "memory.hpp"

#include <algorithm>
#include <list>
#include <mutex>

#include "executor.hpp"
#include "launch.hpp"

namespace shim {

namespace {

/// A thread's number in stamps: that of the thread, or one that stands for several.
constexpr uint32_t LANES_OF = 1 << 16, SEVERAL = 1 << 20;
uint32_t warp_of(uint32_t thread) { return thread >= LANES_OF ? thread - LANES_OF : thread / 32; }

/// Whether nothing orders an access of the thread at work after an earlier one.
bool is_unordered(const Region& region, const Stamp& earlier) {
    const Executor& now = *executor;
    if (earlier.clock < std::max(region.since, now.launch_start)) return false;
    if (earlier.clock < now.block_start) return true;
    if (earlier.clock < now.clock || earlier.thread == self->linear) return false;
    if (earlier.thread >= SEVERAL || warp_of(earlier.thread) != self->linear / 32) return true;
    return earlier.warp_clock == now.warps[self->linear / 32].clock;
}

Stamp stamp(uint32_t thread) { return {executor->clock, executor->warps[self->linear / 32].clock, thread}; }

void fail_race(const Region& region, const char* what, size_t unit, const char* earlier_what, const Stamp& earlier) {
    if (earlier.clock < executor->block_start)
        fail("race: %s %s[%zu], which another block %s", what, region.name, unit, earlier_what);
    if (earlier.thread >= LANES_OF)
        fail("race: %s %s[%zu], which other threads %s since the last barrier", what, region.name, unit, earlier_what);
    fail("race: %s %s[%zu], which thread %u %s since the last barrier", what, region.name, unit, earlier.thread,
         earlier_what);
}

std::mutex buffers_lock;
std::list<Region>& buffers() {
    static auto* all = new std::list<Region>();
    return *all;
}

}  // namespace

void Region::check_bounds(const char* what, ptrdiff_t offset, size_t len) {
    if (offset < 0 || size_t(offset) + len > num_bytes)
        fail("%s outside of %s: bytes %td..%td of %zu", what, name, offset, offset + ptrdiff_t(len), num_bytes);
}

void Region::set_pending(ptrdiff_t offset, size_t len, bool is_pending) {
    if (units.empty()) return;
    for (size_t unit = offset / unit_bytes; unit * unit_bytes < offset + len; unit++)
        units[unit].pending = is_pending ? executor->clock : 0;
}

void Region::check_read(ptrdiff_t offset, size_t len) {
    check_bounds("read", offset, len);
    if (units.empty()) return;
    for (size_t unit = offset / unit_bytes; unit * unit_bytes < offset + len; unit++) {
        auto& [write, read, atomic, earlier_read, pending] = units[unit];
        if (!is_initialised && write.clock < std::max<uint64_t>(since, 1))
            fail("read of %s[%zu], which nobody wrote", name, unit);
        if (is_unordered(*this, write)) fail_race(*this, "read of", unit, "wrote", write);
        if (is_unordered(*this, atomic)) fail_race(*this, "read of", unit, "changed", atomic);
        if (pending != 0 && pending >= since) fail("read of %s[%zu], to which a copy is under way", name, unit);
        uint32_t thread = self->linear;
        if (read.clock == executor->clock && read.thread != thread) {
            const bool is_same_warp = read.thread < SEVERAL && warp_of(read.thread) == thread / 32;
            // A barrier of the warp orders what its lanes did before.
            const bool is_settled = is_same_warp && read.warp_clock != executor->warps[thread / 32].clock;
            if (!is_settled) thread = is_same_warp ? LANES_OF + thread / 32 : SEVERAL;
        }
        if (read.clock < executor->block_start) earlier_read = std::max(earlier_read, read.clock);
        read = stamp(thread);
    }
}

void Region::check_write(ptrdiff_t offset, size_t len) {
    check_bounds("write", offset, len);
    if (units.empty()) return;
    for (size_t unit = offset / unit_bytes; unit * unit_bytes < offset + len; unit++) {
        auto& [write, read, atomic, earlier_read, pending] = units[unit];
        if (is_unordered(*this, write)) fail_race(*this, "write of", unit, "wrote", write);
        if (is_unordered(*this, atomic)) fail_race(*this, "write of", unit, "changed", atomic);
        check_unread(unit, "write of");
        if (pending != 0 && pending >= since) fail("write of %s[%zu], to which a copy is under way", name, unit);
        write = stamp(self->linear);
    }
}

void Region::check_atomic(ptrdiff_t offset, size_t len) {
    check_bounds("atomic", offset, len);
    if (units.empty()) return;
    for (size_t unit = offset / unit_bytes; unit * unit_bytes < offset + len; unit++) {
        auto& [write, read, atomic, earlier_read, pending] = units[unit];
        if (!is_initialised && write.clock < std::max<uint64_t>(since, 1))
            fail("atomic on %s[%zu], which nobody wrote", name, unit);
        if (is_unordered(*this, write)) fail_race(*this, "atomic on", unit, "wrote", write);
        check_unread(unit, "atomic on");
        atomic = stamp(SEVERAL);
    }
}

void Region::check_unread(size_t unit, const char* what) {
    const Unit& own = units[unit];
    if (is_unordered(*this, own.read)) fail_race(*this, what, unit, "read", own.read);
    const Stamp earlier = {own.earlier_read, 0, SEVERAL};
    if (is_unordered(*this, earlier)) fail_race(*this, what, unit, "read", earlier);
}

Region* region_of(const void* address) {
    static Region null("a null pointer", nullptr, 0, 1, false);
    if (address == nullptr) return &null;
    const char* at = static_cast<const char*>(address);
    {
        const std::lock_guard lock(buffers_lock);
        for (Region& region : buffers())
            if (region.data <= at && at < region.data + region.num_bytes) return &region;
        // One past the end is an empty part of it.
        for (Region& region : buffers())
            if (at == region.data + region.num_bytes) return &region;
    }
    // Not with the lock: it does not return.
    fail("argument: %p lies in no buffer", address);
}

}  // namespace shim

using namespace shim;

extern "C" void* shim_alloc(const char* name, size_t num_bytes, size_t unit_bytes, bool is_initialised) {
    auto* data = static_cast<char*>(std::aligned_alloc(256, (num_bytes + 255) / 256 * 256));
    const std::lock_guard lock(buffers_lock);
    buffers().emplace_back(name, data, num_bytes, unit_bytes, is_initialised);
    return data;
}

extern "C" void shim_free(void* data) {
    const std::lock_guard lock(buffers_lock);
    buffers().remove_if([&](const Region& region) { return region.data == data; });
    std::free(data);
}
