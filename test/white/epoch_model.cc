// SPDX-License-Identifier: MIT
//
// epoch_model.cc - epoch_core.h under the model checker relacy, with fenced pins (membarrier is beyond its model), and
// broken twins that it must find.
#include <gtest/gtest.h>

#include "alloc/epoch_core.h"
#include "test/support/relacy_epoch.h"

namespace ashlar_test {
namespace {

struct Block {
  rl::var<int> alive;
};

void kill(void* p) {
  static_cast<Block*>(p)->alive($) = 0;
}

void delete_records(const ashlar::EpochCore<RelacyEpochParts>& core) {
  for (auto* r = core.records(); r != nullptr;) {
    auto* next = r->next;
    if (r->spare != nullptr) RelacyEpochParts::deallocate_bag(r->spare);
    r->~EpochRecord();
    ::operator delete (r, std::align_val_t{128});
    r = next;
  }
}

// A writer replaces a block twice and retires the old ones; a reader pins and looks. The write in kill() races with a
// look that is not ordered before it, and a look behind it finds 0.
template <bool kFencedPin>
struct Replace : rl::test_suite<Replace<kFencedPin>, 3> {
  using P = RelacyEpochParts;
  using Head = ashlar::EpochHead<P>;
  using Core = ashlar::EpochCore<P>;

  Core core;
  RelacyAtomic<Block*> shared;
  Block blocks[4];

  void before() {
    for (Block& block : blocks) block.alive($) = 1;
    shared.store(&blocks[0], std::memory_order_seq_cst);
  }

  void after() {
    // What waited for the last pins to end: all of it is with the orphans.
    for (int i = 0; i < 6; ++i) core.collect(core.records());
    delete_records(core);
  }

  void thread(unsigned index) {
    auto* record = core.attach(kFencedPin);
    if (index == 0) {
      for (int i = 1; i <= 3; ++i) {
        ashlar::epoch_enter(static_cast<Head&>(*record));
        Block* old = shared.exchange(&blocks[i], std::memory_order_acq_rel);
        core.retire(record, old, 1, kill);
        ashlar::epoch_leave(static_cast<Head&>(*record));
      }
      core.collect(record);
    } else {
      for (int i = 0; i < 2; ++i) {
        ashlar::epoch_enter(static_cast<Head&>(*record));
        Block* block = shared.load(std::memory_order_acquire);
        RL_ASSERT(block->alive($) == 1);
        ashlar::epoch_leave(static_cast<Head&>(*record));
        if (index == 2) core.advance();
      }
    }
    core.detach(record);
  }
};

// Blocks that are released in parts, as a map's old tables are: the release of a part leaves the next one as a rest,
// which is freed at the end of a later pin, by whoever has the record then: the writer, or (it has ended) who collects.
// Readers look at the last part, which waits for no epoch of its own. The broken twin takes the block for its own rest
// at once: nobody waited for the readers that reach it.
template <bool kAtOnce>
struct Rests : rl::test_suite<Rests<kAtOnce>, 3> {
  using P = RelacyEpochParts;
  using Head = ashlar::EpochHead<P>;
  using Core = ashlar::EpochCore<P>;
  using Record = ashlar::EpochRecord<P>;

  static constexpr int kParts = 3;
  static constexpr int kBlocks = 3;
  struct Parts {
    Rests* suite;
    int gone;
    rl::var<int> alive[kParts];
  };

  Core core;
  Record* owner[4];  // of each thread, and of after()
  RelacyAtomic<Parts*> shared;
  Parts blocks[kBlocks];

  static void release_part(void* p) {
    auto* parts = static_cast<Parts*>(p);
    Rests& suite = *parts->suite;
    parts->alive[parts->gone]($) = 0;
    if (++parts->gone == kParts) return;
    suite.core.retire_rest(suite.owner[suite.collector()], p, 1, release_part);
  }
  // Outside the threads, in after(), relacy has no index.
  bool ended = false;
  unsigned collector() const { return ended ? 3 : rl::thread_index(); }

  void before() {
    for (Parts& block : blocks) {
      block.suite = this;
      block.gone = 0;
      for (auto& part : block.alive) part($) = 1;
    }
    shared.store(&blocks[0], std::memory_order_seq_cst);
  }

  void leave(Record* record) {
    ashlar::epoch_leave(static_cast<Head&>(*record));
    core.free_rest(record);
  }

  void thread(unsigned index) {
    Record* record = core.attach(true);
    owner[index] = record;
    if (index == 0) {
      for (int i = 1; i < kBlocks; ++i) {
        ashlar::epoch_enter(static_cast<Head&>(*record));
        Parts* old = shared.exchange(&blocks[i], std::memory_order_acq_rel);
        if (kAtOnce)
          core.retire_rest(record, old, 1, release_part);
        else
          core.retire(record, old, 1, release_part);
        leave(record);
      }
    } else {
      for (int i = 0; i < 2; ++i) {
        ashlar::epoch_enter(static_cast<Head&>(*record));
        Parts* parts = shared.load(std::memory_order_acquire);
        for (auto& part : parts->alive) RL_ASSERT(part($) == 1);
        leave(record);
        core.collect(record);
      }
    }
    core.detach(record);
  }

  void after() {
    ended = true;
    Record* record = owner[3] = core.attach(true);
    for (int i = 0; i < 12; ++i) {
      core.collect(record);
      core.free_rest(record);
    }
    for (int i = 0; i < kBlocks; ++i) RL_ASSERT(blocks[i].gone == (i + 1 < kBlocks ? kParts : 0));
    RL_ASSERT(core.leaked() == 0);
    core.detach(record);
    delete_records(core);
  }
};

constexpr unsigned kIterations = 100'000;

TEST(EpochModel, no_block_is_released_under_a_pin) {
  EXPECT_EQ(rl::test_result_success, simulate<Replace<true>>(kIterations));
}

TEST(EpochModel, parts_are_released_once_and_under_no_pin) {
  EXPECT_EQ(rl::test_result_success, simulate<Rests<false>>(kIterations));
}

// Tests of the tests: a rest that readers may reach, and a pin without its exchange.
TEST(EpochModel, a_rest_that_is_reached_is_found) {
  const rl::test_result_e result = simulate<Rests<true>>(kIterations);
  EXPECT_TRUE(result == rl::test_result_data_race || result == rl::test_result_user_assert_failed) << result;
}

// Without the exchange (or membarrier) the checker must find a use after free.
TEST(EpochModel, a_pin_without_its_exchange_is_found) {
  const rl::test_result_e result = simulate<Replace<false>>(kIterations);
  EXPECT_TRUE(result == rl::test_result_data_race || result == rl::test_result_user_assert_failed) << result;
}

}  // namespace
}  // namespace ashlar_test
