// SPDX-License-Identifier: MIT
//
// realloc_growth [MAX_MIB] [COPY_EVERY] - a block that grows from 1 MiB to MAX_MIB (1,024) by steps of 1 MiB.
//
// Models: a buffer that is read into without knowing its end; vectors that grow by a constant.
// Idea: mimalloc#614, #693, jemalloc#126 (realloc of large blocks that copies although the kernel can move pages).
// Stresses: realloc in place and by mremap. Compared with malloc + memcpy + free at every step, the cost of which grows
// with the square: up to 1 GiB it copies 512 GiB, many minutes. So of COPY_EVERY (64) steps in a row only the last one
// is done and timed, and counts for all of them in proportion to the bytes that they would copy; 1 does and times them
// all. The realloc side is always done in full: under an allocator that copies there, it takes minutes, too. The
// program writes each MiB once, when it is added; nothing else touches the pages. Needs 2 * MAX_MIB of memory. stderr:
// both times and the ratio.
#include "bench/program.h"

namespace {

constexpr size_t kMib = size_t{1} << 20;

unsigned char* checked(void* block) {
  if (block == nullptr) bench::fail("out of memory");
  return static_cast<unsigned char*>(block);
}

void fill(unsigned char* block, size_t mib) {
  std::memset(block + (mib - 1) * kMib, static_cast<int>(mib & 0xff), kMib);
}

uint64_t checksum(const unsigned char* block, size_t mibs) {
  uint64_t sum = 0;
  for (size_t mib = 1; mib <= mibs; ++mib) {
    const unsigned char* part = block + (mib - 1) * kMib;
    if (part[0] != (mib & 0xff) || part[kMib - 1] != (mib & 0xff)) bench::fail("a block lost its contents");
    sum = sum * 31 + part[kMib / 2];
  }
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  const auto max = static_cast<size_t>(bench::argument(argc, argv, 1, 1024));
  const auto every = static_cast<size_t>(bench::argument(argc, argv, 2, 64));
  if (max < 2 || every == 0) bench::fail("at least 2 MiB, and every step or fewer");

  double start = bench::now_seconds();
  unsigned char* block = checked(std::malloc(kMib));
  fill(block, 1);
  for (size_t mib = 2; mib <= max; ++mib) {
    block = checked(std::realloc(block, mib * kMib));
    fill(block, mib);
  }
  const double by_realloc = bench::now_seconds() - start;
  const uint64_t sum = checksum(block, max);
  std::free(block);

  double by_copy = 0;
  block = checked(std::malloc(kMib));
  fill(block, 1);
  size_t have = 1;
  while (have < max) {
    // Up to the step to be measured the block grows at once, off the clock.
    const size_t before = have + every - 1 < max ? have + every - 1 : max - 1;
    if (before > have) {
      block = checked(std::realloc(block, before * kMib));
      for (size_t mib = have + 1; mib <= before; ++mib) fill(block, mib);
    }
    start = bench::now_seconds();
    unsigned char* larger = checked(std::malloc((before + 1) * kMib));
    std::memcpy(larger, block, before * kMib);
    std::free(block);
    fill(larger, before + 1);
    // The steps from `have` to `before` copy their sum in MiB, this one copied `before`.
    const size_t mibs = (have + before) * (before - have + 1) / 2;
    by_copy += (bench::now_seconds() - start) * static_cast<double>(mibs) / static_cast<double>(before);
    block = larger;
    have = before + 1;
  }
  if (checksum(block, max) != sum) bench::fail("the two ways differ");
  std::free(block);

  std::printf("realloc_growth: 1 to %zu MiB, checksum %llu\n", max, static_cast<unsigned long long>(sum));
  std::fprintf(stderr, "realloc %.4f s, malloc+memcpy+free %.4f s%s, ratio %.1f\n", by_realloc, by_copy,
               every > 1 ? " (from samples)" : "", by_copy / by_realloc);
  return 0;
}
