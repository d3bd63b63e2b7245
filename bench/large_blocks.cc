// SPDX-License-Identifier: MIT
//
// large_blocks [OPERATIONS] [LIVE] [PERCENT] - large blocks that come and go while some stay.
//
// Models: image and video buffers, matrices, columns of a query, I/O buffers of 64 KiB .. 25 MiB.
// Idea: mimalloc-bench's malloc-large (alternating blocks of 5..25 MiB; mimalloc#447, #11: "storm of mmap and munmap").
// Stresses: reuse of large runs against page faults and system calls, and how much freed memory stays resident.
// Each operation replaces one of LIVE blocks, and every third one also uses a block that it frees at once. Sizes are
// spread evenly over the powers of two. PERCENT of each block is written, page by page, from its start: 100 is a
// program that fills what it asks for, less is one that asks for more than it needs.
#include <vector>

#include "bench/program.h"

namespace {

constexpr uint32_t kMinKib = 64;
constexpr uint32_t kMaxKib = 25 * 1024;
constexpr size_t kPage = 4096;
/// Written per page: a program that fills a buffer touches all its lines, but memory bandwidth is not our question.
constexpr size_t kWrittenPerPage = 512;

struct Large {
  unsigned char* data = nullptr;
  size_t size = 0;
};

size_t random_size(bench::Rng& random) {
  // 64 KiB << 0..8, then evenly up to the next power of two, at most 25 MiB.
  const uint32_t low = kMinKib << random.below(9);
  const uint32_t kib = low + random.below(low);
  return size_t{kib < kMaxKib ? kib : kMaxKib} * 1024;
}

Large make(size_t size, long percent, unsigned char value) {
  Large block{static_cast<unsigned char*>(std::malloc(size)), size};
  if (block.data == nullptr) bench::fail("malloc returned null");
  const size_t touched = size / 100 * static_cast<size_t>(percent);
  for (size_t at = 0; at + kWrittenPerPage <= touched; at += kPage)
    std::memset(block.data + at, value, kWrittenPerPage);
  block.data[0] = value;
  block.data[size - 1] = value;
  return block;
}

/// Reads a byte of each written page: the block must hold what was put there.
uint64_t drop(Large& block, long percent) {
  if (block.data == nullptr) return 0;
  const unsigned char value = block.data[0];
  const size_t touched = block.size / 100 * static_cast<size_t>(percent);
  uint64_t sum = value;
  for (size_t at = 0; at + kWrittenPerPage <= touched; at += kPage) {
    if (block.data[at + kWrittenPerPage - 1] != value) bench::fail("a large block lost its contents");
    sum += value;
  }
  if (block.data[block.size - 1] != value) bench::fail("a large block lost its last byte");
  std::free(block.data);
  block.data = nullptr;
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  const long operations = bench::argument(argc, argv, 1, 1000);
  const long live = bench::argument(argc, argv, 2, 16);
  const long percent = bench::argument(argc, argv, 3, 100);
  if (live == 0 || percent > 100) bench::fail("live must be at least 1, percent at most 100");
  bench::Rng random(3);
  std::vector<Large> slots(static_cast<size_t>(live));
  uint64_t checksum = 0;
  uint64_t bytes = 0;
  const double start = bench::now_seconds();
  for (long i = 0; i < operations; ++i) {
    Large& slot = slots[random.below(static_cast<uint32_t>(live))];
    checksum += drop(slot, percent);
    slot = make(random_size(random), percent, static_cast<unsigned char>(i));
    bytes += slot.size;
    if (i % 3 == 0) {
      Large scratch = make(random_size(random), percent, static_cast<unsigned char>(i + 1));
      bytes += scratch.size;
      checksum += drop(scratch, percent);
    }
  }
  for (Large& slot : slots) checksum += drop(slot, percent);
  const double seconds = bench::now_seconds() - start;
  std::printf("large_blocks: %ld operations, %llu bytes, checksum %llu\n", operations,
              static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(checksum));
  std::fprintf(stderr, "%.1f us an operation, peak RSS %ld KiB\n", seconds * 1e6 / static_cast<double>(operations),
               bench::peak_rss_kib());
  return 0;
}
