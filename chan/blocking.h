// SPDX-License-Identifier: MIT
//
// blocking.h - what send and receive do where something is in the way or where they wait; batches; close.
//
// Owns: the dispatch over the flavours, what each looks at while it spins, parking. A waiting thread spins as long as
// that has paid lately on this side of this channel, then parks: it queues itself and sets its bit of `waits`, looks at
// the channel once more, and sleeps on its ticket. Woken, it tries again; if another thread was faster it queues itself
// again, in front.
//
// Lazy and strict: for its first millisecond a parked thread is lazy, and has a timer running. The other side may leave
// a lazy waiter asleep while it gets along without; never a strict one. So a wake-up that is left out delays a waiter,
// and by a millisecond at most.
#pragma once

#include <type_traits>

#include "chan/rendezvous.h"
#include "chan/zero.h"

namespace ashlar::chan_core {

inline constexpr uint64_t kLazyNs = 1'000'000;
inline constexpr size_t kLeadCapacity = 128;  // smaller rings have no lines to get ahead
inline constexpr uint32_t kLeadPauses = 40;

template <class Os, bool is_exact = true>
inline Status try_send(Channel<Os>& c, void* element, uint64_t slot_deadline_ns = kNever) noexcept {
  if (c.flavour == Flavour::kRing) [[likely]]
    return ring_send<Os, is_exact>(c, element, slot_deadline_ns);
  if (c.flavour == Flavour::kRendezvous) return rendezvous_send(c, element);
  size_t done = 0;
  return zero_send(c, 1, done);
}

template <class Os, bool is_exact = true>
inline Status try_recv(Channel<Os>& c, void* element, uint64_t slot_deadline_ns = kNever) noexcept {
  if (c.flavour == Flavour::kRing) [[likely]]
    return ring_recv<Os, is_exact>(c, element, slot_deadline_ns);
  if (c.flavour == Flavour::kRendezvous) return rendezvous_recv(c, element);
  size_t done = 0;
  return zero_recv(c, 1, done);
}

/// Whether an operation of this side has something to try: the look after the bit of `waits` is set. False is exact as
/// long as nothing changes, and what changes afterwards sees the bit. seq_cst: see publish_queues.
template <class Os>
bool is_ready(Channel<Os>& c, Side side) noexcept {
  const uint64_t received = c.recv.load(std::memory_order_seq_cst);
  const uint64_t sent = c.send.load(std::memory_order_seq_cst);
  if ((sent & kClosedBit) != 0) return true;
  if (c.flavour == Flavour::kRendezvous) return false;  // partners meet under the lock; park() looks at the cell itself
  if (side == Side::kReceiver) return sent != received;
  if (c.flavour == Flavour::kZero) return static_cast<int64_t>(sent - received) < static_cast<int64_t>(c.capacity);
  return received + c.one_lap() != sent;
}

// ---- spinning -------------------------------------------------------------------------------------------

/// Whether the ring's turn at `position` plus `n` has come, as one look (relaxed: try_send and try_recv acquire).
template <class Os>
struct Poll {
  typename Channel<Os>::Half& turn;
  uint32_t want;
  Poll(Channel<Os>& c, uint64_t position, uint32_t offset)
      : turn(c.turns[c.index_of(position)]), want(c.turn_of(position) + offset) {}
  bool operator()() const noexcept { return static_cast<int32_t>(turn.load(std::memory_order_relaxed) - want) >= 0; }
};

/// Spins until the ring may have an element. A receiver that keeps up with its sender takes every line from it while it
/// is being written; so, where that has paid lately, it first waits for a slot some lines ahead (behind what its CPU
/// fetches by itself), for some hundred ns at most.
template <class Os>
bool spin_ring_recv(Channel<Os>& c, uint32_t budget, Spinner<Os>& spinner) noexcept {
  Hints<Os>& hints = c.recv_hints;
  const uint64_t position = c.recv.load(std::memory_order_relaxed);
  const Poll<Os> first(c, position, 1);
  const uint32_t stream = hints.stream.load(std::memory_order_relaxed);
  if (c.capacity >= kLeadCapacity && budget > kLeadPauses &&
      (stream > 0 || (hints.rounds.load(std::memory_order_relaxed) & 31) == 0)) {
    const size_t lead = c.capacity / 4 < kLead ? c.capacity / 4 : kLead;
    const Poll<Os> ahead(c, c.advance(position, lead), 1);
    for (uint32_t i = 0; i < kLeadPauses && !ahead(); ++i) spinner.step();
    const uint64_t sent = c.send.load(std::memory_order_relaxed) & ~kClosedBit;
    const bool is_stream = sent != position && c.distance(position, sent) >= 4;
    const uint32_t next = is_stream ? (stream < 8 ? stream + 1 : 8) : stream / 2;
    if (next != stream) hints.stream.store(next, std::memory_order_relaxed);
    if (sent != position) return true;
  }
  while (spinner.step()) {
    if (first()) return true;
  }
  return false;
}

/// Spins until the ring may have room; a patient sender until half of it is free, so that it gets some lines ahead.
template <class Os>
bool spin_ring_send(Channel<Os>& c, Spinner<Os>& spinner) noexcept {
  const uint64_t position = c.send.load(std::memory_order_relaxed);
  const Poll<Os> poll(c, c.is_patient ? c.advance(position & ~kClosedBit, c.half_turn - 1) : position & ~kClosedBit, 0);
  while (spinner.step()) {
    if (poll()) return true;
  }
  return c.is_patient && Poll<Os>(c, position & ~kClosedBit, 0)();
}

template <class Os, bool is_send>
bool spin(Channel<Os>& c, uint64_t deadline_ns) noexcept {
  Hints<Os>& hints = is_send ? c.send_hints : c.recv_hints;
  const Budget budget = spin_budget(hints, deadline_ns);
  if (budget.pauses == 0) return false;
  Spinner<Os> spinner(c, hints, budget);
  bool has_paid = false;
  if (c.flavour == Flavour::kRing) {
    has_paid = is_send ? spin_ring_send(c, spinner) : spin_ring_recv(c, budget.pauses, spinner);
  } else {
    for (uint32_t looks = 0; !has_paid && spinner.step(); ++looks) {
      if (c.flavour == Flavour::kRendezvous) {
        // Receivers of capacity 0 spin in the cell.
        const uint64_t claims = c.send.load(std::memory_order_relaxed);
        has_paid = (sees<Os>(c.posted, static_cast<uint32_t>(claims) + 1) && is_posted(c, claims)) ||
                   (claims & kClosedBit) != 0 || (c.waits.load(std::memory_order_relaxed) & kRecvWaits) != 0;
      } else if ((looks & 7) == 7 || spinner.has_yielded()) {
        // Both indexes are the other side's business, too: looked at seldom, and a patient sender waits for half.
        const uint64_t received = c.recv.load(std::memory_order_relaxed);
        const uint64_t word = c.send.load(std::memory_order_relaxed);
        const uint64_t there = (word & ~kClosedBit) - received;
        const uint64_t bound = c.is_patient ? c.half_turn + 1 : c.capacity;
        has_paid = (word & kClosedBit) != 0 || (is_send ? there < bound : there != 0);
      }
    }
  }
  spinner.learn(has_paid);
  return has_paid;
}

// ---- parking --------------------------------------------------------------------------------------------

enum class Parked { kRetry, kDone, kTimeout };

/// What a thread keeps on its stack while it waits for one channel.
template <class Os>
struct OneWait {
  Ticket<Os> ticket;
  Waiter<Os> waiter;
  uint64_t strict_at_ns = 0;  ///< 0: has not parked yet
};

/// Sleeps until it is claimed, done or too late.
template <class Os, bool is_send>
[[gnu::noinline]] Parked park(Channel<Os>& c, OneWait<Os>& wait, void* element, uint64_t deadline_ns,
                              const void* caller, Waits what = is_send ? Waits::kSend : Waits::kRecv) noexcept {
  constexpr Side kSide = is_send ? Side::kSender : Side::kReceiver;
  constexpr Side kOther = is_send ? Side::kReceiver : Side::kSender;
  Ticket<Os>& ticket = wait.ticket;
  Waiter<Os>& me = wait.waiter;
  // Whoever is about to sleep has nothing left to do for the others: a lazy waiter of the other side is due.
  if ((c.waits.load(std::memory_order_relaxed) & (is_send ? kRecvWaits : kSendWaits)) != 0 &&
      c.flavour != Flavour::kRendezvous)
    wake_one(c, kOther);
  const bool is_senior = wait.strict_at_ns != 0;
  const uint64_t now = Os::now_ns();
  if (!is_senior) {
    wait.strict_at_ns = now + kLazyNs;
    ticket.thread_id = Os::thread_id();
    ticket.what = what;
    ticket.since_ns = now;
    ticket.caller = caller;
    me.ticket = &ticket;
    me.element = element;
    if ((ticket.since_ns & 0x3f000) == 0) Os::count_cpus();  // now and then
  }
  WaitQueue<Os>& queue = c.queue(kSide);
  lock_queues(c);
  if (c.flavour == Flavour::kRendezvous && c.queue(kOther).head != nullptr) {
    c.lock.unlock();
    return Parked::kRetry;
  }
  ticket.state.store(kParked, std::memory_order_relaxed);  // seen by others only under the lock
  me.is_strict = now >= wait.strict_at_ns;
  if (is_senior) {
    queue.push_front(me);
  } else {
    queue.push_back(me);
  }
  publish_queues(c);
  if (is_ready(c, kSide)) {
    queue.unlink(me);
    publish_queues(c);
    c.lock.unlock();
    return Parked::kRetry;
  }
  c.lock.unlock();
  uint64_t until = me.is_strict || wait.strict_at_ns > deadline_ns ? deadline_ns : wait.strict_at_ns;
  for (;;) {
    const uint32_t state = ticket.await(0, until) & kStateMask;
    if (state == kDone) return Parked::kDone;
    if (state == kWoken || state == kKicked) return Parked::kRetry;
    if (state != kParked || until == kNever || Os::now_ns() < until) continue;
    lock_queues(c);
    if (!me.is_queued) {  // claimed in the meantime, and the state says so
      c.lock.unlock();
      continue;
    }
    if (until == deadline_ns) {
      queue.unlink(me);
      publish_queues(c);
      c.lock.unlock();
      return Parked::kTimeout;
    }
    queue.strict += static_cast<uint32_t>(!me.is_strict);
    me.is_strict = true;
    publish_queues(c);
    if (is_ready(c, kSide)) {
      queue.unlink(me);
      publish_queues(c);
      c.lock.unlock();
      return Parked::kRetry;
    }
    c.lock.unlock();
    until = deadline_ns;
  }
}

/// A receiver of capacity 0 that is awake: first whoever is queued (those that are lazy only if nobody who is awake
/// comes within a third of what waking one costs), then the cell.
template <class Os>
Status meet(Channel<Os>& c, void* element, uint64_t deadline_ns) noexcept {
  Hints<Os>& hints = c.recv_hints;
  Budget budget = spin_budget(hints, deadline_ns);
  const uint32_t waits = c.waits.load(std::memory_order_seq_cst);
  const bool is_lazy = (waits & (kSendWaits | kSendStrict)) == kSendWaits;
  if (budget.pauses == 0 || (waits & kSendStrict) != 0)
    return (waits & kSendWaits) != 0 ? match_queued(c, Side::kReceiver, element) : Status::kNotReady;
  if (is_lazy && budget.pauses > kVerifyPauses) budget.pauses = kVerifyPauses;
  Spinner<Os> spinner(c, hints, budget);
  const Status status = post_in_cell(c, element, is_lazy, spinner);
  if (status == Status::kNotReady && is_lazy) return match_queued(c, Side::kReceiver, element);
  if (!is_lazy && spinner.spent() != 0) spinner.learn(status == Status::kOk);
  return status;
}

/// Who was woken, but did not do what it was woken for, owes that to the next one.
template <class Os>
[[gnu::noinline]] void pass_on(Channel<Os>& c, Side side) noexcept {
  if (is_ready(c, side) &&
      (c.waits.load(std::memory_order_seq_cst) & (side == Side::kSender ? kSendWaits : kRecvWaits)) != 0)
    wake_one(c, side);
}

/// Spins, tries, parks, until `attempt` has a result or the deadline has passed. attempt(exact): see ring_send. It was
/// tried before, not exactly: a thread that waits looks at its own slot first, and takes the other side's line only
/// before it sleeps.
template <class Os, bool is_send, class Attempt>
[[gnu::noinline]] Status block(Channel<Os>& c, Attempt attempt, void* element, uint64_t deadline_ns,
                               const void* caller) noexcept {
  constexpr uint32_t kLost = 3;  // spins after which another thread was faster
  OneWait<Os> wait;
  for (uint32_t lost = 0;; ++lost) {
    if (!is_send && c.flavour == Flavour::kRendezvous) {
      const Status status = meet(c, element, deadline_ns);
      if (status != Status::kNotReady) return status;
    } else if (lost < kLost && spin<Os, is_send>(c, deadline_ns)) {
      const Status status = attempt(std::false_type());
      if (status != Status::kNotReady) return status;
      if (deadline_ns == kNever || Os::now_ns() < deadline_ns) continue;
    }
    lost = 0;
    const Parked parked = park<Os, is_send>(c, wait, element, deadline_ns, caller);
    if (parked == Parked::kDone) return Status::kOk;
    const Status status = attempt(std::true_type());
    // Too late at a slot that another thread is in the middle of; the slot that we were woken for is another.
    if (status == Status::kTimeout) pass_on(c, is_send ? Side::kSender : Side::kReceiver);
    if (status != Status::kNotReady) return status;
    if (parked == Parked::kTimeout) return Status::kTimeout;
  }
}

template <class Os>
[[gnu::noinline]] Status send_slow(Channel<Os>& c, void* element, uint64_t deadline_ns, const void* caller) noexcept {
  const auto attempt = [&]<bool is_exact>(std::bool_constant<is_exact>) {
    return try_send<Os, is_exact>(c, element, deadline_ns);
  };
  const Status status = attempt(std::false_type());
  if (status != Status::kNotReady) return status;
  return block<Os, true>(c, attempt, element, deadline_ns, caller);
}

template <class Os>
[[gnu::noinline]] Status recv_slow(Channel<Os>& c, void* element, uint64_t deadline_ns, const void* caller) noexcept {
  const auto attempt = [&]<bool is_exact>(std::bool_constant<is_exact>) {
    return try_recv<Os, is_exact>(c, element, deadline_ns);
  };
  const Status status = attempt(std::false_type());
  if (status != Status::kNotReady) return status;
  return block<Os, false>(c, attempt, element, deadline_ns, caller);
}

/// Up to `n` elements; waits for the first one only. `done` says how many.
template <class Os, bool is_send>
[[gnu::noinline]] Status batch_slow(Channel<Os>& c, unsigned char* elements, size_t n, size_t& done,
                                    uint64_t deadline_ns, const void* caller) noexcept {
  const auto one = [&](size_t i) {
    void* element = elements + i * c.element_size;
    return is_send ? rendezvous_send(c, element) : rendezvous_recv(c, element);
  };
  const auto attempt = [&]<bool is_exact>(std::bool_constant<is_exact>) -> Status {
    if (c.flavour == Flavour::kRing) return ring_batch<Os, is_send, is_exact>(c, elements, n, done, deadline_ns);
    if (c.flavour == Flavour::kZero) return is_send ? zero_send(c, n, done) : zero_recv(c, n, done);
    const Status status = one(0);
    done = status == Status::kOk ? 1 : 0;
    return status;
  };
  Status status = attempt(std::false_type());
  if (status == Status::kNotReady) {
    status = block<Os, is_send>(c, attempt, elements, deadline_ns, caller);
    if (status == Status::kOk && done == 0) done = 1;  // a partner moved it
  }
  if (status == Status::kOk && c.flavour == Flavour::kRendezvous) {
    while (done < n && one(done) == Status::kOk) ++done;
  }
  return status;
}

/// kOk, or kInvalid where it was closed before. Everyone who waits is woken, and finds it closed (receivers: once it is
/// drained).
template <class Os>
Status close(Channel<Os>& c) noexcept {
  lock_queues(c);
  // Before the close itself: who knows of that from whomever sees this, too.
  if (c.flavour == Flavour::kRendezvous) c.waits.fetch_or(kClosedFlag, std::memory_order_seq_cst);
  // seq_cst: see is_ready. Capacity 0: no claim of the cell succeeds from here on.
  if ((c.send.fetch_or(kClosedBit, std::memory_order_seq_cst) & kClosedBit) != 0) {
    c.lock.unlock();
    return Status::kInvalid;
  }
  for (const Side side : {Side::kReceiver, Side::kSender}) {
    WaitQueue<Os>& queue = c.queue(side);
    while (Waiter<Os>* w = queue.head) {
      queue.unlink(*w);
      auto& state = w->ticket->state;
      if (w->ticket->claim(kKicked, w->index) == Ticket<Os>::Claim::kSleeping) Os::wake(state, 1);
    }
  }
  publish_queues(c);
  c.lock.unlock();
  return Status::kOk;
}

/// A snapshot that was true at one moment: the send index was the same before and after the receive index was read.
template <class Os>
size_t length(const Channel<Os>& c) noexcept {
  if (c.flavour == Flavour::kRendezvous) return 0;
  for (;;) {
    const uint64_t sent = c.send.load(std::memory_order_seq_cst);
    const uint64_t received = c.recv.load(std::memory_order_seq_cst);
    if (c.send.load(std::memory_order_seq_cst) != sent) continue;
    const uint64_t position = sent & ~kClosedBit;
    return static_cast<size_t>(c.distance(received, position));
  }
}

}  // namespace ashlar::chan_core
