// SPDX-License-Identifier: MIT
//
// string_hash_test.cc - the hash of bytes and strings: every byte counts, none outside of them is read, it is spread.
#include <gtest/gtest.h>
#include <string.h>
#include <strings.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "hash/hash_map.h"
#include "test/alloc/test_util.h"

namespace ashlar_test {
namespace {

using ashlar::hash_core::hash_bytes;

// In a block of exactly that size, so that asan and valgrind see a read outside.
uint64_t hash_alone(const std::vector<unsigned char>& bytes, uint64_t seed) {
  const std::unique_ptr<unsigned char[]> block(new unsigned char[bytes.size()]);
  std::copy(bytes.begin(), bytes.end(), block.get());
  return hash_bytes(block.get(), bytes.size(), seed);
}

TEST(HashBytes, every_bit_and_the_length_count) {
  Rng random(announce_seed());
  for (size_t size = 0; size <= 100; ++size) {
    std::vector<unsigned char> bytes(size);
    for (auto& b : bytes) b = static_cast<unsigned char>(random.next());
    const uint64_t seed = random.next();
    const uint64_t hash = hash_alone(bytes, seed);
    EXPECT_EQ(hash, hash_alone(bytes, seed));
    std::set<uint64_t> others{hash, hash_alone(bytes, seed + 1)};
    for (size_t bit = 0; bit < 8 * size; ++bit) {
      bytes[bit / 8] ^= static_cast<unsigned char>(1 << bit % 8);
      others.insert(hash_alone(bytes, seed));
      bytes[bit / 8] ^= static_cast<unsigned char>(1 << bit % 8);
    }
    bytes.push_back(0);
    others.insert(hash_alone(bytes, seed));
    EXPECT_EQ(8 * size + 3, others.size()) << "of " << size << " bytes";
  }
}

TEST(HashBytes, zeros_of_each_length_differ) {
  std::set<uint64_t> seen;
  for (size_t size = 0; size < 300; ++size) seen.insert(hash_alone(std::vector<unsigned char>(size), 42));
  EXPECT_EQ(300U, seen.size());
}

// The highest bits choose the bucket, the lowest 8 are the tag, 4 of them choose a filter's bit.
TEST(HashBytes, counted_keys_spread_over_the_highest_and_the_lowest_bits) {
  Rng random(announce_seed());
  constexpr int kKeys = 1 << 16, kCells = 256, kMean = kKeys / kCells;
  for (const char* format : {"%d", "user%019d", "%08x", "a/rather/long/path/of/files/%d/index.html", "%d%40s"}) {
    const uint64_t seed = random.next();
    std::vector<int> high(kCells), low(kCells);
    std::set<uint64_t> all;
    for (int i = 0; i < kKeys; ++i) {
      char text[80];
      snprintf(text, sizeof text, format, i, "");
      const uint64_t hash = hash_bytes(text, strlen(text), seed);
      ++high[hash >> 56];
      ++low[hash & 255];
      all.insert(hash);
    }
    EXPECT_EQ(size_t{kKeys}, all.size()) << format << " seed " << seed;
    for (const auto* counts : {&high, &low}) {
      double chi2 = 0;
      for (const int n : *counts) chi2 += (n - kMean) * (n - kMean) / double{kMean};
      // 255 degrees of freedom: mean 255, deviation 22.6.
      EXPECT_LT(chi2, 255 + 8 * 22.6) << format << " seed " << seed << (counts == &high ? " high" : " low");
    }
  }
}

TEST(StringHash, strings_views_and_literals_agree) {
  const ashlar::hash<std::string> of_string;
  const ashlar::hash<std::string_view> of_view;
  for (const char* text : {"", "a", "seven..", "eight...", "a text that is longer than sixteen bytes"}) {
    EXPECT_EQ(of_view(text), of_string(std::string(text)));
    EXPECT_EQ(of_view.seeded(text, 7), of_string.seeded(std::string(text), 7));
  }
  EXPECT_NE(ashlar::hash<std::u16string>()(u"abc"), ashlar::hash<std::u16string>()(u"abd"));
}

TEST(StringHash, maps_of_other_characters) {
  ashlar::hash_map<std::u32string, int> wide;
  ashlar::hash_map<std::string_view, int> views;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(wide.insert(std::u32string(static_cast<size_t>(i), U'x'), i));
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(i, wide.find(std::u32string(static_cast<size_t>(i), U'x')));
  std::vector<std::string> texts(1000);
  for (size_t i = 0; i < texts.size(); ++i)
    EXPECT_TRUE(views.insert(texts[i] = std::to_string(i), static_cast<int>(i)));
  for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(static_cast<int>(i), views.find(std::to_string(i)));
}

// Who derives from it hashes in his own way.
struct NoCase : ashlar::hash<std::string> {
  size_t operator()(const std::string& text) const {
    std::string lower(text);
    for (char& c : lower) c = static_cast<char>(tolower(static_cast<unsigned char>(c)));
    return ashlar::hash<std::string>::operator()(lower);
  }
};
struct NoCaseEqual {
  bool operator()(const std::string& a, const std::string& b) const { return strcasecmp(a.c_str(), b.c_str()) == 0; }
};

TEST(StringHash, a_derived_hash_is_asked_itself) {
  ashlar::hash_map<std::string, int, NoCase, NoCaseEqual> map;
  EXPECT_TRUE(map.insert("Content-Length", 1));
  EXPECT_FALSE(map.insert("content-length", 2));
  EXPECT_EQ(1, map.find("CONTENT-LENGTH"));
}

}  // namespace
}  // namespace ashlar_test
