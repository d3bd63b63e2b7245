// SPDX-License-Identifier: MIT
//
// ring.h - the buffered channel: a bounded ring whose slots carry turns (after D. Vyukov's bounded MPMC queue, with
// exact capacity).
//
// Owns: try_send and try_recv of one element and of several. Each takes a position by one compare-and-exchange, which
// is the moment at which the operation takes effect, and then copies, and stores the slot's turn. Nobody else is kept
// from other slots meanwhile.
//
// Full and empty are exact: `full` is said only where the two indexes were a lap apart, `empty` only where they were
// equal, at one moment. In between (the slot is claimed, its owner not done) the slot is waited for.
//
// A wake-up is not lost: who waits sets a bit of `waits`, then reads the other side's index; who sends or receives
// changes its index (the claim), then reads `waits`. All four are seq_cst, so one of the two sees the other (checked by
// test/white/chan_*_model.cc).
#pragma once

#include "chan/channel.h"

namespace ashlar::chan_core {

/// A lazy waiter has a timer of 1 ms running; before that is over it may be left asleep while the other side gets along
/// without it (README.md, "Lazy and strict").
inline constexpr uint32_t kVerifyPauses = 48;  // about 0.5 us, a third of what a wake-up costs its caller
inline constexpr uint32_t kCredit = 32;        // operations

/// A contended compare-and-exchange: the winner gets some operations done before the loser asks for the line again.
template <class Os>
struct Backoff {
  uint32_t pauses = 4;
  void operator()() noexcept {
    const uint32_t limit = Os::max_spins() == 0 ? 0 : pauses;
    for (uint32_t i = 0; i < limit; ++i) Os::pause();
    if (pauses < 64) pauses *= 2;
  }
};

/// After `n` elements have been sent: wakes receivers that need it. `turn` is the last slot's, `published` what we
/// stored there.
template <class Os>
[[gnu::noinline]] void after_send(Channel<Os>& c, uint32_t waits, typename Channel<Os>::Half* turn, uint32_t published,
                                  size_t n) noexcept {
  if ((waits & (kRecvStrict | kRecvWaits)) == 0) return;
  if ((waits & kRecvStrict) == 0 && turn != nullptr) {
    // All that wait are lazy. A receiver that is awake comes for the element soon, if there is one.
    const uint32_t credit = c.send_hints.credit.load(std::memory_order_relaxed);
    if (credit > 0) {
      c.send_hints.credit.store(credit - 1, std::memory_order_relaxed);
      return;
    }
    const uint32_t pauses = Os::max_spins() < kVerifyPauses ? Os::max_spins() : kVerifyPauses;
    for (uint32_t i = 0; i < pauses; ++i) {
      Os::pause();
      if (turn->load(std::memory_order_relaxed) == published) continue;  // only a look
      c.send_hints.credit.store(c.capacity < kCredit ? 0 : kCredit, std::memory_order_relaxed);
      return;
    }
  }
  for (; n > 0 && (c.waits.load(std::memory_order_seq_cst) & kRecvWaits) != 0; --n) wake_one(c, Side::kReceiver);
}

/// After `n` elements have been received, the last from `position`: wakes senders that need it.
template <class Os>
[[gnu::noinline]] void after_recv(Channel<Os>& c, uint32_t waits, uint64_t position, size_t n) noexcept {
  if ((waits & (kSendStrict | kSendWaits)) == 0) return;
  if ((waits & kSendStrict) == 0) {
    if (c.is_patient) {
      // Lazy senders sleep on until the ring has drained to half; looked at every quarter, since the look costs a line.
      const uint64_t index = c.flavour == Flavour::kZero ? position : c.index_of(position);
      if (n == 1 && (index & c.quarter_mask) != 0) return;
      const uint64_t sent = c.send.load(std::memory_order_relaxed) & ~kClosedBit;  // how full, roughly
      if (c.distance(position, sent) > c.half_turn + 1) return;
      n = 1;
    } else if (c.turns != nullptr) {
      const uint32_t freed = c.turn_of(position) + 2;
      auto& turn = c.turns[c.index_of(position)];
      const uint32_t pauses = Os::max_spins() < kVerifyPauses ? Os::max_spins() : kVerifyPauses;
      for (uint32_t i = 0; i < pauses; ++i) {
        Os::pause();
        if (turn.load(std::memory_order_relaxed) != freed) return;  // a sender that is awake has filled it
      }
    }
  }
  for (; n > 0 && (c.waits.load(std::memory_order_seq_cst) & kSendWaits) != 0; --n) wake_one(c, Side::kSender);
}

/// What a thread that has just sent to (or received from) `n` slots from `position` on owes to those who wait. Always
/// kOk, so that an operation can end with a jump to it.
template <class Os, bool is_send>
[[gnu::noinline]] Status serve_waiters(Channel<Os>& c, uint32_t waits, uint64_t position, size_t n) noexcept {
  if ((waits & kSlotBits) != 0)
    wake_for_slots(c, is_send ? Side::kReceiver : Side::kSender, is_send ? position : position + c.one_lap(), n);
  const uint64_t last = n == 1 ? position : c.advance(position, n - 1);
  if constexpr (is_send) {
    after_send(c, waits, &c.turns[c.index_of(last)], c.turn_of(last) + 1, n);
  } else {
    after_recv(c, waits, last, n);
  }
  return Status::kOk;
}

/// The slot at `position` is claimed and its element moved: passes its turn on, and looks who waits.
template <class Os, bool is_send>
inline Status pass_turn(Channel<Os>& c, typename Channel<Os>::Half& turn, uint32_t to, uint64_t position) noexcept {
  // Release pairs with the acquire of the turn by the other side.
  turn.store(to, std::memory_order_release);
  Os::light_barrier();  // against wait_for_slot's heavy one
  const uint32_t waits = c.waits.load(std::memory_order_seq_cst);
  constexpr uint32_t kOthers = ~(is_send ? kSendWaits | kSendStrict : kRecvWaits | kRecvStrict);
  if ((waits & kOthers) != 0) [[unlikely]]
    return serve_waiters<Os, is_send>(c, waits, position, 1);
  return Status::kOk;
}

/// How many slots ahead a receiver that keeps up looks (blocking.h); at most a quarter of the ring.
inline constexpr size_t kLead = 128;

/// A deadline that has passed: kTimeout at once at a slot that another thread is in the middle of.
inline constexpr uint64_t kNoWait = 0;

/// Fresh memory: a receiver that looks at the turns before their sender does maps the kernel's page of zeros, and the
/// sender's write then copies that page and interrupts the receiver's CPU. So a sender writes to the page ahead, once
/// it comes near.
template <class Os>
inline void touch_ahead(Channel<Os>& c, uint64_t index) noexcept {
  constexpr uintptr_t kPage = 4096;
  constexpr uint64_t kAhead = 2 * kLead;  // the receivers' look may come first otherwise
  const uintptr_t at = reinterpret_cast<uintptr_t>(&c.turns[index]) & (kPage - 1);
  if (at != kPage - kAhead * sizeof(uint32_t)) [[likely]]
    return;
  // Relaxed: changes nothing.
  if (index + kAhead < c.capacity) c.turns[index + kAhead].fetch_or(0, std::memory_order_relaxed);
}

/// kOk, kClosed, kNotReady (full), or kTimeout (a slot that another thread is in the middle of did not become free in
/// time). Not exact: kNotReady also where the slot is still in use for whatever reason; that look leaves the receivers'
/// line with them.
template <class Os, bool is_exact>
inline Status ring_send(Channel<Os>& c, void* element, uint64_t deadline_ns) noexcept {
  Backoff<Os> backoff;
  // Relaxed: a guess, which the exchange below validates.
  uint64_t position = c.send.load(std::memory_order_relaxed);
  for (;;) {
    if ((position & kClosedBit) != 0) [[unlikely]]
      return Status::kClosed;
    const uint64_t index = c.index_of(position);
    const uint32_t turn_now = c.turn_of(position);
    auto& turn = c.turns[index];
    // Acquire pairs with the receiver's release: the slot's old element has been moved out.
    const uint32_t seen = turn.load(std::memory_order_acquire);
    if (seen == turn_now) [[likely]] {
      if (!c.send.compare_exchange_weak(position, c.advance(position, 1), std::memory_order_seq_cst,
                                        std::memory_order_relaxed)) [[unlikely]] {
        backoff();
        position = c.send.load(std::memory_order_relaxed);
        continue;
      }
      c.move(c.slot(index), element);
      if (turn_now == 0) touch_ahead(c, index);
      return pass_turn<Os, true>(c, turn, turn_now + 1, position);
    }
    if (!is_exact && static_cast<int32_t>(seen - turn_now) < 0) return Status::kNotReady;
    const uint64_t received = c.recv.load(std::memory_order_seq_cst);
    if (received + c.one_lap() == position) return Status::kNotReady;
    const uint64_t now = c.send.load(std::memory_order_relaxed);
    if (now == position && static_cast<int32_t>(seen - turn_now) < 0 &&
        (deadline_ns == kNoWait || !wait_for_slot(c, Side::kSender, position, seen, deadline_ns)))
      return Status::kTimeout;
    position = c.send.load(std::memory_order_relaxed);
  }
}

/// kOk, kClosed (and drained), kNotReady (empty), or kTimeout, as above.
template <class Os, bool is_exact>
inline Status ring_recv(Channel<Os>& c, void* element, uint64_t deadline_ns) noexcept {
  Backoff<Os> backoff;
  uint64_t position = c.recv.load(std::memory_order_relaxed);
  for (;;) {
    const uint64_t index = c.index_of(position);
    const uint32_t turn_now = c.turn_of(position) + 1;
    auto& turn = c.turns[index];
    // Acquire pairs with the sender's release: the element is there.
    const uint32_t seen = turn.load(std::memory_order_acquire);
    if (seen == turn_now) [[likely]] {
      if (!c.recv.compare_exchange_weak(position, c.advance(position, 1), std::memory_order_seq_cst,
                                        std::memory_order_relaxed)) [[unlikely]] {
        backoff();
        position = c.recv.load(std::memory_order_relaxed);
        continue;
      }
      c.take(element, c.slot(index));
      return pass_turn<Os, false>(c, turn, turn_now + 1, position);
    }
    if (!is_exact && static_cast<int32_t>(seen - turn_now) < 0) return Status::kNotReady;
    const uint64_t sent = c.send.load(std::memory_order_seq_cst);
    if ((sent & ~kClosedBit) == position) return (sent & kClosedBit) != 0 ? Status::kClosed : Status::kNotReady;
    const uint64_t now = c.recv.load(std::memory_order_relaxed);
    if (now == position && static_cast<int32_t>(seen - turn_now) < 0 &&
        (deadline_ns == kNoWait || !wait_for_slot(c, Side::kReceiver, position, seen, deadline_ns)))
      return Status::kTimeout;
    position = c.recv.load(std::memory_order_relaxed);
  }
}

/// How many slots in a row, from `position` on, have the turn that follows it by `offset` (0: sender's, 1: receiver's);
/// at most n <= capacity.
template <class Os>
size_t ring_ready(Channel<Os>& c, uint64_t position, uint32_t offset, size_t n) noexcept {
  const uint64_t index = c.index_of(position);
  const size_t run = n < c.capacity - index ? n : c.capacity - index;
  const auto count = [](const typename Channel<Os>::Half* turns, uint32_t turn, size_t most) {
    // Acquire, as in ring_send and ring_recv.
    const auto differs = [&](size_t i) { return turns[i].load(std::memory_order_acquire) ^ turn; };
    size_t ready = 0;
    while (most - ready >= 4 && (differs(ready) | differs(ready + 1) | differs(ready + 2) | differs(ready + 3)) == 0)
      ready += 4;
    while (ready < most && differs(ready) == 0) ++ready;
    return ready;
  };
  const uint32_t turn = c.turn_of(position) + offset;
  const size_t ready = count(c.turns + index, turn, run);
  return ready < run || run == n ? ready : run + count(c.turns, turn + 2, n - run);
}

/// Moves `n` elements between `elements` and the slots from `position` on, and passes the slots' turns on.
template <class Os, bool is_send>
void ring_copy(Channel<Os>& c, uint64_t position, unsigned char* elements, size_t n) noexcept {
  while (n > 0) {
    const uint64_t index = c.index_of(position);
    const size_t run = n < c.capacity - index ? n : c.capacity - index;
    unsigned char* slots = c.slot(index);
    if (c.mover == nullptr) {
      memcpy(is_send ? slots : elements, is_send ? elements : slots, run * c.element_size);
    } else {
      for (size_t i = 0; i < run; ++i) {
        const size_t at = i * c.element_size;
        if constexpr (is_send) {
          c.move(slots + at, elements + at);
        } else {
          c.take(elements + at, slots + at);
        }
      }
    }
    const uint32_t turn = c.turn_of(position) + (is_send ? 1 : 2);
    typename Channel<Os>::Half* const turns = c.turns + index;
    size_t i = 0;
    for (; run - i >= 4; i += 4) {
      turns[i].store(turn, std::memory_order_release);
      turns[i + 1].store(turn, std::memory_order_release);
      turns[i + 2].store(turn, std::memory_order_release);
      turns[i + 3].store(turn, std::memory_order_release);
    }
    for (; i < run; ++i) turns[i].store(turn, std::memory_order_release);
    n -= run;
    if (n > 0) {
      // Who waits for one of these slots need not wait for the rest, too. As in pass_turn.
      Os::light_barrier();
      if ((c.waits.load(std::memory_order_seq_cst) & kSlotBits) != 0) [[unlikely]]
        wake_for_slots(c, is_send ? Side::kReceiver : Side::kSender, is_send ? position : position + c.one_lap(), run);
    }
    elements += run * c.element_size;
    position = c.advance(position, run);
  }
}

/// As ring_send and ring_recv for up to `n` elements, claimed at once: those that are ready now. `done` says how many.
template <class Os, bool is_send, bool is_exact>
Status ring_batch(Channel<Os>& c, unsigned char* elements, size_t n, size_t& done, uint64_t deadline_ns) noexcept {
  auto& own = is_send ? c.send : c.recv;
  if (n > c.capacity) n = c.capacity;
  Backoff<Os> backoff;
  for (;;) {
    uint64_t position = own.load(std::memory_order_relaxed);
    if ((position & kClosedBit) != 0) return Status::kClosed;
    const size_t ready = ring_ready(c, position, is_send ? 0 : 1, n);
    if (ready == 0) {
      // The single operation tells why; it may also succeed, having waited for a slot.
      const Status status = is_send ? ring_send<Os, is_exact>(c, elements, deadline_ns)
                                    : ring_recv<Os, is_exact>(c, elements, deadline_ns);
      done = status == Status::kOk ? 1 : 0;
      return status;
    }
    if (!own.compare_exchange_weak(position, c.advance(position, ready), std::memory_order_seq_cst,
                                   std::memory_order_relaxed)) {
      backoff();
      continue;
    }
    ring_copy<Os, is_send>(c, position, elements, ready);
    done = ready;
    Os::light_barrier();
    const uint32_t waits = c.waits.load(std::memory_order_seq_cst);
    if (waits != 0) [[unlikely]]
      return serve_waiters<Os, is_send>(c, waits, position, ready);
    return Status::kOk;
  }
}

}  // namespace ashlar::chan_core
