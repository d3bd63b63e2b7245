// SPDX-License-Identifier: MIT
//
// poison.h - a platform for maps that fills what they free with a pattern, and refuses memory now and then.
//
// What the map frees is filled with a pattern that is a bad address and a frozen bucket (so that who follows it
// crashes), for AddressSanitizer closed as well, kept for a while, and looked at again before it really goes.
#pragma once

#include <sched.h>
#include <string.h>

#include <atomic>
#include <mutex>

#include "hash/hash_map.h"

// There under AddressSanitizer alone.
extern "C" {
[[gnu::weak]] void __asan_poison_memory_region(const volatile void*, size_t);    // NOLINT
[[gnu::weak]] void __asan_unpoison_memory_region(const volatile void*, size_t);  // NOLINT
}

namespace ashlar_test {

inline constexpr unsigned char kPoison = 0xdb;

/// What ships, with freed memory poisoned, and yields before compare-and-exchanges.
struct PoisonPlatform : ashlar::hash_core::Platform {
  static constexpr uint64_t kChunkUnits = 1;
  static constexpr uint64_t kAtOnceUnits = 0;
  static constexpr unsigned kPatience = 0;
  static inline bool early = false;  // the test of the test
  static inline std::atomic<uint64_t> freed{0}, written{0};

  static void step() noexcept {
    static thread_local uint64_t random = ashlar_epoch_self->number;
    random = random * 6364136223846793005u + 1442695040888963407u;
    if ((random >> 33) % 16 == 0) sched_yield();
  }

  static inline std::atomic<unsigned> refuses{0};  // one request for memory in so many; 0: none
  static bool refused() noexcept {
    static thread_local uint64_t random = 77 * (1 + ashlar_epoch_self->number);
    random = random * 6364136223846793005u + 1442695040888963407u;
    const unsigned n = refuses.load(std::memory_order_relaxed);
    return n != 0 && (random >> 33) % n == 0;
  }
  static void* zeroed(size_t bytes) noexcept { return refused() ? nullptr : Platform::zeroed(bytes); }
  static void* allocate(size_t bytes) noexcept { return refused() ? nullptr : Platform::allocate(bytes); }
  static void deallocate(void* p) noexcept {
    if (p == nullptr) return;
    const size_t bytes = ashlar_usable_size(p);
    memset(p, kPoison, bytes);
    if (__asan_poison_memory_region != nullptr) __asan_poison_memory_region(p, bytes);
    ++freed;
    const std::lock_guard<std::mutex> guard(mutex);
    Kept& place = kept[next++ % kKept];
    let_go(place);
    place = {static_cast<unsigned char*>(p), bytes};
  }
  /// The end of a large table is poisoned, and goes with the rest of it.
  static void cut(void* table, size_t keep) noexcept {
    auto* p = static_cast<unsigned char*>(table);
    memset(p + keep, kPoison, ashlar_usable_size(table) - keep);
  }
  static void retire(void* p, size_t bytes, void (*release)(void*)) noexcept {
    if (early)
      release(p);
    else
      Platform::retire(p, bytes, release);
  }
  static void retire_rest(void* p, size_t bytes, void (*release)(void*)) noexcept {
    if (early)
      release(p);
    else
      Platform::retire_rest(p, bytes, release);
  }

  static void let_all_go() {
    for (Kept& place : kept) let_go(place);
  }

 private:
  struct Kept {
    unsigned char* at;
    size_t bytes;
  };
  static constexpr size_t kKept = 4096;
  static inline std::mutex mutex;
  static inline Kept kept[kKept];
  static inline size_t next = 0;

  static void let_go(Kept& place) {
    if (place.at == nullptr) return;
    if (__asan_unpoison_memory_region != nullptr) __asan_unpoison_memory_region(place.at, place.bytes);
    for (size_t i = 0; i < place.bytes; ++i) {
      if (place.at[i] != kPoison) {
        ++written;
        break;
      }
    }
    ashlar_free(place.at);
    place = {};
  }
};

}  // namespace ashlar_test
