// SPDX-License-Identifier: MIT
//
// chan_c_test.cc - the C interface, from its specification in chan/chan.h: one thread, or one that waits.
#include <errno.h>

#include "test/chan/chan_util.h"

namespace ashlar_test {
namespace {

TEST(ChanMake, newchan_size_out_of_range) {
  struct {
    size_t element, capacity;
  } const bad[] = {{8, SIZE_MAX}, {8, SIZE_MAX / 8},    {SIZE_MAX, 1}, {size_t{1} << 40, size_t{1} << 40},
                   {1, SIZE_MAX}, {0, size_t{1} << 62}, {0, SIZE_MAX}, {SIZE_MAX, 0}};
  for (const auto& b : bad) {
    errno = 0;
    EXPECT_EQ(ashlar_newchan(opaque(b.element), 8, opaque(b.capacity)), nullptr) << b.element << " x " << b.capacity;
    EXPECT_EQ(errno, ERANGE);
    ashlar_chan_memory memory;
    EXPECT_EQ(ashlar_chan_layout(b.element, 8, b.capacity, &memory), ASHLAR_CHAN_INVALID);
  }
}

TEST(ChanMake, newchan_bad_alignment_and_no_memory) {
  errno = 0;
  EXPECT_EQ(ashlar_newchan(8, 3, 1), nullptr);
  EXPECT_EQ(errno, EINVAL);
  errno = 0;
  EXPECT_EQ(ashlar_newchan(size_t{1} << 20, 8, size_t{1} << 40), nullptr);
  EXPECT_EQ(errno, ENOMEM);
}

TEST(ChanMake, layout_of_the_handbooks_examples) {
  ashlar_chan_memory m;
  ASSERT_EQ(ashlar_chan_layout(sizeof(int), alignof(int), 10, &m), ASHLAR_CHAN_OK);
  printf("int x 10: header %zu, buffer %zu, turns %zu, total %zu\n", m.header_bytes, m.buffer_bytes, m.turns_bytes,
         m.total_bytes);
  EXPECT_EQ(m.header_bytes, 512u);
  EXPECT_EQ(m.buffer_bytes, 40u);
  EXPECT_EQ(m.turns_bytes, 40u);
  EXPECT_GE(m.total_bytes, 592u);
  EXPECT_EQ(m.send_offset, 128u);
  EXPECT_EQ(m.recv_offset, 256u);
  EXPECT_EQ(m.wait_offset, 384u);
  EXPECT_EQ(m.buffer_alignment, 64u);
  ASSERT_EQ(ashlar_chan_layout(0, 1, 10, &m), ASHLAR_CHAN_OK);
  printf("struct{} x 10: header %zu, buffer %zu, turns %zu, total %zu\n", m.header_bytes, m.buffer_bytes, m.turns_bytes,
         m.total_bytes);
  EXPECT_EQ(m.buffer_bytes + m.turns_bytes, 0u);
  ASSERT_EQ(ashlar_chan_layout(sizeof(void*), alignof(void*), 10, &m), ASHLAR_CHAN_OK);  // to 1 KiB each
  printf("pointer x 10: header %zu, buffer %zu, turns %zu, total %zu\n", m.header_bytes, m.buffer_bytes, m.turns_bytes,
         m.total_bytes);
  EXPECT_EQ(m.buffer_bytes, 80u);
  ASSERT_EQ(ashlar_chan_layout(8, 8, 0, &m), ASHLAR_CHAN_OK);
  EXPECT_EQ(m.buffer_bytes + m.turns_bytes, 0u);
}

TEST(ChanMake, memory_comes_back) {
  const ashlar_memstats before = stats();
  for (const size_t capacity : {size_t{0}, size_t{1}, size_t{10}, size_t{5000}, size_t{1} << 20}) {
    for (const size_t alignment : {size_t{1}, size_t{64}, size_t{256}, size_t{4096}}) {
      ashlar_chan* c = ashlar_newchan(24, alignment, capacity);
      ASSERT_NE(c, nullptr);
      EXPECT_EQ(ashlar_chan_cap(c), capacity);
      EXPECT_EQ(ashlar_chan_element_size(c), 24u);
      EXPECT_EQ(ashlar_chan_ref(c), c);
      ashlar_chan_unref(c);
      ashlar_chan_unref(c);
    }
  }
  expect_nothing_left(before);
}

TEST(ChanMake, making_one_does_not_touch_the_buffer) {
  ashlar_purge(0);  // pages that the tests before have written to would have to be cleared
  const size_t before = rss_bytes();
  ashlar_chan* c = ashlar_newchan(1024, 8, 64 * 1024);  // 64 MiB
  ASSERT_NE(c, nullptr);
  EXPECT_LT(rss_bytes(), before + 8 * kMiB);
  ashlar_chan_unref(c);
}

TEST(ChanRing, fifo_len_and_exactly_full) {
  for (const size_t capacity : kCapacities) {
    if (capacity == 0) continue;
    Words c(capacity);
    uint64_t next = 0;
    uint64_t expected = 0;
    for (int lap = 0; lap < 7; ++lap) {
      while (ashlar_chan_len(c) < capacity) {
        const size_t len = ashlar_chan_len(c);
        ASSERT_EQ(c.try_send(next++), ASHLAR_CHAN_OK);
        ASSERT_EQ(ashlar_chan_len(c), len + 1);
      }
      ASSERT_EQ(c.try_send(0), ASHLAR_CHAN_NOT_READY);
      for (size_t n = lap % 2 == 0 ? capacity : capacity / 2 + 1; n > 0; --n) {
        uint64_t v = 0;
        ASSERT_EQ(c.try_recv(v), ASHLAR_CHAN_OK);
        ASSERT_EQ(v, expected++);
      }
    }
    uint64_t v = 0;
    while (c.try_recv(v) == ASHLAR_CHAN_OK) ASSERT_EQ(v, expected++);
    EXPECT_EQ(next, expected);
  }
}

TEST(ChanRing, elements_of_every_size_arrive_whole) {
  for (const size_t size : {1, 2, 3, 4, 7, 8, 12, 16, 24, 48, 49, 64, 100, 1000, 5000}) {
    for (const size_t capacity : {size_t{0}, size_t{1}, size_t{5}}) {
      const Watchdog watchdog(kChanWatchdogSeconds);
      ashlar_chan* c = ashlar_newchan(size, 1, capacity);
      std::thread sender([&] {
        std::vector<uint8_t> bytes(size);
        for (uint64_t i = 0; i < 20; ++i) {
          fill(bytes.data(), size, i);
          ASSERT_EQ(ashlar_chan_send(c, bytes.data()), ASHLAR_CHAN_OK);
        }
      });
      std::vector<uint8_t> bytes(size + 2, 0xee);
      for (uint64_t i = 0; i < 20; ++i) {
        ASSERT_EQ(ashlar_chan_recv(c, bytes.data() + 1), ASHLAR_CHAN_OK);
        ASSERT_TRUE(holds(bytes.data() + 1, size, i)) << size << " bytes, capacity " << capacity;
        ASSERT_TRUE(bytes[0] == 0xee && bytes[size + 1] == 0xee);
      }
      sender.join();
      ashlar_chan_unref(c);
    }
  }
}

TEST(ChanZero, capacity_counts_without_a_buffer) {
  ashlar_chan* c = ashlar_newchan(0, 1, 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ashlar_chan_try_send(c, nullptr), ASHLAR_CHAN_OK);
  EXPECT_EQ(ashlar_chan_len(c), 3u);
  EXPECT_EQ(ashlar_chan_try_send(c, nullptr), ASHLAR_CHAN_NOT_READY);
  EXPECT_EQ(ashlar_chan_recv(c, nullptr), ASHLAR_CHAN_OK);
  EXPECT_EQ(ashlar_chan_close(c), ASHLAR_CHAN_OK);
  EXPECT_EQ(ashlar_chan_send(c, nullptr), ASHLAR_CHAN_CLOSED);
  EXPECT_EQ(ashlar_chan_recv(c, nullptr), ASHLAR_CHAN_OK);
  EXPECT_EQ(ashlar_chan_recv(c, nullptr), ASHLAR_CHAN_OK);
  EXPECT_EQ(ashlar_chan_recv(c, nullptr), ASHLAR_CHAN_CLOSED);
  ashlar_chan_unref(c);
  c = ashlar_newchan(0, 1, (size_t{1} << 62) - 1);
  size_t done = 0;
  EXPECT_EQ(ashlar_chan_send_n(c, nullptr, size_t{1} << 61, &done, 0), ASHLAR_CHAN_OK);
  EXPECT_EQ(done, size_t{1} << 61);
  EXPECT_EQ(ashlar_chan_len(c), size_t{1} << 61);
  ashlar_chan_unref(c);
}

// Every operation on a closed channel, empty or not, for every flavour.
TEST(ChanClosed, matrix) {
  for (const size_t capacity : kCapacities) {
    for (const bool is_drained : {true, false}) {
      if (capacity == 0 && !is_drained) continue;
      Words c(capacity);
      EXPECT_EQ(ashlar_chan_is_closed(c), 0);
      if (!is_drained) {
        ASSERT_EQ(c.send(7), ASHLAR_CHAN_OK);
      }
      EXPECT_EQ(c.close(), ASHLAR_CHAN_OK);
      EXPECT_EQ(c.close(), ASHLAR_CHAN_INVALID);
      EXPECT_EQ(ashlar_chan_is_closed(c), 1);
      uint64_t v = 42;
      EXPECT_EQ(c.send(1), ASHLAR_CHAN_CLOSED);
      EXPECT_EQ(c.try_send(1), ASHLAR_CHAN_CLOSED);
      EXPECT_EQ(ashlar_chan_send_until(c, &v, in_ms(1)), ASHLAR_CHAN_CLOSED);
      size_t done = 9;
      EXPECT_EQ(ashlar_chan_send_n(c, &v, 1, &done, ASHLAR_CHAN_NEVER), ASHLAR_CHAN_CLOSED);
      EXPECT_EQ(done, 0u);
      size_t chosen = 9;
      const ashlar_chan_case send_case = {c, &v, ASHLAR_CHAN_SEND};
      EXPECT_EQ(ashlar_chan_select(&send_case, 1, &chosen), ASHLAR_CHAN_CLOSED);
      EXPECT_EQ(chosen, 0u);
      EXPECT_EQ(ashlar_chan_len(c), is_drained ? 0u : 1u);
      if (!is_drained) {
        EXPECT_EQ(c.recv(v), ASHLAR_CHAN_OK);
        EXPECT_EQ(v, 7u);
        v = 42;
      }
      EXPECT_EQ(c.recv(v), ASHLAR_CHAN_CLOSED);
      EXPECT_EQ(c.try_recv(v), ASHLAR_CHAN_CLOSED);
      EXPECT_EQ(ashlar_chan_recv_until(c, &v, in_ms(1)), ASHLAR_CHAN_CLOSED);
      EXPECT_EQ(ashlar_chan_recv_n(c, &v, 1, &done, ASHLAR_CHAN_NEVER), ASHLAR_CHAN_CLOSED);
      const ashlar_chan_case recv_case = {c, &v, ASHLAR_CHAN_RECV};
      EXPECT_EQ(ashlar_chan_try_select(&recv_case, 1, &chosen), ASHLAR_CHAN_CLOSED);
      EXPECT_EQ(v, 42u) << "a closed channel left the element alone";
    }
  }
}

// close reaches those who wait: receivers of an empty channel, senders of a full one, selects of both.
TEST(ChanClosed, wakes_everybody_who_waits) {
  for (const size_t capacity : kCapacities) {
    for (const bool are_senders : {false, true}) {
      const Watchdog watchdog(kChanWatchdogSeconds);
      Words c(capacity);
      for (size_t i = 0; are_senders && i < capacity; ++i) ASSERT_EQ(c.send(i), ASHLAR_CHAN_OK);
      constexpr size_t kThreads = 6;
      std::atomic<int> closed{0};
      std::vector<std::thread> threads;
      for (size_t i = 0; i < kThreads; ++i) {
        threads.emplace_back([&, i] {
          uint64_t v = 1;
          ashlar_chan_status status = ASHLAR_CHAN_OK;
          const ashlar_chan_case one = {c, &v, are_senders ? ASHLAR_CHAN_SEND : ASHLAR_CHAN_RECV};
          switch (i % 3) {
            case 0:
              status = are_senders ? c.send(1) : c.recv(v);
              break;
            case 1:
              status = are_senders ? ashlar_chan_send_until(c, &v, in_ms(600'000))
                                   : ashlar_chan_recv_until(c, &v, in_ms(600'000));
              break;
            default:
              status = ashlar_chan_select(&one, 1, nullptr);
          }
          if (status == ASHLAR_CHAN_CLOSED) ++closed;
        });
      }
      until_parked(c, kThreads);
      EXPECT_EQ(c.close(), ASHLAR_CHAN_OK);
      for (auto& t : threads) t.join();
      EXPECT_EQ(closed.load(), static_cast<int>(kThreads));
      EXPECT_EQ(ashlar_chan_len(c), are_senders ? capacity : 0) << "what had been sent stays";
    }
  }
}

TEST(ChanNull, matrix) {
  uint64_t v = 3;
  size_t done = 0;
  size_t chosen = 0;
  EXPECT_EQ(ashlar_chan_try_send(nullptr, &v), ASHLAR_CHAN_NOT_READY);
  EXPECT_EQ(ashlar_chan_try_recv(nullptr, &v), ASHLAR_CHAN_NOT_READY);
  EXPECT_EQ(ashlar_chan_send_until(nullptr, &v, in_ms(3)), ASHLAR_CHAN_TIMEOUT);
  EXPECT_EQ(ashlar_chan_recv_until(nullptr, &v, in_ms(3)), ASHLAR_CHAN_TIMEOUT);
  EXPECT_EQ(ashlar_chan_send_n(nullptr, &v, 1, &done, in_ms(1)), ASHLAR_CHAN_TIMEOUT);
  EXPECT_EQ(ashlar_chan_recv_n(nullptr, &v, 1, &done, in_ms(1)), ASHLAR_CHAN_TIMEOUT);
  EXPECT_EQ(ashlar_chan_close(nullptr), ASHLAR_CHAN_INVALID);
  EXPECT_EQ(ashlar_chan_is_closed(nullptr), 0);
  EXPECT_EQ(ashlar_chan_len(nullptr), 0u);
  EXPECT_EQ(ashlar_chan_cap(nullptr), 0u);
  EXPECT_EQ(ashlar_chan_ref(nullptr), nullptr);
  ashlar_chan_unref(nullptr);
  Words c(1);
  const ashlar_chan_case cases[] = {
      {nullptr, &v, ASHLAR_CHAN_RECV}, {nullptr, &v, ASHLAR_CHAN_SEND}, {c, &v, ASHLAR_CHAN_SEND}};
  EXPECT_EQ(ashlar_chan_try_select(cases, 2, &chosen), ASHLAR_CHAN_NOT_READY);
  EXPECT_EQ(ashlar_chan_select_until(cases, 2, &chosen, in_ms(2)), ASHLAR_CHAN_TIMEOUT);
  EXPECT_EQ(ashlar_chan_try_select(nullptr, 0, &chosen), ASHLAR_CHAN_NOT_READY);
  EXPECT_EQ(ashlar_chan_select_until(nullptr, 0, &chosen, in_ms(2)), ASHLAR_CHAN_TIMEOUT);
  EXPECT_EQ(ashlar_chan_select(cases, 3, &chosen), ASHLAR_CHAN_OK);
  EXPECT_EQ(chosen, 2u);
}

// It really blocks: the threads are seen parked on the null channel, and stay there.
TEST(ChanNull, blocks_for_ever) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    std::vector<std::thread> threads;
    threads.emplace_back([] { ashlar_chan_send(nullptr, nullptr); });
    threads.emplace_back([] { ashlar_chan_recv(nullptr, nullptr); });
    threads.emplace_back([] { ashlar_chan_select(nullptr, 0, nullptr); });
    until_parked(nullptr, 3);
    usleep(20'000);
    _exit(parked(nullptr) == 3 ? 17 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 17);
}

TEST(ChanTimeout, passes_and_leaves_nothing_behind) {
  for (const size_t capacity : kCapacities) {
    Words c(capacity);
    uint64_t v = 5;
    const uint64_t begin = ashlar_chan_now();
    EXPECT_EQ(ashlar_chan_recv_until(c, &v, begin + 5 * kMs), ASHLAR_CHAN_TIMEOUT);
    EXPECT_GE(ashlar_chan_now(), begin + 5 * kMs);
    for (size_t i = 0; i < capacity; ++i) ASSERT_EQ(c.send(i), ASHLAR_CHAN_OK);
    EXPECT_EQ(ashlar_chan_send_until(c, &v, in_ms(3)), ASHLAR_CHAN_TIMEOUT);
    EXPECT_EQ(ashlar_chan_send_until(c, &v, 0), ASHLAR_CHAN_TIMEOUT) << "long ago";
    EXPECT_EQ(ashlar_chan_len(c), capacity);
    EXPECT_EQ(parked(c), 0u);
    for (size_t i = 0; i < capacity; ++i) {
      ASSERT_EQ(ashlar_chan_recv_until(c, &v, 0), ASHLAR_CHAN_OK) << "one attempt is made";
      ASSERT_EQ(v, i);
    }
  }
}

TEST(ChanBatch, moves_what_is_there_in_one_claim) {
  Words c(10);
  uint64_t in[20];
  uint64_t out[20] = {};
  for (uint64_t i = 0; i < 20; ++i) in[i] = i;
  size_t done = 0;
  EXPECT_EQ(ashlar_chan_send_n(c, in, 0, &done, ASHLAR_CHAN_NEVER), ASHLAR_CHAN_OK);
  EXPECT_EQ(done, 0u);
  EXPECT_EQ(ashlar_chan_send_n(c, in, 7, &done, ASHLAR_CHAN_NEVER), ASHLAR_CHAN_OK);
  EXPECT_EQ(done, 7u);
  EXPECT_EQ(ashlar_chan_send_n(c, in + 7, 13, &done, ASHLAR_CHAN_NEVER), ASHLAR_CHAN_OK);
  EXPECT_EQ(done, 3u) << "there was room for three";
  EXPECT_EQ(ashlar_chan_send_n(c, in + 10, 1, &done, in_ms(2)), ASHLAR_CHAN_TIMEOUT);
  EXPECT_EQ(done, 0u);
  EXPECT_EQ(ashlar_chan_recv_n(c, out, 4, &done, ASHLAR_CHAN_NEVER), ASHLAR_CHAN_OK);
  EXPECT_EQ(done, 4u);
  EXPECT_EQ(ashlar_chan_send_n(c, in + 10, 10, &done, ASHLAR_CHAN_NEVER), ASHLAR_CHAN_OK);
  EXPECT_EQ(done, 4u) << "across the end of the buffer";
  EXPECT_EQ(ashlar_chan_recv_n(c, out + 4, 16, &done, ASHLAR_CHAN_NEVER), ASHLAR_CHAN_OK);
  EXPECT_EQ(done, 10u);
  for (uint64_t i = 0; i < 14; ++i) EXPECT_EQ(out[i], i);
  EXPECT_EQ(ashlar_chan_recv_n(c, out, 16, &done, in_ms(2)), ASHLAR_CHAN_TIMEOUT);
}

TEST(ChanBatch, waits_for_the_first_and_meets_at_capacity_0) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  for (const size_t capacity : kCapacities) {
    Words c(capacity);
    constexpr size_t kCount = 1000;
    std::thread sender([&] {
      uint64_t in[kCount];
      for (uint64_t i = 0; i < kCount; ++i) in[i] = i;
      size_t done = 0;
      for (size_t at = 0; at < kCount; at += done) {
        ASSERT_EQ(ashlar_chan_send_n(c, in + at, kCount - at < 7 ? kCount - at : 7, &done, ASHLAR_CHAN_NEVER),
                  ASHLAR_CHAN_OK);
        ASSERT_GT(done, 0u);
      }
      c.close();
    });
    uint64_t out[16];
    size_t done = 0;
    uint64_t expected = 0;
    while (ashlar_chan_recv_n(c, out, 16, &done, ASHLAR_CHAN_NEVER) == ASHLAR_CHAN_OK) {
      ASSERT_GT(done, 0u);
      for (size_t i = 0; i < done; ++i) ASSERT_EQ(out[i], expected++);
    }
    EXPECT_EQ(expected, kCount);
    sender.join();
  }
}

// Who waits is woken in the order of coming: senders' values arrive in that order.
TEST(ChanOrder, waiters_are_first_come_first_woken) {
  for (const size_t capacity : kCapacities) {
    const Watchdog watchdog(kChanWatchdogSeconds);
    Words c(capacity);
    for (size_t i = 0; i < capacity; ++i) ASSERT_EQ(c.send(1000), ASHLAR_CHAN_OK);
    constexpr size_t kThreads = 8;
    std::vector<std::thread> threads;
    for (size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] { ASSERT_EQ(c.send(i), ASHLAR_CHAN_OK); });
      until_parked(c, i + 1);
    }
    usleep(5000);  // nobody is lazy any more
    uint64_t v = 0;
    for (size_t i = 0; i < capacity; ++i) {
      ASSERT_EQ(c.recv(v), ASHLAR_CHAN_OK);
      ASSERT_EQ(v, 1000u);
      // One slot is free, one waiter gets it: wait for it, so that the next cannot come before it.
      if (i < kThreads) until([&] { return parked(c) == kThreads - i - 1 && ashlar_chan_len(c) == capacity; });
    }
    for (size_t i = 0; i < kThreads; ++i) {
      ASSERT_EQ(c.recv(v), ASHLAR_CHAN_OK);
      EXPECT_EQ(v, i) << "capacity " << capacity;
      const size_t left = kThreads > capacity + i + 1 ? kThreads - capacity - i - 1 : 0;
      until([&] { return parked(c) == left; });
      if (capacity != 0 && left != 0) until([&] { return ashlar_chan_len(c) == capacity; });
    }
    for (auto& t : threads) t.join();
  }
}

// Whatever the sides knew of each other before.
TEST(ChanC, batches_of_all_sizes_take_all_that_is_there) {
  for (const size_t size : {0, 1, 8}) {
    ashlar_chan* c = ashlar_newchan(size, 0, 8);
    char room[64] = {};
    size_t done = 0;
    for (int i = 0; i < 2; ++i) ASSERT_EQ(ASHLAR_CHAN_OK, ashlar_chan_send(c, room));
    ASSERT_EQ(ASHLAR_CHAN_OK, ashlar_chan_recv(c, room));
    for (int i = 0; i < 6; ++i) ASSERT_EQ(ASHLAR_CHAN_OK, ashlar_chan_send(c, room));
    ASSERT_EQ(7U, ashlar_chan_len(c));
    EXPECT_EQ(ASHLAR_CHAN_OK, ashlar_chan_recv_n(c, room, 8, &done, 0));
    EXPECT_EQ(7U, done) << "elements of " << size;
    for (int i = 0; i < 8; ++i) ASSERT_EQ(ASHLAR_CHAN_OK, ashlar_chan_send(c, room));
    for (int i = 0; i < 3; ++i) ASSERT_EQ(ASHLAR_CHAN_OK, ashlar_chan_recv(c, room));
    ASSERT_EQ(ASHLAR_CHAN_OK, ashlar_chan_send(c, room));
    for (int i = 0; i < 5; ++i) ASSERT_EQ(ASHLAR_CHAN_OK, ashlar_chan_recv(c, room));
    EXPECT_EQ(ASHLAR_CHAN_OK, ashlar_chan_send_n(c, room, 8, &done, 0));
    EXPECT_EQ(7U, done) << "elements of " << size;
    ashlar_chan_unref(c);
  }
}

}  // namespace
}  // namespace ashlar_test
