// SPDX-License-Identifier: MIT
//
// view_test.cc - slice_view<T>: shares, checks, and allocates nothing, neither from Ashlar nor by operator new or
// malloc.
#include "alloc/slice/view.h"

#include <malloc.h>

#include <array>
#include <string>
#include <vector>

#include "alloc/slice/slice.h"
#include "test/alloc/test_util.h"

namespace {
size_t news = 0;
}

// NOLINTBEGIN(misc-new-delete-overloads)
void* operator new(size_t size) {
  ++news;
  if (void* p = malloc(size)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept {
  free(p);
}
void operator delete(void* p, size_t /*size*/) noexcept {
  free(p);
}
// NOLINTEND(misc-new-delete-overloads)

namespace ashlar_test {
namespace {

using ashlar::slice;
using ashlar::slice_view;

TEST(SliceView, path_of_a_view_allocates_nothing_beside_a_growth_that_does) {
  std::vector<uint64_t> theirs(10000, 3);
  slice<uint64_t> ours(10000);
  const uint64_t mallocs = stats().mallocs;
  const size_t news_before = news;
  const size_t libc_before = mallinfo2().uordblks;
  uint64_t sum = 0;
  for (size_t i = 0; i < 10000; ++i) {
    const slice_view<uint64_t> all(theirs.data(), 10000);
    const slice_view<uint64_t> part = all.sub(i / 2, i);
    const slice_view<const uint64_t> read = part;
    const std::span<const uint64_t> span = read;
    const slice_view<const uint64_t> vector = theirs;
    const slice_view<uint64_t> of_ours = ours.sub(i / 2, i);
    sum += span.size() + vector.size() + of_ours.size();
  }
  const uint64_t view_mallocs = stats().mallocs - mallocs;
  const size_t view_news = news - news_before;
  EXPECT_GT(sum, 0U);
  EXPECT_EQ(view_mallocs, 0U);
  EXPECT_EQ(view_news, 0U);
  EXPECT_EQ(mallinfo2().uordblks, libc_before);
  // The same elements by growth.
  slice<uint64_t> grown;
  for (size_t i = 0; i < 10000; ++i) grown.push_back(theirs[i]);
  const uint64_t growth_mallocs = stats().mallocs - mallocs;
  EXPECT_GT(growth_mallocs, 0U);
  printf("10,000 views: %llu allocations; 10,000 elements pushed: %llu\n",
         static_cast<unsigned long long>(view_mallocs), static_cast<unsigned long long>(growth_mallocs));
}

template <class E, class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "nothing thrown";
}

TEST(SliceView, bad_input_by_table) {
  int one = 1;
  int* const null = nullptr;
  const std::string range = "slice: len out of range";
  const std::string nothing = "slice: data is null and len is not zero";
  EXPECT_EQ(message_of<std::length_error>([&] { slice_view<int>(&one, opaque(ptrdiff_t{-1})); }), range);
  EXPECT_EQ(message_of<std::length_error>([&] { slice_view<int>(&one, opaque(PTRDIFF_MIN)); }), range);
  EXPECT_EQ(message_of<std::length_error>([&] { slice_view<int>(null, opaque(ptrdiff_t{-1})); }), range);
  EXPECT_EQ(message_of<std::length_error>([&] { slice_view<int>(&one, opaque(PTRDIFF_MAX / 4 + 1)); }), range);
  EXPECT_EQ(message_of<std::length_error>(
                [&] { slice_view<char>(reinterpret_cast<char*>(UINTPTR_MAX - 9), opaque(ptrdiff_t{9})); }),
            "nothing thrown");
  EXPECT_EQ(message_of<std::length_error>(
                [&] { slice_view<char>(reinterpret_cast<char*>(UINTPTR_MAX - 9), opaque(ptrdiff_t{10})); }),
            range);
  EXPECT_EQ(message_of<std::invalid_argument>([&] { slice_view<int>(null, opaque(ptrdiff_t{1})); }), nothing);
  const slice_view<int> empty(null, 0);
  EXPECT_TRUE(empty.empty());
  EXPECT_EQ(empty.data(), nullptr);
  EXPECT_EQ(slice_view<int>().size(), 0U);
}

TEST(SliceView, shares_and_growing_it_copies) {
  std::array<int, 6> theirs = {0, 1, 2, 3, 4, 5};
  const slice_view<int> view(theirs);
  view.sub(2, 4)[0] = 22;
  EXPECT_EQ(theirs[2], 22);
  EXPECT_THROW((void)view.sub(0, 7), std::out_of_range);
  EXPECT_THROW((void)view.at(6), std::out_of_range);
  EXPECT_EQ(view.front() + view.back() + view.at(1), 6);
  slice<int> grown{slice_view<const int>(view)};
  grown.push_back(6);
  grown[0] = 100;
  EXPECT_EQ(theirs[0], 0);
  EXPECT_EQ(grown.size(), 7U);
  EXPECT_EQ(std::vector<int>(view.begin(), view.end()), (std::vector<int>{0, 1, 22, 3, 4, 5}));
}

constexpr int kArray[] = {1, 2, 3};
static_assert(slice_view<const int>(kArray, 3).sub(1, 3).front() == 2);
static_assert(slice_view(kArray).size() == 3);
static_assert(std::ranges::contiguous_range<slice_view<int>> && std::ranges::borrowed_range<slice_view<int>>);
static_assert(sizeof(slice_view<int>) == 2 * sizeof(void*) && sizeof(slice<int>) == 3 * sizeof(void*));

}  // namespace
}  // namespace ashlar_test
