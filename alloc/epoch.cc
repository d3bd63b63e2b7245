// SPDX-License-Identifier: MIT
//
// epoch.cc - see epoch.h. The algorithm is in epoch_core.h.
//
// Owns: the process's epoch, which record a thread has, and how the process pays for a pin: by membarrier where the
// kernel has it, asked for at the first pin (a program that never pins never asks, which sandboxes may kill for).
#include "alloc/epoch.h"

#include <pthread.h>

#include "alloc/alloc.h"
#include "alloc/base/check.h"
#include "alloc/base/futex.h"
#include "alloc/epoch_core.h"
#include "alloc/epoch_fork.h"
#include "alloc/init.h"
#include "alloc/options.h"
#include "alloc/os/os.h"
#include "alloc/page_heap.h"

namespace ashlar {
namespace {

enum Barrier : uint32_t { kNotAsked, kWorks, kMissing };
constinit std::atomic<uint32_t> barrier{kNotAsked};

struct Shipped : EpochAtomics {
  using Plain = EpochAtomics;
  static constexpr uint32_t kBagBlocks = 254;

  static void heavy_barrier() noexcept {
    if (barrier.load(std::memory_order_relaxed) == kWorks) os::process_barrier();
  }
  static void* allocate_bag(size_t bytes) noexcept { return allocate(bytes); }
  static void deallocate_bag(void* p) noexcept { deallocate(p); }
  // Records live as long as the process: they are metadata, not the program's.
  static void* allocate_record(size_t bytes) noexcept {
    // Metadata is aligned to 64 bytes; a record to 128.
    void* p = page_heap.metadata(bytes + 64);
    return p == nullptr ? nullptr : reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(p) + 127) & ~uintptr_t{127});
  }
};
static_assert(sizeof(EpochBag<Shipped>) <= 4096, "a size class");

using Core = EpochCore<Shipped>;
using Record = Core::Record;
constinit Core core;

constinit std::atomic<uint32_t> exit_key{0};  // pthread key + 1

using Head = EpochHead<EpochAtomics>;

/// What every thread has before its first pin: always pinned, so that its first pin goes the slow way.
struct Stranger {
  Head head{{1}, nullptr, 0, false, false, 0};
};
constinit Stranger stranger{};

Record* self() {
  return ashlar_epoch_self == &stranger.head ? nullptr : static_cast<Record*>(ashlar_epoch_self);
}

void thread_exit(void* record) {
  auto* r = static_cast<Record*>(record);
  const bool retired = r->open != nullptr || r->first != nullptr || r->rest.at != nullptr;
  if (retired) {
    r->held = 0;
    epoch_leave<EpochAtomics>(*r);
    core.seal(r);
    // A release may retire what is left of a large block: on to the end of it.
    for (uint64_t i = 0; i <= Core::kGrace; ++i) {
      const uint64_t before = r->bytes.load(std::memory_order_relaxed);
      core.collect(r);
      core.free_rest(r);
      if (r->bytes.load(std::memory_order_relaxed) < before) i = 0;
    }
  }
  ashlar_epoch_self = ashlar_epoch_plain = &stranger.head;
  core.detach(r);
}

/// Whether pins must be fenced: asks the kernel once.
bool choose_fenced() {
  uint32_t known = barrier.load(std::memory_order_acquire);
  if (known == kNotAsked) {
    const uint32_t answer = options.membarrier && os::register_process_barrier() ? kWorks : kMissing;
    // Threads that ask at the same time get the same answer from the kernel, but one decides.
    if (barrier.compare_exchange_strong(known, answer, std::memory_order_acq_rel, std::memory_order_acquire))
      known = answer;
  }
  return known == kMissing;
}

void make_exit_key() {
  pthread_key_t key = 0;
  if (exit_key.load(std::memory_order_acquire) != 0 || pthread_key_create(&key, thread_exit) != 0) return;
  uint32_t none = 0;
  if (!exit_key.compare_exchange_strong(none, key + 1, std::memory_order_acq_rel, std::memory_order_acquire))
    pthread_key_delete(key);
}

Record* attach_self() {
  if (!ensure_init()) return nullptr;
  Record* r = core.attach(choose_fenced());
  if (r == nullptr) return nullptr;
  ashlar_epoch_self = r;
  if (!r->fenced) ashlar_epoch_plain = r;
  make_exit_key();
  // Without a key (the program has taken all) the record stays with the dead thread, unpinned, and what it retired last
  // is lost.
  const uint32_t key = exit_key.load(std::memory_order_acquire);
  if (key != 0) pthread_setspecific(key - 1, r);
  return r;
}

Record* self_attached() {
  Record* r = self();
  return r != nullptr ? r : attach_self();
}

/// While much memory is retired the ends of pins look after it. Brief pins have no such look: so there are none, unless
/// it is a reader who keeps it.
constexpr uint32_t kPatience = 4096;  // pins

void choose_pins(Record* r) {
  const bool brief = !r->fenced && ((r->held & Head::kUrgent) == 0 || r->urgent_ends >= kPatience);
  ashlar_epoch_plain = brief ? r : &stranger.head;
}

