// SPDX-License-Identifier: MIT
// TIMEOUT: 600
//
// chan_cell_model.cc - more of chan/ under relacy (chan_model.cc has the rest): the cell of capacity 0 near the wrap of
// its counters, with large elements, and with selects that go both ways; tokens; batches.
#include <gtest/gtest.h>

#include "test/white/chan_model.h"
#include "test/white/chan_suites.h"

namespace {

using namespace chan_model;

// Counters about to wrap in 32 bits.
template <class Os>
void near_wrap(Channel<Os>& c, uint32_t before) {
  c.send.store((uint64_t{7} << 32) - before, std::memory_order_relaxed);
  c.posted.store(0u - before, std::memory_order_relaxed);
  c.filled.store(0u - before, std::memory_order_relaxed);
}
template <int senders, uint32_t spins, uint32_t before_wrap>
struct WrapSR : SendersAndReceiver<0, senders, spins> {
  void before() {
    SendersAndReceiver<0, senders, spins>::before();
    near_wrap(this->m.c, before_wrap);
  }
};
template <uint32_t spins, uint32_t before_wrap>
struct WrapDeadlines : Deadlines<0, spins> {
  void before() {
    Deadlines<0, spins>::before();
    near_wrap(this->m.c, before_wrap);
  }
};
template <uint32_t spins, uint32_t before_wrap>
struct WrapClose : CloseBetween<0, spins> {
  void before() {
    CloseBetween<0, spins>::before();
    near_wrap(this->m.c, before_wrap);
  }
};

// Large elements: deadlines and close.
template <uint32_t spins, bool is_close>
struct LargeDeadlines : rl::test_suite<LargeDeadlines<spins, is_close>, 3> {
  using Os = ModelOs<spins>;
  Modelled<Os> m;
  int sent = 0, got[3] = {};
  void before() {
    m.open(0, 0);
    m.c.alignment = 2 * kCellAlign;
  }
  void thread(unsigned self) {
    if (self == 0) {
      sent = m.put(7, is_close ? kNever : kSoon) == Status::kOk ? 1 : 0;
    } else if (self == 1 || !is_close) {
      uint64_t& place = m.buffer[self - 1];
      const Status s = recv<Os>(m.c, &place, is_close ? kNever : kSoon, nullptr);
      got[self] = s == Status::kOk ? 1 : 0;
      // Nobody writes there after we have left.
      uint64_t v = 0;
      if (s == Status::kOk) move_word(&v, &place);
      RL_ASSERT(s != Status::kOk || v == 7);
      uint64_t zero = 1;
      move_word(&place, &zero);
    } else {
      RL_ASSERT(ashlar::chan_core::close<Os>(m.c) == Status::kOk);
    }
  }
  void after() {
    RL_ASSERT(sent == got[1] + got[2]);
    shadows[0] = nullptr;
  }
};

// Select in both directions on the same channel (twice), against a select of the same kind and a plain partner with a
// deadline.
template <uint32_t spins, int kind>
struct SelectBothWays : rl::test_suite<SelectBothWays<spins, kind>, 3> {
  using Os = ModelOs<spins>;
  Modelled<Os> a;
  int sent = 0, got = 0;
  void before() { a.open(0, 0); }
  void thread(unsigned self) {
    uint64_t out = self + 1, in = 99;
    if (self < 2) {
      const Case<Os> cases[] = {{&a.c, &out, Side::kSender}, {&a.c, &in, Side::kReceiver}};
      uint32_t chosen = 9;
      const Status s = choose<Os>(cases, 2, chosen, rl::rand(97), kSoon);
      if (s == Status::kClosed) {
        RL_ASSERT(kind == 2);
        return;
      }
      if (s != Status::kOk) return;
      if (chosen == 0)
        ++sent;
      else {
        ++got;
        RL_ASSERT(in != self + 1 && in < 4);
      }
    } else if (kind == 0) {
      if (a.put(out, kSoon) == Status::kOk) ++sent;
    } else if (kind == 1) {
      if (a.get(in, kSoon) == Status::kOk) {
        ++got;
        RL_ASSERT(in < 3);
      }
    } else {
      RL_ASSERT(ashlar::chan_core::close<Os>(a.c) == Status::kOk);
    }
  }
  void after() {
    RL_ASSERT(sent == got);
    shadows[0] = nullptr;
  }
};

// A select over one channel twice to receive, a sender without deadline, the close of that channel.
template <uint32_t spins>
struct SelectOwnClose : rl::test_suite<SelectOwnClose<spins>, 3> {
  using Os = ModelOs<spins>;
  Modelled<Os> a, b;
  int sent = 0, got = 0;
  void before() {
    a.open(0, 0);
    b.open(0, 1);
  }
  void thread(unsigned self) {
    uint64_t v = 7;
    if (self == 0) {
      sent = a.put(v) == Status::kOk ? 1 : 0;
    } else if (self == 1) {
      RL_ASSERT(ashlar::chan_core::close<Os>(a.c) == Status::kOk);
    } else {
      uint64_t w = 8;
      const Case<Os> cases[] = {{&a.c, &v, Side::kReceiver}, {&a.c, &w, Side::kReceiver}};
      uint32_t chosen = 9;
      const Status s = choose<Os>(cases, 2, chosen, rl::rand(97));
      if (s == Status::kOk) {
        ++got;
        RL_ASSERT((chosen == 0 ? v : w) == 7);
      } else
        RL_ASSERT(s == Status::kClosed);
    }
  }
  void after() {
    RL_ASSERT(sent == got);
    shadows[0] = shadows[1] = nullptr;
  }
};

// Plain sender, plain receiver, a select that may send or receive, no deadlines: two senders' worth... one of the
// select must pair with somebody, the one left over is served by a second operation of the select's thread.
template <uint32_t spins>
struct SelectBetween : rl::test_suite<SelectBetween<spins>, 3> {
  using Os = ModelOs<spins>;
  Modelled<Os> a;
  void before() { a.open(0, 0); }
  void thread(unsigned self) {
    uint64_t out = self + 1, in = 99;
    if (self == 0) {
      RL_ASSERT(a.put(out) == Status::kOk);
      return;
    }
    if (self == 1) {
      RL_ASSERT(a.get(in) == Status::kOk);
      return;
    }
    const Case<Os> cases[] = {{&a.c, &out, Side::kSender}, {&a.c, &in, Side::kReceiver}};
    uint32_t chosen = 9;
    const Status s = choose<Os>(cases, 2, chosen, rl::rand(97), kSoon);
    if (s != Status::kOk) return;
    if (chosen == 0)
      RL_ASSERT(a.get(in) == Status::kOk);
    else
      RL_ASSERT(a.put(out) == Status::kOk);
  }
  void after() { shadows[0] = nullptr; }
};

// Tokens.
template <size_t capacity, uint32_t spins, int kind>
struct Tokens : rl::test_suite<Tokens<capacity, spins, kind>, 3> {
  using Os = ModelOs<spins>;
  Modelled<Os> m;
  int sent = 0, got[3] = {};
  void before() {
    m.open(capacity, 0);
    m.c.measure(0, capacity);
    m.c.turns = nullptr;
  }
  void thread(unsigned self) {
    if (kind == 0) {  // one sender of 2, two receivers
      if (self == 0) {
        for (int i = 0; i < 2; ++i) RL_ASSERT((send<Os>(m.c, nullptr, kNever, nullptr)) == Status::kOk);
        sent = 2;
      } else {
        RL_ASSERT((recv<Os>(m.c, nullptr, kNever, nullptr)) == Status::kOk);
        got[self] = 1;
      }
    } else if (kind == 1) {  // two senders of 2, a receiver
      if (self < 2) {
        for (int i = 0; i < 2; ++i) RL_ASSERT((send<Os>(m.c, nullptr, kNever, nullptr)) == Status::kOk);
      } else
        for (int i = 0; i < 4; ++i) RL_ASSERT((recv<Os>(m.c, nullptr, kNever, nullptr)) == Status::kOk);
    } else {  // close
      if (self == 0) {
        while (sent < 3 && (send<Os>(m.c, nullptr, kNever, nullptr)) == Status::kOk) ++sent;
      } else if (self == 1) {
        while ((recv<Os>(m.c, nullptr, kNever, nullptr)) == Status::kOk) ++got[1];
      } else
        RL_ASSERT(ashlar::chan_core::close<Os>(m.c) == Status::kOk);
    }
  }
  void after() {
    if (kind == 2) RL_ASSERT(sent == got[1]);
    shadows[0] = nullptr;
  }
};

// Batches.
template <size_t capacity, uint32_t spins>
struct Batches : rl::test_suite<Batches<capacity, spins>, 3> {
  using Os = ModelOs<spins>;
  Modelled<Os> m;
  void before() { m.open(capacity, 0); }
  void thread(unsigned self) {
    if (self < 2) {
      uint64_t v[2] = {self * 10, self * 10 + 1};
      size_t at = 0;
      while (at < 2) {
        size_t done = 0;
        RL_ASSERT((batch<Os, true>(m.c, reinterpret_cast<unsigned char*>(v + at), 2 - at, done, kNever, nullptr)) ==
                  Status::kOk);
        at += done;
      }
      return;
    }
    uint64_t next[2] = {};
    for (size_t n = 0; n < 4;) {
      uint64_t v[4] = {99, 99, 99, 99};
      size_t done = 0;
      RL_ASSERT((batch<Os, false>(m.c, reinterpret_cast<unsigned char*>(v), 4 - n, done, kNever, nullptr)) ==
                Status::kOk);
      RL_ASSERT(done > 0 && done <= 4 - n);
      for (size_t i = 0; i < done; ++i) {
        RL_ASSERT(v[i] / 10 < 2 && v[i] % 10 == next[v[i] / 10]);
        ++next[v[i] / 10];
      }
      n += done;
    }
  }
};
// ---- running ------------------------------------------------------------------------------------------------

constexpr unsigned kN = 10'000;
TEST(ChanCellModel, counters_wrap_in_32_bits) {
  expect_right<WrapSR<1, 2, 1>>(kN);
  expect_right<WrapSR<2, 2, 2>>(kN);
  expect_right<WrapDeadlines<2, 1>>(kN);
  expect_right<WrapClose<2, 1>>(kN);
}
TEST(ChanCellModel, large_elements_with_deadlines_and_close) {
  expect_right<LargeDeadlines<2, false>>(kN);
  expect_right<LargeDeadlines<2, true>>(kN);
}
TEST(ChanCellModel, both_ways_two_selects_and_a_sender) {
  expect_right<SelectBothWays<2, 0>>(kN);
}
TEST(ChanCellModel, both_ways_two_selects_and_a_receiver) {
  expect_right<SelectBothWays<2, 1>>(kN);
}
TEST(ChanCellModel, both_ways_two_selects_and_a_close) {
  expect_right<SelectBothWays<2, 2>>(kN);
}
TEST(ChanCellModel, the_same_channel_twice_and_close) {
  expect_right<SelectOwnClose<2>>(kN);
}
TEST(ChanCellModel, a_select_between_a_sender_and_a_receiver) {
  expect_right<SelectBetween<2>>(kN);
}
TEST(ChanModel, tokens) {
  expect_right<Tokens<1, 0, 0>>(kN);
  expect_right<Tokens<1, 0, 1>>(kN);
  expect_right<Tokens<2, 0, 1>>(kN);
  expect_right<Tokens<1, 2, 1>>(kN);
  expect_right<Tokens<1, 0, 2>>(kN);
}
TEST(ChanModel, batches) {
  expect_right<Batches<1, 0>>(kN);
  expect_right<Batches<2, 0>>(kN);
  expect_right<Batches<0, 2>>(kN);
}

}  // namespace
