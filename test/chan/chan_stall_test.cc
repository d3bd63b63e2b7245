// SPDX-License-Identifier: MIT
//
// chan_stall_test.cc - threads that are stopped in the middle of an operation, and deadlines meanwhile: nobody else
// sleeps on, and no deadline is overrun.
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>

#include "test/chan/chan_util.h"

namespace ashlar_test {
namespace {

struct Elt {
  uint64_t v, pad;
};
std::atomic<uint64_t> block_on{0};  // an element with this value is moved only once `go`
std::atomic<bool> blocked{false}, go{false};
void slow_move(void* to, void* from) {
  auto* f = static_cast<Elt*>(from);
  if (f->v != 0 && f->v == block_on.load()) {
    blocked = true;
    while (!go) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  *static_cast<Elt*>(to) = *f;
}

// Receiver A (deadline) and B, C (none) sleep. Sender X claims slot 0 and is stopped in its copy. Sender Y fills slot 1
// and wakes A, which waits for slot 0 until its deadline. Then X goes on: it wakes B. C must be woken, too.
TEST(ChanStall, a_timeout_at_a_slot_passes_its_wake_up_on) {
  const Watchdog watchdog(60);
  ashlar_chan* c = ashlar_newchan_of(sizeof(Elt), 8, 4, slow_move, nullptr);
  block_on = 7;
  blocked = go = false;
  std::atomic<int> a_status{-1};
  std::atomic<int> got{0};
  std::thread a([&] {
    Elt e;
    a_status = ashlar_chan_recv_until(c, &e, in_ms(300));
  });
  until_parked(c, 1);
  std::thread b([&] {
    Elt e;
    if (ashlar_chan_recv(c, &e) == ASHLAR_CHAN_OK) ++got;
  });
  until_parked(c, 2);
  std::thread d([&] {
    Elt e;
    if (ashlar_chan_recv(c, &e) == ASHLAR_CHAN_OK) ++got;
  });
  until_parked(c, 3);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  std::thread x([&] {
    Elt e{7, 0};
    ashlar_chan_send(c, &e);
  });
  until([&] { return blocked.load(); });
  Elt y{8, 0};
  ASSERT_EQ(ashlar_chan_try_send(c, &y), ASHLAR_CHAN_OK);
  a.join();
  EXPECT_EQ(a_status, ASHLAR_CHAN_TIMEOUT);
  go = true;
  x.join();
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  EXPECT_EQ(got, 2) << "len " << ashlar_chan_len(c) << ", parked receivers " << parked(c);
  ashlar_chan_close(c);
  b.join();
  d.join();
  ashlar_chan_unref(c);
}

// The same for senders: two slots are freed, out of order, the first sender's deadline passes at the slot.
TEST(ChanStall, a_timeout_at_a_slot_passes_its_wake_up_on_to_senders) {
  const Watchdog watchdog(60);
  ashlar_chan* c = ashlar_newchan_of(sizeof(Elt), 8, 2, slow_move, nullptr);
  blocked = go = false;
  block_on = 0;
  Elt e1{7, 0}, e2{8, 0};
  ASSERT_EQ(ashlar_chan_try_send(c, &e1), ASHLAR_CHAN_OK);
  ASSERT_EQ(ashlar_chan_try_send(c, &e2), ASHLAR_CHAN_OK);
  std::atomic<int> a_status{-1}, done{0};
  std::thread a([&] {
    Elt e{1, 0};
    a_status = ashlar_chan_send_until(c, &e, in_ms(300));
  });
  until_parked(c, 1);
  std::thread b([&] {
    Elt e{2, 0};
    if (ashlar_chan_send(c, &e) == ASHLAR_CHAN_OK) ++done;
  });
  until_parked(c, 2);
  std::thread d([&] {
    Elt e{3, 0};
    if (ashlar_chan_send(c, &e) == ASHLAR_CHAN_OK) ++done;
  });
  until_parked(c, 3);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  block_on = 7;
  std::thread x([&] {
    Elt e;
    ashlar_chan_recv(c, &e);
  });
  until([&] { return blocked.load(); });
  Elt y;
  ASSERT_EQ(ashlar_chan_try_recv(c, &y), ASHLAR_CHAN_OK);
  a.join();
  EXPECT_EQ(a_status, ASHLAR_CHAN_TIMEOUT);
  go = true;
  x.join();
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  EXPECT_EQ(done, 2) << "len " << ashlar_chan_len(c) << ", parked senders " << parked(c);
  ashlar_chan_close(c);
  b.join();
  d.join();
  ashlar_chan_unref(c);
}

// A sender sleeps for slot 2; its receiver, in a batch over the end of the ring, frees it and is then in the middle of
// slot 0. Others pass; one sleeps for slot 0.
std::atomic<uint64_t> gate{0};  // elements 12 pass at gate >= 1, 13 at gate >= 2
std::atomic<uint64_t> at{0};
void gated_move(void* to, void* from) {
  auto* f = static_cast<Elt*>(from);
  const uint64_t need = f->v == 112 ? 1 : f->v == 113 ? 2 : 0;
  if (gate.load() != 99 && need != 0) {
    at = need;
    while (gate < need) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  *static_cast<Elt*>(to) = *f;
}
TEST(ChanStall, a_later_slot_waiter_hides_nobody) {
  const Watchdog watchdog(60);
  ashlar_chan* c = ashlar_newchan_of(sizeof(Elt), 8, 4, gated_move, nullptr);
  gate = 99;
  Elt e{1, 0};
  for (int i = 0; i < 2; ++i) (void)ashlar_chan_try_send(c, &e), (void)ashlar_chan_try_recv(c, &e);
  for (uint64_t v : {111, 112, 113, 114}) {
    e.v = v;
    ASSERT_EQ(ashlar_chan_try_send(c, &e), ASHLAR_CHAN_OK);
  }
  gate = 0;
  std::thread f([&] {
    Elt out[4];
    size_t n = 0;
    ashlar_chan_recv_n(c, out, 4, &n, ASHLAR_CHAN_NEVER);
    EXPECT_EQ(n, 4u);
  });
  until([&] { return at == 1; });
  std::atomic<uint64_t> a_done{0}, b_done{0};
  std::thread a([&] {
    Elt x{21, 0};
    ashlar_chan_send(c, &x);
    a_done = ashlar_chan_now();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // a sleeps for slot 2
  gate = 1;
  until([&] { return at == 2; });  // slots 2 and 3 are free, f is in slot 0
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  Elt x{22, 0};
  for (int i = a_done != 0 ? 1 : 2; i > 0; --i) ASSERT_EQ(ashlar_chan_try_send(c, &x), ASHLAR_CHAN_OK);
  std::thread b([&] {
    Elt y{23, 0};
    ashlar_chan_send(c, &y);
    b_done = ashlar_chan_now();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  gate = 2;
  const uint64_t all = ashlar_chan_now();
  f.join();
  b.join();
  // Slot 1 is free: a has room.
  a.join();
  EXPECT_LT(static_cast<int64_t>(a_done - all), static_cast<int64_t>(100 * kMs));
  ashlar_chan_unref(c);
}

// select_until at a slot whose sender was stopped.
TEST(ChanStall, select_until_keeps_its_deadline_at_a_slot) {
  const Watchdog watchdog(60);
  ashlar_chan* c = ashlar_newchan_of(sizeof(Elt), 8, 4, slow_move, nullptr);
  ashlar_chan* other = ashlar_newchan(8, 8, 1);
  blocked = go = false;
  block_on = 7;
  std::thread x([&] {
    Elt e{7, 0};
    ashlar_chan_send(c, &e);
  });
  until([&] { return blocked.load(); });
  std::thread timer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1000));
    go = true;
  });
  Elt e{};
  uint64_t w = 0;
  ashlar_chan_case cases[] = {{c, &e, ASHLAR_CHAN_RECV}, {other, &w, ASHLAR_CHAN_RECV}};
  size_t chosen = 9;
  const uint64_t t = ashlar_chan_now();
  const int status = ashlar_chan_select_until(cases, 2, &chosen, t + 20 * kMs);
  const double took = static_cast<double>(ashlar_chan_now() - t) / 1e6;
  EXPECT_EQ(status, ASHLAR_CHAN_TIMEOUT);
  EXPECT_LT(took, 200);
  x.join();
  timer.join();
  ashlar_chan_unref(c);
  ashlar_chan_unref(other);
}

// A select of which one case is ready and another stands at a slot whose sender was stopped.
TEST(ChanStall, select_takes_a_ready_case_beside_a_stalled_slot) {
  const Watchdog watchdog(60);
  ashlar_chan* c = ashlar_newchan_of(sizeof(Elt), 8, 4, slow_move, nullptr);
  Words other(1);
  blocked = go = false;
  block_on = 7;
  std::thread x([&] {
    Elt e{7, 0};
    ashlar_chan_send(c, &e);
  });
  until([&] { return blocked.load(); });
  std::thread timer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1000));
    go = true;
  });
  double worst = 0;
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(other.try_send(1), ASHLAR_CHAN_OK);
    Elt e{};
    uint64_t w = 0;
    ashlar_chan_case cases[] = {{c, &e, ASHLAR_CHAN_RECV}, {other, &w, ASHLAR_CHAN_RECV}};
    size_t chosen = 9;
    const uint64_t t = ashlar_chan_now();
    (void)ashlar_chan_select(cases, 2, &chosen);
    worst = std::max(worst, static_cast<double>(ashlar_chan_now() - t) / 1e6);
    (void)other.try_recv(w);
    if (chosen == 0) break;
  }
  EXPECT_LT(worst, 200);
  x.join();
  timer.join();
  ashlar_chan_unref(c);
}

