// SPDX-License-Identifier: MIT
//
// chan_cxx_test.cc - ashlar::chan<T>: elements that are no bytes, exceptions, ranges, ends, select.
#include <stdexcept>

#include "test/chan/chan_util.h"

namespace ashlar_test {
namespace {

using namespace std::chrono_literals;

// Counts those alive; move-only.
struct Counted {
  static inline std::atomic<long> alive{0};
  static inline std::atomic<long> worth{0};  // moved-from ones are worth nothing
  uint64_t value = 0;
  bool has_value = false;
  explicit Counted(uint64_t v) : value(v), has_value(true) {
    ++alive;
    ++worth;
  }
  Counted(Counted&& other) noexcept : value(other.value), has_value(other.has_value) {
    ++alive;
    other.has_value = false;
  }
  Counted& operator=(Counted&&) = delete;
  ~Counted() {
    --alive;
    if (has_value) --worth;
  }
};

TEST(ChanCxx, drops_undelivered_elements_exactly_once) {
  for (const size_t capacity : kCapacities) {
    const Watchdog watchdog(kChanWatchdogSeconds);
    ASSERT_EQ(Counted::alive, 0);
    {
      const ashlar::chan<Counted> c(capacity);
      for (size_t i = 0; i < capacity; ++i) c.send(Counted(i));
      EXPECT_EQ(Counted::worth, static_cast<long>(capacity));
      Counted kept(99);
      // NOLINTBEGIN(bugprone-use-after-move): that it was not moved is what is tested
      EXPECT_FALSE(c.try_send(std::move(kept)));
      EXPECT_TRUE(kept.has_value) << "the value stays with the caller";
      EXPECT_FALSE(c.send_until(std::move(kept), 1ms));
      EXPECT_TRUE(kept.has_value);
      if (capacity > 1) {
        EXPECT_EQ(c.recv()->value, 0u);
      }
      c.close();
      EXPECT_THROW(c.send(std::move(kept)), ashlar::closed_channel);
      EXPECT_TRUE(kept.has_value);
      EXPECT_THROW(c.close(), ashlar::closed_channel);
      // NOLINTEND(bugprone-use-after-move)
      const ashlar::receiver<Counted> another = c;  // a share
      EXPECT_TRUE(another.get() == c.get());
    }
    EXPECT_EQ(Counted::alive, 0) << "capacity " << capacity;
    EXPECT_EQ(Counted::worth, 0);
  }
}

TEST(ChanCxx, drops_under_load) {
  for (const size_t capacity : kCapacities) {
    const Watchdog watchdog(kChanWatchdogSeconds);
    {
      const ashlar::chan<Counted> c(capacity);
      std::atomic<uint64_t> sum{0};
      std::vector<std::thread> threads;
      for (int t = 0; t < 3; ++t) {
        threads.emplace_back([c] {
          try {
            for (uint64_t i = 0;; ++i) c.send(Counted(i));
          } catch (const ashlar::closed_channel&) {
          }
        });
        threads.emplace_back([&, c] {
          for (size_t i = 0; i < rounds(20'000); ++i) sum += c.recv()->value;
        });
      }
      for (size_t i = 1; i < threads.size(); i += 2) threads[i].join();
      c.close();
      for (size_t i = 0; i < threads.size(); i += 2) threads[i].join();
    }
    EXPECT_EQ(Counted::alive, 0) << "capacity " << capacity;
  }
}

TEST(ChanCxx, move_only_and_strings_and_range_for) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  for (const size_t capacity : kCapacities) {
    const ashlar::chan<std::unique_ptr<std::string>> c(capacity);
    std::thread sender([c] {
      for (int i = 0; i < 200; ++i) c.send(std::make_unique<std::string>(std::to_string(i)));
      c.close();
    });
    int expected = 0;
    for (const auto& s : c) EXPECT_EQ(*s, std::to_string(expected++));
    EXPECT_EQ(expected, 200);
    sender.join();
    const ashlar::chan<std::string> strings(2);
    const std::string text = "short";
    strings.send(text);
    EXPECT_TRUE(strings.try_send(std::string(100, 'x')));
    EXPECT_EQ(*strings.recv(), "short");
    EXPECT_EQ(strings.recv()->size(), 100u);
    EXPECT_FALSE(strings.try_recv().has_value());
    EXPECT_FALSE(strings.recv_until(1ms).has_value());
  }
}

TEST(ChanCxx, ends_share_the_channel) {
  const ashlar::chan<int> c(2);
  const ashlar::sender<int> to = c;
  const ashlar::receiver<int> from = c;
  to.send(1);
  EXPECT_EQ(from.recv(), 1);
  EXPECT_FALSE(from.is_closed());
  to.close();
  EXPECT_TRUE(from.is_closed() && to.is_closed());
  EXPECT_FALSE(from.recv().has_value());
  const ashlar::chan<int> null;
  EXPECT_FALSE(null);
  EXPECT_FALSE(null.try_send(1));
  EXPECT_FALSE(null.try_recv().has_value());
  EXPECT_THROW(null.close(), ashlar::closed_channel);
}

TEST(ChanCxx, too_large_throws) {
  EXPECT_THROW(ashlar::chan<long>(opaque(SIZE_MAX / 4)), std::length_error);
  EXPECT_THROW(ashlar::chan<long>(opaque(size_t{1} << 50)), std::bad_alloc);
}

struct Empty {};
TEST(ChanCxx, an_empty_class_takes_no_buffer) {
  const ashlar::chan<Empty> c(1000);
  EXPECT_EQ(ashlar_chan_element_size(c.get()), 0u);
  c.send(Empty{});
  EXPECT_EQ(c.len(), 1u);
  EXPECT_TRUE(c.recv().has_value());
}

struct alignas(256) Wide {
  uint64_t value;
};
TEST(ChanCxx, alignment_is_kept) {
  const ashlar::chan<Wide> c(3);
  c.send(Wide{4});
  const auto got = c.recv();
  EXPECT_TRUE(is_aligned(&*got, 256));
  EXPECT_EQ(got->value, 4u);
}

TEST(ChanCxx, channel_through_channel) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  using Inner = ashlar::chan<int>;
  for (const size_t capacity : kCapacities) {
    const ashlar::chan<Inner> outer(capacity);
    std::thread server([outer] {
      int n = 0;
      for (Inner& reply : outer) reply.send(n++);
    });
    for (int i = 0; i < 500; ++i) {
      Inner reply(i % 2);
      outer.send(Inner(reply));
      EXPECT_EQ(reply.recv(), i);
    }
    outer.close();
    server.join();
  }
  // Undelivered channels are freed with the one that holds them.
  const ashlar_memstats before = stats();
  {
    const ashlar::chan<Inner> outer(4);
    for (int i = 0; i < 4; ++i) outer.send(Inner(100));
  }
  expect_nothing_left(before);
}

TEST(ChanCxx, select_sends_receives_defaults_and_deadlines) {
  const ashlar::chan<std::string> a(1), b(1);
  std::string out = "text";
  std::string got;
  const auto take = [&](std::optional<std::string> s) { got = s ? *s : "closed"; };
  EXPECT_EQ(ashlar::select(ashlar::on_recv(b, take), ashlar::on_send(a, out, [&] { got = "sent"; })), 1u);
  EXPECT_EQ(got, "sent");
  EXPECT_EQ(ashlar::select(ashlar::on_recv(b, take), ashlar::on_default([&] { got = "default"; })), 1u);
  EXPECT_EQ(got, "default");
  EXPECT_EQ(ashlar::select(ashlar::on_recv(a, take), ashlar::on_recv(b, take)), 0u);
  EXPECT_EQ(got, "text");
  EXPECT_EQ(ashlar::select(ashlar::on_deadline(2ms, [&] { got = "late"; }), ashlar::on_recv(a, take)), 0u);
  EXPECT_EQ(got, "late");
  b.close();
  EXPECT_EQ(ashlar::select(ashlar::on_recv(a, take), ashlar::on_recv(b, take)), 1u);
  EXPECT_EQ(got, "closed");
  EXPECT_THROW(ashlar::select(ashlar::on_send(b, out, [] {})), ashlar::closed_channel);
}

// The sieve of Eratosthenes of the Go tests: a chain of filters, every one a thread and two channels.
TEST(ChanCxx, sieve) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  for (const size_t capacity : {size_t{0}, size_t{1}, size_t{8}}) {
    std::vector<std::thread> threads;
    ashlar::chan<int> numbers(capacity);
    threads.emplace_back([numbers] {
      for (int i = 2; i < 200; ++i) numbers.send(i);
      numbers.close();
    });
    std::vector<int> primes;
    while (auto prime = numbers.recv()) {
      primes.push_back(*prime);
      ashlar::chan<int> rest(capacity);
      threads.emplace_back([numbers, rest, p = *prime] {
        for (const int i : numbers) {
          if (i % p != 0) rest.send(i);
        }
        rest.close();
      });
      numbers = rest;
    }
    for (auto& t : threads) t.join();
    ASSERT_EQ(primes.size(), 46u);
    EXPECT_EQ(primes.front(), 2);
    EXPECT_EQ(primes.back(), 199);
  }
}

// Durations that no clock reaches are "for ever"; and those that have passed long ago, "not at all".
template <class Duration>
void wait_long(Duration for_ever) {
  const ashlar::chan<int> c(1);
  std::thread other([c] {
    std::this_thread::sleep_for(5ms);
    c.send(7);
  });
  EXPECT_EQ(c.recv_until(for_ever), std::optional<int>(7));
  other.join();
  EXPECT_EQ(c.recv_until(-for_ever), std::nullopt);
}
TEST(ChanCxx, durations_beyond_the_clock) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  wait_long(std::chrono::nanoseconds::max());
  wait_long(std::chrono::microseconds::max());
  wait_long(std::chrono::seconds::max());
  wait_long(std::chrono::hours::max());
  wait_long(std::chrono::hours(24 * 365 * 300));
  wait_long(std::chrono::hours(24 * 365 * 99));
  wait_long(std::chrono::duration<double>(1e300));
}

