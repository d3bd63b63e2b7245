// SPDX-License-Identifier: MIT
//
// random_ops_stress.cc - random calls against a shadow model that knows every live block, its size and its contents.
#include "test/alloc/stress_util.h"

namespace ashlar_test {
namespace {

void run(uint64_t seed, size_t slots_count, size_t max_size, size_t native_steps) {
  const size_t steps = rounds(native_steps);
  const ashlar_memstats before = stats();
  Rng rng(seed);
  Shadow shadow;
  std::vector<Stamped> slots(slots_count);
  for (size_t step = 0; step < steps; ++step) {
    Stamped& slot = slots[rng.below(slots.size())];
    if (slot.at != nullptr) shadow.remove(slot);
    if (slot.at != nullptr && rng.one_in(4)) {
      reallocate_stamped(rng, slot, max_size);
      shadow.add(slot);
    } else if (slot.at != nullptr && rng.one_in(2)) {
      free_stamped(slot);
      slot = {};
    } else {
      free_stamped(slot);
      slot = allocate_stamped(rng, max_size);
      shadow.add(slot);
    }
    if (rng.one_in(20000)) ashlar_purge(rng.skewed_size(kMiB));
    if (rng.one_in(30000)) {
      // The program shrinks to a tenth and grows again: spans empty, runs merge.
      for (Stamped& one : slots) {
        if (rng.one_in(10) || one.at == nullptr) continue;
        shadow.remove(one);
        free_stamped(one);
        one = {};
      }
    }
  }
  for (const Stamped& slot : slots) free_stamped(slot);
  expect_nothing_left(before);
}

TEST(RandomOps, tiny_blocks) {
  run(announce_seed(), 20000, 256, 900000);
}
TEST(RandomOps, small_blocks) {
  run(announce_seed(), 5000, 32 * kKiB, 600000);
}
TEST(RandomOps, small_and_large_blocks) {
  run(announce_seed(), 1000, 512 * kKiB, 300000);
}
TEST(RandomOps, large_blocks) {
  run(announce_seed(), 60, 16 * kMiB, 25000);
}

}  // namespace
}  // namespace ashlar_test
