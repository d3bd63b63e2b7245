// SPDX-License-Identifier: MIT
//
// os.h - the allocator's contract with the kernel. The only module that maps, unmaps or advises memory.
//
// Owns: the window (the address range from which all blocks come) and every system call about memory.
// The window is [base, base + max_bytes). The page map grows down from base, so that a small process needs one mapping
// for both. Normally the range is only *chosen*: at a random place where nobody maps, and mapped piece by
// piece, so that the address space in use is what the heap needs (VIRT stays small, RLIMIT_AS is respected).
// Where that fails the range is reserved (PROT_NONE) and opened piece by piece.
//
// Every call: true or non-null on success; on failure the state is as before. errno is not preserved. No call
// allocates.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace ashlar::os {

/// ThreadSanitizer owns most of the address space, and cannot see what restartable sequences do: under it the window
/// goes where the kernel says, and there are leases only.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kThreadSanitizer = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif
#else
inline constexpr bool kThreadSanitizer = false;
#endif

/// The largest window; the tables that describe it are sized by it.
inline constexpr unsigned kMaxWindowLog2 = 43;  // 8 TiB

struct Window {
  uintptr_t base = 0;     ///< first byte of the heap; a multiple of 4 MiB
  size_t max_bytes = 0;   ///< the heap may grow to base + max_bytes
  bool reserved = false;  ///< the range is reserved, not only chosen
};

/// Bytes of an OS page, read from the auxiliary vector (or what a test forced).
size_t page_bytes() noexcept;

/// True where the process runs with raised privileges (AT_SECURE).
bool is_secure() noexcept;

/// Microseconds of a monotonic clock. `now_ms_coarse` is cheaper and steps every few milliseconds.
uint64_t now_us() noexcept;
uint64_t now_ms_coarse() noexcept;

/// Places the window and opens `map_bytes` below its base and `heap_bytes` above it, zeroed.
/// `table_ratio_log2`: the page map needs 1 byte per 2^this bytes of heap.
bool place_window(Window* w, size_t map_bytes, size_t heap_bytes, unsigned table_ratio_log2) noexcept;

/// Opens [from, from + bytes) at an edge of what is open of the window: readable, writable, zeroed. OS page aligned.
bool extend(const Window& w, uintptr_t from, size_t bytes) noexcept;

/// Maps `bytes` of zeroed memory for metadata, anywhere.
void* map(size_t bytes) noexcept;

/// The same between two OS pages that nobody can access. Falls back on nothing: false where one of the calls fails.
void* map_guarded(size_t bytes) noexcept;

/// Reserves `bytes` that nobody can access, anywhere.
void* reserve(size_t bytes) noexcept;

/// Opens [addr, addr + bytes) of what was reserved, or closed: readable, writable, with what it had before.
bool open(uintptr_t addr, size_t bytes) noexcept;

/// Makes [addr, addr + bytes) inaccessible. It keeps what it holds.
bool protect(uintptr_t addr, size_t bytes) noexcept;

/// Gives the memory back and makes the place inaccessible.
bool close(uintptr_t addr, size_t bytes) noexcept;

/// Eight random bytes, the same ones in every call of a process: from the kernel, without a system call.
uint64_t random_bits() noexcept;

/// Whether the 8 bytes at `addr` can be read. A system call, without side effects.
bool is_readable(uintptr_t addr) noexcept;

/// Gives the memory of [addr, addr + bytes) back; it reads as zero afterwards.
bool purge(uintptr_t addr, size_t bytes) noexcept;

/// Asks for huge pages (or for none) in [addr, addr + bytes).
bool advise_huge(uintptr_t addr, size_t bytes, bool huge) noexcept;

/// Faults [addr, addr + bytes) in as if it were written, many pages at a time (Linux 5.14; a wish, which may do
/// nothing).
void populate(uintptr_t addr, size_t bytes) noexcept;

/// Replaces [addr, addr + bytes) by a fresh zeroed mapping (heals the map split that move_pages leaves).
bool renew(uintptr_t addr, size_t bytes) noexcept;

/// Moves the page tables of [from, from + bytes) to [to, to + bytes), which lose what they had; `from` reads as zero
/// afterwards. False where the kernel cannot (before Linux 5.7).
bool move_pages(uintptr_t from, uintptr_t to, size_t bytes) noexcept;

/// Number of CPUs that the process may run on, and an exclusive bound of CPU numbers (and so of mm_cid): 0 where the
/// kernel does not say.
struct CpuCount {
  unsigned usable;
  unsigned bound;
};
CpuCount cpu_count() noexcept;

/// membarrier(PRIVATE_EXPEDITED_RSEQ): registers once; then interrupts every rseq section of this process.
bool register_rseq_barrier() noexcept;
void rseq_barrier() noexcept;

/// membarrier(PRIVATE_EXPEDITED): registers once; then runs a full fence on every CPU that runs this process.
bool register_process_barrier() noexcept;
void process_barrier() noexcept;

/// Test seam: of the calls from now on that ask for or advise memory, the n-th (`calls`) and those after it fail,
/// `count` in all; 0 calls switches it off.
void fail_after(unsigned calls, unsigned count = 1) noexcept;

/// What fail_after has not used up: calls to come before the first failure (0: it failed, or is off), and failures to
/// come.
struct FailureSeam {
  unsigned calls, count;
};
FailureSeam failure_seam() noexcept;

/// Test seam: OS pages are this large, larger than the kernel's; before initialisation. `unaligned_calls`: of the calls
/// since about memory in the window, those that a kernel with such pages would refuse or, worse, round up.
void force_page_bytes(size_t bytes) noexcept;
unsigned unaligned_calls() noexcept;

}  // namespace ashlar::os
