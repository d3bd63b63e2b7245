// SPDX-License-Identifier: MIT
//
// os.cc - see os.h. Raw system calls: a program may interpose mmap and allocate in it.
#include "alloc/os/os.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

namespace ashlar::os {
namespace {

constexpr int kPrivateAnon = MAP_PRIVATE | MAP_ANONYMOUS;
constexpr size_t kWindowAlign = size_t{4} << 20;

enum Verdict : unsigned char { kUnknown, kWorks, kRemap };
constinit Verdict verdict = kUnknown;  // on MADV_DONTNEED

// Test seam; relaxed: tests set it while one thread allocates.
constinit unsigned fail_countdown = 0;  // calls until failures begin, the first failing one included
constinit unsigned fail_count = 0;      // failures to come

bool injected_failure() {
  const unsigned n = __atomic_load_n(&fail_countdown, __ATOMIC_RELAXED);
  if (n == 0) [[likely]]
    return false;
  if (n > 1) {
    __atomic_store_n(&fail_countdown, n - 1, __ATOMIC_RELAXED);
    return false;
  }
  const unsigned left = __atomic_load_n(&fail_count, __ATOMIC_RELAXED) - 1;
  __atomic_store_n(&fail_count, left, __ATOMIC_RELAXED);
  if (left == 0) __atomic_store_n(&fail_countdown, 0, __ATOMIC_RELAXED);
  return true;
}

constinit size_t forced_page_bytes = 0;
constinit unsigned unaligned = 0;

/// Every call about a range that others may share OS pages with.
void note_range(uintptr_t addr, size_t bytes) {
  const size_t page = __atomic_load_n(&forced_page_bytes, __ATOMIC_RELAXED);
  if (page == 0 || ((addr | bytes) & (page - 1)) == 0) [[likely]]
    return;
  __atomic_fetch_add(&unaligned, 1, __ATOMIC_RELAXED);
}

uintptr_t raw_mmap(uintptr_t addr, size_t bytes, int prot, int flags) {
  if (injected_failure()) return 0;
  note_range(addr, bytes);
  const long r = syscall(SYS_mmap, addr, bytes, prot, flags, -1, 0L);
  return r == -1 ? 0 : static_cast<uintptr_t>(r);
}

/// At an OS page, also where a test says that these are larger than the kernel's: then some addresses in front are
/// lost.
uintptr_t map_somewhere(size_t bytes, int prot) {
  const size_t forced = __atomic_load_n(&forced_page_bytes, __ATOMIC_RELAXED);
  if (forced == 0) [[likely]]
    return raw_mmap(0, bytes, prot, kPrivateAnon);
  const uintptr_t at = raw_mmap(0, (bytes + 2 * forced - 1) & ~(forced - 1), prot, kPrivateAnon);
  return at == 0 ? 0 : (at + forced - 1) & ~(forced - 1);
}

/// Maps exactly [addr, addr + bytes), or nothing. Kernels before 4.17 take the flag for a hint: hence the look at the
/// result.
bool map_exactly(uintptr_t addr, size_t bytes) {
  const uintptr_t got = raw_mmap(addr, bytes, PROT_READ | PROT_WRITE, kPrivateAnon | MAP_FIXED_NOREPLACE);
  if (got == addr) return true;
  if (got != 0) syscall(SYS_munmap, got, bytes);
  return false;
}

/// Emulators may accept MADV_DONTNEED and not follow it; a purged page that does not read as zero would break calloc.
/// So the first call looks, at memory that nobody needs. Relaxed: two first calls come to the same result.
Verdict probe_advice(uintptr_t addr, size_t bytes) {
  auto* probe = reinterpret_cast<volatile unsigned char*>(addr);
  *probe = 1;
  const bool advised = syscall(SYS_madvise, addr, bytes, MADV_DONTNEED) == 0;
  const Verdict known = advised && *probe == 0 ? kWorks : kRemap;
  __atomic_store_n(&verdict, known, __ATOMIC_RELAXED);
  return known;
}

/// A random place between 0x2000'0000'0000 and 0x4800'0000'0000, the window ending below 0x5000'0000'0000: below where
/// Linux puts programs (0x55..), libraries and stacks (0x7f..) with 47 and 48 bits of address space, above the low
/// shadow of AddressSanitizer.
bool choose_window(Window* w, size_t map_bytes, size_t heap_bytes, unsigned ratio_log2) {
  constexpr unsigned kGridLog2 = 34;  // 16 GiB: more than the largest page map, so that neighbours cannot touch
  const size_t max_bytes = size_t{1} << kMaxWindowLog2;
  if ((max_bytes >> ratio_log2) >= (size_t{1} << kGridLog2)) return false;
  uint64_t r = random_bits();
  for (int attempt = 0; attempt < 4; ++attempt, r = (r << 13) | (r >> 51)) {
    const uintptr_t base = 0x200000000000 + ((r % 0xa00) << kGridLog2);
    if (!map_exactly(base - map_bytes, map_bytes + heap_bytes)) continue;
    *w = {base, max_bytes, false};
    return true;
  }
  return false;
}

bool reserve_window(Window* w, size_t map_bytes, size_t heap_bytes, unsigned ratio_log2) {
  rlimit limit{};
  size_t bytes = size_t{64} << 30;
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    while (bytes > limit.rlim_cur / 4) bytes >>= 1;  // the program needs address space, too
  }
  for (; bytes >= (size_t{16} << 20) && bytes >= heap_bytes; bytes >>= 1) {
    size_t table = bytes >> ratio_log2;
    if (table < map_bytes) table = map_bytes;
    const size_t all = table + bytes + kWindowAlign;
    const uintptr_t at = raw_mmap(0, all, PROT_NONE, kPrivateAnon | MAP_NORESERVE);
    if (at == 0) continue;
    const uintptr_t base = (at + table + kWindowAlign - 1) & ~(kWindowAlign - 1);
    *w = {base, bytes, true};
    if (extend(*w, base - map_bytes, map_bytes) && extend(*w, base, heap_bytes)) return true;
    syscall(SYS_munmap, at, all);
  }
  *w = {};
  return false;
}

}  // namespace

