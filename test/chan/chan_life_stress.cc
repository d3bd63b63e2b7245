// SPDX-License-Identifier: MIT
// TIMEOUT: 600
//
// chan_life_stress.cc - channels in real processes: 10^8 operations, 64 threads on few CPUs, one CPU, fork, threads
// that end, real-time priorities. A lost wake-up hangs, and the watchdog ends the process.
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "test/chan/chan_util.h"

namespace ashlar_test {
namespace {

// Tens of millions a flavour, 10^8 in all: send and receive by single operations, in shapes that fill, drain and park.
void run_many(size_t capacity, size_t element, size_t senders, size_t receivers, size_t n) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  n = rounds(kUnderTsan ? n / 10 : n);
  ashlar_chan* c = ashlar_newchan(element, element == 0 ? 1 : 8, capacity);
  std::atomic<uint64_t> sent{0}, got{0};
  on_threads(senders + receivers, [&](size_t self) {
    uint64_t v[2] = {};
    uint64_t sum = 0;
    if (self < senders) {
      for (uint64_t i = 0; i < n / senders; ++i) {
        v[0] = i;
        ASSERT_EQ(ashlar_chan_send(c, v), ASHLAR_CHAN_OK);
        sum += element == 0 ? 1 : i;
      }
      sent += sum;
    } else {
      const size_t share = n / senders * senders / receivers;
      for (size_t i = 0; i < share; ++i) {
        ASSERT_EQ(ashlar_chan_recv(c, v), ASHLAR_CHAN_OK);
        sum += element == 0 ? 1 : v[0];
      }
      got += sum;
    }
  });
  EXPECT_EQ(sent, got);
  EXPECT_EQ(ashlar_chan_len(c), 0u);
  ashlar_chan_unref(c);
}

TEST(ChanMillions, ring_of_1024) {
  run_many(1024, 8, 2, 2, 20'000'000);
}
TEST(ChanMillions, ring_of_1024_crowd) {
  run_many(1024, 8, 4, 4, 10'000'000);
}
TEST(ChanMillions, ring_of_3) {
  run_many(3, 8, 2, 2, 2'000'000);
}
TEST(ChanMillions, ring_of_1) {
  run_many(1, 8, 4, 4, 1'000'000);
}
TEST(ChanMillions, zero_size) {
  run_many(64, 0, 2, 2, 16'000'000);
}
TEST(ChanMillions, rendezvous) {
  run_many(0, 8, 4, 4, 400'000);
}
TEST(ChanMillions, rendezvous_pair) {
  run_many(0, 8, 1, 1, 1'000'000);
}

TEST(ChanCrowd, sixty_four_threads) {
  run_many(16, 8, 32, 32, 3'200'000);
  run_many(0, 8, 32, 32, 64'000);
  run_many(1, 8, 32, 32, 320'000);
}

// All of it on one CPU, where spinning cannot help.
TEST(ChanCrowd, pinned_to_one_cpu) {
  cpu_set_t all, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i) {
    if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);  // threads inherit it
  run_many(1024, 8, 4, 4, 2'000'000);
  run_many(1, 8, 4, 4, 100'000);
  run_many(0, 8, 4, 4, 50'000);
  ASSERT_EQ(sched_setaffinity(0, sizeof all, &all), 0);
}

// Nobody burns CPU while there is nothing to do: eight threads wait for half a second, in every way.
TEST(ChanIdle, waiting_costs_no_cpu) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  Words empty(1), meet(0), full(1);
  full.send(1);
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      uint64_t v = 0;
      empty.recv(v);
    });
    threads.emplace_back([&] {
      uint64_t v = 0;
      meet.recv(v);
    });
    threads.emplace_back([&] { full.send(2); });
    threads.emplace_back([&] {
      uint64_t v = 0;
      const ashlar_chan_case cases[] = {{empty, &v, ASHLAR_CHAN_RECV}, {meet, &v, ASHLAR_CHAN_RECV}};
      ashlar_chan_select(cases, 2, nullptr);
    });
  }
  until([&] { return parked(empty) == 4 && parked(meet) == 4 && parked(full) == 2; });
  usleep(20'000);  // the lazy millisecond is over
  const auto cpu_us = [] {
    rusage use{};
    getrusage(RUSAGE_SELF, &use);
    return (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1'000'000 + use.ru_utime.tv_usec + use.ru_stime.tv_usec;
  };
  const auto switches = [] {
    rusage use{};
    getrusage(RUSAGE_SELF, &use);
    return use.ru_nvcsw;
  };
  const long switches_before = switches();
  const long before = cpu_us();
  usleep(500'000);
  const long spent = cpu_us() - before;
  printf("8 threads waiting for 500 ms: %ld us of CPU, %ld switches\n", spent, switches() - switches_before);
  // ThreadSanitizer has a thread of its own, which wakes ten times a second.
  EXPECT_LE(switches() - switches_before, kUnderTsan ? 13 : 3) << "our own sleep, and nobody else's waking up";
  for (const Words* c : {&empty, &meet, &full}) c->close();
  for (auto& t : threads) t.join();
}

// fork while others wait: the parent's threads go on; the child sees an empty queue, and can use the channel.
/// The child of a process with threads may not start any: ThreadSanitizer does not support it, qemu-user 7.2 aborts
/// (see test/alloc/fork_stress.cc).
bool threads_stay_out_of_children() {
  return kUnderTsan || is_emulated();
}

TEST(ChanFork, while_others_wait) {
  for (const size_t capacity : {size_t{0}, size_t{1}, size_t{4}}) {
    const Watchdog watchdog(kChanWatchdogSeconds);
    Words c(capacity);
    std::vector<std::thread> threads;
    std::atomic<uint64_t> got{0};
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        uint64_t v = 0;
        ASSERT_EQ(c.recv(v), ASHLAR_CHAN_OK);
        got += v;
      });
    }
    until_parked(c, 3);
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);
      uint64_t v = 77;
      // Nobody waits here: capacity 0 meets nobody, a ring keeps the element.
      bool is_right = c.try_send(5) == (capacity == 0 ? ASHLAR_CHAN_NOT_READY : ASHLAR_CHAN_OK);
      is_right = is_right && (capacity == 0 || (c.try_recv(v) == ASHLAR_CHAN_OK && v == 5));
      is_right = is_right && (threads_stay_out_of_children() || parked(c) == 0);  // it starts a thread, too
      if (!threads_stay_out_of_children()) {
        std::thread partner([&] { c.send(6); });
        is_right = is_right && c.recv(v) == ASHLAR_CHAN_OK && v == 6;
        partner.join();
      }
      is_right = is_right && c.close() == ASHLAR_CHAN_OK;
      _exit(is_right ? 17 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 17) << "capacity " << capacity << ", status " << status;
    for (uint64_t i = 1; i <= 3; ++i) ASSERT_EQ(c.send(i), ASHLAR_CHAN_OK);
    for (auto& t : threads) t.join();
    EXPECT_EQ(got, 6u);
  }
}

