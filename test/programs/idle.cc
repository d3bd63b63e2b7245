// SPDX-License-Identifier: MIT
//
// idle.cc THREADS BLOCK_BYTES BURST_MIB ORDER BASE_MIB LIMIT_PERCENT - a burst of blocks is allocated, touched and
// freed; then the program only sleeps. Its RSS must come back to that of before, within LIMIT_PERCENT of it, in 2 s.
//
// THREADS 0: no thread but the initial one, and it must stay so. Otherwise so many threads share the burst, and stay
// alive, asleep. ORDER: `in` (address order), `random`, or `other` (each thread frees the blocks of the next one).
// BASE_MIB is what the program holds all the time. The seed is printed; ASHLAR_TEST_SEED sets it.
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "test/programs/check.h"

namespace {

long rss_kib() {
  long pages = 0;
  FILE* f = fopen("/proc/self/statm", "r");
  CHECK(f != nullptr && fscanf(f, "%*d %ld", &pages) == 1);
  fclose(f);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

int threads_now(bool* helper) {
  int n = 0;
  *helper = false;
  DIR* d = opendir("/proc/self/task");
  CHECK(d != nullptr);
  while (const dirent* e = readdir(d)) {
    if (e->d_name[0] == '.') continue;
    ++n;
    char path[300];
    char name[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
    if (FILE* f = fopen(path, "r")) {
      if (fgets(name, sizeof name, f) != nullptr && strncmp(name, "ashlar-purge", 12) == 0) *helper = true;
      fclose(f);
    }
  }
  closedir(d);
  return n;
}

void sleep_ms(long ms) {
  const timespec t{ms / 1000, ms % 1000 * 1000000};
  nanosleep(&t, nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc == 7);
  const int threads = atoi(argv[1]);
  const size_t bytes = strtoul(argv[2], nullptr, 10);
  const size_t burst = strtoul(argv[3], nullptr, 10) << 20;
  const char* order = argv[4];
  const size_t base_bytes = strtoul(argv[5], nullptr, 10) << 20;
  const long percent = strtol(argv[6], nullptr, 10);
  const char* seed_text = getenv("ASHLAR_TEST_SEED");
  const uint64_t seed = seed_text != nullptr ? strtoull(seed_text, nullptr, 10) : static_cast<uint64_t>(time(nullptr));

  const size_t base_block = 4000;
  std::vector<void*> base;
  for (size_t at = 0; at < base_bytes; at += base_block) {
    base.push_back(malloc(base_block));
    memset(base.back(), 1, base_block);
  }
  bool helper = false;
  threads_now(&helper);  // what it takes once, it has now
  printf("seed %llu; ", static_cast<unsigned long long>(seed));
  const int workers = threads == 0 ? 1 : threads;
  const size_t per_worker = burst / bytes / static_cast<size_t>(workers);
  // The tables of the burst are in the RSS of before and of after.
  std::vector<std::vector<void*>> blocks(static_cast<size_t>(workers));
  for (auto& b : blocks) b.assign(per_worker, reinterpret_cast<void*>(1));
  if (strcmp(order, "random") == 0) {
    for (auto& b : blocks)
      std::iota(reinterpret_cast<uintptr_t*>(b.data()), reinterpret_cast<uintptr_t*>(b.data()) + per_worker, 0);
  }
  std::barrier sync(workers + (threads == 0 ? 0 : 1));
  std::atomic<bool> quit = false;
  const auto work = [&](int i) {
    std::vector<void*>& own = blocks[static_cast<size_t>(i)];
    std::vector<void*>& gives = strcmp(order, "other") == 0 ? blocks[static_cast<size_t>((i + 1) % workers)] : own;
    sync.arrive_and_wait();
    for (auto& p : own) {
      p = malloc(bytes);
      memset(p, 2, bytes);
    }
    sync.arrive_and_wait();
    if (strcmp(order, "random") == 0)
      std::shuffle(gives.begin(), gives.end(), std::mt19937_64(seed + static_cast<uint64_t>(i)));
    for (void* p : gives) free(p);
    sync.arrive_and_wait();
    while (threads != 0 && !quit.load()) sleep_ms(50);
  };
  std::vector<std::thread> pool;
  long before = 0;
  if (threads == 0) {
    before = rss_kib();
    work(0);
  } else {
    for (int i = 0; i < threads; ++i) pool.emplace_back(work, i);
    sleep_ms(20);
    before = rss_kib();
    sync.arrive_and_wait();
    sync.arrive_and_wait();
    sync.arrive_and_wait();
  }
  const long at_once = rss_kib();
  bool helper_ran = false;
  int most = 0;
  long after = 0;
  for (int i = 0; i < 20; ++i) {
    sleep_ms(95);
    most = std::max(most, threads_now(&helper));
    helper_ran |= helper;
  }
  after = rss_kib();
  for (int i = 0; i < 40 && helper; ++i) {
    sleep_ms(100);
    threads_now(&helper);
  }
  printf("KiB before %ld, freed %ld, 2 s later %ld (%+ld %%); helper %s\n", before, at_once, after,
         (after - before) * 100 / before, helper_ran ? "ran" : "never ran");
  fflush(stdout);

  quit = true;
  for (auto& t : pool) t.join();
  for (void* p : base) free(p);
  CHECK(!helper);  // it does not outlive its work
  if (threads == 0) CHECK(most == 1 && !helper_ran);
  const char* conf = getenv("ASHLAR_CONF");
  if (conf != nullptr && strstr(conf, "purge_thread:off") != nullptr) CHECK(!helper_ran);
  CHECK((after - before) * 100 <= before * percent);
  puts("ok");
}
