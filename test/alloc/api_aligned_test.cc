// SPDX-License-Identifier: MIT
//
// api_aligned_test.cc - aligned_alloc, posix_memalign and malloc_padded: every alignment, every error.
#include <errno.h>

#include <algorithm>
#include <vector>

#include "test/alloc/test_util.h"

namespace ashlar_test {
namespace {

constexpr size_t kLine = 128;  // what ashlar.h promises of ashlar_malloc_padded

TEST(AlignedAlloc, every_power_of_two_times_sizes) {
  for (size_t alignment = 1; alignment <= 64 * kMiB; alignment *= 2) {
    std::vector<size_t> sizes = {0,   1,   7,   8,    16,   17,   24,    48,    63,     64,      65,
                                 100, 128, 200, 1000, 4096, 5000, 32768, 32769, 100000, kMiB + 1};
    sizes.push_back(alignment);
    if (alignment > 1) sizes.push_back(alignment - 1);
    sizes.push_back(alignment + 1);
    struct Live {
      void* at;
      size_t usable;
      uint64_t tag;
    };
    std::vector<Live> live;
    for (size_t size : sizes) {
      if (size > 80 * kMiB) continue;
      void* block = ashlar_aligned_alloc(alignment, size);
      ASSERT_NE(block, nullptr) << alignment << ", " << size;
      ASSERT_TRUE(is_aligned(block, std::max<size_t>(alignment, ASHLAR_MIN_ALIGN))) << alignment << ", " << size;
      const size_t usable = ashlar_usable_size(block);
      ASSERT_GE(usable, size);
      // Large ones only to what was asked: the usable size of a 64 MiB aligned byte may be a lot of memory.
      const size_t marked = std::min(usable, size + 64 * kKiB);
      fill(block, marked, size + alignment);
      live.push_back({block, marked, size + alignment});
    }
    for (const Live& one : live) {
      ASSERT_TRUE(holds(one.at, one.usable, one.tag)) << alignment;
      ashlar_free(one.at);
    }
  }
}

TEST(AlignedAlloc, many_blocks_of_one_alignment_do_not_overlap) {
  for (size_t alignment : {size_t{32}, size_t{64}, size_t{128}, size_t{512}, size_t{4096}, size_t{8192}, 64 * kKiB}) {
    for (size_t size : {size_t{24}, size_t{80}, size_t{200}, size_t{3000}, alignment + 8}) {
      std::vector<void*> blocks;
      for (size_t i = 0; i < 200; ++i) {
        void* block = ashlar_aligned_alloc(alignment, size);
        ASSERT_NE(block, nullptr);
        ASSERT_TRUE(is_aligned(block, alignment));
        fill(block, size, i);
        blocks.push_back(block);
      }
      for (size_t i = 0; i < blocks.size(); ++i) {
        ASSERT_TRUE(holds(blocks[i], size, i)) << alignment << ", " << size;
        ashlar_free(blocks[i]);
      }
    }
  }
}

TEST(AlignedAlloc, other_alignments_are_einval) {
  for (size_t alignment : {size_t{0}, size_t{3}, size_t{5}, size_t{6}, size_t{24}, size_t{48}, size_t{100},
                           size_t{4095}, kMiB + 1, SIZE_MAX}) {
    errno = 0;
    EXPECT_EQ(ashlar_aligned_alloc(opaque(alignment), 64), nullptr) << alignment;
    EXPECT_EQ(errno, EINVAL) << alignment;
  }
}

TEST(AlignedAlloc, size_need_not_be_a_multiple) {
  void* block = ashlar_aligned_alloc(256, 3);
  ASSERT_NE(block, nullptr);
  EXPECT_TRUE(is_aligned(block, 256));
  ashlar_free(block);
}

TEST(AlignedAlloc, page_alignment_of_page_sizes_wastes_nothing) {
  // Powers of two up to a page are naturally aligned, so there is nothing to pad.
  for (size_t size : {64, 128, 256, 512, 1024, 2048, 4096, 8192}) {
    void* block = ashlar_aligned_alloc(static_cast<size_t>(size), static_cast<size_t>(size));
    ASSERT_NE(block, nullptr);
    EXPECT_EQ(ashlar_usable_size(block), static_cast<size_t>(size));
    ashlar_free(block);
  }
}

TEST(PosixMemalign, every_power_of_two_multiple_of_a_pointer) {
  for (size_t alignment = sizeof(void*); alignment <= 16 * kMiB; alignment *= 2) {
    for (size_t size : {size_t{0}, size_t{1}, size_t{100}, size_t{5000}, size_t{100000}}) {
      void* block = nullptr;
      errno = 4711;
      ASSERT_EQ(ashlar_posix_memalign(&block, alignment, size), 0) << alignment << ", " << size;
      EXPECT_EQ(errno, 4711);
      ASSERT_NE(block, nullptr);
      ASSERT_TRUE(is_aligned(block, std::max<size_t>(alignment, ASHLAR_MIN_ALIGN))) << alignment;
      fill(block, size, alignment);
      ASSERT_TRUE(holds(block, size, alignment));
      ashlar_free(block);
    }
  }
}

TEST(PosixMemalign, bad_alignment_is_einval_and_touches_nothing) {
  for (size_t alignment : {size_t{0}, size_t{1}, size_t{2}, size_t{4}, size_t{7}, size_t{9}, size_t{12}, size_t{24},
                           size_t{40}, kMiB + 8, SIZE_MAX, SIZE_MAX - 7}) {
    char sentinel = 0;
    void* out = &sentinel;
    errno = 4711;
    EXPECT_EQ(ashlar_posix_memalign(&out, opaque(alignment), 64), EINVAL) << alignment;
    EXPECT_EQ(out, &sentinel) << alignment;
    EXPECT_EQ(errno, 4711) << alignment;
  }
}

TEST(Padded, is_line_aligned_and_a_multiple_of_lines) {
  for (size_t size = 0; size <= 10000; ++size) {
    void* block = ashlar_malloc_padded(size);
    ASSERT_NE(block, nullptr) << size;
    ASSERT_TRUE(is_aligned(block, kLine)) << size;
    const size_t usable = ashlar_usable_size(block);
    ASSERT_GE(usable, size);
    ASSERT_GE(usable, kLine);
    ASSERT_EQ(usable % kLine, 0U) << size;
    fill(block, usable, size);
    ASSERT_TRUE(holds(block, usable, size));
    ashlar_free(block);
  }
  for (size_t size : {32 * kKiB, 32 * kKiB + 1, 100 * kKiB, kMiB + 1, 10 * kMiB}) {
    void* block = ashlar_malloc_padded(size);
    ASSERT_NE(block, nullptr) << size;
    EXPECT_TRUE(is_aligned(block, kLine)) << size;
    EXPECT_EQ(ashlar_usable_size(block) % kLine, 0U) << size;
    EXPECT_GE(ashlar_usable_size(block), size);
    ashlar_free(block);
  }
}

TEST(Padded, shares_no_line_with_any_other_block) {
  struct Piece {
    uintptr_t from;
    uintptr_t to;
    bool is_padded;
  };
  std::vector<Piece> pieces;
  std::vector<void*> blocks;
  for (size_t i = 0; i < 4000; ++i) {
    const size_t size = (i * 37) % 600;
    const bool is_padded = i % 2 == 0;
    void* block = is_padded ? ashlar_malloc_padded(size) : ashlar_malloc(size);
    ASSERT_NE(block, nullptr);
    const auto at = reinterpret_cast<uintptr_t>(block);
    pieces.push_back({at / kLine, (at + ashlar_usable_size(block) - 1) / kLine, is_padded});
    blocks.push_back(block);
  }
  std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) { return a.from < b.from; });
  for (size_t i = 1; i < pieces.size(); ++i) {
    if (pieces[i - 1].is_padded || pieces[i].is_padded) {
      ASSERT_LT(pieces[i - 1].to, pieces[i].from);
    }
  }
  for (void* block : blocks) ashlar_free(block);
}

}  // namespace
}  // namespace ashlar_test
