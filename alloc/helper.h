// SPDX-License-Identifier: MIT
//
// helper.h - the thread that gives memory back while the program is idle.
//
// Owns: the helper's life. It exists only in programs that have threads already (a program with one thread stays so:
// unshare, seccomp and fork behave differently in others), from the free that exceeds the budget of dirty memory
// until nothing is left to give back; `purge_thread:off` forbids it. All its signals are blocked, it is named
// "ashlar-purge", it never allocates and so never has a cache. A fork waits for the batch it is at; the child has none
// until it needs one.
//
//   none --free over the budget, threads exist--> wanted --the same free, lock dropped--> runs --nothing left--> none
//
// Starting it is pthread_create, which takes locks of glibc: where free was called by glibc itself, perhaps with
// one of them held, it is not started, and the caller purges.
#pragma once

namespace ashlar {

/// With the page heap's lock held: whether a helper may be started in this process now. True: start_helper is due.
bool want_helper() noexcept;

/// Relaxed hint; true from want_helper to start_helper.
[[gnu::visibility("hidden")]] extern bool helper_wanted;

/// Starts the helper if it is wanted. No lock held. `caller`: the return address of the call into Ashlar.
[[gnu::noinline, gnu::cold]] void start_helper(const void* caller) noexcept;

/// To be called at the end of every slow path that may have released pages.
inline void serve_helper(const void* caller) noexcept {
  // Relaxed: only a hint; start_helper takes it by an exchange.
  if (__atomic_load_n(&helper_wanted, __ATOMIC_RELAXED)) [[unlikely]]
    start_helper(caller);
}

}  // namespace ashlar
