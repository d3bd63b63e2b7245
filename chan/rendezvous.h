// SPDX-License-Identifier: MIT
//
// rendezvous.h - capacity 0: a sender and a receiver meet.
//
// Owns: the cell, and matching with who is queued. There are two ways to meet. A receiver that is awake posts itself in
// the cell; a sender claims it there, moves the element into the cell and is done. Whoever sleeps is in a queue; the
// partner claims the ticket and moves the element from or to where its owner keeps it.
//
// The cell has three counters: `posted` and `filled` in its own line, which goes to the sender and back once a message,
// and the claims in `send` (with the closed bit above them), on the senders' line. One receiver at a time has the cell
// (`poster`).
//
//     posted == claims == filled       idle
//     posted == claims + 1             posted: a sender may claim it, by CAS of `send` (the operation takes effect)
//     posted == claims == filled + 1   claimed: the sender moves the element, then stores `filled`
//
// A receiver that gives up claims itself. After close no claim of a sender succeeds.
//
// A match is not missed. Nobody sleeps posted: who gives up goes to the queue, and there senders and receivers meet
// under the lock. Until then it looks at `waits`, in which a sender that has queued itself, or a close, sets a bit.
#pragma once

#include "chan/ring.h"
#include "chan/spinner.h"

namespace ashlar::chan_core {

/// Whether the element itself is in the cell; else the cell says where the receiver wants it.
template <class Os>
bool fits_cell(const Channel<Os>& c) noexcept {
  return c.element_size <= kCellBytes && c.alignment <= kCellAlign;
}

/// Some looks in a row at a counter of the cell. A pause may take half of what the line takes to the partner and back;
/// looks at one's own copy of the line disturb nobody.
template <class Os>
bool sees(const typename Channel<Os>::Half& counter, uint32_t want) noexcept {
  constexpr uint32_t kLooks = 16;
  const uint32_t looks = Os::max_spins() < kLooks ? Os::max_spins() : kLooks;
  // Relaxed: who acts on it acquires.
  for (uint32_t i = 0; i < looks; ++i) {
    if (counter.load(std::memory_order_relaxed) == want) return true;
  }
  return false;
}

/// A look: whether a receiver is posted. `claims`: what `send` was.
template <class Os>
bool is_posted(const Channel<Os>& c, uint64_t claims) noexcept {
  // As in fill_cell: a thread that was posted at a fork is not there in the child.
  return c.posted.load(std::memory_order_relaxed) == static_cast<uint32_t>(claims) + 1 &&
         c.posted_in.load(std::memory_order_relaxed) == Os::epoch();
}

/// Moves the element to the receiver that is posted, if one is: kOk, kClosed or kNotReady, exact.
template <class Os>
inline Status fill_cell(Channel<Os>& c, void* element) noexcept {
  uint64_t claims = c.send.load(std::memory_order_relaxed);  // validated below
  for (;;) {
    if ((claims & kClosedBit) != 0) [[unlikely]]
      return Status::kClosed;
    const auto mine = static_cast<uint32_t>(claims) + 1;
    // Acquire pairs with the release of the receiver, which knows that the element before was taken.
    if (c.posted.load(std::memory_order_acquire) != mine) {
      const uint64_t now = c.send.load(std::memory_order_relaxed);
      if (now == claims) return Status::kNotReady;
      claims = now;
      continue;
    }
    // Relaxed: stored before `posted`. A thread that was posted at a fork is not there in the child.
    if (c.posted_in.load(std::memory_order_relaxed) != Os::epoch()) [[unlikely]]
      return Status::kNotReady;
    if (!c.send.compare_exchange_weak(claims, claims + 1, std::memory_order_seq_cst, std::memory_order_relaxed))
      continue;
    if (c.element_size != 0) {
      void* to = c.cell;
      if (!fits_cell(c)) __builtin_memcpy(&to, c.cell, sizeof to);
      c.move(to, element);
    }
    // Release pairs with the acquire of the receiver that posted.
    c.filled.store(mine, std::memory_order_release);
    Os::light_barrier();  // against take_cell's heavy one
    if ((c.waits.load(std::memory_order_seq_cst) & kSlotBits) != 0) [[unlikely]]
      Os::wake(c.filled, INT32_MAX);
    return Status::kOk;
  }
}

/// Meets the longest-waiting thread of the other side, if one is queued: kOk, kClosed or kNotReady.
template <class Os>
[[gnu::noinline]] Status match_queued(Channel<Os>& c, Side mine, void* element) noexcept {
  lock_queues(c);
  if ((c.send.load(std::memory_order_relaxed) & kClosedBit) != 0) {  // set under the lock
    c.lock.unlock();
    return Status::kClosed;
  }
  Waiter<Os>* const partner = claim_first(c, mine == Side::kSender ? Side::kReceiver : Side::kSender, kClaimed).waiter;
  publish_queues(c);
  c.lock.unlock();
  if (partner == nullptr) return Status::kNotReady;
  // A claimed partner stays until we say kDone, so the element moves outside of the lock.
  if (c.element_size != 0) {
    if (mine == Side::kSender) {
      c.move(partner->element, element);
    } else {
      c.move(element, partner->element);
    }
  }
  auto& state = partner->ticket->state;
  if (partner->ticket->finish(partner->index)) Os::wake(state, 1);
  return Status::kOk;
}

/// All receivers that are queued are lazy: one that is awake may come to the cell before one of those would be awake,
/// so we look on for a third of what waking costs.
template <class Os>
[[gnu::noinline]] Status wait_for_post(Channel<Os>& c, void* element) noexcept {
  const uint32_t pauses = Os::max_spins() < kVerifyPauses ? Os::max_spins() : kVerifyPauses;
  Status status = Status::kNotReady;
  for (uint32_t i = 0; i < pauses && status == Status::kNotReady; ++i) {
    Os::pause();
    status = fill_cell(c, element);
  }
  return status;
}

template <class Os>
inline Status rendezvous_send(Channel<Os>& c, void* element) noexcept {
  const uint32_t waits = c.waits.load(std::memory_order_seq_cst);
  // Who sleeps for longer than a lazy waiter comes first; a receiver that is awake before one that has just gone to
  // sleep.
  if ((waits & kRecvStrict) != 0) [[unlikely]] {
    const Status status = match_queued(c, Side::kSender, element);
    if (status != Status::kNotReady) return status;
  }
  Status status = fill_cell(c, element);
  if (status != Status::kNotReady || (waits & kRecvWaits) == 0) return status;
  if ((waits & kRecvStrict) == 0) status = wait_for_post(c, element);
  return status != Status::kNotReady ? status : match_queued(c, Side::kSender, element);
}

template <class Os>
inline Status rendezvous_recv(Channel<Os>& c, void* element) noexcept {
  const uint32_t waits = c.waits.load(std::memory_order_seq_cst);
  if ((waits & (kSendWaits | kClosedFlag)) == 0) return Status::kNotReady;
  return match_queued(c, Side::kReceiver, element);
}

// ---- the receiver's side of the cell ----------------------------------------------------------------------

template <class Os>
void unlock_cell(Channel<Os>& c) noexcept {
  c.poster.store(0, std::memory_order_release);
}

/// Posts the owner of the cell, which wants the element there.
template <class Os>
uint32_t post(Channel<Os>& c, void* element) noexcept {
  if (!fits_cell(c)) __builtin_memcpy(c.cell, &element, sizeof element);
  // Relaxed: only owners change it. Release: pairs with the sender's acquire.
  const uint32_t mine = c.posted.load(std::memory_order_relaxed) + 1;
  c.posted_in.store(Os::epoch(), std::memory_order_relaxed);
  c.posted.store(mine, std::memory_order_release);
  return mine;
}

/// Takes back what post() returned; false: a sender has claimed it.
template <class Os>
bool unpost(Channel<Os>& c, uint32_t mine) noexcept {
  uint64_t claims = c.send.load(std::memory_order_relaxed);
  while (static_cast<uint32_t>(claims) + 1 == mine) {
    if (!c.send.compare_exchange_weak(claims, claims + 1, std::memory_order_seq_cst, std::memory_order_relaxed))
      continue;
    c.filled.store(mine, std::memory_order_relaxed);  // no sender reads it
    return true;
  }
  return false;
}

/// Takes the cell for a receiver, unless another has it.
template <class Os>
bool lock_cell(Channel<Os>& c) noexcept {
  const uint32_t taken = Os::epoch() << 1 | 1;
  uint32_t seen = c.poster.load(std::memory_order_relaxed);
  if (seen == taken) return false;
  // Acquire pairs with the release in unlock_cell: the one before has moved its element out.
  if (!c.poster.compare_exchange_strong(seen, taken, std::memory_order_acquire, std::memory_order_relaxed))
    return false;
  if (seen != 0) [[unlikely]] {
    // Neither the receiver that had it at the fork nor a sender that had claimed it is there any more.
    const uint32_t theirs = c.posted.load(std::memory_order_relaxed);
    if (!unpost(c, theirs)) c.filled.store(theirs, std::memory_order_relaxed);
  }
  return true;
}

/// Takes the element that a sender has put into the cell, or is in the middle of it, and gives the cell up.
template <class Os>
void take_cell(Channel<Os>& c, uint32_t mine, void* element) noexcept {
  const uint32_t spins = Os::max_spins() < kVerifyPauses ? Os::max_spins() : kVerifyPauses;
  // Acquire pairs with the sender's release.
  for (uint32_t i = 0; c.filled.load(std::memory_order_acquire) != mine && i < spins; ++i) Os::pause();
  if (c.filled.load(std::memory_order_acquire) != mine) {
    // The sender was stopped in the middle. As in wait_for_slot: it stores, then reads `waits`, without an RMW.
    c.waits.fetch_add(kSlotWaiter, std::memory_order_seq_cst);
    Os::heavy_barrier();
    while (c.filled.load(std::memory_order_acquire) != mine)
      Os::wait(c.filled, mine - 1, Os::has_heavy_barrier() ? kNever : Os::now_ns() + kSlotNapNs);
    c.waits.fetch_sub(kSlotWaiter, std::memory_order_relaxed);
  }
  if (c.element_size != 0 && fits_cell(c)) c.take(element, c.cell);
  unlock_cell(c);
}

/// A receiver that is awake offers itself in the cell for a while: kOk, kClosed, or kNotReady (look at the queue, or
/// sleep). `may_wait`: go on although a sender is queued, which is lazy then: one that is awake may come first.
template <class Os>
Status post_in_cell(Channel<Os>& c, void* element, bool may_wait, Spinner<Os>& spinner) noexcept {
  const uint32_t leave = kSendStrict | kClosedFlag | (may_wait ? 0 : kSendWaits);
  const auto goes_on = [&] { return (c.waits.load(std::memory_order_relaxed) & leave) == 0 && spinner.step(); };
  while (!lock_cell(c)) {
    if (!goes_on()) return Status::kNotReady;
  }
  const uint32_t mine = post(c, element);
  while (!sees<Os>(c.filled, mine)) {
    if (goes_on()) continue;
    if (!unpost(c, mine)) break;
    unlock_cell(c);
    return (c.send.load(std::memory_order_seq_cst) & kClosedBit) != 0 ? Status::kClosed : Status::kNotReady;
  }
  take_cell(c, mine, element);
  return Status::kOk;
}

}  // namespace ashlar::chan_core
