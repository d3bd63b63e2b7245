// SPDX-License-Identifier: MIT
//
// helper.cc - see helper.h.
#include "alloc/helper.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/single_threaded.h>

#include "alloc/base/futex.h"
#include "alloc/base/hardened.h"
#include "alloc/central.h"
#include "alloc/options.h"
#include "alloc/page_heap.h"
#include "alloc/percpu.h"

// The first two are missing in older versions of glibc. _dl_find_object (2.35, in libc) takes no lock.
// __libc_stack_end is a variable of the dynamic loader.
extern "C" {
#pragma weak __libc_single_threaded
[[gnu::weak]] int _dl_find_object(void* pc, struct dl_find_object* result) noexcept;
[[gnu::weak]] extern const void* __libc_stack_end;
}

namespace ashlar {

constinit bool helper_wanted = false;

namespace {

// Enough for the helper (2 KiB of runs in a purge) and the TLS of a few libraries; with more TLS than that a larger
// one.
constexpr size_t kStackBytes = size_t{128} << 10;
constexpr size_t kLargeStackBytes = size_t{2} << 20;
// After a look that had to stop at its limit of system calls.
constexpr uint32_t kMoreMs = 10;
constexpr uint32_t kMinLookMs = 5;

/// The start of the object that `pc` is code of; null: nobody can tell.
void* object_of(const void* pc) {
  dl_find_object object{};
  return _dl_find_object(const_cast<void*>(pc), &object) == 0 ? object.dlfo_map_start : nullptr;
}

/// Whether `pc` may be code of glibc, which may call us with its locks held: pthread_join, for one, frees the TLS of
/// dead threads with the lock of the stacks. Where nobody can tell: yes.
bool may_be_glibc(const void* pc) {
  if (&_dl_find_object == nullptr || &__libc_stack_end == nullptr) return true;
  void* const own = object_of(pc);
  void* const libc = object_of(reinterpret_cast<void*>(&pthread_create));
  void* const loader = object_of(&__libc_stack_end);
  return own == nullptr || libc == nullptr || loader == nullptr || own == libc || own == loader;
}

void* helper_main(void* /*unused*/) {
  prctl(PR_SET_NAME, "ashlar-purge");
  const uint32_t half = options.purge_delay_ms / 2;
  const uint32_t look_ms = half < kMinLookMs ? kMinLookMs : half;
  for (PageHeap::Look next = PageHeap::Look::kWait; next != PageHeap::Look::kDone;) {
    nap(next == PageHeap::Look::kMore ? kMoreMs : look_ms);
    const size_t before = page_heap.was_dirty_pages();
    if (next == PageHeap::Look::kWait) {
      drain_idle_leases();
      central_release_empty();
    }
    // What others freed meanwhile counts with it, which gives their pages back a little early.
    const size_t after = page_heap.was_dirty_pages();
    next = page_heap.look_for_idle(after > before ? after - before : 0);
  }
  return nullptr;
}

bool create_helper(size_t stack_bytes) {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  sigset_t all;
  sigset_t saved;
  sigfillset(&all);
  pthread_t thread = 0;
  bool created = false;
  if (pthread_attr_setstacksize(&attributes, stack_bytes) == 0 && pthread_sigmask(SIG_SETMASK, &all, &saved) == 0) {
    created = pthread_create(&thread, &attributes, helper_main, nullptr) == 0;
    pthread_sigmask(SIG_SETMASK, &saved, nullptr);
  }
  pthread_attr_destroy(&attributes);
  return created;
}

}  // namespace

bool want_helper() noexcept {
  if (!options.purge_thread || &__libc_single_threaded == nullptr || __libc_single_threaded != 0) return false;
  // glibc's variable stays false in the child of a fork, which has one thread.
  if (!__atomic_load_n(&thread_came, __ATOMIC_RELAXED)) return false;
  __atomic_store_n(&helper_wanted, true, __ATOMIC_RELAXED);
  return true;
}

void start_helper(const void* caller) noexcept {
  // Relaxed: the exchange picks one thread; the page heap's lock orders the rest.
  if (!__atomic_exchange_n(&helper_wanted, false, __ATOMIC_RELAXED)) return;
  // The hardened library's frees come to us through its own layer, so that it does not know its caller.
  const bool unsafe = kHardened || thread_is_ending() || may_be_glibc(caller);
  if (!unsafe && (create_helper(kStackBytes) || create_helper(kLargeStackBytes))) return;
  page_heap.helper_failed(!unsafe);
}

}  // namespace ashlar