// A receiver that is awake at the fork, and has posted itself for senders: in the child nobody meets it, and those who
// are there meet as ever.
TEST(ChanFork, a_receiver_that_looks_on) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  Words c(0);
  std::atomic<uint64_t> got{0};
  std::thread receiver([&] {
    uint64_t v = 0;
    while (c.recv(v) == ASHLAR_CHAN_OK) got += v;
  });
  const size_t n = rounds(100);
  for (size_t i = 0; i < n; ++i) {
    // The receiver is awake after each of these, and looks on for the next.
    for (int k = 0; k < 20; ++k) ASSERT_EQ(c.send(1), ASHLAR_CHAN_OK);
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);
      uint64_t v = 0;
      if (c.try_send(5) != ASHLAR_CHAN_NOT_READY) _exit(1);
      for (int k = 0; k < 2; ++k) {
        if (ashlar_chan_recv_until(c, &v, in_ms(static_cast<uint64_t>(k))) != ASHLAR_CHAN_TIMEOUT) _exit(2);
        if (c.try_send(5) != ASHLAR_CHAN_NOT_READY) _exit(3);
      }
      if (!threads_stay_out_of_children()) {
        std::thread partner([&] {
          for (uint64_t k = 0; k < 10; ++k) c.send(k);
        });
        for (uint64_t k = 0; k < 10; ++k) {
          if (c.recv(v) != ASHLAR_CHAN_OK || v != k) _exit(4);
        }
        partner.join();
      }
      _exit(17);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 17) << "round " << i << ", status " << status;
  }
  c.close();
  receiver.join();
  EXPECT_EQ(got, 20 * n);
}

