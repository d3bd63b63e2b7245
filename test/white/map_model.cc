// SPDX-License-Identifier: MIT
//
// map_model.cc - core.h under the model checker relacy: one or two buckets, a forced split, a forced merge, threads
// that insert, replace, erase and find one key; and a twin without the release of a commit, which the checker must
// find.
#include <gtest/gtest.h>

#include "hash/core.h"
#include "test/support/relacy_atomics.h"

namespace ashlar_test {
namespace {

using namespace ashlar::hash_core;

/// What is taken away.
enum class Broken { kNothing, kRelaxedCommit };

/// head and over as one word to relacy: 16-byte exchanges are then of the same atomic.
struct Both {
  Word head = 0, over = 0;
  bool operator==(const Both& o) const { return head == o.head && over == o.over; }
  bool operator!=(const Both& o) const { return !(*this == o); }
  friend std::ostream& operator<<(std::ostream& out, const Both& b) {
    return out << std::hex << b.head << '/' << b.over << std::dec;
  }
};

template <Broken kBroken>
struct ModelPair {
  mutable rl::atomic<Both> both;

  ModelPair() { both.store(Both{}, rl::mo_relaxed, $); }
  Word load_head(std::memory_order order) const { return both.load(to_relacy(order), $).head; }
  Word load_over(std::memory_order order) const { return both.load(to_relacy(order), $).over; }
  Word xor_head(Word word, std::memory_order order) const { return word ^ load_head(order); }
  Word and_over(Word word, std::memory_order order) const { return word & load_over(order); }
  static rl::memory_order commit_order() { return kBroken == Broken::kRelaxedCommit ? rl::mo_relaxed : rl::mo_acq_rel; }
  bool cas_head(Word& expected, Word desired) {
    for (;;) {
      Both seen = both.load(rl::mo_acquire, $);
      if (seen.head != expected) {
        // A compare-and-exchange sees the newest value: a load may not.
        if (!both.compare_exchange_strong(seen, seen, rl::mo_acq_rel, $, rl::mo_acquire, $)) continue;
        if (seen.head != expected) {
          expected = seen.head;
          return false;
        }
      }
      if (both.compare_exchange_strong(seen, Both{desired, seen.over}, commit_order(), $, rl::mo_acquire, $))
        return true;
    }
  }
  bool cas_both(Word head, Word over, Word new_head, Word new_over) {
    Both expected{head, over};
    return both.compare_exchange_strong(expected, Both{new_head, new_over}, rl::mo_acq_rel, $, rl::mo_acquire, $);
  }
};

/// Of one slot.
struct ModelTags {
  RelacyAtomic<uint32_t> tag{0};
  Word equal(uint64_t hash) const { return tag.load(std::memory_order_acquire) == tag_of(hash) ? 1 : 0; }
  void set(unsigned, uint8_t value) { tag.store(value, std::memory_order_release); }
  uint8_t get(unsigned) const { return static_cast<uint8_t>(tag.load(std::memory_order_acquire)); }
};

template <Broken kBroken>
struct ModelPlatform {
  template <class T>
  struct Atomic : RelacyAtomic<T> {
    Atomic() : RelacyAtomic<T>(T{}) {}
    explicit Atomic(T value) : RelacyAtomic<T>(value) {}
  };
  using Pair = ModelPair<kBroken>;
  using Tags = ModelTags;
  static constexpr bool kConstructs = true;
  static constexpr uint64_t kChunkUnits = 1;
  static constexpr uint64_t kAtOnceUnits = 0;
  static constexpr unsigned kPatience = 0;

