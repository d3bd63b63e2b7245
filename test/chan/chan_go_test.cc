// SPDX-License-Identifier: MIT
//
// chan_go_test.cc - what users of Go's channels rely on: the behaviours that Go's chan_test.go and test/chan, and
// crossbeam's tests, check, in our own words. Threads stand for goroutines, so there are fewer of them.
#include <math.h>
#include <sys/prctl.h>

#include <algorithm>

#include "test/chan/chan_util.h"

namespace ashlar_test {
namespace {

// A receive that does not wait must not say "not ready" once something was sent, and a close must not be overtaken by
// it: who sees the second thing sees the first.
TEST(GoChan, try_never_says_not_ready_beside_a_close) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  for (size_t i = 0; i < rounds(2000); ++i) {
    Words c(1);
    c.send(1);
    std::atomic<bool> failed{false};
    std::thread taker([&] {
      uint64_t v = 0;
      const ashlar_chan_case one = {c, &v, ASHLAR_CHAN_RECV};
      // There is an element until we take it, and afterwards the channel is closed or will be.
      if (ashlar_chan_try_select(&one, 1, nullptr) == ASHLAR_CHAN_NOT_READY) failed = true;
    });
    c.close();
    taker.join();
    ASSERT_FALSE(failed);
    uint64_t v = 0;
    ASSERT_EQ(c.recv(v), ASHLAR_CHAN_CLOSED);
  }
}

// Two selects over the same two channels, one of which always has something: neither may find nothing.
TEST(GoChan, try_select_never_misses_what_moves_between_channels) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  for (size_t i = 0; i < rounds(3000); ++i) {
    Words a(1), b(1);
    a.send(1);
    std::thread mover([&] {
      b.send(1);
      uint64_t v = 0;
      a.try_recv(v);
    });
    uint64_t v = 0;
    const ashlar_chan_case cases[] = {{a, &v, ASHLAR_CHAN_RECV}, {b, &v, ASHLAR_CHAN_RECV}};
    // In either order of looking: if a is empty by then, b was filled before. Our look at b first can come too early,
    // so look again.
    const bool got = ashlar_chan_try_select(cases, 2, nullptr) == ASHLAR_CHAN_OK ||
                     ashlar_chan_try_select(cases, 2, nullptr) == ASHLAR_CHAN_OK;
    mover.join();
    ASSERT_TRUE(got);
  }
}

