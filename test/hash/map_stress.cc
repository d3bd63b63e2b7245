// SPDX-License-Identifier: MIT
//
// map_stress.cc - hash_map under many threads: nothing is lost, doubled or torn; histories are linearizable key by key;
// a thread that stops anywhere stops nobody; fork.
//
// The platform of these tests yields, or sleeps, before compare-and-exchanges; migration chunks are of one unit.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <compare>
#include <set>
#include <thread>
#include <vector>

#include "hash/hash_map.h"
#include "test/alloc/stress_util.h"

namespace ashlar_test {
namespace {

using ashlar::hash_map;
using ashlar::hash_core::Word;

/// What ships, with yields at random before compare-and-exchanges.
struct YieldingPlatform : ashlar::hash_core::Platform {
  static constexpr uint64_t kChunkUnits = 1;
  static constexpr uint64_t kAtOnceUnits = 0;
  static constexpr unsigned kPatience = 0;  // a bucket that is being filled is overtaken at once
  static inline std::atomic<unsigned> one_in{8};
  static inline std::atomic<int> stop_at{-1};  // the step number at which a thread with `may_stop` stops for good
  static inline std::atomic<bool> stopped{false}, go_on{false};
  static inline thread_local bool may_stop = false;
  static inline thread_local uint64_t random = 0;
  static inline thread_local int steps = 0;

