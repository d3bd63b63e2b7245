// SPDX-License-Identifier: MIT
//
// select.h - wait for several operations, do one.
//
// Owns: select. Three passes over the cases, as in Go: (1) in random order, do the first that is ready; (2) with all
// channels locked, in the order of their addresses, queue one waiter per case, all with the same ticket, and look once
// more; (3) asleep, be claimed once, by whoever comes first, then leave the other queues, O(1) each. With all locks
// held nobody meets half of us: two selects that want each other find each other in (2), one after the other. Woken by
// a ring (kWoken), we start again at (1); if we then do something else, the wake-up is passed on to the next waiter.
// A select is lazy for its first millisecond, as others are (blocking.h), and posts itself in one cell at a time
// (rendezvous.h).
#pragma once

#include <new>

#include "chan/quick.h"

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
  union {
    Waiter<Os> waiter;  ///< from prepare() on: most selects do not wait
  };
  uint32_t order;    ///< a permutation: pass (1)
  uint32_t by_lock;  ///< another one, sorted by the channels' addresses: pass (2)

  CaseState() noexcept {}
};

template <class Os>
class Select {
 public:
  Select(const Case<Os>* cases, CaseState<Os>* states, uint32_t count, uint64_t seed) noexcept
      : cases_(cases), states_(states), count_(count), random_(seed | 1) {
    for (uint32_t i = 0; i < count_; ++i) states_[i].order = i;
  }

  /// The random state, to be carried on to the next select of the thread.
  uint64_t seed() const noexcept { return random_; }

  /// Pass (1) alone: kOk or kClosed with `chosen`, or kNotReady; kTimeout where a slot that another thread is in the
  /// middle of did not become free in time, and no other case was ready.
  Status attempt(uint32_t& chosen, uint64_t deadline_ns = kNever) noexcept {
    Status result = Status::kNotReady;
    for (uint32_t i = 0; i < count_; ++i) {
      // Fisher-Yates as we go: every ready case is as likely to be met first as any other.
      const uint32_t pick = i + static_cast<uint32_t>((static_cast<unsigned __int128>(next()) * (count_ - i)) >> 64);
      const uint32_t index = states_[pick].order;
      states_[pick].order = states_[i].order;
      states_[i].order = index;
      // Without waiting for such a slot: another case may be ready.
      if (is_done(try_case(index, kNoWait), result)) {
        chosen = index;
        return result;
      }
    }
    if (result == Status::kNotReady) [[likely]]
      return result;
    result = Status::kNotReady;
    for (uint32_t i = 0; i < count_; ++i) {
      if (is_done(try_case(states_[i].order, deadline_ns), result)) {
        chosen = states_[i].order;
        return result;
      }
    }
    return result;
  }

  /// kOk or kClosed with `chosen`, or kTimeout.
  Status run(uint32_t& chosen, uint64_t deadline_ns, const void* caller) noexcept {
    Status status = attempt(chosen, deadline_ns);
    if (status != Status::kNotReady) return status;
    prepare(caller);
    for (;;) {
      const Spun spun = spin(chosen, deadline_ns);
      if (spun == Spun::kDone) return Status::kOk;
      if (spun == Spun::kReady) {
        status = attempt(chosen, deadline_ns);
        if (status != Status::kNotReady) return status;
        if (deadline_ns == kNever || Os::now_ns() < deadline_ns) continue;
      }
      const Outcome outcome = park(chosen, deadline_ns);
      if (outcome == Outcome::kDone) return Status::kOk;
      const uint32_t woken_by = chosen;
      status = attempt(chosen, deadline_ns);
      const bool has_failed = status == Status::kNotReady || status == Status::kTimeout;
      if (outcome == Outcome::kWoken && (has_failed || chosen != woken_by)) pass_on(woken_by);
      if (status != Status::kNotReady) return status;
      if (outcome == Outcome::kTimeout) return Status::kTimeout;
    }
  }

 private:
  enum class Outcome { kRetry, kWoken, kDone, kTimeout };

  Status try_case(uint32_t index, uint64_t deadline_ns) const noexcept {
    const Case<Os>& it = cases_[index];
    if (it.channel == nullptr) return Status::kNotReady;
    return it.side == Side::kSender ? try_send(*it.channel, it.element, deadline_ns)
                                    : try_recv(*it.channel, it.element, deadline_ns);
  }
  /// Whether that ends the pass; in `result` what is known of all cases.
  static bool is_done(Status status, Status& result) noexcept {
    if (status != Status::kNotReady) result = status;
    return status != Status::kNotReady && status != Status::kTimeout;
  }

