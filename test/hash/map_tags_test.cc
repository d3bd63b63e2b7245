// SPDX-License-Identifier: MIT
//
// map_tags_test.cc - tags.h: what the machine's instructions say is what the plain words say; and brief pins.
#include "hash/tags.h"

#include <gtest/gtest.h>

#include <random>

#include "alloc/epoch.h"
#include "hash/layout.h"
#include "test/alloc/test_util.h"

namespace ashlar_test {
namespace {

using namespace ashlar::hash_core;

TEST(MapTags, equal_says_which_bytes_are_the_hashes_lowest) {
  std::mt19937_64 random(announce_seed());
  for (int round = 0; round < 20000; ++round) {
    TagBytes tags;
    uint64_t all[2] = {}, expected = 0;
    const uint64_t hash = random();
    for (unsigned i = 0; i < 16; ++i) {
      // Often the tag, or one bit beside it.
      const auto tag = static_cast<uint8_t>(random() % 3 == 0   ? hash
                                            : random() % 3 == 0 ? hash ^ (1u << (random() % 8))
                                                                : random());
      tags.set(i, tag);
      all[i / 8] |= uint64_t{tag} << (8 * (i % 8));
      if (tag == tag_of(hash)) expected |= uint64_t{1} << i;
    }
    const uint8_t tag = tag_of(hash);
    ASSERT_EQ(expected, TagBytes::equal_bytes(all[0], tag) | TagBytes::equal_bytes(all[1], tag) << 8)
        << std::hex << all[0] << ' ' << all[1] << ' ' << hash;
    ASSERT_EQ(expected, tags.equal(hash)) << std::hex << all[0] << ' ' << all[1] << ' ' << hash;
  }
}

TEST(MapTags, bits_and_selecting) {
  for (unsigned i = 0; i < 64; ++i) {
    EXPECT_EQ(i, lowest_bit(~uint64_t{0} << i));
    EXPECT_EQ(7u, select(uint64_t{1} << i, 7, 9));
    uint64_t a = 1, b = 2;
    select(uint64_t{1} << i, a, 3, b, 4);
    EXPECT_EQ(3u, a);
    EXPECT_EQ(4u, b);
  }
  EXPECT_EQ(9u, select(0, 7, 9));
  uint64_t a = 1, b = 2;
  select(0, a, 3, b, 4);
  EXPECT_EQ(1u, a);
  EXPECT_EQ(2u, b);
  EXPECT_EQ(5u, hidden(5));
}

/// An entry lies in the line that its tag names, as long as that has room.
TEST(MapTags, entries_lie_at_home) {
  using At = BucketAt<Platform>;
  uint64_t of_line[3] = {};
  for (uint64_t tag = 0; tag < 256; ++tag) {
    const uint64_t line = At::home(tag) / 64;
    ASSERT_EQ(At::home(tag) % 64, 0u);
    ASSERT_LT(line, 3u);
    ++of_line[line];
    for (unsigned words = 2; words <= 3; ++words) {
      const unsigned slots = kBucketWords / words;
      for (Word free = 1; free >> slots == 0; ++free) {
        const uint64_t slot = At::slot_for(words, free, tag);
        ASSERT_TRUE(slot < slots && (free >> slot & 1) != 0) << words << ' ' << free << ' ' << tag;
        // (Where the middle of a slot lies: of three words one in three is in two lines.)
        const auto middle = [&](uint64_t s) { return (s * words * 8 + words * 4) / 64; };
        bool room = false;
        for (unsigned s = 0; s < slots; ++s) room |= (free >> s & 1) != 0 && middle(s) == line;
        ASSERT_EQ(room, middle(slot) == line) << words << ' ' << free << ' ' << tag;
      }
    }
  }
  for (const uint64_t tags : of_line) EXPECT_NEAR(256 / 3.0, static_cast<double>(tags), 1);
}

/// A brief pin is none where another one lasts, and keeps memory as one does.
TEST(MapTags, brief_pins) {
  { const ashlar::EpochPin first; }  // the thread has a record
  ashlar_epoch_statistics before{}, during{}, after{};
  ashlar_epoch_stats(&before);
  auto* head = ashlar::epoch_enter_briefly();
  EXPECT_EQ(before.fenced != 0, head == nullptr);
  if (head != nullptr) {
    ashlar_epoch_stats(&during);
    EXPECT_EQ(before.pinned + 1, during.pinned);
    ashlar::epoch_leave(*head);
  }
  ashlar_epoch_stats(&after);
  EXPECT_EQ(before.pinned, after.pinned);
  const ashlar::EpochPin pin;
  EXPECT_EQ(nullptr, ashlar::epoch_enter_briefly());
}

}  // namespace
}  // namespace ashlar_test
