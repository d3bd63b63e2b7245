// SPDX-License-Identifier: MIT
//
// epoch_model.cc - epoch_core.h under the model checker relacy, with fenced pins (membarrier is beyond its model), and
// a broken twin that it must find.
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
    for (auto* r = core.records(); r != nullptr;) {
      auto* next = r->next;
      if (r->spare != nullptr) P::deallocate_bag(r->spare);
      r->~EpochRecord();
      ::operator delete (r, std::align_val_t{128});
      r = next;
    }
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

constexpr unsigned kIterations = 100'000;

TEST(EpochModel, no_block_is_released_under_a_pin) {
  EXPECT_EQ(rl::test_result_success, simulate<Replace<true>>(kIterations));
}

// The test of the test: without the exchange (or membarrier) the checker must find a use after free.
TEST(EpochModel, a_pin_without_its_exchange_is_found) {
  const rl::test_result_e result = simulate<Replace<false>>(kIterations);
  EXPECT_TRUE(result == rl::test_result_data_race || result == rl::test_result_user_assert_failed) << result;
}

}  // namespace
}  // namespace ashlar_test
