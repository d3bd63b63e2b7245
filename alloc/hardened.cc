// SPDX-License-Identifier: MIT
//
// hardened.cc - see hardened.h.
#include "alloc/hardened.h"

#include <errno.h>

#include "alloc/base/check.h"
#include "alloc/base/futex.h"
#include "alloc/diagnose.h"
#include "alloc/fast_path.h"
#include "alloc/init.h"
#include "alloc/large.h"
#include "alloc/os/os.h"

namespace ashlar {
namespace {

constexpr size_t kWordBytes = sizeof(uint64_t);

// The quarantine: as many shards as keep two CPUs apart most of the time; 2 MiB and 2,048 objects in all. Large blocks
// give their memory back before they wait, so only addresses and maps count.
constexpr unsigned kShards = 8;
constexpr unsigned kShardObjects = 256;
constexpr size_t kShardBytes = size_t{256} << 10;
constexpr unsigned kLargeObjects = 32;
constexpr size_t kLargeBytes = size_t{16} << 20;  // larger ones do not wait

constinit uint64_t secret = 0;  // set by initialisation, before any block is handed out

struct alignas(64) Shard {
  Mutex mutex;
  unsigned count;
  size_t bytes;
  uint64_t random;
  void* object[kShardObjects + 1];
};
constinit Shard shards[kShards] = {};

constinit Mutex large_mutex;
constinit Span* large_waiting[kLargeObjects + 1] = {};
constinit unsigned large_count = 0;
constinit uint64_t large_random = 0;

constinit QuarantineStats waiting = {};  // relaxed atomic counters

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// Below n, under the lock of `state`.
unsigned random_below(uint64_t& state, unsigned n) {
  state += 0x9e3779b97f4a7c15;
  return static_cast<unsigned>((mix(state ^ secret) >> 32) * n >> 32);
}

// ---- blocks -----------------------------------------------------------------------------------------

struct Object {
  Span* span;
  uintptr_t start;
  size_t bytes;  ///< of the size class; of the pages before the guard
  unsigned index;

