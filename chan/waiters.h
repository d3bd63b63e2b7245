// SPDX-License-Identifier: MIT
//
// waiters.h - threads that wait for a channel: who they are, in what order they came, how they are claimed.
//
// Owns: Ticket (a thread that waits), Waiter (its place in the queue of one channel; a select has several), WaitQueue,
// WaitLock. All three lie on the stack of the waiting thread or in the channel; nothing is allocated.
//
// A ticket's state, in the low bits (above them: the index of the case that was chosen). kAsleep beside any of them:
// the owner sleeps, or is about to, and must be woken; without it, it is looking and will see.
//
//     kParked --claim--> kWoken       look again: the channel may have become ready (ring)
//             --claim--> kClaimed --> kDone     a partner moves the element; then it is done (capacity 0)
//             --claim--> kKicked      the channel was closed
//             --self---> kQuit        the owner's deadline passed
//
// Invariants: a Waiter is linked only while its channel's lock is held by whoever changes that. The first claim wins,
// by compare-and-exchange, so that a select is chosen once. Who claims a ticket has unlinked that waiter before, and
// after kWoken, kDone or kKicked touches it no more (the owner may be gone), but for the address of `state`, for the
// futex.
#pragma once

#include "chan/system.h"

namespace ashlar::chan_core {

enum TicketState : uint32_t { kParked, kClaimed, kWoken, kDone, kKicked, kQuit };

inline constexpr uint32_t kStateMask = 7;
inline constexpr uint32_t kAsleep = 8;
inline constexpr unsigned kIndexShift = 4;

enum class Waits : uint8_t { kSend, kRecv, kSelect };

template <class Os>
struct Ticket {
  typename Os::template Atomic<uint32_t> state{kParked};
  uint32_t thread_id = 0;
  Waits what = Waits::kSend;
  uint64_t since_ns = 0;
  const void* caller = nullptr;

  enum class Claim : uint8_t { kLost, kAwake, kSleeping };

  /// One of the three claims; kLost where another came first. Release: what the claimer wrote is seen by the owner,
  /// which acquires; acquire: the claimer sees what the owner wrote before it parked.
  Claim claim(TicketState to, uint32_t index) noexcept {
    uint32_t seen = state.load(std::memory_order_relaxed);
    while ((seen & ~kAsleep) == kParked) {
      if (state.compare_exchange_weak(seen, to | (seen & kAsleep) | (index << kIndexShift), std::memory_order_acq_rel,
                                      std::memory_order_relaxed))
        return (seen & kAsleep) != 0 ? Claim::kSleeping : Claim::kAwake;
    }
    return Claim::kLost;
  }

  /// The partner's last word after kClaimed; true where the owner must be woken. The ticket may be gone then. Release
  /// as above.
  bool finish(uint32_t index) noexcept {
    return (state.exchange(kDone | (index << kIndexShift), std::memory_order_acq_rel) & kAsleep) != 0;
  }

  /// The owner waits for a claim, or for the partner to finish, until the deadline: looks for `pauses`, then sleeps.
  /// The state as it is then, without kAsleep; still kParked only if the deadline passed (or for no reason).
  uint32_t await(uint32_t pauses, uint64_t deadline_ns) noexcept {
    // Acquire pairs with the claimer's release.
    uint32_t seen = state.load(std::memory_order_acquire);
    for (uint32_t spent = 0; is_open(seen) && spent < pauses; ++spent) {
      Os::pause();
      seen = state.load(std::memory_order_acquire);
    }
    if (is_open(seen) && (seen & kAsleep) == 0) seen = state.fetch_or(kAsleep, std::memory_order_acq_rel) | kAsleep;
    const bool was_parked = (seen & kStateMask) == kParked;
    while (is_open(seen)) {
      // A partner that moves the element is not kept to the deadline.
      const bool is_moving = (seen & kStateMask) == kClaimed;
      if (!Os::wait(state, seen, is_moving ? kNever : deadline_ns)) break;
      seen = state.load(std::memory_order_acquire);
      if (was_parked && (seen & kStateMask) == kParked) break;
    }
    return seen & ~kAsleep;
  }

