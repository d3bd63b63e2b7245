// SPDX-License-Identifier: MIT
//
// shared_slice.h - shared_slice<T>: one writer appends, any number of readers look, and nobody waits.
//
// Owns: the buffer that readers see, and its replacement. An element never changes once it is published, and a buffer
// that became too small is left to those who look at it: it is retired to the epochs (alloc/epoch.h), which free it
// when the last of them is gone. That is the barrier; what it costs is in alloc/slice/README.md.
//
//     buffer_ ----------------> | length | capacity, older | elements ... | room |
//        writer: release, when a larger buffer holds all       |
//        readers: acquire                            writer: element, then length (release)
//                                                    readers: length (acquire), then elements
//
// Invariants: every element below a buffer's length is complete before the length says so. A buffer's successor has at
// least its elements. Lengths that a thread sees never fall. A buffer grows where it lies if the allocator can, and
// then nothing is published or retired. Threads: append and append_range by one thread at a time; everything const by
// any thread. Progress: readers are wait-free; the writer is as its allocator. Linearizable: an append at the store of
// the length (or of the buffer).
#pragma once

#include <atomic>
#include <span>

#include "alloc/epoch.h"
#include "alloc/slice/block.h"
#include "alloc/slice/view.h"

namespace ashlar {

/// Old buffers are freed when nobody looks at them any more. A read is a pin: do not sleep in one.
struct EpochBarrier {
  using Pin = EpochPin;
  static constexpr bool kKeeps = false;
  static void retire(void* buffer, std::size_t bytes) { ashlar_epoch_retire_with(buffer, bytes, ashlar_free); }
};

/// The barrier switched off: old buffers stay until the slice ends, together less than the last one at double growth. A
/// read pins nothing and costs two loads.
struct NoBarrier {
  struct Pin {};
  static constexpr bool kKeeps = true;
  static void retire(void* /*buffer*/, std::size_t /*bytes*/) {}
};

/// What a shared_slice is made of, so that a model checker can put its own in place.
struct SharedSliceParts {
  template <class T>
  using Atomic = std::atomic<T>;
  template <class T>
  using Cell = T;

  static ashlar_block allocate(std::size_t alignment, std::size_t bytes) {
    ashlar_block_growth g = {};
    g.least = bytes;
    g.alignment = alignment;
    return ashlar_grow_block(&g);
  }
  static std::size_t expand(void* block, std::size_t bytes) { return ashlar_expand(block, bytes); }
  static void deallocate(void* block) { ashlar_free(block); }
};

template <class T, class Barrier = EpochBarrier, GrowthPolicy Policy = grow_twice, class Parts = SharedSliceParts>
class shared_slice {
  static_assert(std::is_trivially_copyable_v<T>,
                "readers look at the old elements while they are copied to a new buffer");
  using Cell = typename Parts::template Cell<T>;

  struct Header {
    typename Parts::template Atomic<std::size_t> length{0};
    std::size_t capacity = 0;  ///< the writer's alone
    Header* older = nullptr;   ///< where buffers are kept; the writer's alone
  };
  static constexpr std::size_t kAlign = alignof(Cell) > alignof(Header) ? alignof(Cell) : alignof(Header);
  static constexpr std::size_t kOffset = (sizeof(Header) + kAlign - 1) & ~(kAlign - 1);

 public:
  static constexpr std::size_t kCellsAt = kOffset;  ///< of a buffer's first byte; for tests

  /// A look at the elements there were when it began: they stay as long as it lasts.
  class Reader {
   public:
    std::size_t size() const noexcept { return length_; }
    bool empty() const noexcept { return length_ == 0; }
    const Cell* begin() const noexcept { return cells_; }
    const Cell* end() const noexcept { return cells_ + length_; }
    const Cell& operator[](std::size_t i) const noexcept { return cells_[i]; }
    slice_view<const Cell> view() const noexcept { return std::span<const Cell>(cells_, length_); }

   private:
    friend class shared_slice;
    explicit Reader(const shared_slice& s) noexcept {
      // Acquire pairs with the release in publish: the buffer is complete.
      const Header* h = s.buffer_.load(std::memory_order_acquire);
      if (h == nullptr) return;
      // Acquire pairs with the release in append: so are the elements.
      length_ = h->length.load(std::memory_order_acquire);
      cells_ = cells_of(h);
    }