// Two threads that both select to send and to receive on one channel: nobody meets itself, nobody waits for ever.
TEST(GoChan, self_select) {
  for (const size_t capacity : {size_t{0}, size_t{1}, size_t{10}}) {
    const Watchdog watchdog(kChanWatchdogSeconds);
    Words c(capacity);
    std::atomic<uint64_t> from_self{0};
    std::vector<std::thread> threads;
    for (uint64_t self = 0; self < 2; ++self) {
      threads.emplace_back([&, self] {
        for (size_t i = 0; i < rounds(2000); ++i) {
          uint64_t out = self;
          uint64_t in = 9;
          const ashlar_chan_case cases[] = {{c, &out, ASHLAR_CHAN_SEND}, {c, &in, ASHLAR_CHAN_RECV}};
          size_t chosen = 9;
          ASSERT_EQ(
              ashlar_chan_select_until(cases, 2, &chosen, in_ms(capacity == 0 ? 200 : 60'000)) == ASHLAR_CHAN_OK ||
                  capacity == 0,
              true);
          if (chosen == 1 && in == self) ++from_self;
          if (chosen == 9) return;  // the other one is done
        }
      });
    }
    for (auto& t : threads) t.join();
    if (capacity == 0) {
      EXPECT_EQ(from_self, 0u) << "met itself";
    }
  }
}

// Sender and receiver by select over the same four channels, buffered and not, beside plain ones.
TEST(GoChan, select_stress) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  const size_t n = rounds(10'000);
  Words c0(0), c1(0), c2(2), c3(3);
  ashlar_chan* c[] = {c0, c1, c2, c3};
  std::atomic<uint64_t> sum_sent{0}, sum_got{0};
  std::vector<std::thread> threads;
  for (int k = 0; k < 4; ++k) {
    threads.emplace_back([&, k] {
      for (uint64_t i = 0; i < n; ++i) {
        ASSERT_EQ(ashlar_chan_send(c[k], &i), ASHLAR_CHAN_OK);
        sum_sent += i;
      }
    });
    threads.emplace_back([&, k] {
      for (size_t i = 0; i < n; ++i) {
        uint64_t v = 0;
        ASSERT_EQ(ashlar_chan_recv(c[k], &v), ASHLAR_CHAN_OK);
        sum_got += v;
      }
    });
  }
  for (const bool is_send : {true, false}) {
    threads.emplace_back([&, is_send] {
      size_t left[4] = {n, n, n, n};
      for (size_t i = 0; i < 4 * n; ++i) {
        uint64_t v = i;
        ashlar_chan_case cases[4];
        for (int k = 0; k < 4; ++k)
          cases[k] = {left[k] == 0 ? nullptr : c[k], &v, is_send ? ASHLAR_CHAN_SEND : ASHLAR_CHAN_RECV};
        size_t chosen = 0;
        ASSERT_EQ(ashlar_chan_select(cases, 4, &chosen), ASHLAR_CHAN_OK);
        (is_send ? sum_sent : sum_got) += v;
        --left[chosen];
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(sum_sent, sum_got);
}

// 10,000 trials: each of k ready cases within five standard deviations.
TEST(GoChan, select_is_fair) {
  constexpr int kTrials = 10'000;
  for (const int k : {2, 3, 7}) {
    std::vector<std::unique_ptr<Words>> c;
    std::vector<ashlar_chan_case> cases;
    uint64_t v = 0;
    for (int i = 0; i < k; ++i) {
      c.push_back(std::make_unique<Words>(kTrials));
      for (int n = 0; n < kTrials; ++n) c.back()->send(0);
      cases.push_back({*c.back(), &v, ASHLAR_CHAN_RECV});
      cases.push_back({nullptr, &v, ASHLAR_CHAN_RECV});  // never ready, and must not give its share to a neighbour
    }
    std::vector<int> counts(cases.size());
    for (int n = 0; n < kTrials; ++n) {
      size_t chosen = 0;
      ASSERT_EQ(ashlar_chan_select(cases.data(), cases.size(), &chosen), ASHLAR_CHAN_OK);
      ++counts[chosen];
    }
    const double p = 1.0 / k;
    const double sigma = sqrt(kTrials * p * (1 - p));
    for (size_t i = 0; i < counts.size(); i += 2)
      EXPECT_LT(fabs(counts[i] - kTrials * p), 5 * sigma) << "case " << i << " of " << k;
  }
}

// The same channel in two cases: both get their share.
TEST(GoChan, duplicate_channel) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  Words c(0);
  int counts[2] = {};
  std::thread sender([&] {
    for (uint64_t i = 0; i < 1000; ++i) ASSERT_EQ(c.send(i), ASHLAR_CHAN_OK);
  });
  uint64_t last = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    uint64_t v[2] = {};
    const ashlar_chan_case cases[] = {{c, &v[0], ASHLAR_CHAN_RECV}, {c, &v[1], ASHLAR_CHAN_RECV}};
    size_t chosen = 9;
    ASSERT_EQ(ashlar_chan_select(cases, 2, &chosen), ASHLAR_CHAN_OK);
    ASSERT_TRUE(i == 0 || v[chosen] == last + 1);
    last = v[chosen];
    ++counts[chosen];
  }
  sender.join();
  EXPECT_GT(counts[0], 0);
}

// Many selects wait for one channel that nobody serves, and lose on another: leaving the crowded queue costs no walk
// through it. With n waiters there, n losers leave; the time a loser must not grow with n (a walk would make it 16
// times as much).
/// What it costs to walk a list of so many waiters, at the least: nodes of two lines, one behind the other.
uint64_t ns_a_walk(size_t nodes) {
  struct Node {
    Node* volatile next;
    char rest[120];
  };
  std::vector<Node> list(nodes);
  for (size_t i = 0; i + 1 < nodes; ++i) list[i].next = &list[i + 1];
  uint64_t best = UINT64_MAX;
  for (int round = 0; round < 3; ++round) {
    const uint64_t begin = ashlar_chan_now();
    for (const Node* n = list.data(); n != nullptr;) n = n->next;
    best = std::min(best, ashlar_chan_now() - begin);
  }
  return best;
}

TEST(GoChan, losers_leave_in_constant_time) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  const size_t crowd = is_emulated() ? 10'000 : kUnderTsan ? 50'000 : 100'000;
  struct Crowd {
    explicit Crowd(size_t others) : many(others, ashlar_chan_case{idle, &v, ASHLAR_CHAN_RECV}) {
      many.push_back({stop, &v, ASHLAR_CHAN_RECV});
      waits = std::thread([this] { ashlar_chan_select(many.data(), many.size(), nullptr); });
      until([this] { return parked(stop) == 1; });
    }
    ~Crowd() {
      stop.send(1);
      waits.join();
    }
    void lose() {
      const ashlar_chan_case cases[] = {{idle, &v, ASHLAR_CHAN_RECV}, {busy, &v, ASHLAR_CHAN_RECV}};
      const uint64_t begin = ashlar_chan_now();
      ashlar_chan_select_until(cases, 2, nullptr, begin + 1000);
      best = std::min(best, ashlar_chan_now() - begin);
    }
    Words idle{0}, busy{0}, stop{0};
    uint64_t v = 0, best = UINT64_MAX;
    std::vector<ashlar_chan_case> many;
    std::thread waits;
  };
  Crowd few(100), all(crowd);
  prctl(PR_SET_TIMERSLACK, 1UL);  // a wait of 1 us takes up to 50 otherwise
  uint64_t walk = UINT64_MAX;
  // The best of many: what disturbs the machine only ever adds. In turns: it may be slow for a while.
  for (int turn = 0; turn < 30; ++turn) {
    for (int round = 0; round < 10; ++round) {
      few.lose();
      all.lose();
    }
    walk = std::min(walk, ns_a_walk(crowd));
  }
  prctl(PR_SET_TIMERSLACK, 0UL);
  const uint64_t small = few.best, large = all.best;
  printf("a loser among 100 waiters: %lu ns, among %zu: %lu ns; a walk past these: %lu ns\n", small, crowd, large,
         walk);
  EXPECT_LT(large, small + walk / 2) << "it walks";
}

// Producers and consumers in every number: each element comes once, and each producer's in order.
TEST(GoChan, exactly_once_and_in_order) {
  for (const size_t capacity : kCapacities) {
    for (const size_t producers : {1, 2, 4}) {
      for (const size_t consumers : {1, 3}) {
        const Watchdog watchdog(kChanWatchdogSeconds);
        const size_t n = rounds(capacity == 0 ? 4'000 : 20'000);
        Words c(capacity);
        std::vector<std::vector<uint64_t>> got(consumers);
        std::vector<std::thread> threads;
        for (size_t p = 0; p < producers; ++p) {
          threads.emplace_back([&, p] {
            for (uint64_t i = 0; i < n; ++i) ASSERT_EQ(c.send(p << 32 | i), ASHLAR_CHAN_OK);
          });
        }
        std::vector<std::thread> takers;
        for (size_t k = 0; k < consumers; ++k) {
          takers.emplace_back([&, k] {
            uint64_t v = 0;
            while (c.recv(v) == ASHLAR_CHAN_OK) got[k].push_back(v);
          });
        }
        for (auto& t : threads) t.join();
        ASSERT_EQ(c.close(), ASHLAR_CHAN_OK);
        for (auto& t : takers) t.join();
        std::vector<size_t> seen(producers * n);
        for (const auto& list : got) {
          std::vector<int64_t> last(producers, -1);
          for (const uint64_t v : list) {
            const size_t p = v >> 32;
            const auto i = static_cast<int64_t>(v & 0xffffffff);
            ASSERT_GT(i, last[p]) << "one consumer sees one producer's elements in order";
            last[p] = i;
            ++seen[p * n + static_cast<size_t>(i)];
          }
        }
        ASSERT_TRUE(std::all_of(seen.begin(), seen.end(), [](size_t k) { return k == 1; }))
            << "capacity " << capacity << ", " << producers << " to " << consumers;
      }
    }
  }
}

// A chain of threads, each taking from its left and giving to its right (test/chan/fifo.go, goroutines.go).
TEST(GoChan, chain_of_threads) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  constexpr size_t kLength = 100;
  std::vector<std::unique_ptr<Words>> c;
  for (size_t i = 0; i <= kLength; ++i) c.push_back(std::make_unique<Words>(0));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kLength; ++i) {
    threads.emplace_back([&, i] {
      uint64_t v = 0;
      while (c[i]->recv(v) == ASHLAR_CHAN_OK) c[i + 1]->send(v + 1);
      c[i + 1]->close();
    });
  }
  for (uint64_t k = 0; k < 20; ++k) {
    ASSERT_EQ(c[0]->send(k), ASHLAR_CHAN_OK);
    uint64_t v = 0;
    ASSERT_EQ(c[kLength]->recv(v), ASHLAR_CHAN_OK);
    ASSERT_EQ(v, k + kLength);
  }
  c[0]->close();
  uint64_t v = 0;
  ASSERT_EQ(c[kLength]->recv(v), ASHLAR_CHAN_CLOSED);
  for (auto& t : threads) t.join();
}

// Deadlines against sends at about the same time: an element is received, or still there, never gone.
TEST(GoChan, timeouts_lose_nothing) {
  for (const size_t capacity : {size_t{0}, size_t{1}, size_t{3}}) {
    const Watchdog watchdog(kChanWatchdogSeconds);
    const uint64_t seed = announce_seed();
    Words c(capacity);
    const size_t n = rounds(3'000);
    std::atomic<uint64_t> sent{0}, got{0}, late_sends{0}, late_receives{0};
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        Rng rng(mix(seed + t));
        for (size_t i = 0; i < n; ++i) {
          uint64_t v = 1;
          const uint64_t deadline = ashlar_chan_now() + rng.below(60'000);
          ashlar_chan_status status;
          if (rng.one_in(3)) {
            const ashlar_chan_case one = {c, &v, t % 2 == 0 ? ASHLAR_CHAN_SEND : ASHLAR_CHAN_RECV};
            status = ashlar_chan_select_until(&one, 1, nullptr, deadline);
          } else {
            status = t % 2 == 0 ? ashlar_chan_send_until(c, &v, deadline) : ashlar_chan_recv_until(c, &v, deadline);
          }
          if (status == ASHLAR_CHAN_OK) {
            ++(t % 2 == 0 ? sent : got);
          } else {
            ASSERT_EQ(status, ASHLAR_CHAN_TIMEOUT);
            ++(t % 2 == 0 ? late_sends : late_receives);
          }
        }
      });
    }
    for (auto& t : threads) t.join();
    EXPECT_EQ(sent, got + ashlar_chan_len(c)) << "capacity " << capacity;
    EXPECT_EQ(parked(c), 0u);
  }
}

