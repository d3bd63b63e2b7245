// SPDX-License-Identifier: MIT
//
// rendezvous.h - capacity 0: a sender and a receiver meet.
//
// Owns: the cell, and matching with who is queued. There are two ways to meet. A receiver that is awake posts itself in
// the cell (one line, on the senders' side of the header); a sender claims it there, moves the element into the cell
// and is done. Whoever sleeps, and every select, is in a queue; the partner claims the ticket and moves the element
// from or to where its owner keeps it.
//
// The cell (low bits of `send`; the closed bit above them lets no claim through):
//
//     kIdle --receiver--> kPosted --sender--> kTaken --sender--> kFull --receiver--> kIdle
//                                 --receiver (gave up, or saw kSendWaits)--> kIdle
//
// A match is not missed: the receiver posts, then reads `waits`; the sender queues itself, sets kSendWaits, then reads
// the cell. All seq_cst: one sees the other. Receivers in the queue and senders in the queue meet under the lock.
#pragma once

#include "chan/ring.h"

namespace ashlar::chan_core {

inline constexpr uint64_t kIdle = 0;
inline constexpr uint64_t kPosted = 1;
inline constexpr uint64_t kTaken = 2;
inline constexpr uint64_t kFull = 3;
inline constexpr uint64_t kCellMask = 3;

/// Pauses before the first look at a cell that the partner is working on: a look takes the line from it.
inline constexpr uint32_t kCellGap = 8;

template <class Os>
bool fits_cell(const Channel<Os>& c) noexcept {
  return c.element_size <= kCellBytes && c.alignment <= kCellAlign;
}

/// The sender's part after it has claimed the cell (kPosted -> kTaken).
template <class Os>
void fill_cell(Channel<Os>& c, void* element) noexcept {
  if (c.element_size != 0) c.move(c.cell, element);
  // Release pairs with the acquire of the receiver that posted. An addition: close may set its bit meanwhile.
  c.send.fetch_add(kFull - kTaken, std::memory_order_seq_cst);
  // Against take_cell: an RMW of the cell, then a look at `waits`; there, an RMW of `waits`, then a look at the cell.
  if ((c.waits.load(std::memory_order_seq_cst) & kSlotBits) != 0) [[unlikely]] {
    c.cell_bell.fetch_add(1, std::memory_order_release);  // pairs with the acquire in take_cell
    Os::wake(c.cell_bell, INT32_MAX);
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
/// so we look on for a third of what waking costs. The cell as seen last.
template <class Os>
[[gnu::noinline]] uint64_t wait_for_post(Channel<Os>& c) noexcept {
  const uint32_t pauses = Os::max_spins() < kVerifyPauses ? Os::max_spins() : kVerifyPauses;
  uint64_t cell = c.send.load(std::memory_order_relaxed);
  for (uint32_t i = 0; i < pauses && cell != kPosted && (cell & kClosedBit) == 0; ++i) {
    Os::pause();
    cell = c.send.load(std::memory_order_relaxed);
  }
  return cell;
}

template <class Os>
inline Status rendezvous_send(Channel<Os>& c, void* element) noexcept {
  uint64_t cell = c.send.load(std::memory_order_relaxed);  // validated by the exchange
  if ((cell & kClosedBit) != 0) return Status::kClosed;
  const uint32_t waits = c.waits.load(std::memory_order_seq_cst);
  // Who sleeps for longer than a lazy waiter comes first; a receiver that is awake before one that has just gone to
  // sleep.
  if ((waits & kRecvStrict) != 0) {
    const Status status = match_queued(c, Side::kSender, element);
    if (status != Status::kNotReady) return status;
  }
  if (cell != kPosted && (waits & (kRecvWaits | kRecvStrict)) == kRecvWaits) cell = wait_for_post(c);
  if (cell == kPosted &&
      c.send.compare_exchange_strong(cell, kTaken, std::memory_order_seq_cst, std::memory_order_relaxed)) {
    fill_cell(c, element);
    return Status::kOk;
  }
  if ((waits & kRecvWaits) != 0) return match_queued(c, Side::kSender, element);
  return (cell & kClosedBit) != 0 ? Status::kClosed : Status::kNotReady;
}

template <class Os>
inline Status rendezvous_recv(Channel<Os>& c, void* element) noexcept {
  if ((c.send.load(std::memory_order_seq_cst) & kClosedBit) != 0) return Status::kClosed;
  if ((c.waits.load(std::memory_order_seq_cst) & kSendWaits) == 0) return Status::kNotReady;
  return match_queued(c, Side::kReceiver, element);
}

/// Takes what the sender put into the cell. Only after kTaken has been seen: a sender is in the middle of it.
template <class Os>
void take_cell(Channel<Os>& c, void* element) noexcept {
  const uint32_t spins = Os::max_spins() < kVerifyPauses ? Os::max_spins() : kVerifyPauses;
  // Acquire pairs with the sender's fetch_add.
  for (uint32_t i = 0; (c.send.load(std::memory_order_acquire) & kCellMask) != kFull && i < spins; ++i) Os::pause();
  if ((c.send.load(std::memory_order_acquire) & kCellMask) != kFull) {
    // The sender was stopped in the middle. A ring of the bell after our look at the cell keeps us from sleeping.
    c.waits.fetch_add(kSlotWaiter, std::memory_order_seq_cst);
    for (;;) {
      const uint32_t bell = c.cell_bell.load(std::memory_order_acquire);
      if ((c.send.load(std::memory_order_seq_cst) & kCellMask) == kFull) break;
      Os::wait(c.cell_bell, bell, kNever);
    }
    c.waits.fetch_sub(kSlotWaiter, std::memory_order_relaxed);
  }
  if (c.element_size != 0) c.take(element, c.cell);
  c.send.fetch_sub(kFull, std::memory_order_release);  // kFull -> kIdle; pairs with the next poster's exchange
}

/// A receiver that is awake offers itself in the cell for `pauses` pauses: kOk, kClosed, or kNotReady (look at the
/// queue, or sleep). `may_wait`: go on although a sender is queued, which is lazy then: one that is awake may come
/// first.
template <class Os>
Status post_in_cell(Channel<Os>& c, void* element, uint32_t pauses, bool may_wait, uint32_t& spent) noexcept {
  uint64_t cell = kIdle;
  // Acquire pairs with the release of who emptied it: the cell's bytes are ours from kPosted to kIdle (and the sender's
  // between).
  if (!c.send.compare_exchange_strong(cell, kPosted, std::memory_order_seq_cst, std::memory_order_relaxed))
    return (cell & kClosedBit) != 0 ? Status::kClosed : Status::kNotReady;
  Spinner<Os> spinner(c.recv_hints);
  for (uint32_t i = 0; i < kCellGap && i < pauses; ++i) spinner.step();
  for (; spinner.spent() < pauses; spinner.step()) {
    const uint32_t waits = c.waits.load(std::memory_order_seq_cst);
    if ((waits & kSendStrict) != 0 || (!may_wait && (waits & kSendWaits) != 0)) break;
    cell = c.send.load(std::memory_order_acquire);
    if (cell != kPosted) break;
  }
  spent = spinner.spent();
  for (;;) {
    cell = c.send.load(std::memory_order_acquire);
    if ((cell & kCellMask) != kPosted) {
      take_cell(c, element);
      return Status::kOk;
    }
    if (c.send.compare_exchange_strong(cell, cell - kPosted, std::memory_order_seq_cst, std::memory_order_relaxed))
      return (cell & kClosedBit) != 0 ? Status::kClosed : Status::kNotReady;
  }
}

}  // namespace ashlar::chan_core