// fork from a process whose threads are busy with the channel, again and again: the child's own channels work, and the
// parent loses nothing.
TEST(ChanFork, under_load) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  Words c(2);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> sent{0}, got{0};
  std::vector<std::thread> threads;
  std::atomic<int> started{0};
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      ++started;
      while (!stop && c.send(1) == ASHLAR_CHAN_OK) ++sent;
    });
    threads.emplace_back([&] {
      uint64_t v = 0;
      ++started;
      while (c.recv(v) == ASHLAR_CHAN_OK) ++got;
    });
  }
  while (started != 4) sched_yield();
  for (size_t i = 0; i < rounds(100); ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);
      Words own(1);
      uint64_t v = 0;
      const bool is_right = own.send(4) == ASHLAR_CHAN_OK && own.recv(v) == ASHLAR_CHAN_OK && v == 4 &&
                            (threads_stay_out_of_children() || !dump().empty());  // dump() starts a thread
      _exit(is_right ? 17 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 17) << "round " << i << ", status " << status;
  }
  stop = true;
  threads[0].join();
  threads[2].join();
  c.close();
  threads[1].join();
  threads[3].join();
  EXPECT_EQ(sent, got);
}

// Threads come and go while others wait; whoever ended leaves nothing in the queues.
TEST(ChanLife, threads_end_while_others_wait) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  Words c(1);
  std::atomic<uint64_t> got{0};
  std::vector<std::thread> waiting;
  for (int i = 0; i < 4; ++i) {
    waiting.emplace_back([&] {
      uint64_t v = 0;
      while (c.recv(v) == ASHLAR_CHAN_OK) got += v;
    });
  }
  const size_t n = rounds(500);
  for (size_t i = 0; i < n; ++i) {
    std::thread short_lived([&] {
      uint64_t v = 0;
      ashlar_chan_recv_until(c, &v, ashlar_chan_now() + 1000);
      got += v;
      ASSERT_EQ(c.send(1), ASHLAR_CHAN_OK);
    });
    short_lived.join();
  }
  until([&] { return got == n; });
  c.close();
  for (auto& t : waiting) t.join();
}

// A thread of real-time priority that waits for one without, on the same CPU: it must sleep, or the other never runs.
TEST(ChanPriority, a_waiter_of_real_time_priority_lets_the_other_run) {
  for (const size_t capacity : {size_t{0}, size_t{1}, size_t{3}}) {
    const Watchdog watchdog(kChanWatchdogSeconds);
    cpu_set_t all, one;
    ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i) {
      if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
    }
    Words c(capacity);
    const size_t n = rounds(20'000);
    std::atomic<int> may_be_real_time{-1};
    std::thread high([&] {
      sched_setaffinity(0, sizeof one, &one);
      sched_param param{};
      param.sched_priority = 10;
      may_be_real_time = sched_setscheduler(0, SCHED_FIFO, &param) == 0 ? 1 : 0;
      uint64_t v = 0;
      for (size_t i = 0; i < n; ++i) ASSERT_EQ(c.recv(v), ASHLAR_CHAN_OK);
    });
    std::thread low([&] {
      sched_setaffinity(0, sizeof one, &one);
      for (size_t i = 0; i < n; ++i) ASSERT_EQ(c.send(i), ASHLAR_CHAN_OK);
    });
    low.join();
    high.join();
    printf("SCHED_FIFO: %s\n", may_be_real_time == 1 ? "yes" : "not allowed here, same test with equal priorities");
  }
}

}  // namespace
}  // namespace ashlar_test
