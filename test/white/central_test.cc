// SPDX-License-Identifier: MIT
//
// central_test.cc - central lists alone: what is taken and given back in any order, run or not, is free once more, and
// misuse is found in the middle of a run, too. Nothing passes through a cache here.
#include "alloc/central.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <set>
#include <vector>

#include "alloc/ashlar.h"
#include "alloc/page_map.h"
#include "test/alloc/test_util.h"

namespace ashlar {
namespace {

using Objects = std::vector<void*>;

Objects take(Bin bin, size_t n) {
  ashlar_free(ashlar_malloc(1));  // initialised
  Objects objects(n);
  EXPECT_EQ(central_take(bin, objects.data(), n), n);
  return objects;
}

Span* span_of(void* object) {
  return entry_span(load_entry(reinterpret_cast<uintptr_t>(object)));
}

size_t index_of(void* object, ClassIndex c) {
  return (reinterpret_cast<uintptr_t>(object) - span_of(object)->start) / class_bytes(c);
}

bool is_free(void* object, ClassIndex c) {
  const size_t index = index_of(object, c);
  return (span_of(object)->free_bits[index / 64] >> (index % 64) & 1) != 0;
}

/// The counts of a span agree with its bits.
void check_span(const Span* s, ClassIndex c) {
  unsigned free_count = 0;
  for (size_t i = 0; i < s->objects; ++i) free_count += s->free_bits[i / 64] >> (i % 64) & 1;
  ASSERT_EQ(s->free_count(), free_count) << class_bytes(c);
  ASSERT_GT(s->until_bucket, 0U) << class_bytes(c);
  ASSERT_EQ(s->bucket == kNotListed, free_count == 0) << class_bytes(c);
}

void give_in_pieces(ClassIndex c, const Objects& objects, std::mt19937_64& random) {
  std::set<Span*> spans;
  for (void* o : objects) spans.insert(span_of(o));
  for (size_t i = 0; i < objects.size();) {
    const size_t n = std::min<size_t>(objects.size() - i, 1 + random() % 200);
    central_give(c, &objects[i], n);
    for (size_t k = i; k < i + n; ++k) ASSERT_TRUE(is_free(objects[k], c)) << class_bytes(c) << " " << k;
    i += n;
  }
  for (Span* s : spans) check_span(s, c);
}

TEST(Central, any_order_and_any_batch_comes_back_whole) {
  std::mt19937_64 random(ashlar_test::announce_seed());
  const std::function<void(Objects&)> orders[] = {
      [](Objects& o) { std::sort(o.begin(), o.end()); },
      [](Objects& o) { std::sort(o.rbegin(), o.rend()); },
      [&](Objects& o) { std::shuffle(o.begin(), o.end(), random); },
      [&](Objects& o) {  // runs up and down, of all lengths, broken by strangers
        std::sort(o.begin(), o.end());
        for (size_t i = 0; i < o.size();) {
          const size_t n = std::min<size_t>(o.size() - i, 1 + random() % 30);
          if (random() % 2 != 0) std::reverse(o.begin() + static_cast<long>(i), o.begin() + static_cast<long>(i + n));
          i += n;
          if (i < o.size() && random() % 3 == 0) std::swap(o[i - 1], o[random() % o.size()]);
        }
      },
  };
  for (ClassIndex c = 0; c < kNumClasses; ++c) {
    const Bin bin = bin_of_class(c, 3);
    const uint64_t before = central_stats(bin).out;
    for (const auto& order : orders) {
      Objects objects = take(bin, 3 * class_info(c).span_objects + random() % 100);
      ASSERT_EQ(std::set<void*>(objects.begin(), objects.end()).size(), objects.size());
      for (void* o : objects) ASSERT_FALSE(is_free(o, c));
      ASSERT_EQ(central_stats(bin).out, before + objects.size());
      // One object a span stays out, so that none leaves before it was looked at.
      order(objects);
      Objects anchors, rest;
      std::set<Span*> seen;
      for (void* o : objects) (seen.insert(span_of(o)).second ? anchors : rest).push_back(o);
      give_in_pieces(c, rest, random);
      ASSERT_EQ(central_stats(bin).out, before + anchors.size());
      central_give(c, anchors.data(), anchors.size());
      ASSERT_EQ(central_stats(bin).out, before);
    }
  }
}

TEST(Central, refills_take_the_lowest_first) {
  if (kHardened) {
    Objects a = take(bin_of_class(class_of_size(64), 3), 64);
    EXPECT_FALSE(std::is_sorted(a.rbegin(), a.rend()));  // 1 in 64!
    central_give(class_of_size(64), a.data(), a.size());
    return;
  }
  const ClassIndex c = class_of_size(64);
  Objects objects = take(bin_of_class(c, 3), class_info(c).span_objects);
  EXPECT_TRUE(std::is_sorted(objects.rbegin(), objects.rend()));
  central_give(c, objects.data(), objects.size());
}

std::string line(const char* cause, const void* p) {
  char text[100];
  snprintf(text, sizeof text, "ashlar: %s: %p", cause, p);
  return text;
}

void give(ClassIndex c, const Objects& objects) {
  central_give(c, objects.data(), objects.size());
}

TEST(Central, misuse_is_found_in_a_run) {
  GTEST_FLAG_SET(death_test_style, "fast");  // the child knows our objects
  void* const stranger = ashlar_malloc(5000);
  for (const size_t bytes : {16, 64, 80, 160}) {
    const ClassIndex c = class_of_size(bytes);
    Objects objects = take(bin_of_class(c, 3), 40);
    std::sort(objects.begin(), objects.end());
    for (int down = 0; down < 2; ++down) {
      for (const size_t at : {0, 1, 7, 8, 25, 39}) {
        EXPECT_DEATH((central_give(c, &objects[at], 1), give(c, objects)), line("double free", objects[at]))
            << bytes << at;
      }
      Objects spoiled = objects;
      spoiled[20] = objects[3];
      EXPECT_DEATH(give(c, spoiled), line("double free", objects[3])) << bytes;
      for (const size_t at : {0, 1, 20, 39}) {
        spoiled = objects;
        spoiled[at] = static_cast<char*>(objects[at]) + 8;
        EXPECT_DEATH(give(c, spoiled), line("free of an interior pointer", spoiled[at])) << bytes << at;
        spoiled[at] = stranger;
        EXPECT_DEATH(give(c, spoiled), line("double free or invalid pointer", stranger)) << bytes << at;
      }
      std::reverse(objects.begin(), objects.end());
    }
    give(c, objects);
  }
  ashlar_free(stranger);
}

}  // namespace
}  // namespace ashlar