uint64_t random_bits() noexcept {
  const auto* at = reinterpret_cast<const unsigned char*>(getauxval(AT_RANDOM));
  uint64_t r = 0x9e3779b97f4a7c15;
  if (at != nullptr) __builtin_memcpy(&r, at + 8, sizeof r);  // the first 8 are glibc's stack canary
  return (r ^ (r >> 29)) * 0xbf58476d1ce4e5b9;
}

size_t page_bytes() noexcept {
  const size_t forced = __atomic_load_n(&forced_page_bytes, __ATOMIC_RELAXED);
  return forced != 0 ? forced : getauxval(AT_PAGESZ);
}

bool is_secure() noexcept {
  return getauxval(AT_SECURE) != 0;
}

uint64_t now_us() noexcept {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000 + static_cast<uint64_t>(t.tv_nsec) / 1000;
}

uint64_t now_ms_coarse() noexcept {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_nsec) / 1000000;
}

bool place_window(Window* w, size_t map_bytes, size_t heap_bytes, unsigned table_ratio_log2) noexcept {
  if (!kThreadSanitizer && choose_window(w, map_bytes, heap_bytes, table_ratio_log2)) return true;
  return reserve_window(w, map_bytes, heap_bytes, table_ratio_log2);
}

bool extend(const Window& w, uintptr_t from, size_t bytes) noexcept {
  if (!w.reserved) return map_exactly(from, bytes);
  if (injected_failure()) return false;
  note_range(from, bytes);
  return syscall(SYS_mprotect, from, bytes, PROT_READ | PROT_WRITE) == 0;
}

void* map(size_t bytes) noexcept {
  return reinterpret_cast<void*>(map_somewhere(bytes, PROT_READ | PROT_WRITE));
}

void* map_guarded(size_t bytes) noexcept {
  const size_t guard = page_bytes();
  const uintptr_t at = map_somewhere(bytes + 2 * guard, PROT_NONE);
  if (at == 0) return nullptr;
  if (syscall(SYS_mprotect, at + guard, bytes, PROT_READ | PROT_WRITE) == 0) return reinterpret_cast<void*>(at + guard);
  syscall(SYS_munmap, at, bytes + 2 * guard);
  return nullptr;
}

void* reserve(size_t bytes) noexcept {
  return reinterpret_cast<void*>(raw_mmap(0, bytes, PROT_NONE, kPrivateAnon | MAP_NORESERVE));
}

