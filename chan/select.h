// SPDX-License-Identifier: MIT
//
// select.h - wait for several operations, do one.
//
// Owns: select. Three passes over the cases, as in Go: (1) in random order, do the first that is ready; (2) with all
// channels locked, in the order of their addresses, queue one waiter per case, all with the same ticket, and look once
// more; (3) asleep, be claimed once, by whoever comes first, then leave the other queues, O(1) each. With all locks
// held nobody meets half of us: two selects that want each other find each other in (2), one after the other. Woken by
// a ring (kWoken), we start again at (1); if we then do something else, the wake-up is passed on to the next waiter. A
// select is a strict waiter from the start (blocking.h).
#pragma once

#include "chan/blocking.h"

namespace ashlar::chan_core {

template <class Os>
struct Case {
  Channel<Os>* channel = nullptr;  ///< null: never ready
  void* element = nullptr;
  Side side = Side::kReceiver;
};

/// What select needs per case, kept by the caller (who knows where there is room).
template <class Os>
struct CaseState {
  Waiter<Os> waiter;
  uint32_t order = 0;    ///< a permutation: pass (1)
  uint32_t by_lock = 0;  ///< another one, sorted by the channels' addresses: pass (2)
};

template <class Os>
class Select {
 public:
  Select(const Case<Os>* cases, CaseState<Os>* states, uint32_t count, uint64_t seed) noexcept
      : cases_(cases), states_(states), count_(count), random_(seed | 1) {
    for (uint32_t i = 0; i < count_; ++i) {
      states_[i].order = states_[i].by_lock = i;
      Channel<Os>* c = cases_[i].channel;
      if (c == nullptr) continue;
      if (hints_ == nullptr) hints_ = &c->hints(cases_[i].side);
      meets_ |= c->flavour == Flavour::kRendezvous;
    }
  }

  /// The random state, to be carried on to the next select of the thread.
  uint64_t seed() const noexcept { return random_; }

  /// Pass (1) alone: kOk or kClosed with `chosen`, or kNotReady.
  Status attempt(uint32_t& chosen) noexcept {
    for (uint32_t i = 0; i < count_; ++i) {
      // Fisher-Yates as we go: every ready case is as likely to be met first as any other.
      const uint32_t pick = i + static_cast<uint32_t>((static_cast<unsigned __int128>(next()) * (count_ - i)) >> 64);
      const uint32_t index = states_[pick].order;
      states_[pick].order = states_[i].order;
      states_[i].order = index;
      const Case<Os>& it = cases_[index];
      if (it.channel == nullptr) continue;
      const Status status =
          it.side == Side::kSender ? try_send(*it.channel, it.element) : try_recv(*it.channel, it.element);
      if (status == Status::kNotReady) continue;
      chosen = index;
      return status;
    }
    return Status::kNotReady;
  }

  /// kOk or kClosed with `chosen`, or kTimeout.
  Status run(uint32_t& chosen, uint64_t deadline_ns, const void* caller) noexcept {
    Status status = attempt(chosen);
    if (status != Status::kNotReady) return status;
    // From the random order of pass (1): of two cases with the same channel either may be queued first.
    for (uint32_t i = 0; i < count_; ++i) states_[i].by_lock = states_[i].order;
    sort_by_lock();
    ticket_.what = Waits::kSelect;
    ticket_.caller = caller;
    for (;;) {
      if (spin()) {
        status = attempt(chosen);
        if (status != Status::kNotReady) return status;
        if (deadline_ns == kNever || Os::now_ns() < deadline_ns) continue;
      }
      const Outcome outcome = park(chosen, deadline_ns);
      if (outcome == Outcome::kDone) return Status::kOk;
      const uint32_t woken_by = chosen;
      status = attempt(chosen);
      if (outcome == Outcome::kWoken && (status == Status::kNotReady || chosen != woken_by)) pass_on(woken_by);
      if (status != Status::kNotReady) return status;
      if (outcome == Outcome::kTimeout) return Status::kTimeout;
    }
  }

 private:
  enum class Outcome { kRetry, kWoken, kDone, kTimeout };

  uint64_t next() noexcept {
    // xorshift64* (S. Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled").
    random_ ^= random_ >> 12;
    random_ ^= random_ << 25;
    random_ ^= random_ >> 27;
    return random_ * 0x2545f4914f6cdd1dU;
  }