 private:
  static bool is_open(uint32_t word) noexcept {
    return (word & kStateMask) == kParked || (word & kStateMask) == kClaimed;
  }
};

template <class Os>
struct Waiter {
  Waiter* next = nullptr;
  Waiter* prev = nullptr;
  Ticket<Os>* ticket = nullptr;
  void* element = nullptr;  ///< capacity 0: where the partner takes it from, or puts it
  uint32_t index = 0;       ///< of the case, for a select
  bool is_queued = false;
  bool is_strict = false;  ///< must be woken by the next operation that makes room; else it has a timer running
};

/// Doubly linked, so that a waiter leaves in O(1). The channel's lock protects it. Zero bytes are an empty queue.
template <class Os>
struct WaitQueue {
  Waiter<Os>* head = nullptr;
  Waiter<Os>* tail = nullptr;
  uint32_t strict = 0;  ///< how many of them are strict

  void push_back(Waiter<Os>& w) noexcept {
    w.next = nullptr;
    w.prev = tail;
    (tail != nullptr ? tail->next : head) = &w;
    tail = &w;
    added(w);
  }
  void push_front(Waiter<Os>& w) noexcept {
    w.prev = nullptr;
    w.next = head;
    (head != nullptr ? head->prev : tail) = &w;
    head = &w;
    added(w);
  }
  void unlink(Waiter<Os>& w) noexcept {
    (w.prev != nullptr ? w.prev->next : head) = w.next;
    (w.next != nullptr ? w.next->prev : tail) = w.prev;
    w.is_queued = false;
    strict -= static_cast<uint32_t>(w.is_strict);
  }

 private:
  void added(Waiter<Os>& w) noexcept {
    w.is_queued = true;
    strict += static_cast<uint32_t>(w.is_strict);
  }
};

/// Protects a channel's queues, never its elements. Futex mutex of three states (after U. Drepper, "Futexes Are
/// Tricky"), with the number of the fork above them: what a thread held that did not survive a fork is free in the
/// child.
template <class Os>
class WaitLock {
 public:
  /// kFresh or kBroken where the process is the child of a fork, and this the first time that the lock is taken in it:
  /// whoever is in the queues did not survive. kBroken: a thread held the lock at the fork.
  enum Took : uint8_t { kNormal, kFresh, kBroken };

  [[nodiscard]] Took lock() noexcept {
    const uint32_t mine = Os::epoch() << kEpochShift;
    uint32_t seen = mine;
    // Acquire pairs with the release in unlock().
    if (word_.compare_exchange_strong(seen, mine | kLocked, std::memory_order_acquire, std::memory_order_relaxed))
      return kNormal;
    return lock_slow(mine, seen);
  }

  void unlock() noexcept {
    // Release pairs with the acquires in lock().
    const uint32_t mine = Os::epoch() << kEpochShift;
    if ((word_.exchange(mine, std::memory_order_release) & kParked2) != 0) Os::wake(word_, 1);
  }

 private:
  static constexpr uint32_t kLocked = 1;
  static constexpr uint32_t kParked2 = 2;  // locked, and somebody may sleep
  static constexpr unsigned kEpochShift = 2;
  static constexpr uint32_t kSpins = 40;  // a section lasts some tens of ns, unless its thread is preempted

  [[gnu::noinline]] Took lock_slow(uint32_t mine, uint32_t seen) noexcept {
    const uint32_t spins = Os::max_spins() < kSpins ? Os::max_spins() : kSpins;
    uint32_t flags = kLocked;
    for (uint32_t i = 0;; ++i) {
      const bool is_stale = (seen & ~uint32_t{3}) != mine;
      const Took took = !is_stale ? kNormal : (seen & 3) == 0 ? kFresh : kBroken;
      if (is_stale || (seen & 3) == 0) {
        if (word_.compare_exchange_strong(seen, mine | flags, std::memory_order_acquire, std::memory_order_relaxed))
          return took;
        continue;
      }
      if (i < spins) {
        Os::pause();
      } else {
        // Who has slept once takes the lock as one that others sleep for: it cannot know better.
        flags = kLocked | kParked2;
        if ((seen & kParked2) == 0 &&
            !word_.compare_exchange_strong(seen, seen | kParked2, std::memory_order_relaxed, std::memory_order_relaxed))
          continue;
        Os::wait(word_, seen | kParked2, kNever);
      }
      seen = word_.load(std::memory_order_relaxed);  // only a look; the exchange above takes it
    }
  }

  typename Os::template Atomic<uint32_t> word_{0};
};

}  // namespace ashlar::chan_core
