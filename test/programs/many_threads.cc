// SPDX-License-Identifier: MIT
//
// many_threads.cc THREADS LIVE_BYTES ROUNDS - what threads cost. Each allocates blocks of mixed sizes until it holds
// LIVE_BYTES, replaces them ROUNDS times over, and then sleeps. stdout: the growth of the process's anonymous memory in
// KiB, between the moment when all threads are alive and have not called malloc, and the moment when all sleep.
// LIVE_BYTES 1: one malloc of 100 bytes each.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <random>

#include "test/programs/check.h"

namespace {

size_t g_live = 0;
long g_rounds = 0;
pthread_barrier_t g_barrier;

long anonymous_kib() {
  long resident = 0;
  long shared = 0;
  FILE* f = fopen("/proc/self/statm", "r");
  CHECK(f != nullptr && fscanf(f, "%*d %ld %ld", &resident, &shared) == 2);
  fclose(f);
  return (resident - shared) * (sysconf(_SC_PAGESIZE) / 1024);
}

struct Block {
  unsigned char* at;
  size_t bytes;
};

size_t some_size(std::minstd_rand& random) {
  const unsigned kind = random() % 16;
  return kind < 12 ? 16 + random() % 112 : kind < 15 ? 128 + random() % 900 : 1024 + random() % 3072;
}

void* run(void* number) {
  constexpr size_t kMaxBlocks = 1024;
  Block blocks[kMaxBlocks];
  std::minstd_rand random(static_cast<unsigned>(reinterpret_cast<uintptr_t>(number)) + 1);
  size_t count = 0;
  pthread_barrier_wait(&g_barrier);  // all are alive
  pthread_barrier_wait(&g_barrier);
  const auto fill = [&] {
    const size_t bytes = g_live == 1 ? 100 : some_size(random);
    auto* p = static_cast<unsigned char*>(malloc(bytes));
    CHECK(p != nullptr);
    memset(p, static_cast<int>(bytes & 0xff), bytes);
    return Block{p, bytes};
  };
  for (size_t live = 0; live < g_live && count < kMaxBlocks; ++count) {
    blocks[count] = fill();
    live += blocks[count].bytes;
  }
  for (long i = 0; i < g_rounds * static_cast<long>(count); ++i) {
    Block& b = blocks[random() % count];
    CHECK(b.at[0] == (b.bytes & 0xff) && b.at[b.bytes - 1] == (b.bytes & 0xff));
    free(b.at);
    b = fill();
  }
  pthread_barrier_wait(&g_barrier);  // all sleep
  pthread_barrier_wait(&g_barrier);
  for (size_t i = 0; i < count; ++i) free(blocks[i].at);
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc == 4);
  const int threads = atoi(argv[1]);
  g_live = strtoul(argv[2], nullptr, 10);
  g_rounds = strtol(argv[3], nullptr, 10);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, size_t{160} << 10);
  pthread_barrier_init(&g_barrier, nullptr, static_cast<unsigned>(threads) + 1);
  auto* ids = static_cast<pthread_t*>(calloc(static_cast<size_t>(threads), sizeof(pthread_t)));
  for (int i = 0; i < threads; ++i) {
    CHECK(pthread_create(&ids[i], &attributes, run, reinterpret_cast<void*>(static_cast<uintptr_t>(i))) == 0);
  }
  anonymous_kib();
  pthread_barrier_wait(&g_barrier);
  const long before = anonymous_kib();
  pthread_barrier_wait(&g_barrier);
  pthread_barrier_wait(&g_barrier);
  const long after = anonymous_kib();
  pthread_barrier_wait(&g_barrier);
  for (int i = 0; i < threads; ++i) pthread_join(ids[i], nullptr);
  printf("%ld\n", after - before);
}
