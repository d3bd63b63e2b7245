// SPDX-License-Identifier: MIT
//
// channel.h - a channel in memory: header, positions, flags of the waiters.
//
// Owns: Channel<Os> and its layout, the packed words, moving one element, waking one waiter. Operations are in ring.h
// (buffered), zero.h (elements of size 0), rendezvous.h (capacity 0), blocking.h (send, recv, close) and select.h.
//
//   offset  x86-64 and aarch64, lines of 128 bytes (README.md says what is on each and who writes it)
//      0    immutable part: flavour, sizes, buffer, turns, functions; and `waits`, written by those who wait
//    128    send index, hints of senders; from 192 on, for capacity 0: the cell
//    256    receive index, hints of receivers
//    384    lock, queues, references, registry
//
// A position is {closed:1 (send only), lap, index:index_bits}: index counts up to the exact capacity, then the lap goes
// up. A slot's turn is the low 32 bits of 2 x lap when the slot awaits the sender of that lap, and 2 x lap + 1 when it
// awaits its receiver.
#pragma once

#include <string.h>

#include "chan/waiters.h"

namespace ashlar::chan_core {

inline constexpr size_t kLine = 128;

enum class Status : int { kOk = 0, kClosed = 1, kNotReady = 2, kTimeout = 3, kInvalid = 4 };
enum class Flavour : uint8_t { kRing, kZero, kRendezvous };
/// Channels whose operations have a quick form (ring.h, zero.h): elements of 8 plain bytes in a ring; of none.
enum class Quick : uint8_t { kNone, kWord, kToken };
enum class Side : uint8_t { kSender, kReceiver };

/// Makes an element at `to` out of the one at `from`, which stays alive (moved from). Null: elements are bytes.
using Move = void (*)(void* to, void* from);
/// Ends an element's life.
using Drop = void (*)(void* element);

inline constexpr uint64_t kClosedBit = uint64_t{1} << 63;

// Bits of `waits`. The first four change under the lock only.
inline constexpr uint32_t kRecvWaits = 1;
inline constexpr uint32_t kRecvStrict = 2;
inline constexpr uint32_t kSendWaits = 4;
inline constexpr uint32_t kSendStrict = 8;
inline constexpr uint32_t kQueueBits = 15;
/// Capacity 0: closed, for receivers that look nowhere else while they are posted.
inline constexpr uint32_t kClosedFlag = 16;
/// Threads that sleep until a claimed slot is ready, counted.
inline constexpr uint32_t kSlotWaiter = 32;
inline constexpr uint32_t kSlotBits = ~(kQueueBits | kClosedFlag);

/// From this capacity on a sender that found the ring full may wait for half of it; below, every slot counts.
inline constexpr size_t kPatientCapacity = 16;

/// Up to so many bytes an element of capacity 0 fits into the cell; larger ones go to where the cell points.
inline constexpr size_t kCellBytes = 48;
inline constexpr size_t kCellAlign = 16;

inline constexpr uint32_t kNear = 4;
inline constexpr uint32_t kMostVain = 2;

/// What one side of a channel remembers about waiting. All relaxed: hints, on the side's own line.
template <class Os>
struct Hints {
  using Half = typename Os::template Atomic<uint32_t>;
  Half spins{0};   ///< pauses that have paid lately
  Half rounds{0};  ///< waits so far, to look again now and then at what did not pay
  Half vain{0};    ///< full tries in a row that did not pay either (0..kMostVain)
  Half stream{0};  ///< waits after which several elements were there (0..8)
  Half calm{0};    ///< waits for which there is no yield, since one has cost a time slice
  Half calms{0};   ///< for how many waits that was said last
  Half lucky{0};   ///< the case in whose cell a select has met somebody last
  Half near{0};    ///< waits in a row that a yield ended: the partner waits for this CPU (0..kNear)

  bool is_near() const noexcept { return near.load(std::memory_order_relaxed) == kNear; }
  Half credit{0};  ///< operations that need not look whether a lazy waiter is needed
};

template <class Os>
struct alignas(kLine) Channel {
  using Word = typename Os::template Atomic<uint64_t>;
  using Half = typename Os::template Atomic<uint32_t>;

  // ---- line 0: immutable after newchan, but for `waits` ----
  Half waits{0};
  Flavour flavour = Flavour::kRing;
  Quick quick = Quick::kNone;
  uint8_t index_bits = 0;
  bool is_patient = false;  ///< capacity >= kPatientCapacity: a sender that waits may wait for half of the ring
  size_t capacity = 0;
  unsigned char* buffer = nullptr;
  Half* turns = nullptr;
  uint64_t index_mask = 0;  ///< of a position, the bits that are the index
  uint64_t lap_gap = 0;     ///< what is added to a position at the end of a lap, beside 1
  size_t element_size = 0;
  uint64_t half_turn = 0;  ///< capacity / 2, as a distance of positions
  Move mover = nullptr;
  Drop drop = nullptr;
  size_t alignment = 1;
  uint64_t id = 0;
  uint32_t quarter_mask = 0;
  uint32_t epoch = 0;
  bool is_one_block = true;  ///< the buffer lies behind the header, in the same block of memory

