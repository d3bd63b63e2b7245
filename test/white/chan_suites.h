// SPDX-License-Identifier: MIT
//
// chan_suites.h - what the models of chan/ share: suites that other suites vary, and how one is checked.
#pragma once

#include <gtest/gtest.h>

#include "test/white/chan_model.h"

namespace chan_model {

// Senders send two elements each, the one receiver takes them all; then the channel is empty.
template <size_t capacity, int senders, uint32_t spins>
struct SendersAndReceiver : rl::test_suite<SendersAndReceiver<capacity, senders, spins>, senders + 1> {
  using Os = ModelOs<spins>;
  Modelled<Os> m;
  void before() { m.open(capacity, 0); }
  void thread(unsigned self) {
    if (self < senders) {
      for (uint64_t i = 0; i < 2; ++i) RL_ASSERT(m.put(self * 10 + i) == Status::kOk);
      return;
    }
    uint64_t next[senders] = {};
    for (int i = 0; i < 2 * senders; ++i) {
      uint64_t v = 99;
      RL_ASSERT(m.get(v) == Status::kOk);
      RL_ASSERT(v / 10 < senders && v % 10 == next[v / 10]);
      ++next[v / 10];
    }
    RL_ASSERT(try_recv<Os>(m.c, &next[0]) == Status::kNotReady);
  }
};

// A sender and a receiver until the close of a third: what was sent is received, exactly.
template <size_t capacity, uint32_t spins>
struct CloseBetween : rl::test_suite<CloseBetween<capacity, spins>, 3> {
  using Os = ModelOs<spins>;
  Modelled<Os> m;
  int sent = 0;
  int got = 0;
  void before() { m.open(capacity, 0); }
  void thread(unsigned self) {
    if (self == 0) {
      while (sent < 2 && m.put(static_cast<uint64_t>(sent)) == Status::kOk) ++sent;
    } else if (self == 1) {
      uint64_t v = 9;
      while (m.get(v) == Status::kOk) RL_ASSERT(v == static_cast<uint64_t>(got++));
    } else {
      RL_ASSERT(ashlar::chan_core::close<Os>(m.c) == Status::kOk);
    }
  }
  void after() {
    RL_ASSERT(sent == got);
    shadows[0] = nullptr;
  }
};

// A deadline that may pass at any moment: an element is sent or stays with its sender.
template <size_t capacity, uint32_t spins>
struct Deadlines : rl::test_suite<Deadlines<capacity, spins>, 3> {
  using Os = ModelOs<spins>;
  Modelled<Os> m;
  int sent = 0;
  int got[3] = {};
  void before() { m.open(capacity, 0); }
  void thread(unsigned self) {
    uint64_t v = 7;
    if (self == 0) {
      sent = m.put(7, kSoon) == Status::kOk ? 1 : 0;
    } else if (self == 1) {
      const Status status = m.get(v, kSoon);
      got[1] = status == Status::kOk ? 1 : 0;
      RL_ASSERT((status == Status::kOk && v == 7) || status == Status::kTimeout);
    } else {
      got[2] = m.get(v, kSoon) == Status::kOk ? 1 : 0;
    }
  }
  void after() { RL_ASSERT(sent == got[1] + got[2] + static_cast<int>(length(m.c))); }
};

template <class Os>
Status choose(const Case<Os>* cases, uint32_t n, uint32_t& chosen, unsigned seed, uint64_t deadline = kNever) {
  CaseState<Os> states[2];
  Select<Os> select(cases, states, n, seed * 2654435761U + 1);
  return select.run(chosen, deadline, nullptr);
}

/// What relacy says, cut off. (No stringstream: relacy's operator new has no delete of its own to go with it in
/// libstdc++.so.)
class Report : public std::streambuf {
 public:
  Report() { setp(text_, text_ + sizeof text_); }
  std::string text() const { return {text_, static_cast<size_t>(pptr() - text_)}; }

 private:
  int_type overflow(int_type c) override { return traits_type::not_eof(c); }
  std::streamsize xsputn(const char* s, std::streamsize n) override {
    const std::streamsize room = epptr() - pptr();
    const std::streamsize take = n < room ? n : room;
    memcpy(pptr(), s, static_cast<size_t>(take));
    pbump(static_cast<int>(take));
    return n;
  }
  char text_[100'000];
};

template <class Suite>
rl::test_result_e check(Fault taken_away, unsigned iterations, std::string& report) {
  Report buffer;
  std::ostream out(&buffer);
  rl::test_params params;
  params.iteration_count = iterations;
  params.output_stream = &out;
  params.progress_stream = &out;
  params.execution_depth_limit = 5000;
  params.search_type = rl::random_scheduler_type;
  fault = taken_away;
  rl::simulate<Suite>(params);
  fault = kNone;
  live = Live();  // a finding leaves its threads where they are
  shadows[0] = shadows[1] = nullptr;
  report = buffer.text();
  return params.test_result;
}

template <class Suite>
void expect_right(unsigned iterations) {
  std::string report;
  const rl::test_result_e result = check<Suite>(kNone, iterations, report);
  EXPECT_EQ(result, rl::test_result_success) << report;
}

template <class Suite>
void expect_found(Fault taken_away, unsigned iterations) {
  std::string report;
  EXPECT_NE(check<Suite>(taken_away, iterations, report), rl::test_result_success) << "the fault was not found";
}

}  // namespace chan_model