/// Ends the outermost pin, and looks after much retired memory, if there is.
void leave(Record* r) {
  epoch_leave<EpochAtomics>(*r);
  if ((r->held & Head::kUrgent) == 0) return;
  // Relaxed: our own.
  const uint64_t before = r->bytes.load(std::memory_order_relaxed);
  // A rest is as much as one call of the kernel does: one for 8 pins.
  if ((r->urgent_ends++ & 7) == 0) core.free_rest(r);
  if (core.is_much(r)) core.collect(r);
  if (r->bytes.load(std::memory_order_relaxed) < before) r->urgent_ends = 1;
  if (r->rest.at == nullptr && !core.is_much(r)) {
    r->held &= ~Head::kUrgent;
    r->urgent_ends = 0;
  }
  choose_pins(r);
}

void release_block(void* block) {
  deallocate(block);
}

}  // namespace

void epoch_after_fork_in_child() noexcept {
  Record* mine = self();
  for (Record* r = core.records(); r != nullptr; r = r->next) {
    // Free bags may be half-made where their thread stood: the lists are linked so that at worst one is missed.
    if (r != mine && r->in_use.load(std::memory_order_relaxed) != 0) core.detach(r);
  }
  if (mine != nullptr) core.forget_nameless();
  // The registration may be the parent's own. A child that cannot register any more has one thread: it alone needs
  // the fence.
  if (barrier.load(std::memory_order_relaxed) == kWorks && !os::register_process_barrier()) {
    barrier.store(kMissing, std::memory_order_relaxed);
    if (mine != nullptr) mine->fenced = true;
    ashlar_epoch_plain = &stranger.head;
  }
}

void prepare_pins() noexcept {
  const int saved_errno = errno;
  if (ensure_init()) choose_fenced();
  errno = saved_errno;
}

}  // namespace ashlar

using namespace ashlar;

extern "C" {

__thread Head* ashlar_epoch_self = &stranger.head;
__thread Head* ashlar_epoch_plain = &stranger.head;

Head* ashlar_epoch_pin_slow() noexcept {
  if (self() != nullptr) return nullptr;  // nested: the outer pin serves
  Record* r = attach_self();
  if (r != nullptr)
    epoch_enter<EpochAtomics>(*r);
  else
    core.enter_without_record();
  return r;
}

void ashlar_epoch_unpin_slow(Head* outermost) noexcept {
  if (outermost == nullptr) {
    if (self() == nullptr) core.leave_without_record();
    return;
  }
  if ((outermost->held & ~Head::kUrgent) != 0)
    outermost->outer = true;  // a held pin outlives it
  else
    leave(static_cast<Record*>(outermost));
}

void ashlar_epoch_pin() noexcept {
  Record* r = self_attached();
  if (r == nullptr) {
    core.enter_without_record();
    return;
  }
  if ((r->held++ & ~Head::kUrgent) != 0) return;
  // Relaxed: our own.
  r->outer = r->pinned.load(std::memory_order_relaxed) == 0;
  if (r->outer) epoch_enter<EpochAtomics>(*r);
}

void ashlar_epoch_unpin() noexcept {
  Record* r = self();
  if (r != nullptr && (r->held & ~Head::kUrgent) != 0) {
    if ((--r->held & ~Head::kUrgent) == 0 && r->outer) leave(r);
    return;
  }
  check(core.nameless() != 0, "ashlar_epoch_unpin without a pin");
  core.leave_without_record();
}

void ashlar_epoch_retire(void* block) noexcept {
  if (block != nullptr) ashlar_epoch_retire_with(block, usable_size(block), release_block);
}

void ashlar_epoch_retire_with(void* block, size_t bytes, void (*release)(void*)) noexcept {
  Record* r = self_attached();
  core.retire(r, block, bytes, release);
  if (r != nullptr && (r->held & Head::kUrgent) != 0) choose_pins(r);
}

void ashlar_epoch_retire_rest(void* block, size_t bytes, void (*release)(void*)) noexcept {
  Record* r = self_attached();
  core.retire_rest(r, block, bytes, release);
  if (r != nullptr && (r->held & Head::kUrgent) != 0) choose_pins(r);
}

int ashlar_epoch_synchronize() noexcept {
  Record* r = self_attached();
  if (r == nullptr || r->pinned.load(std::memory_order_relaxed) != 0) return -1;
  // A release may retire what is left of a large block: on to the end of it.
  for (uint64_t before = ~uint64_t{0};;) {
    core.seal(r);
    const uint64_t until = core.epoch() + Core::kGrace;
    for (;;) {
      core.collect(r);
      if (core.epoch() >= until) break;
      if (!core.advance()) nap();
    }
    core.collect(r);
    while (r->rest.at != nullptr) core.free_rest(r);
    const uint64_t left = r->bytes.load(std::memory_order_relaxed);
    if (left == 0 || left >= before) return 0;
    before = left;
  }
}

void ashlar_epoch_stats(ashlar_epoch_statistics* out) noexcept {
  *out = {};
  out->epoch = core.epoch();
  out->retired_blocks = core.orphan_blocks();
  out->retired_bytes = core.orphan_bytes();
  out->leaked_blocks = core.leaked();
  out->pinned = core.nameless();
  out->fenced = barrier.load(std::memory_order_relaxed) == kMissing ? 1 : 0;
  for (const Record* r = core.records(); r != nullptr; r = r->next) {
    ++out->records;
    // Relaxed: figures.
    out->retired_blocks += r->blocks.load(std::memory_order_relaxed);
    out->retired_bytes += r->bytes.load(std::memory_order_relaxed);
    const uint64_t pinned = r->pinned.load(std::memory_order_relaxed);
    if (pinned != 0) ++out->pinned;
    if (pinned != 0 && pinned < out->epoch) ++out->lagging;
  }
}

}  // extern "C"