  uint64_t next() noexcept {
    // xorshift64* (S. Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled").
    random_ ^= random_ >> 12;
    random_ ^= random_ << 25;
    random_ ^= random_ >> 27;
    return random_ * 0x2545f4914f6cdd1dU;
  }

  /// For those who have to wait.
  void prepare(const void* caller) noexcept {
    for (uint32_t i = 0; i < count_; ++i) {
      new (&states_[i].waiter) Waiter<Os>;
      // From the random order of pass (1): of two cases with the same channel either may be queued first.
      states_[i].by_lock = states_[i].order;
      Channel<Os>* c = cases_[i].channel;
      if (c == nullptr) continue;
      if (first_ == nullptr) {
        first_ = c;
        hints_ = &c->hints(cases_[i].side);
      }
      cells_ += may_post(cases_[i]) ? 1 : 0;
    }
    sort_by_lock();
    ticket_.what = Waits::kSelect;
    ticket_.caller = caller;
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
  /// Calls f(i) for each case, one channel's lock after the other being held, and publishes.
  template <class F>
  void for_locked(F f) const noexcept {
    for (uint32_t i = 0; i < count_;) {
      Channel<Os>* c = locked(i).channel;
      if (c == nullptr) {
        ++i;
        continue;
      }
      lock_queues(*c);
      for (; i < count_ && locked(i).channel == c; ++i) f(i);
      publish_queues(*c);
      c->lock.unlock();
    }
  }
  /// Leaves every queue.
  void leave() const noexcept {
    for_locked([&](uint32_t i) {
      const Case<Os>& it = locked(i);
      if (waiter(i).is_queued) it.channel->queue(it.side).unlink(waiter(i));
    });
  }

  /// Where this select is posted: in one cell at most, since several senders could claim it in several.
  struct Post {
    Channel<Os>* channel = nullptr;
    uint32_t index = 0;  ///< of the case
    uint32_t mine = 0;   ///< what post() said
  };

  /// False: a sender has claimed it.
  static bool withdraw(Post& at) noexcept {
    if (at.channel == nullptr) return true;
    if (!unpost(*at.channel, at.mine)) return false;
    unlock_cell(*at.channel);
    at.channel = nullptr;
    return true;
  }
  /// Posts in the next cell that is free.
  void post_next(Post& at) const noexcept {
    for (uint32_t i = 1; i <= count_; ++i) {
      const uint32_t index = (at.index + i) % count_;
      const Case<Os>& it = cases_[index];
      if (!may_post(it) || !lock_cell(*it.channel)) continue;
      at = {it.channel, index, post(*it.channel, it.element)};
      return;
    }
  }
  static bool may_post(const Case<Os>& it) noexcept {
    return it.channel != nullptr && it.side == Side::kReceiver && it.channel->flavour == Flavour::kRendezvous;
  }

  /// A look at a channel in which we are not posted ourselves.
  bool looks_ready(const Case<Os>& it) const noexcept {
    Channel<Os>& c = *it.channel;
    if (c.flavour != Flavour::kRendezvous) return is_ready(c, it.side);
    const uint32_t waits = c.waits.load(std::memory_order_relaxed);
    if (it.side == Side::kReceiver) return (waits & (kSendWaits | kClosedFlag)) != 0;
    return (waits & (kRecvWaits | kClosedFlag)) != 0 || is_posted(c, c.send.load(std::memory_order_relaxed));
  }
  bool any_looks_ready(const Channel<Os>* posted) const noexcept {
    for (uint32_t i = 0; i < count_; ++i) {
      const Case<Os>& it = cases_[i];
      if (it.channel == nullptr || (it.channel == posted && it.side == Side::kSender)) continue;
      if (looks_ready(it)) return true;
    }
    return false;
  }

  enum class Spun { kVain, kReady, kDone };

  /// Looks whether a case has become ready, for as long as that has paid lately; posted meanwhile, first where that
  /// paid last, or now and then anywhere, then in all cells in turn. kDone: an element came; `chosen` says which case.
  Spun spin(uint32_t& chosen, uint64_t deadline_ns) noexcept {
    constexpr uint32_t kCost = 4;  // lines of several channels
    constexpr uint32_t kStay = 6;  // looks: some times there and back to a sender that is awake
    const Budget budget = hints_ != nullptr ? spin_budget(*hints_, deadline_ns, true) : Budget{};
    if (budget.pauses == 0) return Spun::kVain;
    Spinner<Os> spinner(*first_, *hints_, budget);
    const uint64_t dice = next();
    const uint32_t lucky = hints_->lucky.load(std::memory_order_relaxed);
    Post at;
    at.index = ((dice >> 60) == 0 ? static_cast<uint32_t>(dice) : lucky + count_ - 1) % count_;
    Spun result = Spun::kVain;
    uint32_t looks = 0;
    do {
      if (cells_ != 0 && looks++ % kStay == 0 && (at.channel == nullptr || cells_ > 1)) {
        if (!withdraw(at)) break;
        post_next(at);
      }
      if (at.channel != nullptr && sees<Os>(at.channel->filled, at.mine)) break;
      if (any_looks_ready(at.channel)) result = Spun::kReady;
    } while (result == Spun::kVain && spinner.step(kCost));
    if (!withdraw(at)) {
      chosen = at.index;
      take_cell(*at.channel, at.mine, cases_[chosen].element);
      if (lucky != chosen) hints_->lucky.store(chosen, std::memory_order_relaxed);
      result = Spun::kDone;
    }
    spinner.learn(result != Spun::kVain);
    return result;
  }

  /// Passes (2) and (3). kDone and kWoken: `chosen` says which case.
  Outcome park(uint32_t& chosen, uint64_t deadline_ns) noexcept {
    const uint64_t now = Os::now_ns();
    if (strict_at_ns_ == 0) {
      strict_at_ns_ = now + kLazyNs;
      ticket_.thread_id = Os::thread_id();
      ticket_.since_ns = now;
    }
    wake_others();
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
      w.is_strict = now >= strict_at_ns_;
      it.channel->queue(it.side).push_back(w);
    }
    for_channels([](Channel<Os>& c) { publish_queues(c); });
    for (uint32_t i = 0; i < count_; ++i) {
      const Case<Os>& it = locked(i);
      if (it.channel == nullptr) continue;
      if (!is_ready(*it.channel, it.side)) continue;
      unlink_all_locked();
      unlock_all();
      return Outcome::kRetry;
    }
    unlock_all();
    return sleep(chosen, deadline_ns);
  }

