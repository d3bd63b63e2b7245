// SPDX-License-Identifier: MIT
//
// false_sharing_test.cc - passive false sharing: what one thread allocates and another frees must not make the other
// allocate from the lines that the first still uses.
#include <gtest/gtest.h>

#include <cstdint>
#include <thread>
#include <unordered_set>
#include <vector>

#include "alloc/ashlar.h"

namespace {

constexpr uintptr_t kLineBytes = 64;

/// The lines that a block lies on.
void add_lines(std::unordered_set<uintptr_t>* lines, const void* block, size_t size) {
  const auto first = reinterpret_cast<uintptr_t>(block);
  for (uintptr_t line = first / kLineBytes; line <= (first + size - 1) / kLineBytes; ++line) lines->insert(line);
}

void expect_no_shared_lines(size_t size) {
  std::vector<void*> own(4000);
  for (void*& p : own) p = ashlar_malloc(size);
  std::vector<void*> theirs(8000);
  std::thread([&] {
    for (size_t i = 0; i < own.size(); i += 2) ashlar_free(own[i]);
    for (void*& p : theirs) p = ashlar_malloc(size);
  }).join();
  std::unordered_set<uintptr_t> own_lines;
  for (size_t i = 1; i < own.size(); i += 2) add_lines(&own_lines, own[i], size);
  size_t shared = 0;
  for (const void* p : theirs) {
    std::unordered_set<uintptr_t> lines;
    add_lines(&lines, p, size);
    for (const uintptr_t line : lines) shared += own_lines.count(line);
  }
  EXPECT_EQ(shared, 0U) << "blocks of " << size;
  for (size_t i = 1; i < own.size(); i += 2) ashlar_free(own[i]);
  for (void* p : theirs) ashlar_free(p);
}

TEST(FalseSharing, a_thread_never_allocates_from_lines_of_small_blocks_that_it_freed_for_another) {
  for (const size_t size : {16, 32, 48}) expect_no_shared_lines(size);
}

TEST(FalseSharing, padded_blocks_of_any_size_share_no_line) {
  std::unordered_set<uintptr_t> lines;
  std::vector<void*> blocks;
  for (size_t size = 1; size <= 700; ++size) {
    void* p = ashlar_malloc_padded(size);
    ASSERT_NE(p, nullptr);
    std::unordered_set<uintptr_t> mine;
    add_lines(&mine, p, size);
    for (const uintptr_t line : mine) ASSERT_TRUE(lines.insert(line).second) << size;
    blocks.push_back(p);
  }
  for (void* p : blocks) ashlar_free(p);
}

}  // namespace