bool open(uintptr_t addr, size_t bytes) noexcept {
  if (injected_failure()) return false;
  return syscall(SYS_mprotect, addr, bytes, PROT_READ | PROT_WRITE) == 0;
}

bool protect(uintptr_t addr, size_t bytes) noexcept {
  return syscall(SYS_mprotect, addr, bytes, PROT_NONE) == 0;
}

bool close(uintptr_t addr, size_t bytes) noexcept {
  return raw_mmap(addr, bytes, PROT_NONE, kPrivateAnon | MAP_NORESERVE | MAP_FIXED) == addr;
}

bool is_readable(uintptr_t addr) noexcept {
  // The kernel reads the new mask before it looks at the first argument, which is not valid. Every sandbox allows the
  // call.
  const int saved_errno = errno;
  const bool readable = syscall(SYS_rt_sigprocmask, ~0L, addr, nullptr, 8L) == -1 && errno == EINVAL;
  errno = saved_errno;
  return readable;
}

bool purge(uintptr_t addr, size_t bytes) noexcept {
  if (injected_failure()) return false;
  note_range(addr, bytes);
  Verdict known = __atomic_load_n(&verdict, __ATOMIC_RELAXED);
  if (known == kUnknown) {
    known = probe_advice(addr, bytes);
    if (known == kWorks) return true;
  }
  if (known == kWorks)
    return syscall(SYS_madvise, addr, bytes, MADV_DONTNEED) == 0;  // not MADV_FREE: RSS must read true
  return renew(addr, bytes);
}

bool advise_huge(uintptr_t addr, size_t bytes, bool huge) noexcept {
  if (injected_failure()) return false;
  note_range(addr, bytes);
  return syscall(SYS_madvise, addr, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) == 0;
}

void populate(uintptr_t addr, size_t bytes) noexcept {
  constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, which Debian 12's headers have, older ones not
  syscall(SYS_madvise, addr, bytes, kPopulateWrite);
}

bool renew(uintptr_t addr, size_t bytes) noexcept {
  return raw_mmap(addr, bytes, PROT_READ | PROT_WRITE, kPrivateAnon | MAP_FIXED) == addr;
}

bool move_pages(uintptr_t from, uintptr_t to, size_t bytes) noexcept {
  if (injected_failure()) return false;
  note_range(from | to, bytes);
  const long r = syscall(SYS_mremap, from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to);
  if (r == -1) return false;
  // DONTUNMAP keeps the place for us; the fresh mapping can merge with its neighbours, and emulators that take the flag
  // for a plain move (qemu-user) learn that the place is there.
  raw_mmap(from, bytes, PROT_READ | PROT_WRITE, kPrivateAnon | MAP_FIXED);
  return true;
}

CpuCount cpu_count() noexcept {
  // The kernel writes its whole CPU mask and returns its length, which bounds every CPU number.
  uint64_t mask[128] = {};
  const long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
  if (bytes <= 0) return {1, 0};
  unsigned usable = 0;
  for (uint64_t word : mask) usable += static_cast<unsigned>(__builtin_popcountll(word));
  return {usable == 0 ? 1 : usable, static_cast<unsigned>(bytes) * 8};
}

bool register_rseq_barrier() noexcept {
  return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0) == 0;
}

void rseq_barrier() noexcept {
  syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0);
}

bool register_process_barrier() noexcept {
  return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void process_barrier() noexcept {
  syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

void fail_after(unsigned calls, unsigned count) noexcept {
  __atomic_store_n(&fail_count, count, __ATOMIC_RELAXED);
  __atomic_store_n(&fail_countdown, calls, __ATOMIC_RELAXED);
}

FailureSeam failure_seam() noexcept {
  return {__atomic_load_n(&fail_countdown, __ATOMIC_RELAXED), __atomic_load_n(&fail_count, __ATOMIC_RELAXED)};
}

void force_page_bytes(size_t bytes) noexcept {
  __atomic_store_n(&forced_page_bytes, bytes, __ATOMIC_RELAXED);
}

unsigned unaligned_calls() noexcept {
  return __atomic_load_n(&unaligned, __ATOMIC_RELAXED);
}

}  // namespace ashlar::os