double cpu_ms() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
}

// A select with a send on a channel in whose cell somebody was posted at the fork.
TEST(ChanStall, a_select_in_a_child_sleeps_where_somebody_was_posted) {
  const Watchdog watchdog(100);
  Words c(0);
  std::thread receiver([&] {
    uint64_t v = 0;
    while (c.recv(v) == ASHLAR_CHAN_OK) {
    }
  });
  int burnt = 0, n = 3000, posted = 0;
  for (int i = 0; i < n && posted < 5; ++i) {
    for (int k = 0; k < 20; ++k) ASSERT_EQ(c.send(1), ASHLAR_CHAN_OK);
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);
      const char* start = reinterpret_cast<const char*>(static_cast<ashlar_chan*>(c));
      // posted == claims + 1
      if (*reinterpret_cast<const uint32_t*>(start + 192) != *reinterpret_cast<const uint32_t*>(start + 128) + 1)
        _exit(3);
      uint64_t v = 5;
      ashlar_chan_case one{c, &v, ASHLAR_CHAN_SEND};
      size_t chosen = 0;
      const double before = cpu_ms();
      if (ashlar_chan_select_until(&one, 1, &chosen, in_ms(200)) != ASHLAR_CHAN_TIMEOUT) _exit(1);
      const double used = cpu_ms() - before;
      _exit(used > 100 ? 2 : 0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) != 1) << status;
    burnt += WEXITSTATUS(status) == 2;
    posted += WEXITSTATUS(status) != 3;
  }
  EXPECT_EQ(burnt, 0) << "of " << posted << " children in which somebody was posted";
  c.close();
  receiver.join();
}