  static void step() noexcept {
    if (may_stop && steps++ == stop_at.load(std::memory_order_relaxed)) {
      stopped = true;
      while (!go_on) usleep(200);
    }
    random = random * 6364136223846793005u + 1442695040888963407u + ashlar_epoch_self->number;
    const unsigned n = one_in.load(std::memory_order_relaxed);
    if (n != 0 && (random >> 33) % n == 0) sched_yield();
  }
};

template <class K, class V>
using YieldingMap = hash_map<K, V, ashlar::hash<K>, std::equal_to<K>, YieldingPlatform>;

uint64_t operations() {
  const char* text = getenv("ASHLAR_STRESS_OPS");
  return text != nullptr ? strtoull(text, nullptr, 10) : getenv("TEST_EMULATED") != nullptr ? 40'000 : 2'000'000;
}

// Each thread owns the keys congruent to it, knows what they must hold, and looks at those of others for torn values.
template <class Map>
void own_and_check(uint64_t seed, unsigned threads, uint64_t total) {
  Map map;
  constexpr uint64_t kKeys = 200;  // a thread
  std::atomic<uint64_t> bad{0};
  std::atomic<uint64_t> expected_size{0};
  std::vector<std::thread> workers;
  for (unsigned t = 0; t < threads; ++t) {
    workers.emplace_back([&, t] {
      Rng rng(seed + t);
      std::vector<uint64_t> mine(kKeys);  // 0: not there
      const auto value_of = [](uint64_t key, uint64_t n) { return key << 32 | (n & 0xffffffff); };
      uint64_t size = 0;
      for (uint64_t i = 1; i <= total / threads; ++i) {
        // Waves: the map grows and shrinks again and again.
        const bool wave = (i / 2000) % 2 == 0;
        const uint64_t k = rng.below(kKeys), key = k * threads + t, fresh = value_of(key, i);
        switch (rng.below(8)) {
          case 0:
          case 1:
            if (map.insert(key, fresh) != (mine[k] == 0)) ++bad;
            if (mine[k] == 0) {
              mine[k] = fresh;
              ++size;
            }
            break;
          case 2:
            if (map.insert_or_assign(key, fresh) != (mine[k] == 0)) ++bad;
            size += mine[k] == 0 ? 1 : 0;
            mine[k] = fresh;
            break;
          case 3:
            if (map.compare_exchange(key, mine[k], fresh) != (mine[k] != 0)) ++bad;
            if (mine[k] != 0) mine[k] = fresh;
            break;
          case 4:
            if (wave) break;
            [[fallthrough]];
          case 5: {
            const std::optional<uint64_t> old = map.erase(key);
            if (old.value_or(0) != mine[k]) ++bad;
            size -= mine[k] != 0 ? 1 : 0;
            mine[k] = 0;
            break;
          }
          case 6: {
            const uint64_t other = rng.below(kKeys * threads);
            const std::optional<uint64_t> found = map.find(other);
            if (found.has_value() && *found >> 32 != other) ++bad;
            break;
          }
          default:
            if (map.find(key).value_or(0) != mine[k]) ++bad;
        }
      }
      for (uint64_t k = 0; k < kKeys; ++k) {
        if (map.find(k * threads + t).value_or(0) != mine[k]) ++bad;
      }
      expected_size += size;
    });
  }
  for (std::thread& w : workers) w.join();
  EXPECT_EQ(0u, bad.load());
  EXPECT_EQ(expected_size.load(), map.size());
  uint64_t met = 0;
  map.for_each([&](uint64_t, uint64_t) { ++met; });
  EXPECT_EQ(expected_size.load(), met);
  map.clear();
  EXPECT_EQ(0u, map.size());
}

TEST(MapStress, sixty_four_threads_lose_and_double_nothing) {
  const Watchdog watchdog(250);
  own_and_check<hash_map<uint64_t, uint64_t>>(announce_seed(), 64, operations());
}

TEST(MapStress, with_yields_at_every_exchange_and_buckets_overtaken) {
  const Watchdog watchdog(250);
  const uint64_t seed = announce_seed();
  YieldingPlatform::one_in = 4;
  own_and_check<YieldingMap<uint64_t, uint64_t>>(seed, 8, operations() / 8);
  YieldingPlatform::one_in = 1;
  own_and_check<YieldingMap<uint64_t, uint64_t>>(seed + 1, 4, operations() / 16);
}

TEST(MapStress, entries_in_blocks_are_never_torn_nor_freed_early) {
  const Watchdog watchdog(250);
  const uint64_t seed = announce_seed();
  YieldingMap<std::string, std::string> map;
  YieldingPlatform::one_in = 8;
  std::atomic<uint64_t> bad{0};
  std::vector<std::thread> workers;
  for (unsigned t = 0; t < 8; ++t) {
    workers.emplace_back([&, t] {
      Rng rng(seed + t);
      for (uint64_t i = 0; i < operations() / 40; ++i) {
        const std::string key = "a key that does not fit into a string object: " + std::to_string(rng.below(300));
        switch (rng.below(4)) {
          case 0:
            map.insert_or_assign(key, key + "/" + std::to_string(i));
            break;
          case 1:
            map.erase(key);
            break;
          default:
            map.visit(key, [&](const std::string& value) {
              if (value.compare(0, key.size() + 1, key + "/") != 0) ++bad;
            });
        }
      }
    });
  }
  for (std::thread& w : workers) w.join();
  EXPECT_EQ(0u, bad.load());
}

TEST(MapStress, counters_add_up) {
  const Watchdog watchdog(250);
  YieldingMap<uint64_t, uint64_t> map;
  YieldingPlatform::one_in = 8;
  constexpr unsigned kThreads = 8;
  const uint64_t each = operations() / 40;
  std::vector<std::thread> workers;
  for (unsigned t = 0; t < kThreads; ++t) {
    workers.emplace_back([&] {
      for (uint64_t i = 0; i < each; ++i)
        map.upsert(i % 7, [](const uint64_t* old) { return old == nullptr ? 1 : *old + 1; });
    });
  }
  for (std::thread& w : workers) w.join();
  uint64_t sum = 0;
  map.for_each([&](uint64_t, uint64_t n) { sum += n; });
  EXPECT_EQ(kThreads * each, sum);
}

TEST(MapStress, walks_meet_what_stays_exactly_once) {
  const Watchdog watchdog(250);
  YieldingMap<uint64_t, uint64_t> map;
  YieldingPlatform::one_in = 16;
  constexpr uint64_t kStay = 1000;
  for (uint64_t i = 0; i < kStay; ++i) map.insert(i, i);
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  for (unsigned t = 0; t < 3; ++t) {
    writers.emplace_back([&, t] {
      for (uint64_t round = 0; !stop; ++round) {
        for (uint64_t i = 0; i < 2000; ++i) map.insert(kStay + 3 * i + t, 1'000'000'000);
        for (uint64_t i = 0; i < 2000; ++i) map.erase(kStay + 3 * i + t);
        map.shrink_to_fit();
      }
    });
  }
  // On until tables have come and gone under the walks.
  for (int walk = 0; walk < 60 || map.statistics().growths < 10; ++walk) {
    std::vector<int> met(kStay);
    map.for_each([&](uint64_t key, uint64_t value) {
      if (key % 64 == 0) sched_yield();
      if (key < kStay)
        ++met[key];
      else
        ASSERT_EQ(1'000'000'000u, value);
    });
    for (const int times : met) ASSERT_EQ(1, times);
  }
  stop = true;
  for (std::thread& w : writers) w.join();
}

// ---- linearizability, key by key
// --------------------------------------------------------------------------------------

struct Event {
  uint64_t begin, end;  // of a shared clock
  enum Kind : uint8_t { kFind, kInsert, kErase, kAssign, kSwap } kind;
  bool success;  // found; inserted; erased; was new; swapped
  uint64_t in, in2, out;
};

/// What each thread did to one key, in its order.
using History = std::vector<std::vector<Event>>;

/// Whether `e` gives a right answer where the key's value is `*value` (0: not there); makes it what it is afterwards.
bool answers_right(const Event& e, uint64_t* value) {
  switch (e.kind) {
    case Event::kFind:
      return e.success == (*value != 0) && (!e.success || e.out == *value);
    case Event::kInsert: {
      const bool right = e.success == (*value == 0);
      if (e.success) *value = e.in;
      return right;
    }
    case Event::kAssign: {
      const bool right = e.success == (*value == 0);
      *value = e.in;
      return right;
    }
    case Event::kErase: {
      const bool right = e.success == (*value != 0) && (!e.success || e.out == *value);
      *value = 0;
      return right;
    }
    case Event::kSwap: {
      const bool right = e.success == (*value == e.in2 && *value != 0);
      if (e.success) *value = e.in;
      return right;
    }
  }
  return false;
}

/// Whether the events of one key can be put into an order that respects real time and in which each answer is right:
/// Wing and Gong's search, exact however many events overlap. Each thread's events are in order already, so what is
/// done is a number a thread, and with the value the whole state.
bool is_linearizable(const History& threads) {
  constexpr size_t kMostThreads = 4;
  struct State {
    std::array<size_t, kMostThreads> done;
    uint64_t value;
    auto operator<=>(const State&) const = default;
  };
  if (threads.size() > kMostThreads) abort();
  std::set<State> known;
  std::vector<State> stack{State{}};
  while (!stack.empty()) {
    const State state = stack.back();
    stack.pop_back();
    if (!known.insert(state).second) continue;
    uint64_t first_end = ~uint64_t{0};
    for (size_t t = 0; t < threads.size(); ++t) {
      if (state.done[t] < threads[t].size()) first_end = std::min(first_end, threads[t][state.done[t]].end);
    }
    if (first_end == ~uint64_t{0}) return true;  // all done
    // Pushed last, so tried first: what ended first, which is mostly how it was.
    std::vector<std::pair<uint64_t, State>> next_states;
    for (size_t t = 0; t < threads.size(); ++t) {
      if (state.done[t] == threads[t].size()) continue;
      const Event& e = threads[t][state.done[t]];
      State next = state;
      ++next.done[t];
      if (e.begin < first_end && answers_right(e, &next.value)) next_states.emplace_back(e.end, next);
    }
    std::sort(next_states.rbegin(), next_states.rend());
    for (const auto& [end, next] : next_states) stack.push_back(next);
  }
  return false;
}

TEST(Linearizability, the_checker_finds_what_is_wrong) {
  const Event insert{0, 1, Event::kInsert, true, 5, 0, 0}, lost{2, 3, Event::kFind, false, 0, 0, 0};
  EXPECT_FALSE(is_linearizable({{insert}, {lost}}));
  EXPECT_FALSE(is_linearizable({{insert, lost}}));
  const Event overlapping{0, 3, Event::kFind, false, 0, 0, 0};
  EXPECT_TRUE(is_linearizable({{insert}, {overlapping}}));
  const Event again{2, 3, Event::kInsert, true, 6, 0, 0};
  EXPECT_FALSE(is_linearizable({{insert}, {again}})) << "inserted twice";
  const Event stale{4, 5, Event::kFind, true, 0, 0, 5}, assign{2, 3, Event::kAssign, false, 7, 0, 0};
  EXPECT_FALSE(is_linearizable({{insert}, {assign}, {stale}}));
  const Event erased{2, 3, Event::kErase, true, 0, 0, 6};
  EXPECT_FALSE(is_linearizable({{insert}, {erased}})) << "erased another value";
}

TEST(Linearizability, the_checker_sees_to_the_end_of_what_overlaps) {
  // One thread's operation lasts throughout 500 of another's: all of it is one piece. The last answer is wrong, or not.
  History history{{{0, 5000, Event::kFind, false, 0, 0, 0}}, {}};
  for (uint64_t i = 0; i < 250; ++i) {
    history[1].push_back({10 * i + 1, 10 * i + 2, Event::kInsert, true, i + 1, 0, 0});
    history[1].push_back({10 * i + 3, 10 * i + 4, Event::kErase, true, 0, 0, i + 1});
  }
  EXPECT_TRUE(is_linearizable(history));
  history[1].back().out = 7;
  EXPECT_FALSE(is_linearizable(history));
}

/// Records what threads do to a few hot keys while others make the map grow and shrink all the time.
template <class Map>
void record_and_check(uint64_t seed, int rounds, bool breaks, uint64_t* violations) {
  constexpr unsigned kThreads = 3;
  constexpr uint64_t kKeys = 4;
  for (int round = 0; round < rounds; ++round) {
    Map map;
    std::atomic<uint64_t> clock{1};
    std::atomic<bool> stop{false};
    std::vector<std::vector<Event>> events(kThreads * kKeys);
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        Rng rng(seed + static_cast<uint64_t>(round) * 100 + t);
        uint64_t last[kKeys] = {};
        for (uint64_t i = 1; i <= 400; ++i) {
          const uint64_t key = rng.below(kKeys);
          Event e{};
          e.kind = static_cast<Event::Kind>(rng.below(5));
          e.in = (t + 1) * 1'000'000 + i;
          e.in2 = last[key];
          e.begin = clock.fetch_add(1);
          switch (e.kind) {
            case Event::kFind: {
              const std::optional<uint64_t> found = map.find(key);
              e.success = found.has_value();
              e.out = found.value_or(0);
              break;
            }
            case Event::kInsert:
              e.success = map.insert(key, e.in);
              break;
            case Event::kAssign:
              e.success = map.insert_or_assign(key, e.in);
              break;
            case Event::kErase: {
              const std::optional<uint64_t> old = map.erase(key);
              e.success = old.has_value();
              e.out = old.value_or(0);
              break;
            }
            case Event::kSwap:
              e.success = map.compare_exchange(key, e.in2, e.in);
              break;
          }
          if (breaks && e.kind == Event::kErase && rng.below(50) == 0) map.insert(key, e.in);  // an unrecorded write
          e.end = clock.fetch_add(1);
          if (e.kind == Event::kFind) last[key] = e.out;
          if (e.kind == Event::kInsert || e.kind == Event::kAssign) last[key] = e.in;
          events[t * kKeys + key].push_back(e);
        }
      });
    }
    std::thread mover([&] {
      for (uint64_t n = 0; !stop; ++n) {
        for (uint64_t i = 0; i < 40; ++i) map.insert(1000 + i, 1);
        for (uint64_t i = 0; i < 40; ++i) map.remove(1000 + i);
        map.shrink_to_fit();
      }
    });
    for (std::thread& t : threads) t.join();
    stop = true;
    mover.join();
    for (uint64_t key = 0; key < kKeys; ++key) {
      History all;
      for (unsigned t = 0; t < kThreads; ++t) all.push_back(events[t * kKeys + key]);
      if (!is_linearizable(all)) ++*violations;
    }
  }
}

TEST(Linearizability, histories_through_growth_and_shrinking) {
  const Watchdog watchdog(250);
  const uint64_t seed = announce_seed();
  uint64_t violations = 0;
  YieldingPlatform::one_in = 3;
  record_and_check<YieldingMap<uint64_t, uint64_t>>(seed, 60, false, &violations);
  EXPECT_EQ(0u, violations);
  record_and_check<hash_map<uint64_t, uint64_t>>(seed + 1, 60, false, &violations);
  EXPECT_EQ(0u, violations);
}

TEST(Linearizability, a_history_with_a_hidden_write_is_found) {
  uint64_t violations = 0;
  YieldingPlatform::one_in = 3;
  record_and_check<YieldingMap<uint64_t, uint64_t>>(7, 10, true, &violations);
  EXPECT_NE(0u, violations);
}

// ---- threads that stop, processes that fork
// ----------------------------------------------------------------------------

TEST(MapStress, a_thread_that_stops_at_any_exchange_stops_nobody) {
  const Watchdog watchdog(250);
  YieldingPlatform::one_in = 0;
  for (int at = 0; at < 120; ++at) {
    YieldingMap<uint64_t, uint64_t> map;
    for (uint64_t i = 0; i < 40; ++i) map.insert(i, i);
    YieldingPlatform::stopped = YieldingPlatform::go_on = false;
    YieldingPlatform::stop_at = at;
    std::atomic<bool> ended{false};
    std::thread victim([&] {
      YieldingPlatform::may_stop = true;
      YieldingPlatform::steps = 0;
      for (uint64_t i = 100; i < 160; ++i) map.insert(i, i);
      ended = true;
    });
    while (!YieldingPlatform::stopped && !ended) sched_yield();
    // It stands in an insert, perhaps in the middle of a migration. All others go on, and the map can grow and shrink.
    for (uint64_t i = 1000; i < 3000; ++i) ASSERT_TRUE(map.insert(i, i));
    for (uint64_t i = 0; i < 40; ++i) ASSERT_EQ(i, map.find(i).value());
    for (uint64_t i = 1000; i < 3000; ++i) ASSERT_EQ(i, map.erase(i).value());
    map.shrink_to_fit();
    ASSERT_LE(map.statistics().buckets, 64u) << "it shrank";
    for (uint64_t i = 0; i < 40; ++i) ASSERT_EQ(i, map.find(i).value());
    YieldingPlatform::go_on = true;
    victim.join();
    for (uint64_t i = 100; i < 160; ++i) ASSERT_EQ(i, map.find(i).value()) << at;
    ASSERT_EQ(100u, map.size());
  }
  YieldingPlatform::stop_at = -1;
}

TEST(MapStress, the_child_of_a_fork_can_use_the_map_whatever_others_were_at) {
  const Watchdog watchdog(250);
  YieldingPlatform::one_in = 4;
  YieldingMap<uint64_t, uint64_t> map;
  for (uint64_t i = 0; i < 500; ++i) map.insert(i, i);
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  for (unsigned t = 0; t < 3; ++t) {
    writers.emplace_back([&, t] {
      for (uint64_t n = 0; !stop; ++n) {
        for (uint64_t i = 0; i < 1000; ++i) map.insert(1000 + 3 * i + t, i);
        for (uint64_t i = 0; i < 1000; ++i) map.erase(1000 + 3 * i + t);
      }
    });
  }
  const int forks = getenv("TEST_EMULATED") != nullptr ? 5 : 40;
  for (int n = 0; n < forks; ++n) {
    const pid_t child = fork();
    if (child == 0) {
      bool ok = true;
      for (uint64_t i = 0; i < 500; ++i) ok = ok && map.find(i).value_or(~uint64_t{0}) == i;
      for (uint64_t i = 10'000; i < 14'000; ++i) ok = ok && map.insert(i, i);
      for (uint64_t i = 10'000; i < 14'000; ++i) ok = ok && map.erase(i).value_or(0) == i;
      map.shrink_to_fit();
      for (uint64_t i = 0; i < 500; ++i) ok = ok && map.erase(i).value_or(~uint64_t{0}) == i;
      _exit(ok ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(child, waitpid(child, &status, 0));
    ASSERT_EQ(0, status);
  }
  stop = true;
  for (std::thread& w : writers) w.join();
}

}  // namespace
}  // namespace ashlar_test
