// SPDX-License-Identifier: MIT
//
// runtime.cc - what maps that are instantiated in programs need of the library: memory, seeds, the wide exchange, the
// trace.
#include <errno.h>

#include "alloc/alloc.h"
#include "alloc/base/print.h"
#include "alloc/base/wide_cas.h"
#include "alloc/os/os.h"
#include "hash/layout.h"

namespace {

constinit std::atomic<uint64_t> seeds{0};

/// splitmix64's output function (G. Steele and others, 2014).
uint64_t spread(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

extern "C" {

int ashlar_map_cas16(void* at, uint64_t low, uint64_t high, uint64_t new_low, uint64_t new_high) noexcept {
  return ashlar::wide_cas(at, low, high, new_low, new_high) ? 1 : 0;
}

void* ashlar_map_zeroed(size_t bytes) noexcept {
  constexpr size_t kLine = ashlar::hash_core::kTableAlign;
  // Large blocks are runs of pages, and fresh ones need no clearing.
  if (bytes > 32 * 1024) return ashlar::allocate_pages_zeroed(bytes);
  void* p = ashlar::allocate_aligned(kLine, (bytes + kLine - 1) & ~(kLine - 1));
  if (p != nullptr) __builtin_memset(p, 0, bytes);
  return p;
}

void ashlar_map_return(void* table, size_t keep) noexcept {
  ashlar::return_pages(table, keep);
}

void ashlar_map_fault_in(void* from, size_t bytes) noexcept {
  const uintptr_t page = ashlar::os::page_bytes(), begin = reinterpret_cast<uintptr_t>(from) & ~(page - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(from) + bytes) & ~(page - 1);
  const int saved_errno = errno;  // EINVAL before Linux 5.14
  if (begin < end) ashlar::os::populate(begin, end - begin);
  errno = saved_errno;
}

uint64_t ashlar_map_seed() noexcept {
  ashlar::prepare_pins();
  // Relaxed: a number that nobody else gets. Each process, and each map, has its own sequence.
  return spread(ashlar::process_random() + 0x9e3779b97f4a7c15u * (1 + seeds.fetch_add(1, std::memory_order_relaxed)));
}

uint32_t ashlar_map_stripes() noexcept {
  uint32_t n = 32;
  while (n < 256 && n < 4 * ashlar::usable_cpus()) n *= 2;
  return n;
}

void ashlar_map_trace(const void* caller, size_t header_bytes, uint64_t buckets, uint64_t seed) noexcept {
  if (!ashlar::maps_are_traced()) return;
  ashlar::LineWriter line("ashlar: makemap caller=");
  line.pointer(caller).text(" header=").dec(header_bytes).text(" buckets=").dec(buckets).text(" seed=").hex(seed);
  line.flush(ashlar::kStderr);
}

}  // extern "C"