// What may be an element: neither assigned, nor made by the usual new, and its address is not what & says.
struct Awkward {
  const int id;
  explicit Awkward(int n) : id(n) {}
  Awkward(const Awkward&) = default;
  static void* operator new(size_t) = delete;
  Awkward* operator&() const { return nullptr; }  // NOLINT(google-runtime-operator)
  ~Awkward() {}                                   // NOLINT(modernize-use-equals-default): no plain bytes
};
TEST(ChanCxx, awkward_elements) {
  const Watchdog watchdog(kChanWatchdogSeconds);
  const ashlar::chan<Awkward> c(3);
  Awkward first(1);
  EXPECT_TRUE(c.send_until(first, 1ms));
  EXPECT_EQ(0u, ashlar::select(ashlar::on_send(c, first, [] {})));
  c.send(Awkward(1));
  c.close();
  int sum = 0;
  for (const Awkward& a : c) sum += a.id;
  EXPECT_EQ(3, sum);
}

TEST(ChanCxx, an_lvalue_is_sent_until_a_time) {
  const ashlar::chan<int> c(1);
  const int value = 5;
  EXPECT_TRUE(c.send_until(value, 1ms));
  EXPECT_FALSE(c.send_until(value, 1ms));
  EXPECT_EQ(5, c.recv());
}

}  // namespace
}  // namespace ashlar_test