  bool is_large() const { return span->bin == kBinLarge; }
  ClassIndex class_index() const { return class_of_bin(span->bin); }
  uint64_t* word() const { return reinterpret_cast<uint64_t*>(start + bytes - kWordBytes); }
  uint64_t canary() const { return mix(secret ^ reinterpret_cast<uintptr_t>(word())); }
  uint64_t* live_word() const { return span->live.at(index / 64); }
  uint64_t live_bit() const { return uint64_t{1} << (index % 64); }
  bool is_live() const { return (__atomic_load_n(live_word(), __ATOMIC_RELAXED) & live_bit()) != 0; }
};

/// The block that starts at p, live or not; aborts where none does.
Object find(const void* p, const char* interior) {
  if (!in_heap(p)) fatal_not_ours(p);
  const auto address = reinterpret_cast<uintptr_t>(p);
  const uint64_t entry = load_entry(address);
  const Bin bin = entry_bin(entry);
  if (bin == kBinNone) fatal_bad_block(p);
  Span* s = entry_span(entry);
  if (bin == kBinLarge) {
    const size_t bytes = (s->pages - s->objects) * kPageBytes;
    if (address != s->start) fatal_object(interior, p, kUnknownBytes, bytes);
    return {s, address, bytes, 0};
  }
  const ClassIndex c = class_of_bin(bin);
  const size_t offset = address - s->start;
  const unsigned index = object_index(c, offset);
  if (index * class_bytes(c) != offset || index >= s->objects) {
    fatal_object(interior, p, kUnknownBytes, class_bytes(c));
  }
  return {s, address, class_bytes(c), index};
}

unsigned char fill_byte(uint64_t canary) {
  return static_cast<unsigned char>(canary >> 56 | 1);  // never the 0 that ends a string
}

/// Writes the canary behind the `size` bytes that the program asked for.
void seal(const Object& o, size_t size) {
  const uint64_t canary = o.canary();
  const uint64_t slack = o.bytes - kWordBytes - size;
  __builtin_memset(reinterpret_cast<void*>(o.start + size), fill_byte(canary), slack);
  *o.word() = canary ^ (slack | slack << 32);
}

/// What the program asked for; aborts where something was written behind it.
size_t checked_size(const Object& o) {
  const auto* p = reinterpret_cast<const unsigned char*>(o.start);
  const uint64_t canary = o.canary();
  const uint64_t twice = *o.word() ^ canary;
  const uint64_t slack = twice >> 32;
  if (static_cast<uint32_t>(twice) != slack || slack > o.bytes - kWordBytes) {
    fatal_object("overflow", p, kUnknownBytes, o.bytes);
  }
  const size_t size = o.bytes - kWordBytes - slack;
  const unsigned char fill = fill_byte(canary);
  for (size_t i = 0; i < slack; ++i) {
    if (p[size + i] != fill) fatal_object("overflow", p, size, o.bytes);
  }
  return size;
}

void check_untouched(const Object& o) {
  const auto* words = reinterpret_cast<const uint64_t*>(o.start);
  for (size_t i = 0; i < o.bytes / sizeof *words; ++i) {
    if (words[i] != 0) fatal_object("write after free", words + i, kUnknownBytes, o.bytes);
  }
}

void* no_memory() {
  errno = ENOMEM;
  return nullptr;
}

/// A run of pages with a guard behind it.
void* allocate_guarded_pages(size_t alignment, size_t whole, bool* zeroed) {
  if (!ensure_init()) return nullptr;
  const size_t os_page = os::page_bytes();
  const size_t guard = os_page <= kPageBytes ? kPageBytes : 2 * os_page;
  const size_t bytes = (whole + kPageBytes - 1) & ~(kPageBytes - 1);
  void* p = allocate_large(bytes + guard, alignment, zeroed);
  if (p != nullptr) guard_large(entry_span(load_entry(reinterpret_cast<uintptr_t>(p))), bytes);
  return p;
}

// ---- quarantine -------------------------------------------------------------------------------------

Shard& shard_of_thread() {
  const auto tp = reinterpret_cast<uintptr_t>(__builtin_thread_pointer());
  return shards[mix(tp) % kShards];
}

size_t object_bytes(const void* p) {
  return class_bytes(class_of_bin(entry_bin(load_entry(reinterpret_cast<uintptr_t>(p)))));
}

/// Takes a random object out; not the last that came.
void* take_random_locked(Shard& s) {
  const unsigned i = s.count == 1 ? 0 : random_below(s.random, s.count - 1);
  void* p = s.object[i];
  s.object[i] = s.object[--s.count];
  s.bytes -= object_bytes(p);
  return p;
}

void free_for_good(void* p) {
  const ClassIndex c = class_of_bin(entry_bin(load_entry(reinterpret_cast<uintptr_t>(p))));
  __atomic_fetch_sub(&waiting.objects[c], 1, __ATOMIC_RELAXED);
  cache_deallocate(p);
}

void quarantine(const Object& o) {
  Shard& s = shard_of_thread();
  __atomic_fetch_add(&waiting.objects[o.class_index()], 1, __ATOMIC_RELAXED);
  auto* fresh = reinterpret_cast<void*>(o.start);
  for (;;) {
    void* out = nullptr;
    {
      MutexGuard guard(s.mutex);
      if (fresh != nullptr) {
        s.object[s.count++] = fresh;
        s.bytes += o.bytes;
        fresh = nullptr;
      }
      if (s.count > kShardObjects || (s.bytes > kShardBytes && s.count > 1)) out = take_random_locked(s);
    }
    if (out == nullptr) return;
    free_for_good(out);
  }
}

void count_large(const Span* s, uint64_t one) {
  __atomic_fetch_add(&waiting.large, one, __ATOMIC_RELAXED);
  __atomic_fetch_add(&waiting.large_bytes, one * s->pages * kPageBytes, __ATOMIC_RELAXED);
}

void quarantine_large(Span* s) {
  if (s->pages * kPageBytes > kLargeBytes || !close_large(s)) return renew_and_release_large(s);
  count_large(s, 1);
  Span* out = nullptr;
  {
    MutexGuard guard(large_mutex);
    large_waiting[large_count++] = s;
    if (large_count > kLargeObjects) {
      const unsigned i = random_below(large_random, large_count - 1);
      out = large_waiting[i];
      large_waiting[i] = large_waiting[--large_count];
    }
  }
  if (out == nullptr) return;
  count_large(out, ~uint64_t{0});
  renew_and_release_large(out);
}

}  // namespace

void init_hardened() noexcept {
  secret = mix(os::random_bits());
}

void* hardened_allocate(size_t alignment, size_t size) noexcept {
  if (size > PTRDIFF_MAX) return no_memory();
  if (guard_mean_now() != 0 && ensure_init() && guard_sample_due()) [[unlikely]] {
    Trace trace;
    take_trace(&trace, __builtin_frame_address(0));
    if (void* p = guard_allocate(alignment, size, trace)) return p;
  }
  const size_t whole = size + kWordBytes;
  void* p = nullptr;
  bool zeroed = false;
  if (whole > kMaxSmallBytes || alignment > kPageBytes) {
    p = allocate_guarded_pages(alignment, whole, &zeroed);
    if (p == nullptr) return no_memory();
  } else {
    p = alignment <= kMinAlign ? cache_allocate(whole) : plain_aligned(alignment, whole);
    if (p == nullptr) return nullptr;
  }
  const Object o = find(p, "corrupt heap");
  if (!zeroed) check_untouched(o);
  seal(o, size);
  // Relaxed, as below: whoever frees the block got the pointer by means that order the accesses.
  __atomic_fetch_or(o.live_word(), o.live_bit(), __ATOMIC_RELAXED);
  return p;
}

void hardened_deallocate(void* block, size_t size) noexcept {
  if (block == nullptr) return;
  const int saved_errno = errno;
  if (in_guard_pool(block)) [[unlikely]] {
    Trace trace;
    take_trace(&trace, __builtin_frame_address(0));
    guard_deallocate(block, size, trace);
    errno = saved_errno;
    return;
  }
  const Object o = find(block, "free of an interior pointer");
  if (!o.is_live()) fatal_object("double free", block, kUnknownBytes, o.bytes);
  const size_t asked = checked_size(o);
  if (size != kAnySize && size != asked) fatal_object("mismatched size in delete", block, asked, o.bytes);
  // Of two threads that free the same block one sees that it is gone.
  if ((__atomic_fetch_and(o.live_word(), ~o.live_bit(), __ATOMIC_RELAXED) & o.live_bit()) == 0) {
    fatal_object("double free", block, kUnknownBytes, o.bytes);
  }
  if (o.is_large()) {
    quarantine_large(o.span);
  } else {
    __builtin_memset(block, 0, o.bytes);
    quarantine(o);
  }
  errno = saved_errno;
}

void* hardened_reallocate(void* block, size_t size) noexcept {
  size_t old_bytes = 0;
  if (in_guard_pool(block)) {
    old_bytes = guard_usable(block);
  } else {
    const Object o = find(block, "realloc of an interior pointer");
    if (!o.is_live()) fatal_object("realloc of a freed block", block, kUnknownBytes, o.bytes);
    old_bytes = checked_size(o);
    const size_t room = o.bytes - kWordBytes;
    // Not so small that filling the rest would cost more than moving, or touch what the program never did.
    const size_t least = o.is_large() ? (room > kPageBytes ? room - kPageBytes : 0) : room / 2;
    if (size <= room && size > least) {
      seal(o, size);
      return block;
    }
  }
  void* to = hardened_allocate(kMinAlign, size);
  if (to == nullptr) return size <= old_bytes ? block : nullptr;
  __builtin_memcpy(to, block, old_bytes < size ? old_bytes : size);
  hardened_deallocate(block, kAnySize);
  return to;
}

size_t hardened_expand(void* block, size_t size) noexcept {
  const Object o = find(block, "expansion of an interior pointer");
  if (!o.is_live()) fatal_object("expansion of a freed block", block, kUnknownBytes, o.bytes);
  const size_t asked = checked_size(o);
  if (size <= asked) return asked;
  if (size > o.bytes - kWordBytes) return 0;
  seal(o, size);
  return size;
}

size_t hardened_usable_size(const void* block) noexcept {
  const Object o = find(block, "interior pointer");
  if (!o.is_live()) fatal_object("size of a freed block", block, kUnknownBytes, o.bytes);
  return checked_size(o);
}

unsigned random_index(unsigned n) noexcept {
  static constinit uint64_t state = 0;
  // Relaxed: each caller gets a value of its own, in whatever order.
  uint64_t local = __atomic_add_fetch(&state, 0xd1342543de82ef95, __ATOMIC_RELAXED);
  return random_below(local, n);
}

void empty_quarantine() noexcept {
  for (Shard& s : shards) {
    for (;;) {
      void* out = nullptr;
      {
        MutexGuard guard(s.mutex);
        if (s.count != 0) out = take_random_locked(s);
      }
      if (out == nullptr) break;
      free_for_good(out);
    }
  }
  for (;;) {
    Span* out = nullptr;
    {
      MutexGuard guard(large_mutex);
      if (large_count != 0) out = large_waiting[--large_count];
    }
    if (out == nullptr) return;
    count_large(out, ~uint64_t{0});
    renew_and_release_large(out);
  }
}

void count_quarantined(QuarantineStats* out) noexcept {
  for (ClassIndex c = 0; c < kNumClasses; ++c) {
    out->objects[c] = __atomic_load_n(&waiting.objects[c], __ATOMIC_RELAXED);
  }
  out->large = __atomic_load_n(&waiting.large, __ATOMIC_RELAXED);
  out->large_bytes = __atomic_load_n(&waiting.large_bytes, __ATOMIC_RELAXED);
}

bool quarantine_is_mine() noexcept {
  for (const Shard& s : shards) {
    if (s.mutex.is_mine()) return true;
  }
  return large_mutex.is_mine();
}

unsigned lock_quarantine_for_fork(bool interrupted) noexcept {
  unsigned taken = 0;
  for (unsigned i = 0; i < kShards; ++i) {
    if (shards[i].mutex.lock_for_fork(interrupted)) taken |= 1U << i;
  }
  if (large_mutex.lock_for_fork(interrupted)) taken |= 1U << kShards;
  return taken;
}

void unlock_quarantine_after_fork(unsigned taken) noexcept {
  if ((taken >> kShards & 1) != 0) large_mutex.unlock();
  for (unsigned i = 0; i < kShards; ++i) {
    if ((taken >> i & 1) != 0) shards[i].mutex.unlock();
  }
}

}  // namespace ashlar