  const Case<Os>& locked(uint32_t i) const noexcept { return cases_[states_[i].by_lock]; }
  Waiter<Os>& waiter(uint32_t i) const noexcept { return states_[states_[i].by_lock].waiter; }
  uintptr_t address(uint32_t case_index) const noexcept {
    return reinterpret_cast<uintptr_t>(cases_[case_index].channel);
  }

  // Heap sort: a select may have tens of thousands of cases, and there is no memory to ask for.
  void sort_by_lock() noexcept {
    const auto sift = [&](uint32_t root, uint32_t end) {
      for (;;) {
        uint32_t child = 2 * root + 1;
        if (child >= end) return;
        if (child + 1 < end && address(states_[child].by_lock) < address(states_[child + 1].by_lock)) ++child;
        if (address(states_[root].by_lock) >= address(states_[child].by_lock)) return;
        swap_locks(root, child);
        root = child;
      }
    };
    for (uint32_t i = count_ / 2; i-- > 0;) sift(i, count_);
    for (uint32_t end = count_; end-- > 1;) {
      swap_locks(0, end);
      sift(0, end);
    }
  }
  void swap_locks(uint32_t a, uint32_t b) noexcept {
    const uint32_t keep = states_[a].by_lock;
    states_[a].by_lock = states_[b].by_lock;
    states_[b].by_lock = keep;
  }

  /// Calls f(channel) once for each channel, in the order of addresses.
  template <class F>
  void for_channels(F f) const noexcept {
    Channel<Os>* last = nullptr;
    for (uint32_t i = 0; i < count_; ++i) {
      Channel<Os>* c = locked(i).channel;
      if (c == last || c == nullptr) continue;
      last = c;
      f(*c);
    }
  }
  void unlock_all() const noexcept {
    for_channels([](Channel<Os>& c) { c.lock.unlock(); });
  }
  void unlink_all_locked() const noexcept {
    for (uint32_t i = 0; i < count_; ++i) {
      Channel<Os>* c = locked(i).channel;
      if (c != nullptr && waiter(i).is_queued) c->queue(locked(i).side).unlink(waiter(i));
    }
    for_channels([](Channel<Os>& c) { publish_queues(c); });
  }
  /// Leaves every queue, one lock at a time.
  void leave() const noexcept {
    for (uint32_t i = 0; i < count_;) {
      Channel<Os>* c = locked(i).channel;
      if (c == nullptr) {
        ++i;
        continue;
      }
      lock_queues(*c);
      for (; i < count_ && locked(i).channel == c; ++i) {
        if (waiter(i).is_queued) c->queue(locked(i).side).unlink(waiter(i));
      }
      publish_queues(*c);
      c->lock.unlock();
    }
  }

  bool looks_ready(const Case<Os>& it) const noexcept {
    Channel<Os>& c = *it.channel;
    if (c.flavour != Flavour::kRendezvous) return is_ready(c, it.side);
    const uint64_t cell = c.send.load(std::memory_order_relaxed);
    const uint32_t waits = c.waits.load(std::memory_order_relaxed);
    if ((cell & kClosedBit) != 0) return true;
    return it.side == Side::kSender ? cell == kPosted || (waits & kRecvWaits) != 0 : (waits & kSendWaits) != 0;
  }

  bool spin() noexcept {
    if (hints_ == nullptr) return false;
    constexpr uint32_t kShort = 48;
    uint32_t budget = spin_budget(*hints_);
    if (meets_ && budget > kShort) budget = kShort;
    Spinner<Os> spinner(*hints_);
    bool has_paid = false;
    while (spinner.spent() < budget && !has_paid) {
      spinner.step();
      for (uint32_t i = 0; i < count_ && !has_paid; ++i)
        has_paid = cases_[i].channel != nullptr && looks_ready(cases_[i]);
    }
    if (budget != 0 && !meets_) learn(*hints_, spinner.spent(), has_paid);
    return has_paid;
  }