  // ---- line 1: senders; its second half: the cell ----
  alignas(kLine) Word send{0};
  Word seen_recv{0};  ///< zero.h: a receive index that once was; only ever too small
  Hints<Os> send_hints;
  alignas(kLine / 2) Half posted{0};  ///< rendezvous.h: receivers that have posted themselves so far
  Half filled{0};                     ///< elements that were put into the cell
  Half posted_in{0};                  ///< the fork (Os::epoch) in which the last one posted itself
  alignas(kCellAlign) unsigned char cell[kCellBytes] = {};

  // ---- line 2: receivers ----
  alignas(kLine) Word recv{0};
  Word seen_send{0};
  Hints<Os> recv_hints;
  Half poster{0};  ///< rendezvous.h: 1, and the fork above it, while a receiver has the cell

  // ---- line 3: those who wait, and the registry ----
  alignas(kLine) WaitLock<Os> lock;
  Half references{0};
  Word send_awaits{0};  ///< wait_for_slot: the position whose slot senders sleep for, and receivers; only ever goes up
  Word recv_awaits{0};
  WaitQueue<Os> receivers;
  WaitQueue<Os> senders;
  Channel* next = nullptr;
  Channel* prev = nullptr;
  const void* maker = nullptr;

  /// What follows from the sizes; `mover` has been set.
  void measure(size_t size, size_t slots) noexcept {
    element_size = size;
    capacity = slots;
    half_turn = slots / 2;
    is_patient = slots >= kPatientCapacity;
    flavour = slots == 0 ? Flavour::kRendezvous : size == 0 ? Flavour::kZero : Flavour::kRing;
    if (flavour == Flavour::kZero) quick = Quick::kToken;
    if (flavour != Flavour::kRing) return;
    if (size == sizeof(uint64_t) && mover == nullptr) quick = Quick::kWord;
    while (one_lap() < slots) ++index_bits;
    index_mask = one_lap() - 1;
    lap_gap = one_lap() - slots;
  }

  uint64_t one_lap() const noexcept { return uint64_t{1} << index_bits; }
  uint64_t index_of(uint64_t position) const noexcept { return position & index_mask; }
  uint32_t turn_of(uint64_t position) const noexcept {
    return static_cast<uint32_t>((position & ~kClosedBit) >> index_bits) * 2;
  }
  /// The position behind `position`, whose index is `index`.
  uint64_t after(uint64_t position, uint64_t index) const noexcept {
    return position + 1 + (index + 1 < capacity ? 0 : lap_gap);
  }
  /// `position` moved on by `n` <= capacity.
  uint64_t advance(uint64_t position, uint64_t n) const noexcept {
    const uint64_t index = index_of(position) + n;
    return position + n + (index < capacity ? 0 : lap_gap);
  }
  uint64_t distance(uint64_t from, uint64_t to) const noexcept {
    if (flavour == Flavour::kZero) return to - from;  // positions without laps
    return ((to >> index_bits) - (from >> index_bits)) * capacity + index_of(to) - index_of(from);
  }
  unsigned char* slot(uint64_t index) const noexcept { return buffer + index * element_size; }

  /// From a thread's element to another place; `from` stays its owner's.
  void move(void* to, void* from) const noexcept {
    if (mover != nullptr) [[unlikely]] {
      mover(to, from);
    } else if (element_size == sizeof(uint64_t)) {
      Os::copy_word(to, from);
    } else {
      memcpy(to, from, element_size);
    }
  }
  /// Out of the channel: what stays behind in the slot is no element any more.
  void take(void* to, void* slot_of_it) const noexcept {
    move(to, slot_of_it);
    if (mover != nullptr && drop != nullptr) [[unlikely]]
      drop(slot_of_it);
  }

