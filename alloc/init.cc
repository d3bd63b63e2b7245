// SPDX-License-Identifier: MIT
//
// init.cc - see init.h.
//
// Initialisation runs inside the first malloc of the process, which may come from the dynamic loader, before any
// constructor. It reads options, maps once, and calls neither dlsym nor anything that allocates or opens a file.
#include "alloc/init.h"

#include <pthread.h>
#include <unistd.h>

#include "alloc/base/futex.h"
#include "alloc/central.h"
#include "alloc/compat.h"
#include "alloc/guard.h"
#include "alloc/hardened.h"
#include "alloc/options.h"
#include "alloc/os/os.h"
#include "alloc/page_heap.h"
#include "alloc/percpu.h"
#include "alloc/trace.h"

extern "C" char** environ;

namespace ashlar {

constinit bool initialised = false;

namespace {

constinit Mutex mutex;

// Lock order: init, percpu, central lists, page heap; guard pool, quarantine. A fork holds them all, so that the
// child's copy is consistent.
void prepare_fork() {
  mutex.lock();
  percpu_prepare_fork();
  central_lock_all();
  page_heap.lock_for_fork();
  lock_guard_for_fork();
  if constexpr (kHardened) lock_quarantine_for_fork();
}

void unlock_leaves() {
  if constexpr (kHardened) unlock_quarantine_after_fork();
  unlock_guard_after_fork();
}

void parent_after_fork() {
  unlock_leaves();
  page_heap.unlock();
  central_unlock_all();
  percpu_parent_after_fork();
  mutex.unlock();
}

void child_after_fork() {
  unlock_leaves();
  page_heap.unlock();
  central_unlock_all();
  percpu_child_after_fork();
  mutex.unlock();
}

[[gnu::destructor]] void at_exit() {
  if (options.stats_exit && initialised) print_memstats(STDERR_FILENO);
}

}  // namespace

bool init_slow() noexcept {
  InitTrace t{};
  {
    MutexGuard guard(mutex);
    if (initialised) return true;
    t.begin_us = os::now_us();
    read_options(environ, os::is_secure());
    t.options_us = os::now_us();
    t.classes_us = os::now_us();  // the tables are computed by the compiler: nothing to do, and the trace shows it
    if (!page_heap.init()) return false;
    t.map_us = os::now_us();
    init_percpu();
    init_guard();
    if constexpr (kHardened) init_hardened();
    t.ps_us = os::now_us();
    __atomic_store_n(&initialised, true, __ATOMIC_RELEASE);
  }
  // Outside of the lock, and initialised: glibc allocates here where a program has more than 48 handlers.
  pthread_atfork(prepare_fork, parent_after_fork, child_after_fork);
  if (options.inittrace) trace_init(t);
  return true;
}

}  // namespace ashlar
