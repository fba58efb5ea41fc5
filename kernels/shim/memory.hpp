// Memory whose every access is checked: for its bounds and alignment, for being written before it is read, and for races.
//
// A unit of memory (an element, mostly) remembers who wrote it last, who read it last and who changed it atomically, and when: by a
// clock that each barrier of a block advances, and by the barriers of the thread's warp. Two accesses by different threads, one of them
// a write, need a barrier between them; accesses by different blocks of a launch never have one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace shim {

/// Set in addresses that the driver gives out: the host cannot dereference them.
constexpr uintptr_t ON_CARD = uintptr_t(1) << 62;

/// When and by whom.
struct Stamp {
    uint64_t clock = 0;
    uint32_t warp_clock = 0;
    uint32_t thread = 0;
};

struct Unit {
    Stamp write, read, atomic;
    /// When a block read it, before one that has read it since.
    uint64_t earlier_read = 0;
    /// When a copy to it began that has not arrived.
    uint64_t pending = 0;
};

/// A buffer of global memory, or an array of shared memory.
struct Region {
    const char* name;
    char* data;
    size_t num_bytes;
    size_t unit_bytes;
    /// Stamps before it are of other launches (global) or blocks (shared).
    uint64_t since = 0;
    /// Whether what nobody has written may be read.
    bool is_initialised;
    bool is_shared;
    /// Empty where only bounds and alignment are checked.
    std::vector<Unit> units;

    Region(const char* name, char* data, size_t num_bytes, size_t unit_bytes, bool is_initialised, bool is_shared = false)
        : name(name), data(data), num_bytes(num_bytes), unit_bytes(unit_bytes), is_initialised(is_initialised),
          is_shared(is_shared),
          units(unit_bytes == 0 ? 0 : (num_bytes + unit_bytes - 1) / unit_bytes) {}

    /// Fails the launch, and does not return, unless the thread at work may read or write here.
    void check_read(ptrdiff_t offset, size_t len);
    void check_write(ptrdiff_t offset, size_t len);
    void check_atomic(ptrdiff_t offset, size_t len);
    void check_bounds(const char* what, ptrdiff_t offset, size_t len);
    /// Fails unless a barrier stands between all reads so far and the thread at work.
    void check_unread(size_t unit, const char* what);
    /// A copy to it is under way, or has arrived.
    void set_pending(ptrdiff_t offset, size_t len, bool is_pending);
};

/// Ends the launch with a message that names the kernel, block and thread.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

/// An address in a region.
template <class T>
class Pointer {
  public:
    Pointer(Region* region, ptrdiff_t offset) : region(region), offset(offset) {}
    operator Pointer<const T>() const { return {region, offset}; }

    class Reference {
      public:
        explicit Reference(Pointer at) : at(at) {}
        operator T() const { return at.template get<T>(); }
        const Reference& operator=(T value) const {
            at.put(value);
            return *this;
        }
        const Reference& operator=(const Reference& other) const { return *this = T(other); }
        const Reference& operator+=(T value) const { return *this = T(*this) + value; }

      private:
        Pointer at;
    };

    Reference operator[](ptrdiff_t i) const { return Reference(*this + i); }
    Pointer operator+(ptrdiff_t i) const { return {region, offset + i * ptrdiff_t(sizeof(T))}; }
    Pointer& operator+=(ptrdiff_t i) { return *this = *this + i; }

    template <class V>
    V get() const {
        check_alignment(alignof(V));
        region->check_read(offset, sizeof(V));
        V value;
        __builtin_memcpy(&value, region->data + offset, sizeof(V));
        return value;
    }
    template <class V>
    void put(const V& value) const {
        check_alignment(alignof(V));
        region->check_write(offset, sizeof(V));
        __builtin_memcpy(region->data + offset, &value, sizeof(V));
    }
    /// Atomically: gives what was there.
    template <class F>
    T update(F change) const {
        check_alignment(sizeof(T));
        region->check_atomic(offset, sizeof(T));
        T old;
        __builtin_memcpy(&old, region->data + offset, sizeof(T));
        const T now = change(old);
        __builtin_memcpy(region->data + offset, &now, sizeof(T));
        return old;
    }
    template <class V>
    V aligned_get() const {
        check_alignment(sizeof(V));
        return get<V>();
    }
    template <class V>
    void aligned_put(const V& value) const {
        check_alignment(sizeof(V));
        put(value);
    }
    /// Whether it lies in the block's memory, or in all blocks'.
    void check_space(bool is_shared) const {
        if (region->is_shared != is_shared) fail("%s: must %sbe shared memory", region->name, is_shared ? "" : "not ");
    }
    void check_alignment(size_t alignment) const {
        if (reinterpret_cast<uintptr_t>(region->data + offset) % alignment != 0)
            fail("%s: byte %td is no multiple of %zu", region->name, offset, alignment);
    }

    Region* region;
    ptrdiff_t offset;
};

/// Of a pointer to constants only reading is possible.
template <class T>
class Pointer<const T> {
  public:
    Pointer(Region* region, ptrdiff_t offset) : region(region), offset(offset) {}
    T operator[](ptrdiff_t i) const { return (*this + i).template get<T>(); }
    Pointer operator+(ptrdiff_t i) const { return {region, offset + i * ptrdiff_t(sizeof(T))}; }
    Pointer& operator+=(ptrdiff_t i) { return *this = *this + i; }
    template <class V>
    V get() const {
        return Pointer<T>(region, offset).template get<V>();
    }
    template <class V>
    V aligned_get() const {
        return Pointer<T>(region, offset).template aligned_get<V>();
    }
    void check_space(bool is_shared) const { Pointer<T>(region, offset).check_space(is_shared); }

    Region* region;
    ptrdiff_t offset;
};

/// The buffer that holds an address, which a launch was given.
Region* region_of(const void* address);

}  // namespace shim
