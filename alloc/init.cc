// SPDX-License-Identifier: MIT
//
// init.cc - see init.h.
//
// Initialisation runs inside the first malloc of the process, which may come from the dynamic loader, before any
// constructor. It reads options, maps once, and calls neither dlsym nor anything that allocates or opens a file.
#include "alloc/init.h"

#include <pthread.h>
#include <unistd.h>

#include "alloc/base/check.h"
#include "alloc/base/futex.h"
#include "alloc/central.h"
#include "alloc/compat.h"
#include "alloc/epoch_fork.h"
#include "alloc/guard.h"
#include "alloc/hardened.h"
#include "alloc/options.h"
#include "alloc/os/os.h"
#include "alloc/page_heap.h"
#include "alloc/percpu.h"
#include "alloc/trace.h"

extern "C" {
extern char** environ;
// The dynamic linker's: where the kernel put argc, argv and the environment. Weak: other libcs do not have it.
[[gnu::weak]] extern const uintptr_t* __libc_stack_end;
}

namespace ashlar {

constinit bool initialised = false;

namespace {

constinit Mutex mutex;

// Lock order: init, percpu, central lists, page heap; guard pool, quarantine. A fork holds them all, so that the
// child's copy is consistent. A signal handler may fork that interrupted us: what its thread holds already stays held,
// in the child, too, where the interrupted code goes on once the handler returns. Such a handler may even have
// interrupted a fork of the same thread.
struct HeldByFork {
  bool init, percpu, page_heap, guard;
  unsigned quarantine;
  CentralSet central;
};
constexpr unsigned kMaxForks = 16;
constinit HeldByFork held_by_fork[kMaxForks] = {};
constinit unsigned forks_under_way = 0;  // of one thread, each in a signal handler that interrupted the one before

void prepare_fork() {
  const bool interrupted = mutex.is_mine() || percpu_is_mine() || central_is_mine() || page_heap.is_mine() ||
                           guard_is_mine() || (kHardened && quarantine_is_mine());
  const bool took_init = mutex.lock_for_fork(interrupted);
  check(forks_under_way < kMaxForks, "too many forks from signal handlers that interrupted a fork");
  HeldByFork& held = held_by_fork[forks_under_way++];
  held.init = took_init;
  held.percpu = percpu_lock_for_fork(interrupted);
  central_lock_for_fork(&held.central, interrupted);
  held.page_heap = page_heap.lock_for_fork(interrupted);
  held.guard = lock_guard_for_fork(interrupted);
  if constexpr (kHardened) held.quarantine = lock_quarantine_for_fork(interrupted);
}

void after_fork(bool child) {
  const HeldByFork& held = held_by_fork[forks_under_way - 1];
  if constexpr (kHardened) unlock_quarantine_after_fork(held.quarantine);
  if (held.guard) unlock_guard_after_fork();
  page_heap.after_fork(child);
  if (held.page_heap) page_heap.unlock();
  central_unlock(held.central);
  percpu_after_fork(child, held.percpu);
  --forks_under_way;
  if (held.init) mutex.unlock();
}

void parent_after_fork() {
  after_fork(false);
}

void child_after_fork() {
  after_fork(true);
  epoch_after_fork_in_child();
}

/// The environment: also before libc has initialised itself (malloc in .preinit_array, or with LD_AUDIT), when
/// `environ` is still null.
const char* const* environment() {
  if (environ != nullptr || &__libc_stack_end == nullptr || __libc_stack_end == nullptr) return environ;
  const uintptr_t* arguments = __libc_stack_end + 1;
  const uintptr_t argc = *__libc_stack_end;
  if (argc > (uintptr_t{1} << 24) || arguments[argc] != 0) return nullptr;
  return reinterpret_cast<const char* const*>(arguments + argc + 1);
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
    read_options(environment(), os::is_secure());
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
