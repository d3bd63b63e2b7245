// SPDX-License-Identifier: MIT
// TIMEOUT: 600
//
// chan_model.cc - the shipped code of chan/ under relacy, a model checker for C++'s memory model: two or three threads
// on channels of capacity 0, 1 and 2, with close, deadlines and select.
//
// Owns: ModelOs, the parameter `Os` over relacy's atomics and its futex, in which time does not pass (a wait with a
// deadline may end at once), and a shadow variable for every slot, which shows a race of two copies. Deadlock (a lost
// wake-up), livelock, races, lost, doubled and reordered elements are findings. The negative controls take one thing
// away from the Os (the order of the seq_cst accesses, the release of turns, a barrier, a wake-up) and must be found.
#include <gtest/gtest.h>

#include "test/white/chan_model.h"
#include "test/white/chan_suites.h"

namespace {

using namespace chan_model;

// Two receivers, one sender: nobody sleeps beside an element.
template <size_t capacity, uint32_t spins>
struct SenderAndReceivers : rl::test_suite<SenderAndReceivers<capacity, spins>, 3> {
  using Os = ModelOs<spins>;
  Modelled<Os> m;
  void before() { m.open(capacity, 0); }
  void thread(unsigned self) {
    if (self == 0) {
      RL_ASSERT(m.put(1) == Status::kOk);
      RL_ASSERT(m.put(2) == Status::kOk);
      return;
    }
    uint64_t v = 0;
    RL_ASSERT(m.get(v) == Status::kOk);
    RL_ASSERT(v == 1 || v == 2);
  }
};

// One element, one receiver that posts and hardly looks before it sleeps on a claimed cell.
struct Posted : rl::test_suite<Posted, 2> {
  using Os = ModelOs<1>;
  Modelled<Os> m;
  void before() {
    m.open(0, 0);
    m.c.recv_hints.rounds.store(15, std::memory_order_relaxed);  // one CPU: the round that yields, whatever it paid
  }
  void thread(unsigned self) {
    uint64_t v = 1;
    RL_ASSERT((self == 0 ? m.put(v) : m.get(v)) == Status::kOk);
    RL_ASSERT(v == 1);
  }
};

// Elements that do not fit into the cell: it says where the receiver wants them. Two senders, one receiver.
template <uint32_t spins>
struct PostsLarge : rl::test_suite<PostsLarge<spins>, 3> {
  using Os = ModelOs<spins>;
  Modelled<Os> m;
  void before() {
    m.open(0, 0);
    m.c.alignment = 2 * kCellAlign;
  }
  void thread(unsigned self) {
    if (self < 2) {
      RL_ASSERT(m.put(self + 1) == Status::kOk);
      return;
    }
    uint64_t sum = 0;
    for (int i = 0; i < 2; ++i) {
      // The first slot, for its shadow.
      RL_ASSERT((recv<Os>(m.c, &m.buffer[0], kNever, nullptr) == Status::kOk));
      uint64_t v = 0;
      move_word(&v, &m.buffer[0]);
      sum += v;
    }
    RL_ASSERT(sum == 3);
  }
};

// Two threads, each selects to send on one channel or to receive from the other, crosswise; a third serves whoever is
// left.
template <size_t capacity, uint32_t spins>
struct SelectCross : rl::test_suite<SelectCross<capacity, spins>, 3> {
  using Os = ModelOs<spins>;
  Modelled<Os> a, b;
  void before() {
    a.open(capacity, 0);
    b.open(capacity, 1);
  }
  void thread(unsigned self) {
    uint64_t out = self;
    uint64_t in = 9;
    if (self == 2) {
      // With this one there is a partner for everybody: four operations, two of them sends, whatever was chosen.
      const Case<Os> cases[] = {{&a.c, &in, Side::kReceiver}, {&b.c, &in, Side::kReceiver}};
      uint32_t chosen = 9;
      RL_ASSERT(choose<Os>(cases, 2, chosen, rl::rand(97)) == Status::kOk);
      return;
    }
    const Case<Os> cases[] = {{self == 0 ? &a.c : &b.c, &out, Side::kSender},
                              {self == 0 ? &b.c : &a.c, &in, Side::kReceiver}};
    uint32_t chosen = 9;
    const Status status = choose<Os>(cases, 2, chosen, rl::rand(97), kSoon);
    if (status == Status::kOk) {
      RL_ASSERT(chosen < 2 && (chosen == 0 || in == 1 - self));
      if (chosen == 0) return;
    }
    // The third one must not starve.
    uint64_t v = 5;
    (void)(self == 0 ? a : b).put(v, capacity == 0 ? kSoon : kNever);
  }
};

// A receiver selects over two channels; the senders of both must both come through.
template <size_t capacity, uint32_t spins>
struct SelectReceives : rl::test_suite<SelectReceives<capacity, spins>, 3> {
  using Os = ModelOs<spins>;
  Modelled<Os> a, b;
  void before() {
    a.open(capacity, 0);
    b.open(capacity, 1);
  }
  void thread(unsigned self) {
    if (self < 2) {
      RL_ASSERT((self == 0 ? a : b).put(self) == Status::kOk);
      return;
    }
    unsigned seen = 0;
    for (int i = 0; i < 2; ++i) {
      uint64_t v = 9;
      const Case<Os> cases[] = {{&a.c, &v, Side::kReceiver}, {&b.c, &v, Side::kReceiver}};
      uint32_t chosen = 9;
      RL_ASSERT(choose<Os>(cases, 2, chosen, rl::rand(97)) == Status::kOk);
      RL_ASSERT(v == chosen);
      seen |= 1U << chosen;
    }
    RL_ASSERT(seen == 3);
  }
};

// A select is woken for one channel and may take another: the plain receiver beside it must not stay asleep.
template <size_t capacity, uint32_t spins>
struct SelectPassesOn : rl::test_suite<SelectPassesOn<capacity, spins>, 3> {
  using Os = ModelOs<spins>;
  Modelled<Os> a, b;
  void before() {
    a.open(capacity, 0);
    b.open(capacity, 1);
  }
  void thread(unsigned self) {
    uint64_t v = 9;
    if (self == 0) {
      RL_ASSERT(a.put(1) == Status::kOk);
      RL_ASSERT(b.put(2) == Status::kOk);
    } else if (self == 1) {
      // One of the two; if it takes a's, b's stays in the ring, else a's must reach the plain receiver.
      const Case<Os> cases[] = {{&a.c, &v, Side::kReceiver}, {&b.c, &v, Side::kReceiver}};
      uint32_t chosen = 9;
      RL_ASSERT(choose<Os>(cases, 2, chosen, rl::rand(97)) == Status::kOk);
      if (chosen == 0) RL_ASSERT(a.put(3) == Status::kOk);
    } else {
      RL_ASSERT(a.get(v) == Status::kOk);
    }
  }
};

// Senders and a receiver that all select, over two channels of capacity 0: who is posted in one channel and claimed
// there has not been matched in the other. Two elements, two receives.
template <uint32_t spins>
struct SelectsMeet : rl::test_suite<SelectsMeet<spins>, 3> {
  using Os = ModelOs<spins>;
  Modelled<Os> a, b;
  void before() {
    a.open(0, 0);
    b.open(0, 1);
  }
  void thread(unsigned self) {
    uint64_t v = self + 1;
    const Side side = self < 2 ? Side::kSender : Side::kReceiver;
    uint64_t sum = 0;
    for (int i = 0; i < (self < 2 ? 1 : 2); ++i) {
      const Case<Os> cases[] = {{&a.c, &v, side}, {&b.c, &v, side}};
      uint32_t chosen = 9;
      RL_ASSERT(choose<Os>(cases, 2, chosen, rl::rand(97)) == Status::kOk);
      sum += v;
    }
    RL_ASSERT(self < 2 || sum == 3);
  }
};

// Two selects that can only meet each other: each sends on one channel or receives from the other, crosswise, or both
// on one and the same, where none may meet itself.
template <bool is_cross>
struct SelectPair : rl::test_suite<SelectPair<is_cross>, 2> {
  using Os = ModelOs<2>;
  Modelled<Os> a, b;
  int sent = 0;
  void before() {
    a.open(0, 0);
    b.open(0, 1);
  }
  void thread(unsigned self) {
    uint64_t out = self;
    uint64_t in = 9;
    auto* mine = self == 0 || !is_cross ? &a.c : &b.c;
    auto* other = self == 1 || !is_cross ? &a.c : &b.c;
    const Case<Os> cases[] = {{mine, &out, Side::kSender}, {other, &in, Side::kReceiver}};
    uint32_t chosen = 9;
    RL_ASSERT(choose<Os>(cases, 2, chosen, rl::rand(97)) == Status::kOk);
    RL_ASSERT(chosen == 0 || in == 1 - self);
    sent += chosen == 0 ? 1 : 0;
  }
  void after() { RL_ASSERT(sent == 1); }
};

// A select that may be posted in one channel while the other is closed, and a sender on the first: the element arrives,
// or stays with its sender.
template <uint32_t spins>
struct SelectWithClose : rl::test_suite<SelectWithClose<spins>, 3> {
  using Os = ModelOs<spins>;
  Modelled<Os> a, b;
  int sent = 0;
  int got = 0;
  void before() {
    a.open(0, 0);
    b.open(0, 1);
  }
  void thread(unsigned self) {
    uint64_t v = 7;
    if (self == 0) {
      sent = a.put(v, kSoon) == Status::kOk ? 1 : 0;
    } else if (self == 1) {
      RL_ASSERT(ashlar::chan_core::close<Os>(b.c) == Status::kOk);
    } else {
      const Case<Os> cases[] = {{&a.c, &v, Side::kReceiver}, {&b.c, &v, Side::kReceiver}};
      uint32_t chosen = 9;
      const Status status = choose<Os>(cases, 2, chosen, rl::rand(97));
      RL_ASSERT(status == (chosen == 0 ? Status::kOk : Status::kClosed));
      got = chosen == 0 ? 1 : 0;
    }
  }
  void after() { RL_ASSERT(sent == got); }
};

// ---- running ------------------------------------------------------------------------------------------------

constexpr unsigned kMany = 6000;
constexpr unsigned kFew = 3000;

TEST(ChanModel, ring_of_1) {
  expect_right<SendersAndReceiver<1, 1, 0>>(kMany);
  expect_right<SendersAndReceiver<1, 2, 0>>(kMany);
  expect_right<SenderAndReceivers<1, 0>>(kMany);
}
TEST(ChanModel, ring_of_2) {
  expect_right<SendersAndReceiver<2, 1, 0>>(kMany);
  expect_right<SendersAndReceiver<2, 2, 0>>(kMany);
  expect_right<SenderAndReceivers<2, 0>>(kMany);
}
TEST(ChanModel, ring_spinning) {
  expect_right<SendersAndReceiver<1, 2, 2>>(kFew);
  expect_right<SenderAndReceivers<1, 2>>(kFew);
}
TEST(ChanModel, rendezvous) {
  expect_right<SendersAndReceiver<0, 1, 0>>(kMany);
  expect_right<SendersAndReceiver<0, 2, 0>>(kMany);
  expect_right<SenderAndReceivers<0, 0>>(kMany);
}
TEST(ChanModel, rendezvous_in_the_cell) {
  expect_right<SendersAndReceiver<0, 1, 2>>(kMany);
  expect_right<SendersAndReceiver<0, 2, 2>>(kMany);
  expect_right<SenderAndReceivers<0, 2>>(kMany);
  expect_right<PostsLarge<2>>(kMany);
  expect_right<Posted>(kMany);
}
TEST(ChanModel, close) {
  expect_right<CloseBetween<0, 0>>(kFew);
  expect_right<CloseBetween<0, 2>>(kFew);
  expect_right<CloseBetween<1, 0>>(kMany);
  expect_right<CloseBetween<2, 0>>(kFew);
}
TEST(ChanModel, deadlines) {
  expect_right<Deadlines<0, 0>>(kMany);
  expect_right<Deadlines<0, 2>>(kMany);
  expect_right<Deadlines<1, 0>>(kMany);
}
TEST(ChanModel, select) {
  expect_right<SelectReceives<0, 0>>(kMany);
  expect_right<SelectReceives<0, 2>>(kFew);
  expect_right<SelectReceives<1, 0>>(kMany);
  expect_right<SelectPassesOn<1, 0>>(kMany);
  expect_right<SelectCross<1, 0>>(kMany);
}
// Posted, and scanning the cells.
TEST(ChanModel, select_in_the_cell) {
  expect_right<SelectReceives<0, 2>>(kMany);
  expect_right<SelectPair<true>>(kMany);
  expect_right<SelectPair<false>>(kMany);
  expect_right<SelectsMeet<2>>(kMany);
  expect_right<SelectWithClose<2>>(kMany);
}

// The test of the tests.
TEST(ChanModelControl, seq_cst_taken_away_loses_a_wake_up) {
  expect_found<SendersAndReceiver<1, 1, 0>>(kNoSeqCst, 20'000);
}
TEST(ChanModelControl, cell_without_release_races) {
  expect_found<SendersAndReceiver<0, 1, 2>>(kNoRelease, 20'000);
}
TEST(ChanModelControl, element_beside_the_cell_without_release_races) {
  expect_found<PostsLarge<2>>(kNoRelease, 20'000);
}
TEST(ChanModelControl, lazy_select_without_seq_cst_loses_a_wake_up) {
  expect_found<SelectPassesOn<1, 0>>(kNoSeqCst, 20'000);
}
TEST(ChanModelControl, turns_without_release_race) {
  expect_found<SendersAndReceiver<1, 1, 0>>(kNoRelease, 20'000);
}
TEST(ChanModelControl, no_light_barrier_leaves_a_slot_waited_for) {
  expect_found<SendersAndReceiver<1, 2, 0>>(kNoLightBarrier, 100'000);
}
TEST(ChanModelControl, a_wake_up_left_out) {
  expect_found<SendersAndReceiver<1, 1, 0>>(kLostWake, 20'000);
}

}  // namespace
