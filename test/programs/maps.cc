// SPDX-License-Identifier: MIT
//
// maps.cc - a heap of 4 GiB, fragmented on purpose: mixed sizes, random frees, reallocs that move pages, purges. The
// kernel allows 65,530 maps a process: ours must stay below a few hundred all the time, and nothing may fail.
// test/preload/maps.sh runs it: maps GIB LIMIT
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "test/programs/check.h"

namespace {

constexpr size_t kMost = 400000;
struct Block {
  unsigned char* at;
  size_t size;
};
Block blocks[kMost];
size_t count = 0, live = 0, moves = 0, most_maps = 0;
uint64_t state = 0;

uint64_t draw() {
  state = state * 6364136223846793005U + 1442695040888963407U;
  return state >> 33;
}

size_t draw_size() {
  const uint64_t kind = draw() % 100;
  if (kind < 5) return (size_t{1} << 20) + draw() % (8 << 20);
  if (kind < 30) return 33000 + draw() % 500000;
  return 1 + draw() % 32768;
}

// Read without stdio, which would allocate.
size_t count_maps() {
  static char buffer[65536];
  const int fd = open("/proc/self/maps", O_RDONLY);
  CHECK(fd >= 0);
  size_t lines = 0;
  for (ssize_t n = 0; (n = read(fd, buffer, sizeof buffer)) > 0;) {
    for (ssize_t i = 0; i < n; ++i) lines += buffer[i] == '\n';
  }
  close(fd);
  if (lines > most_maps) most_maps = lines;
  return lines;
}

// The ends are enough, and cost two pages a block, so that 4 GiB of heap do not take 4 GiB of memory.
unsigned char stamp_of(const Block& b) {
  return static_cast<unsigned char>(b.size * 31 + 7);
}
void stamp(const Block& b) {
  b.at[0] = b.at[b.size - 1] = stamp_of(b);
}
void check(const Block& b) {
  CHECK(b.at[0] == stamp_of(b) && b.at[b.size - 1] == stamp_of(b));
}

void add() {
  const size_t size = draw_size();
  Block b = {static_cast<unsigned char*>(malloc(size)), size};
  CHECK(b.at != nullptr);
  stamp(b);
  blocks[count++] = b;
  live += size;
}

void remove(size_t i) {
  check(blocks[i]);
  live -= blocks[i].size;
  free(blocks[i].at);
  blocks[i] = blocks[--count];
}

void resize(size_t i) {
  Block& b = blocks[i];
  check(b);
  const size_t size = draw() % 4 == 0 ? b.size / 2 + 1 : b.size + b.size / 2 + draw() % 4096;
  if (size > (size_t{64} << 20)) return;
  const unsigned char first = b.at[0];
  auto* at = static_cast<unsigned char*>(realloc(b.at, size));
  CHECK(at != nullptr);
  CHECK(at[0] == first);
  if (at != b.at && b.size >= 262144) ++moves;
  live = live - b.size + size;
  b = {at, size};
  stamp(b);
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc == 3);
  const size_t target = strtoull(argv[1], nullptr, 0) << 30;
  const size_t limit = strtoull(argv[2], nullptr, 0);
  const char* seed = getenv("TEST_SEED");
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  state = seed != nullptr ? strtoull(seed, nullptr, 0) : static_cast<uint64_t>(now.tv_nsec);
  dprintf(1, "seed: run again with TEST_SEED=%llu\n", static_cast<unsigned long long>(state));
  while (live < target && count < kMost) add();
  CHECK(live >= target);
  for (int round = 0; round < 12; ++round) {
    for (size_t n = count / 3; n > 0; --n) remove(draw() % count);
    malloc_trim(round % 3 == 0 ? 0 : size_t{64} << 20);
    CHECK(count_maps() < limit);
    for (int n = 0; n < 4000; ++n) {
      resize(draw() % count);
      if (n % 500 == 0) CHECK(count_maps() < limit);
    }
    while (live < target && count < kMost) add();
    CHECK(count_maps() < limit);
  }
  CHECK(moves > 100);
  while (count > 0) remove(count - 1);
  malloc_trim(0);
  CHECK(count_maps() < limit);
  printf("most maps: %zu, moves of large blocks: %zu\n", most_maps, moves);
  report_checks();
  return 0;
}