  Outcome sleep(uint32_t& chosen, uint64_t deadline_ns) noexcept {
    uint64_t until = strict_at_ns_ > deadline_ns ? deadline_ns : strict_at_ns_;
    for (;;) {
      const uint32_t word = ticket_.await(0, until);
      chosen = word >> kIndexShift;
      switch (word & kStateMask) {
        case kParked: {
          if (until == kNever || Os::now_ns() < until) continue;
          const bool is_timeout = until == deadline_ns;
          until = deadline_ns;
          if (!is_timeout && !make_strict()) continue;
          // A claim of our own keeps everybody else's from succeeding while we leave.
          if (ticket_.claim(kQuit, 0) == Ticket<Os>::Claim::kLost) continue;
          leave();
          return is_timeout ? Outcome::kTimeout : Outcome::kRetry;
        }
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

  /// The lazy millisecond is over. True: a case is ready, for which we may have been left asleep.
  bool make_strict() const noexcept {
    bool any_ready = false;
    for_locked([&](uint32_t i) {
      const Case<Os>& it = locked(i);
      Waiter<Os>& w = waiter(i);
      if (!w.is_queued || w.is_strict) return;
      w.is_strict = true;
      ++it.channel->queue(it.side).strict;
    });
    for (uint32_t i = 0; i < count_; ++i) {
      const Case<Os>& it = cases_[i];
      any_ready |= it.channel != nullptr && is_ready(*it.channel, it.side);
    }
    return any_ready;
  }

  /// As in park() of one channel: before we sleep, lazy waiters of the other side are due.
  void wake_others() const noexcept {
    for (uint32_t i = 0; i < count_; ++i) {
      const Case<Os>& it = cases_[i];
      if (it.channel == nullptr || it.channel->flavour == Flavour::kRendezvous) continue;
      const bool is_send = it.side == Side::kSender;
      if ((it.channel->waits.load(std::memory_order_relaxed) & (is_send ? kRecvWaits : kSendWaits)) != 0)
        wake_one(*it.channel, is_send ? Side::kReceiver : Side::kSender);
    }
  }

  /// We were woken for a case that we did not do: somebody else who waits for it may have to be.
  void pass_on(uint32_t index) const noexcept { chan_core::pass_on(*cases_[index].channel, cases_[index].side); }

  const Case<Os>* cases_;
  CaseState<Os>* states_;
  uint32_t count_;
  uint64_t random_;
  Channel<Os>* first_ = nullptr;
  Hints<Os>* hints_ = nullptr;  ///< of the first case: what spinning has paid
  uint32_t cells_ = 0;          ///< cases in whose cells we may post
  uint64_t strict_at_ns_ = 0;   ///< 0: has not parked yet
  Ticket<Os> ticket_;
};

}  // namespace ashlar::chan_core