  /// Passes (2) and (3). kDone and kWoken: `chosen` says which case.
  Outcome park(uint32_t& chosen, uint64_t deadline_ns) noexcept {
    ticket_.thread_id = Os::thread_id();
    if (ticket_.since_ns == 0) ticket_.since_ns = Os::now_ns();
    for_channels([](Channel<Os>& c) { lock_queues(c); });
    for (uint32_t i = 0; i < count_; ++i) {
      const Case<Os>& it = locked(i);
      if (it.channel == nullptr || it.channel->flavour != Flavour::kRendezvous) continue;
      // None of our own waiters is queued yet, so whoever is there is a partner (or was chosen elsewhere: pass (1)
      // sweeps it out).
      if ((it.channel->send.load(std::memory_order_relaxed) & kClosedBit) != 0 ||
          it.channel->queue(it.side == Side::kSender ? Side::kReceiver : Side::kSender).head != nullptr) {
        unlock_all();
        return Outcome::kRetry;
      }
    }
    ticket_.state.store(kParked, std::memory_order_relaxed);  // others see it under the locks
    for (uint32_t i = 0; i < count_; ++i) {
      const Case<Os>& it = locked(i);
      if (it.channel == nullptr) continue;
      Waiter<Os>& w = waiter(i);
      w.ticket = &ticket_;
      w.element = it.element;
      w.index = states_[i].by_lock;
      w.is_strict = true;
      it.channel->queue(it.side).push_back(w);
    }
    for_channels([](Channel<Os>& c) { publish_queues(c); });
    for (uint32_t i = 0; i < count_; ++i) {
      const Case<Os>& it = locked(i);
      if (it.channel == nullptr) continue;
      uint64_t cell = kPosted;
      const bool is_cell = it.channel->flavour == Flavour::kRendezvous && it.side == Side::kSender;
      const bool is_claimed = is_cell && it.channel->send.compare_exchange_strong(
                                             cell, kTaken, std::memory_order_seq_cst, std::memory_order_seq_cst);
      if (!is_claimed && !is_ready(*it.channel, it.side)) continue;
      chosen = states_[i].by_lock;
      unlink_all_locked();
      unlock_all();
      if (!is_claimed) return Outcome::kRetry;
      fill_cell(*it.channel, it.element);
      return Outcome::kDone;
    }
    unlock_all();
    return sleep(chosen, deadline_ns);
  }

  Outcome sleep(uint32_t& chosen, uint64_t deadline_ns) noexcept {
    // Partners of capacity 0 find us in the queues only, so there it pays to look on for a while from there.
    const bool has_met = hints_ != nullptr && meets_;
    const uint32_t budget = has_met ? spin_budget(*hints_) : 0;
    bool is_first = true;
    for (;;) {
      const uint32_t word = ticket_.await(is_first ? budget : 0, deadline_ns);
      if (is_first && budget != 0) learn(*hints_, budget / 4, (word & kStateMask) != kParked);
      is_first = false;
      chosen = word >> kIndexShift;
      switch (word & kStateMask) {
        case kParked:
          // A claim of our own keeps everybody else's from succeeding while we leave.
          if (deadline_ns == kNever || Os::now_ns() < deadline_ns ||
              ticket_.claim(kQuit, 0) == Ticket<Os>::Claim::kLost)
            continue;
          leave();
          return Outcome::kTimeout;
        case kClaimed:
          continue;  // the partner is moving the element
        case kDone:
          leave();
          return Outcome::kDone;
        default:
          leave();
          return (word & kStateMask) == kWoken ? Outcome::kWoken : Outcome::kRetry;
      }
    }
  }

  /// We were woken for a case that we did not do: somebody else who waits for it may have to be.
  void pass_on(uint32_t index) const noexcept {
    const Case<Os>& it = cases_[index];
    if (is_ready(*it.channel, it.side) &&
        (it.channel->waits.load(std::memory_order_seq_cst) & (it.side == Side::kSender ? kSendWaits : kRecvWaits)) != 0)
      wake_one(*it.channel, it.side);
  }

  const Case<Os>* cases_;
  CaseState<Os>* states_;
  uint32_t count_;
  uint64_t random_;
  Hints<Os>* hints_ = nullptr;  ///< of the first case: what spinning has paid
  bool meets_ = false;          ///< some channel has capacity 0
  Ticket<Os> ticket_;
};

}  // namespace ashlar::chan_core