  WaitQueue<Os>& queue(Side side) noexcept { return side == Side::kSender ? senders : receivers; }
  Hints<Os>& hints(Side side) noexcept { return side == Side::kSender ? send_hints : recv_hints; }
};

template <class Os>
void lock_queues(Channel<Os>& c) noexcept {
  if (c.lock.lock() != WaitLock<Os>::kNormal) [[unlikely]] {
    // The threads in the queues belong to the parent. Relaxed: under the lock; the slots' waiters stay counted, which
    // costs the child a system call now and then.
    c.receivers = {};
    c.senders = {};
    c.waits.fetch_and(~kQueueBits, std::memory_order_relaxed);
  }
}

/// Makes `waits` say what the queues hold. Under the lock.
template <class Os>
void publish_queues(Channel<Os>& c) noexcept {
  const uint32_t want = (c.receivers.head != nullptr ? kRecvWaits : 0) | (c.receivers.strict != 0 ? kRecvStrict : 0) |
                        (c.senders.head != nullptr ? kSendWaits : 0) | (c.senders.strict != 0 ? kSendStrict : 0);
  // Relaxed: only holders of the lock change these bits.
  const uint32_t have = c.waits.load(std::memory_order_relaxed) & kQueueBits;
  // seq_cst: a waiter sets its bit, then looks at the channel; the other side changes the channel, then looks at the
  // bits. In the single order of all four, one of them comes second and sees.
  if ((want & ~have) != 0) c.waits.fetch_or(want & ~have, std::memory_order_seq_cst);
  if ((have & ~want) != 0) c.waits.fetch_and(~(have & ~want), std::memory_order_seq_cst);
}

/// A waiter that was claimed: after kClaimed it is there until finish(), else only the address of its futex word is
/// left of it.
template <class Os>
struct Claimed {
  Waiter<Os>* waiter = nullptr;
  typename Os::template Atomic<uint32_t>* asleep = nullptr;  ///< null: it is awake
};

/// Takes the first waiter out of the queue that can still be claimed, and claims it. Under the lock.
template <class Os>
Claimed<Os> claim_first(Channel<Os>& c, Side side, TicketState to) noexcept {
  using Ticket = Ticket<Os>;
  WaitQueue<Os>& queue = c.queue(side);
  while (Waiter<Os>* w = queue.head) {
    queue.unlink(*w);
    auto& state = w->ticket->state;
    const typename Ticket::Claim claim = w->ticket->claim(to, w->index);
    // A select that was chosen elsewhere is passed over; it finds itself unlinked.
    if (claim == Ticket::Claim::kLost) continue;
    return {w, claim == Ticket::Claim::kSleeping ? &state : nullptr};
  }
  return {};
}

/// Wakes the longest-waiting thread of that side, if any waits.
template <class Os>
[[gnu::noinline]] void wake_one(Channel<Os>& c, Side side) noexcept {
  lock_queues(c);
  const Claimed<Os> claimed = claim_first(c, side, kWoken);
  publish_queues(c);
  c.lock.unlock();
  if (claimed.asleep != nullptr) Os::wake(*claimed.asleep, 1);
}

/// A sleep where there is no heavy barrier.
inline constexpr uint64_t kSlotNapNs = 200'000;

/// Waits until the slot at `position` (the next one of side `mine`) has another turn than `seen`: the thread that
/// claimed it is in the middle of its copy, or was stopped there. False: the deadline passed. No RMW is asked of that
/// thread: it stores the turn, then reads `waits` and whose slot is awaited; we write both, then read the turn, with
/// the heavy barrier between. One of us sees the other. There is one such slot a side: nobody gets past it.
template <class Os>
[[gnu::noinline]] bool wait_for_slot(Channel<Os>& c, Side mine, uint64_t position, uint32_t seen,
                                     uint64_t deadline_ns) noexcept {
  constexpr uint32_t kSpins = 100;
  constexpr uint64_t kLongNap = 1'000'000'000;  // where there is one
  auto& turn = c.turns[c.index_of(position)];
  const uint32_t spins = Os::max_spins() < kSpins ? Os::max_spins() : kSpins;
  for (uint32_t i = 0; i < spins; ++i) {
    Os::pause();
    if (turn.load(std::memory_order_acquire) != seen) return true;
  }
  auto& awaits = mine == Side::kSender ? c.send_awaits : c.recv_awaits;
  // A thread that comes late must not hide the slot that others wait for by now. Relaxed: the barrier orders it.
  uint64_t before = awaits.load(std::memory_order_relaxed);
  while (before < position + 1 &&
         !awaits.compare_exchange_weak(before, position + 1, std::memory_order_relaxed, std::memory_order_relaxed)) {
  }
  // Nor must we hide an earlier slot: it is free, since we are past it, but its owner may look only now whom to wake.
  if (before != 0 && before < position + 1) Os::wake(c.turns[c.index_of(before - 1)], INT32_MAX);
  c.waits.fetch_add(kSlotWaiter, std::memory_order_seq_cst);
  Os::heavy_barrier();
  bool in_time = true;
  // Acquire pairs with the release of who fills or empties the slot.
  while (turn.load(std::memory_order_acquire) == seen && in_time) {
    const uint64_t nap = Os::now_ns() + (Os::has_heavy_barrier() ? kLongNap : kSlotNapNs);
    Os::wait(turn, seen, nap < deadline_ns ? nap : deadline_ns);
    in_time = deadline_ns == kNever || Os::now_ns() < deadline_ns;
  }
  c.waits.fetch_sub(kSlotWaiter, std::memory_order_relaxed);  // nobody waits for this one to be seen
  return turn.load(std::memory_order_acquire) != seen;
}

/// The other half: after the turns of `n` slots from `position` on have been stored and a light barrier passed. `next`:
/// the position as the side sees it that awaits these slots (a sender frees a receiver's, and a receiver that of the
/// sender a lap later).
template <class Os>
[[gnu::noinline]] void wake_for_slots(Channel<Os>& c, Side other, uint64_t next, size_t n) noexcept {
  // Relaxed: behind the light barrier.
  const uint64_t awaited = (other == Side::kSender ? c.send_awaits : c.recv_awaits).load(std::memory_order_relaxed);
  if (awaited == 0 || awaited - 1 < next || c.distance(next, awaited - 1) >= n) return;
  Os::wake(c.turns[c.index_of(awaited - 1)], INT32_MAX);
}

}  // namespace ashlar::chan_core