/// How far operations that must time out go beyond their deadlines.
void overrun(size_t capacity, uint64_t ahead_ns, bool is_send) {
  ashlar_chan* c = ashlar_newchan(8, 8, capacity);
  uint64_t w = 0;
  while (is_send && ashlar_chan_try_send(c, &w) == ASHLAR_CHAN_OK) {
  }
  std::vector<double> over;
  for (int i = 0; i < 400; ++i) {
    const uint64_t until = ashlar_chan_now() + ahead_ns;
    const uint64_t t = ahead_ns == 0 ? 0 : until;
    const auto s = is_send ? ashlar_chan_send_until(c, &w, t) : ashlar_chan_recv_until(c, &w, t);
    EXPECT_EQ(s, ASHLAR_CHAN_TIMEOUT);
    over.push_back(static_cast<double>(ashlar_chan_now() - until) / 1e3);
  }
  std::sort(over.begin(), over.end());
  EXPECT_LT(over[200], 1000) << "us, the median";
  ashlar_chan_unref(c);
}
TEST(ChanStall, a_deadline_that_has_passed_is_one_attempt) {
  for (const size_t capacity : {size_t{0}, size_t{4}}) {
    overrun(capacity, 0, false);
    overrun(capacity, 0, true);
    overrun(capacity, 20'000, false);
  }
}
TEST(ChanStall, a_deadline_beside_threads_that_compute) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      volatile uint64_t x = 0;
      while (!stop) x = x + 1;
    });
  }
  overrun(0, 0, false);
  overrun(4, 0, false);
  stop = true;
  for (auto& t : threads) t.join();
}

}  // namespace
}  // namespace ashlar_test
