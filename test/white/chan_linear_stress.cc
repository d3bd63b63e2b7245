// SPDX-License-Identifier: MIT
//
// chan_linear_stress.cc - histories of few threads under forced preemption, each held against the sequential channel:
// is there one order of the operations, within their intervals, in which every result is right?
//
// Owns: the checker (J. Wing and C. Gong, "Testing and verifying concurrent objects", with the visited states
// remembered), and the tests of the checker: histories that no channel can have.
#include <algorithm>
#include <deque>
#include <memory>
#include <unordered_set>

#include "test/alloc/stress_util.h"
#include "test/white/chan_preempt.h"

namespace ashlar_test {
namespace {

using ashlar::chan_core::Status;

enum class Kind : uint8_t { kSend, kRecv, kTrySend, kTryRecv, kClose, kLen };

struct Operation {
  Kind kind;
  uint64_t value = 0;  // sent, received, or the length
  Status status = Status::kOk;
  uint64_t begin = 0;
  uint64_t end = 0;
};

class Checker {
 public:
  Checker(std::vector<Operation> history, size_t capacity) : all_(std::move(history)), capacity_(capacity) {}

  bool is_linearizable() { return search(0, {}, false); }

 private:
  // An operation may come next if no other open one had ended before it began.
  bool may_be_next(uint64_t done, size_t i) const {
    for (size_t k = 0; k < all_.size(); ++k) {
      if ((done >> k & 1) == 0 && k != i && all_[k].end < all_[i].begin) return false;
    }
    return true;
  }

  static bool is_send(const Operation& op) { return op.kind == Kind::kSend || op.kind == Kind::kTrySend; }
  static bool is_recv(const Operation& op) { return op.kind == Kind::kRecv || op.kind == Kind::kTryRecv; }

  // Whether the result of `op` is right in this state; changes the state.
  bool apply(const Operation& op, std::deque<uint64_t>& queue, bool& closed) const {
    if (op.kind == Kind::kClose) {
      const bool is_right = op.status == (closed ? Status::kInvalid : Status::kOk);
      closed = true;
      return is_right;
    }
    if (op.kind == Kind::kLen) return op.value == queue.size();
    if (is_send(op)) {
      if (op.status == Status::kClosed) return closed;
      if (op.status == Status::kNotReady) return !closed && queue.size() == capacity_;
      if (closed || queue.size() >= capacity_) return false;
      queue.push_back(op.value);
      return true;
    }
    if (op.status == Status::kClosed) return closed && queue.empty();
    if (op.status == Status::kNotReady) return !closed && queue.empty();
    if (queue.empty() || queue.front() != op.value) return false;
    queue.pop_front();
    return true;
  }

  bool search(uint64_t done, const std::deque<uint64_t>& queue, bool closed) {
    if (done == (uint64_t{1} << all_.size()) - 1) return true;
    uint64_t key = mix(done * 2 + (closed ? 1 : 0));
    for (const uint64_t v : queue) key = mix(key ^ v);
    if (!visited_.insert(key).second) return false;
    for (size_t i = 0; i < all_.size(); ++i) {
      if ((done >> i & 1) != 0 || !may_be_next(done, i)) continue;
      const Operation& op = all_[i];
      if (capacity_ == 0 && op.status == Status::kOk && is_send(op)) {
        // Both at one moment: the partner must be possible at it, too.
        for (size_t k = 0; k < all_.size() && !closed; ++k) {
          if ((done >> k & 1) != 0 || !is_recv(all_[k]) || all_[k].status != Status::kOk || all_[k].value != op.value)
            continue;
          if (!may_be_next(done, k)) continue;
          if (search(done | uint64_t{1} << i | uint64_t{1} << k, queue, closed)) return true;
        }
        continue;
      }
      if (capacity_ == 0 && op.status == Status::kOk && is_recv(op)) continue;  // comes with its sender
      std::deque<uint64_t> next = queue;
      bool next_closed = closed;
      if (apply(op, next, next_closed) && search(done | uint64_t{1} << i, next, next_closed)) return true;
    }
    return false;
  }

