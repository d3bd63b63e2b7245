// SPDX-License-Identifier: MIT
//
// spinner.h - how long a thread looks on before it sleeps, and how: with pauses or with yields.
//
// Owns: Spinner (one wait) and what it learns for the next (Hints, in the channel). README.md, "Parking", has the
// reasons and the figures.
#pragma once

#include "chan/channel.h"

namespace ashlar::chan_core {

inline constexpr unsigned kPauseShift = 5;  // a pause is about 32 ns

/// How long a wait may spin, in pauses, and whether it may yield.
struct Budget {
  uint32_t pauses = 0;
  bool may_yield = true;
};

/// Pauses that this wait may spend before it sleeps. With one CPU: 1 or 0, that is, whether it may yield once.
template <class Os>
uint32_t paid_budget(Hints<Os>& hints, bool is_select = false) noexcept {
  const uint32_t max = Os::max_spins();
  if (max == 0) return 0;
  const uint32_t round = hints.rounds.load(std::memory_order_relaxed);
  hints.rounds.store(round + 1, std::memory_order_relaxed);
  const uint32_t limit = hints.spins.load(std::memory_order_relaxed);
  if (hints.is_near()) return (round & 127) == 127 ? 0 : max;
  if (max == 1 && !is_select && hints.near.load(std::memory_order_relaxed) == 0 && (round & 15) != 15) return 0;
  // Has it begun to pay? Sooner at first: while both sides sleep, each looks too slow to the other.
  const uint32_t period = uint32_t{32} << hints.vain.load(std::memory_order_relaxed);
  if ((round & (period - 1)) == period - 1 || round == 3 || round == 7 || round == 15) return max;
  return limit < max ? limit : max;
}

/// The same, not beyond the deadline. A yield may cost some time slices, so there is none if the deadline is near.
template <class Os>
Budget spin_budget(Hints<Os>& hints, uint64_t deadline_ns, bool is_select = false) noexcept {
  constexpr uint64_t kFarNs = 50'000'000;
  if (deadline_ns == kNever) return {paid_budget(hints, is_select)};
  const uint64_t now = Os::now_ns();
  if (now >= deadline_ns) return {};
  const uint32_t budget = paid_budget(hints, is_select);
  const uint64_t left = (deadline_ns - now) >> kPauseShift;
  return {left < budget ? static_cast<uint32_t>(left) : budget, deadline_ns - now >= kFarNs};
}

/// A wait that spins: pauses, then yields, until the budget (in pauses) is spent; at least one yield, since that is
/// cheap beside a sleep. If the CPU is wanted by the thread that is waited for, it gets it: where the last waits ended
/// so, the yield comes first. A fellow that gets on with the channel may have it, too: then the wait begins anew. But
/// if it is a thread that computes, a yield gives it a whole time slice (3 ms): whoever sleeps is served better by the
/// scheduler, so there is no further yield then for a long time.
template <class Os>
class Spinner {
 public:
  Spinner(Channel<Os>& c, Hints<Os>& hints, Budget budget) noexcept
      : channel_(c),
        hints_(hints),
        budget_(budget.pauses),
        may_yield_(budget.may_yield),
        pure_(hints.is_near() && (hints.rounds.load(std::memory_order_relaxed) & 7) != 0 ? kPureNear : kPure) {}

  uint32_t spent() const noexcept { return spent_; }
  bool has_yielded() const noexcept { return yields_ != 0; }

  /// False: it has been long enough. `cost`: of the look that the caller takes after each step, in pauses.
  bool step(uint32_t cost = 1) noexcept {
    if (looks_ >= pure_ || spent_ >= budget_) {
      if (!may_yield_ || (yields_ == 0 && is_calm())) {
        if (spent_ >= budget_) return false;
      } else if (spent_ >= budget_ && yields_ != 0) {
        return false;
      } else {
        yield();
        return true;
      }
    }
    Os::pause();
    ++looks_;
    spent_ += cost;
    return true;
  }

  /// What this wait says about the next.
  void learn(bool has_paid) noexcept {
    constexpr uint32_t kFloor = 16;
    const uint32_t limit = hints_.spins.load(std::memory_order_relaxed);
    // Upwards at once, since a sleep costs both sides; downwards by a quarter.
    const uint32_t next = !has_paid                  ? limit - (limit - kFloor) / 4
                          : limit < 2 * spent_ + 100 ? 2 * spent_ + 100
                                                     : limit;
    if (next != limit && limit >= kFloor) hints_.spins.store(next, std::memory_order_relaxed);
    const uint32_t vain = hints_.vain.load(std::memory_order_relaxed);
    const uint32_t more = has_paid ? 0 : budget_ < Os::max_spins() || vain == kMostVain ? vain : vain + 1;
    if (more != vain) hints_.vain.store(more, std::memory_order_relaxed);
    const uint32_t near = hints_.near.load(std::memory_order_relaxed);
    const uint32_t nearer = !has_paid || yields_ == 0 ? 0 : near < kNear ? near + 1 : kNear;
    if (nearer != near) hints_.near.store(nearer, std::memory_order_relaxed);
    const uint32_t calms = hints_.calms.load(std::memory_order_relaxed);
    if (calms != 0 && has_paid && yields_ != 0) hints_.calms.store(calms / 2, std::memory_order_relaxed);
  }

 private:
  static constexpr uint32_t kPure = 48;
  static constexpr uint32_t kPureNear = 2;

  /// The first time that a wait comes to its yield.
  bool is_calm() noexcept {
    const uint32_t calm = hints_.calm.load(std::memory_order_relaxed);
    if (calm == 0) return false;
    if (looks_ == pure_ || spent_ >= budget_) hints_.calm.store(calm - 1, std::memory_order_relaxed);
    return true;
  }

  void yield() noexcept {
    constexpr uint32_t kYield = 16;  // pauses, where nobody wants the CPU
    constexpr uint64_t kSliceNs = 200'000;
    constexpr uint32_t kFewCalm = 16;
    constexpr uint32_t kCalm = 2048;
    constexpr uint32_t kRestarts = 3;
    const uint64_t position = channel_.send.load(std::memory_order_relaxed);
    const uint64_t before = Os::now_ns();
    Os::yield();
    const uint64_t took = Os::now_ns() - before;
    ++yields_;
    if (took < kSliceNs) {
      spent_ += kYield + static_cast<uint32_t>(took >> kPauseShift);
    } else if (channel_.send.load(std::memory_order_relaxed) != position && restarts_ < kRestarts) {
      spent_ = looks_ = 0;
      ++restarts_;
    } else {
      const uint32_t last = hints_.calms.load(std::memory_order_relaxed);
      const uint32_t calm = last < kFewCalm ? kFewCalm : last < kCalm ? 2 * last : kCalm;
      hints_.calms.store(calm, std::memory_order_relaxed);
      hints_.calm.store(calm, std::memory_order_relaxed);
      spent_ = budget_;
    }
  }

  Channel<Os>& channel_;
  Hints<Os>& hints_;
  uint32_t budget_;
  bool may_yield_;
  uint32_t pure_;
  uint32_t looks_ = 0;
  uint32_t spent_ = 0;
  uint32_t yields_ = 0;
  uint32_t restarts_ = 0;
};

}  // namespace ashlar::chan_core