// With a try only on one side, the other side waits: they meet (a waiting sender is found by try_recv).
TEST(GoChan, try_meets_a_waiting_partner) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  Words c(0);
  uint64_t v = 5;
  EXPECT_EQ(c.try_send(1), ASHLAR_CHAN_NOT_READY);
  EXPECT_EQ(c.try_recv(v), ASHLAR_CHAN_NOT_READY);
  std::thread sender([&] { ASSERT_EQ(c.send(8), ASHLAR_CHAN_OK); });
  until_parked(c, 1);
  EXPECT_EQ(c.try_recv(v), ASHLAR_CHAN_OK);
  EXPECT_EQ(v, 8u);
  sender.join();
  std::thread receiver([&] {
    uint64_t got = 0;
    ASSERT_EQ(c.recv(got), ASHLAR_CHAN_OK);
    ASSERT_EQ(got, 9u);
  });
  until_parked(c, 1);
  EXPECT_EQ(c.try_send(9), ASHLAR_CHAN_OK);
  receiver.join();
}

// As many cases as nobody writes by hand, most of them null.
TEST(GoChan, select_of_thousands) {
  constexpr size_t kCases = 5'000;
  Words c(1);
  c.send(3);
  uint64_t v = 0;
  std::vector<ashlar_chan_case> cases(kCases, ashlar_chan_case{nullptr, &v, ASHLAR_CHAN_RECV});
  cases[kCases - 7].chan = c;
  size_t chosen = 0;
  EXPECT_EQ(ashlar_chan_select(cases.data(), kCases, &chosen), ASHLAR_CHAN_OK);
  EXPECT_EQ(chosen, kCases - 7);
  EXPECT_EQ(v, 3u);
}

}  // namespace
}  // namespace ashlar_test