  static void step() {}
  // Nothing is released before the end: reclamation has a model of its own (epoch_model.cc).
  static inline void* blocks[4096];
  static inline unsigned block_count = 0;
  static void* zeroed(size_t bytes) {
    void* p = aligned_alloc(128, (bytes + 127) / 128 * 128);
    memset(p, 0, bytes);
    if (block_count == 4096) abort();
    blocks[block_count++] = p;
    return p;
  }
  static void* allocate(size_t bytes) { return zeroed(bytes); }
  static void deallocate(void*) {}
  static inline void* retired[4096];
  static inline void (*releases[4096])(void*);
  static inline unsigned retired_count = 0;
  static void retire(void* p, size_t, void (*release)(void*)) {
    if (retired_count == 4096) abort();
    retired[retired_count] = p;
    releases[retired_count++] = release;
  }
  static void cut(void*, size_t) { abort(); }  // of large tables
  static void retire_rest(void*, size_t, void (*)(void*)) { abort(); }
  static void fault_in(void*, size_t) { abort(); }
  static uint64_t stripes() { return 2; }
  static size_t thread_number() { return 0; }
};

template <Broken kBroken>
struct ModelPolicy {
  using Platform = ModelPlatform<kBroken>;
  static constexpr unsigned kWords = 2;
  static constexpr unsigned kSlots = 1;
  static constexpr uint64_t kChunkUnits = 1;
  static constexpr uint64_t kAtOnceUnits = 0;
  uint64_t hash_of(const Word* words, uint64_t) const { return words[0] << 62 | words[0]; }
  static void discard(const Word*) {}
  bool is_findable(const Word*) const { return true; }
  static WordMatch match_of(const Word* words) { return {words[0]}; }
};

template <Broken kBroken, bool kMerge>
struct OneKey : rl::test_suite<OneKey<kBroken, kMerge>, 3> {
  using Map = Core<ModelPolicy<kBroken>>;
  static constexpr Word kKey = 1, kOther = 2;
  Map* map = nullptr;

  void before() {
    map = new (ModelPlatform<kBroken>::zeroed(sizeof(Map))) Map(ModelPolicy<kBroken>{}, 0, kMerge ? 1 : 0);
    put(kKey, 10);
    put(kOther, 20);
    if (kMerge) map->set_min_log2(0);
  }
  void after() {
    RL_ASSERT(value_of(kOther) == 20);
    const Word last = value_of(kKey);
    RL_ASSERT(last == 0 || last == 11 || last == 12);
    map->free_all([](const Word*) {});
    map->~Map();
    using P = ModelPlatform<kBroken>;
    for (; P::retired_count != 0; --P::retired_count)
      P::releases[P::retired_count - 1](P::retired[P::retired_count - 1]);
    while (P::block_count != 0) free(P::blocks[--P::block_count]);
  }
  void thread(unsigned index) {
    switch (index) {
      case 0:
        // The owner of the key: what it wrote it must find. (It alone erases.)
        put(kKey, 11);
        RL_ASSERT(is_one_of(value_of(kKey), 11, 12));
        RL_ASSERT(erase(kKey));
        break;
      case 1:
        map->resize(kMerge ? 0 : 1, !kMerge);
        RL_ASSERT(value_of(kOther) == 20);
        break;
      default:
        // Where the key is there its value is one that was written.
        RL_ASSERT(is_one_of(value_of(kKey), 0, 10, 11, 12));
        put(kKey, 12);
        RL_ASSERT(is_one_of(value_of(kKey), 0, 11, 12));
    }
  }

  template <class... A>
  static bool is_one_of(Word value, A... all) {
    return ((value == static_cast<Word>(all)) || ...);
  }
  Word value_of(Word key) const {
    Word value = 0;
    map->find(key << 62 | key, WordMatch{key}, [&](const Word* words) { value = words[1]; });
    return value;
  }
  void put(Word key, Word value) {
    typename Map::Seen seen;
    const auto decide = [&](const auto&, Word* fresh) {
      fresh[0] = key;
      fresh[1] = value;
      return Action::kPut;
    };
    RL_ASSERT(map->modify(key << 62 | key, WordMatch{key}, decide, &seen) == Outcome::kDone);
  }
  bool erase(Word key) {
    typename Map::Seen seen;
    const auto decide = [](const auto& s, Word*) { return s.found() ? Action::kErase : Action::kKeep; };
    return map->modify(key << 62 | key, WordMatch{key}, decide, &seen) == Outcome::kDone;
  }
};

constexpr unsigned kIterations = 200'000;

TEST(MapModel, a_split_under_writers_loses_nothing) {
  EXPECT_EQ(rl::test_result_success, (simulate<OneKey<Broken::kNothing, false>>(kIterations)));
}

TEST(MapModel, a_merge_under_writers_loses_nothing) {
  EXPECT_EQ(rl::test_result_success, (simulate<OneKey<Broken::kNothing, true>>(kIterations)));
}

// The test of the test.
TEST(MapModel, a_commit_without_release_is_found) {
  EXPECT_EQ(rl::test_result_user_assert_failed, (simulate<OneKey<Broken::kRelaxedCommit, false>>(kIterations)));
}

}  // namespace
}  // namespace ashlar_test
