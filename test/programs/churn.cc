// SPDX-License-Identifier: MIT
//
// churn.cc MODE [THREADS] - memory that comes and goes, and what the process holds then. Modes, each with its own
// limit:
//
//   again     256 MiB are allocated, touched and freed ten times a second: after a second it costs no page faults
//   pool      workers of a pool allocate 16 MiB each and free it, task after task: asleep, the process is as small as
//   before handoff   one thread allocates, another one only frees: the peak stays near the live set drift     sizes
//   drift from 16 bytes to 4 KiB and back, as over hours: the heap stays near what is live trim      purge:off keeps
//   what was freed, until malloc_trim delay     what was freed is given back after purge_delay, and not well before
//
// The seed is printed; ASHLAR_TEST_SEED sets it. stdout ends in "ok".
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "test/programs/check.h"

namespace {

constexpr size_t kMiB = size_t{1} << 20;
uint64_t g_seed = 0;

size_t rss_bytes() {
  size_t pages = 0;
  FILE* f = fopen("/proc/self/statm", "r");
  CHECK(f != nullptr && fscanf(f, "%*u %zu", &pages) == 1);
  fclose(f);
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

size_t peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<size_t>(usage.ru_maxrss) << 10;
}

long faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

long now_ms() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void sleep_ms(long ms) {
  const timespec t{ms / 1000, ms % 1000 * 1000000};
  nanosleep(&t, nullptr);
}

/// Allocates, touches and frees `bytes` in blocks of `block`.
void burst(size_t bytes, size_t block) {
  std::vector<char*> blocks(bytes / block);
  for (char*& p : blocks) {
    p = static_cast<char*>(malloc(block));
    CHECK(p != nullptr);
    for (size_t at = 0; at < block; at += 4096) p[at] = 1;
  }
  for (char* p : blocks) free(p);
}

void again(int threads) {
  std::thread other;
  std::atomic<bool> quit = false;
  if (threads > 1) {
    other = std::thread([&quit] {
      while (!quit.load()) sleep_ms(20);
    });
  }
  for (const size_t block : {256 * kMiB, size_t{64} << 10}) {
    const long start = now_ms();
    long at_rest = 0;
    long rounds = 0;
    for (long round = 0; now_ms() - start < 3000; ++round) {
      if (now_ms() - start < 1200) {
        at_rest = faults();
      } else {
        ++rounds;
      }
      burst(256 * kMiB, block);
      const long next = start + (round + 1) * 100;
      if (next > now_ms()) sleep_ms(next - now_ms());
    }
    const long a_round = (faults() - at_rest) / (rounds == 0 ? 1 : rounds);
    printf("blocks of %zu KiB: %ld faults a round of 65536 pages, %ld rounds\n", block >> 10, a_round, rounds);
    CHECK(rounds >= 2 && a_round < 3300);  // 5 %
  }
  quit = true;
  if (threads > 1) other.join();
}

void pool(int threads) {
  std::atomic<long> task = 0;
  std::atomic<int> asleep = 0;
  std::atomic<bool> quit = false;
  constexpr long kTasks = 100;
  std::vector<std::thread> workers;
  std::atomic<bool> go = false;
  for (int i = 0; i < threads; ++i) {
    workers.emplace_back([&] {
      while (!go.load()) sleep_ms(1);
      while (task.fetch_add(1) < kTasks) {
        burst(8 * kMiB, 700);
        burst(8 * kMiB, size_t{48} << 10);
      }
      ++asleep;
      while (!quit.load()) sleep_ms(20);
    });
  }
  sleep_ms(50);
  const size_t before = rss_bytes();
  go = true;
  while (asleep.load() < threads) sleep_ms(5);
  sleep_ms(2000);
  const size_t after = rss_bytes();
  printf("pool of %d: KiB before %zu, peak %zu, asleep %zu\n", threads, before >> 10, peak_bytes() >> 10, after >> 10);
  quit = true;
  for (auto& w : workers) w.join();
  // What sleeping workers have in their caches: two classes, 8 KiB each, and the spans that these are in.
  CHECK(after <= before + 2 * kMiB + static_cast<size_t>(threads) * (size_t{128} << 10));
}

void handoff() {
  constexpr size_t kLive = 32 * kMiB;
  constexpr size_t kBlock = 200;
  constexpr size_t kSlots = kLive / kBlock;
  std::vector<std::atomic<void*>> ring(kSlots);
  constexpr size_t kTotal = kSlots * 40;
  const size_t before = rss_bytes();
  std::thread consumer([&] {
    for (size_t i = 0; i < kTotal; ++i) {
      void* p = nullptr;
      while ((p = ring[i % kSlots].exchange(nullptr)) == nullptr) sched_yield();
      free(p);
    }
  });
  for (size_t i = 0; i < kTotal; ++i) {
    auto* p = static_cast<char*>(malloc(kBlock));
    memset(p, 3, kBlock);
    while (ring[i % kSlots].load() != nullptr) sched_yield();
    ring[i % kSlots].store(p);
  }
  consumer.join();
  printf("handoff: live at most %zu KiB, peak %zu KiB more than before\n", kLive >> 10, (peak_bytes() - before) >> 10);
  CHECK(peak_bytes() - before <= kLive / 10 * 13);
}

void drift() {
  constexpr size_t kLive = 64 * kMiB;
  constexpr size_t kMaxBlocks = kLive / 32;
  std::mt19937_64 random(g_seed);
  struct Block {
    unsigned char* at;
    size_t bytes;
  };
  std::vector<Block> blocks;
  blocks.reserve(kMaxBlocks);
  memset(static_cast<void*>(blocks.data()), 1, kMaxBlocks * sizeof(Block));  // resident before, as it will be after
  size_t live = 0;
  const size_t before = rss_bytes();
  const auto add = [&](size_t mean) {
    const size_t bytes = mean / 2 + random() % mean;
    auto* p = static_cast<unsigned char*>(malloc(bytes));
    CHECK(p != nullptr && blocks.size() < kMaxBlocks);
    memset(p, static_cast<int>(bytes & 0xff), bytes);
    blocks.push_back({p, bytes});
    live += bytes;
  };
  size_t worst = 0;
  // 32 phases of an hour, say: in each, half of what is live is replaced, at random, by blocks of the phase's size, 64
  // bytes to 8 KiB and back.
  for (int phase = 0; phase < 32; ++phase) {
    const size_t mean = size_t{64} << (phase % 16 < 8 ? phase % 16 : 15 - phase % 16);
    for (size_t freed = 0; freed < kLive / 2 && !blocks.empty();) {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      const Block b = blocks.back();
      blocks.pop_back();
      CHECK(b.at[0] == (b.bytes & 0xff) && b.at[b.bytes - 1] == (b.bytes & 0xff));
      free(b.at);
      live -= b.bytes;
      freed += b.bytes;
    }
    while (live < kLive) add(mean);
    const size_t grown = rss_bytes() - before;
    if (grown > worst) worst = grown;
  }
  printf("drift: live %zu KiB, at worst %zu KiB held\n", kLive >> 10, worst >> 10);
  fflush(stdout);
  for (const Block& b : blocks) free(b.at);
  CHECK(worst <= kLive * 5);  // as much as classes keep of each other; churn.sh compares with mimalloc
}

void trim() {
  const size_t before = rss_bytes();
  burst(128 * kMiB, size_t{64} << 10);
  const size_t kept = rss_bytes();
  malloc_trim(0);
  const size_t after = rss_bytes();
  printf("trim: KiB before %zu, freed %zu, trimmed %zu\n", before >> 10, kept >> 10, after >> 10);
  CHECK(kept >= before + 120 * kMiB && after <= before + kMiB);
}

void delay(bool soon) {
  const char* conf = getenv("ASHLAR_CONF");
  const char* at = conf == nullptr ? nullptr : strstr(conf, "purge_delay:");
  CHECK(at != nullptr);
  const long delay_ms = strtol(at + strlen("purge_delay:"), nullptr, 10);
  std::atomic<bool> quit = false;
  std::thread other([&quit] {
    while (!quit.load()) sleep_ms(20);
  });
  const size_t before = rss_bytes();
  burst(128 * kMiB, size_t{64} << 10);
  const long start = now_ms();
  sleep_ms(soon ? 1 : delay_ms / 3);
  // A machine that stalls us may be past the delay already; then there is nothing to see of "not before".
  const size_t early = rss_bytes();
  const bool in_time = now_ms() - start < delay_ms / 2;
  while (rss_bytes() > before + 2 * kMiB && now_ms() - start < (soon ? 2000 : 20 * delay_ms)) sleep_ms(5);
  const long took = now_ms() - start;
  printf("delay of %ld ms: given back after %ld ms\n", delay_ms, took);
  quit = true;
  other.join();
  CHECK(!in_time || early >= before + 100 * kMiB);
  CHECK(rss_bytes() <= before + 2 * kMiB);
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc >= 2);
  const int threads = argc > 2 ? atoi(argv[2]) : 1;
  const char* seed = getenv("ASHLAR_TEST_SEED");
  g_seed = seed != nullptr ? strtoull(seed, nullptr, 10) : static_cast<uint64_t>(time(nullptr));
  rss_bytes();
  printf("seed %llu\n", static_cast<unsigned long long>(g_seed));
  fflush(stdout);
  const auto is = [&](const char* mode) { return strcmp(argv[1], mode) == 0; };
  if (is("again")) {
    again(threads);
  } else if (is("pool")) {
    pool(threads);
  } else if (is("handoff")) {
    handoff();
  } else if (is("drift")) {
    drift();
  } else if (is("trim")) {
    trim();
  } else {
    CHECK(is("delay") || is("delay-soon"));
    delay(is("delay-soon"));
  }
  puts("ok");
}