  std::vector<Operation> all_;
  size_t capacity_;
  std::unordered_set<uint64_t> visited_;
};

bool is_linearizable(std::vector<Operation> history, size_t capacity) {
  return Checker(std::move(history), capacity).is_linearizable();
}

void print(const std::vector<Operation>& history) {
  static constexpr const char* kNames[] = {"send", "recv", "try_send", "try_recv", "close", "len"};
  for (const Operation& op : history)
    printf("[%lu, %lu] %s %lu -> %d\n", op.begin, op.end, kNames[static_cast<int>(op.kind)], op.value,
           static_cast<int>(op.status));
}

// Threads of random operations; a last one closes, so that nobody waits for ever.
std::vector<Operation> run_once(size_t capacity, size_t threads, size_t each, uint64_t seed) {
  Preempted c(capacity);
  std::atomic<uint64_t> clock{1};
  std::vector<std::vector<Operation>> lists(threads + 1);
  std::atomic<size_t> ready{0};
  on_threads(threads + 1, [&](size_t self) {
    Rng rng(mix(seed + self));
    preempt_state = mix(seed * 31 + self) | 1;
    ++ready;
    while (ready < threads + 1) ashlar::chan_core::System::yield();
    if (self == threads) {
      for (uint64_t i = rng.below(4000); i > 0; --i) ashlar::chan_core::System::pause();
      Operation op{Kind::kClose};
      op.begin = clock++;
      op.status = ashlar::chan_core::close<PreemptOs>(c.c);
      op.end = clock++;
      lists[self].push_back(op);
      preempt_state = 0;
      return;
    }
    for (size_t i = 0; i < each; ++i) {
      Operation op{static_cast<Kind>(rng.below(capacity == 0 ? 2 : 6))};
      if (op.kind == Kind::kClose) op.kind = self % 2 == 0 ? Kind::kSend : Kind::kRecv;
      op.value = self * 100 + i + 1;
      op.begin = clock++;
      switch (op.kind) {
        case Kind::kSend:
          op.status = c.send(op.value);
          break;
        case Kind::kTrySend:
          op.status = ashlar::chan_core::try_send<PreemptOs>(c.c, &op.value);
          break;
        case Kind::kRecv:
          op.status = c.recv(op.value);
          break;
        case Kind::kTryRecv:
          op.status = ashlar::chan_core::try_recv<PreemptOs>(c.c, &op.value);
          break;
        default:
          op.value = ashlar::chan_core::length<PreemptOs>(c.c);
      }
      op.end = clock++;
      lists[self].push_back(op);
    }
    preempt_state = 0;
  });
  std::vector<Operation> history;
  for (const auto& list : lists) history.insert(history.end(), list.begin(), list.end());
  return history;
}

void check_many(size_t capacity, size_t threads, size_t each, size_t count) {
  const Watchdog watchdog(kWatchdogSeconds);
  const uint64_t seed = announce_seed();
  for (size_t i = 0; i < rounds(count); ++i) {
    const auto history = run_once(capacity, threads, each, mix(seed + i));
    if (is_linearizable(history, capacity)) continue;
    print(history);
    FAIL() << "capacity " << capacity << ", round " << i;
  }
}

TEST(ChanLinear, capacity_0) {
  check_many(0, 4, 4, 600);
}
TEST(ChanLinear, capacity_1) {
  check_many(1, 4, 4, 1000);
}
TEST(ChanLinear, capacity_2) {
  check_many(2, 4, 5, 800);
}
TEST(ChanLinear, capacity_3) {
  check_many(3, 3, 6, 800);
}

// The test of the checker.
TEST(ChanLinearControl, rejects_what_no_channel_does) {
  using K = Kind;
  const Operation send1{K::kSend, 1, Status::kOk, 1, 2};
  const Operation send2{K::kSend, 2, Status::kOk, 3, 4};
  EXPECT_TRUE(is_linearizable({send1, send2, {K::kRecv, 1, Status::kOk, 5, 6}}, 2));
  EXPECT_FALSE(is_linearizable({send1, send2, {K::kRecv, 2, Status::kOk, 5, 6}}, 2)) << "not first in, first out";
  EXPECT_FALSE(is_linearizable({send1, send2}, 1)) << "more than there is room for";
  EXPECT_FALSE(is_linearizable({send1, {K::kTryRecv, 0, Status::kNotReady, 3, 4}}, 1)) << "it was not empty";
  EXPECT_TRUE(is_linearizable({send1, {K::kTryRecv, 0, Status::kNotReady, 1, 4}}, 1)) << "it may have come before";
  EXPECT_FALSE(is_linearizable({{K::kTrySend, 5, Status::kNotReady, 1, 2}}, 1)) << "it was not full";
  EXPECT_FALSE(is_linearizable({{K::kClose, 0, Status::kOk, 1, 2}, send2}, 1)) << "sent after the close";
  EXPECT_FALSE(is_linearizable({send1, {K::kClose, 0, Status::kOk, 3, 4}, {K::kRecv, 0, Status::kClosed, 5, 6}}, 1))
      << "not drained";
  EXPECT_FALSE(is_linearizable({{K::kRecv, 1, Status::kOk, 1, 2}, {K::kSend, 1, Status::kOk, 3, 4}}, 1))
      << "before it was sent";
  EXPECT_FALSE(is_linearizable({{K::kSend, 1, Status::kOk, 1, 2}, {K::kRecv, 1, Status::kOk, 3, 4}}, 0))
      << "they never met";
  EXPECT_TRUE(is_linearizable({{K::kSend, 1, Status::kOk, 1, 3}, {K::kRecv, 1, Status::kOk, 2, 4}}, 0));
  EXPECT_FALSE(is_linearizable({send1, {K::kLen, 0, Status::kOk, 3, 4}}, 1)) << "a wrong length";
}

// ---- many operations with forced preemption: sums, and nobody left behind ------------------------------------------

void preempted_sums(size_t capacity, size_t element_size, size_t senders, size_t receivers, size_t n) {
  const Watchdog watchdog(kWatchdogSeconds);
  const uint64_t seed = announce_seed();
  n = rounds(n);
  Preempted c(capacity, element_size);
  std::atomic<uint64_t> sent{0}, got{0}, senders_left{senders};
  on_threads(senders + receivers, [&](size_t self) {
    preempt_state = mix(seed + self) | 1;
    Rng rng(mix(seed * 7 + self));
    if (self < senders) {
      for (uint64_t i = 1; i <= n; ++i) {
        // Some with a deadline that may pass, some by select.
        uint64_t v = i;
        if (rng.one_in(8)) {
          if (c.send(v, ashlar::chan_core::System::now_ns() + rng.below(20'000)) != Status::kOk) continue;
        } else if (rng.one_in(8)) {
          const ashlar::chan_core::Case<PreemptOs> one = {&c.c, &v, ashlar::chan_core::Side::kSender};
          ashlar::chan_core::CaseState<PreemptOs> state;
          uint32_t chosen = 0;
          ashlar::chan_core::Select<PreemptOs> select(&one, &state, 1, i);
          ASSERT_EQ(select.run(chosen, ashlar::chan_core::kNever, nullptr), Status::kOk);
        } else {
          ASSERT_EQ(c.send(v), Status::kOk);
        }
        sent += element_size == 0 ? 1 : i;
      }
      if (--senders_left == 0) {
        ASSERT_EQ(ashlar::chan_core::close<PreemptOs>(c.c), Status::kOk);
      }
    } else {
      for (;;) {
        uint64_t v = 0;
        Status status;
        if (rng.one_in(8)) {
          status = c.recv(v, ashlar::chan_core::System::now_ns() + rng.below(20'000));
        } else if (rng.one_in(8)) {
          const ashlar::chan_core::Case<PreemptOs> one = {&c.c, &v, ashlar::chan_core::Side::kReceiver};
          ashlar::chan_core::CaseState<PreemptOs> state;
          uint32_t chosen = 0;
          ashlar::chan_core::Select<PreemptOs> select(&one, &state, 1, v + 1);
          status = select.run(chosen, ashlar::chan_core::kNever, nullptr);
        } else {
          status = c.recv(v);
        }
        if (status == Status::kClosed) break;
        if (status == Status::kOk) got += element_size == 0 ? 1 : v;
      }
    }
    preempt_state = 0;
  });
  EXPECT_EQ(sent, got) << "capacity " << capacity;
}

TEST(ChanPreempt, rendezvous) {
  preempted_sums(0, 8, 3, 3, 30'000);
}
TEST(ChanPreempt, ring_of_1) {
  preempted_sums(1, 8, 3, 3, 60'000);
}
TEST(ChanPreempt, ring_of_3) {
  preempted_sums(3, 8, 4, 2, 100'000);
}
TEST(ChanPreempt, ring_of_64) {
  preempted_sums(64, 8, 2, 4, 500'000);
}
TEST(ChanPreempt, zero_size) {
  preempted_sums(2, 0, 3, 3, 200'000);
}

}  // namespace
}  // namespace ashlar_test