    [[no_unique_address]] typename Barrier::Pin pin_;  // first: it begins before the loads
    const Cell* cells_ = nullptr;
    std::size_t length_ = 0;
  };

  shared_slice() = default;
  shared_slice(const shared_slice&) = delete;
  shared_slice& operator=(const shared_slice&) = delete;
  /// Readers that began before may still look, if the barrier is on; none may begin.
  ~shared_slice() {
    // Relaxed, as all loads of the writer: it stored this itself.
    Header* h = buffer_.load(std::memory_order_relaxed);
    while (h != nullptr) {
      Header* older = h->older;
      if (Barrier::kKeeps) {
        Parts::deallocate(h);
      } else {
        Barrier::retire(h, bytes_of(h->capacity));
      }
      h = older;
    }
  }

  /// Wait-free; while the result lives, this thread holds a pin.
  Reader read() const noexcept { return Reader(*this); }
  /// Elements published; the next look may see more.
  std::size_t size() const noexcept { return Reader(*this).size(); }

  /// One writer at a time. Errors: std::bad_alloc, std::length_error; nothing is changed.
  void append(const T& value) { append_range(slice_view<const T>(std::span<const T>(&value, 1))); }

  /// All of them become visible at once. One writer at a time; `values` may be elements of this slice.
  void append_range(slice_view<const T> values) {
    if (values.empty()) return;
    Header* h = buffer_.load(std::memory_order_relaxed);
    const std::size_t length = h == nullptr ? 0 : h->length.load(std::memory_order_relaxed);
    const std::size_t needed = add_saturated(length, values.size());
    if (h == nullptr || needed > h->capacity) {
      Header* larger = with_room(h, length, needed);
      if (larger != h) {
        add(larger, length, values);
        larger->length.store(needed, std::memory_order_relaxed);  // published with the buffer
        publish(h, larger);
        return;
      }
    }
    add(h, length, values);
    h->length.store(needed, std::memory_order_release);  // pairs with the acquire in Reader
  }

 private:
  static Cell* cells_of(Header* h) { return reinterpret_cast<Cell*>(reinterpret_cast<unsigned char*>(h) + kOffset); }
  static const Cell* cells_of(const Header* h) {
    return reinterpret_cast<const Cell*>(reinterpret_cast<const unsigned char*>(h) + kOffset);
  }
  static std::size_t bytes_of(std::size_t capacity) { return kOffset + capacity * sizeof(Cell); }

  static void add(Header* h, std::size_t at, slice_view<const T> values) {
    Cell* to = cells_of(h) + at;
    for (const T& value : values) ::new (static_cast<void*>(to++)) Cell(value);
  }

  /// `old` where it lies, with more room; or a new buffer with its elements.
  Header* with_room(Header* old, std::size_t length, std::size_t needed) {
    const std::size_t capacity = old == nullptr ? 0 : old->capacity;
    const std::size_t wanted = next_capacity(Policy, capacity, needed, sizeof(Cell));
    if (wanted == 0 || wanted > max_elements(sizeof(Cell)) - kOffset) {
      detail::throw_length_error("growslice: len out of range");
    }
    if (old != nullptr) {
      std::size_t bytes = Parts::expand(old, bytes_of(wanted));
      if (bytes == 0) bytes = Parts::expand(old, bytes_of(needed));
      if (bytes != 0) {
        old->capacity = (bytes - kOffset) / sizeof(Cell);
        return old;
      }
    }
    ashlar_block block = Parts::allocate(kAlign, bytes_of(wanted));
    if (block.data == nullptr) block = Parts::allocate(kAlign, bytes_of(needed));
    if (block.data == nullptr) detail::throw_bad_alloc();
    Header* h = ::new (block.data) Header;
    h->capacity = (block.bytes - kOffset) / sizeof(Cell);
    for (std::size_t i = 0; i < length; ++i) ::new (static_cast<void*>(cells_of(h) + i)) Cell(cells_of(old)[i]);
    return h;
  }

  void publish(Header* old, Header* larger) {
    if (Barrier::kKeeps) larger->older = old;
    buffer_.store(larger, std::memory_order_release);  // pairs with the acquire in Reader
    if (!Barrier::kKeeps && old != nullptr) Barrier::retire(old, bytes_of(old->capacity));
  }

  typename Parts::template Atomic<Header*> buffer_{nullptr};
};

}  // namespace ashlar
