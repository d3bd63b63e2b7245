// SPDX-License-Identifier: MIT
//
// thread_churn [THREADS] [AT_ONCE] [BLOCKS] - threads that are born, allocate, leave half behind, and die.
//
// Models: a thread per request or per task, as in servers of the old kind, test runners and build tools.
// Idea: t-test1.c of W. Gloger's ptmalloc (threads that allocate, free, end, and are replaced), with the rest left to
// others. Stresses: first allocation of a thread, its end, adoption of what it leaves. AT_ONCE threads exist at a time;
// each allocates BLOCKS blocks, frees every other one, and leaves the others to the thread that joins it.
#include <pthread.h>

#include <vector>

#include "bench/program.h"

namespace {

long g_blocks;

struct Worker {
  long index = 0;
  uint64_t seed = 0;
  std::vector<bench::Block*> left;
  uint64_t bytes = 0;
  pthread_t thread{};
};

void* run(void* argument) {
  auto* worker = static_cast<Worker*>(argument);
  bench::pin_thread(worker->index);
  bench::Rng random(worker->seed);
  std::vector<bench::Block*> all;
  for (long i = 0; i < g_blocks; ++i) {
    const uint32_t size = random.below(32) == 0 ? random.between(1024, 16384) : random.between(16, 512);
    worker->bytes += size;
    all.push_back(bench::make_block(size));
  }
  for (size_t i = 0; i < all.size(); ++i) {
    if (i % 2 == 0) {
      bench::drop_block(all[i]);
    } else {
      worker->left.push_back(all[i]);
    }
  }
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  const long threads = bench::argument(argc, argv, 1, 4000);
  const long at_once = bench::argument(argc, argv, 2, 8);
  g_blocks = bench::argument(argc, argv, 3, 200);
  if (at_once == 0) bench::fail("there must be at least 1 thread at once");
  std::vector<Worker> workers(static_cast<size_t>(at_once));
  uint64_t bytes = 0;
  const double start = bench::now_seconds();
  const auto join = [&bytes](Worker& worker) {
    pthread_join(worker.thread, nullptr);
    bytes += worker.bytes;
    for (bench::Block* block : worker.left) bench::drop_block(block);
  };
  for (long i = 0; i < threads; ++i) {
    Worker& worker = workers[static_cast<size_t>(i % at_once)];
    if (i >= at_once) join(worker);
    worker = Worker();
    worker.index = i;
    worker.seed = static_cast<uint64_t>(i) + 1;
    if (pthread_create(&worker.thread, nullptr, run, &worker) != 0) bench::fail("pthread_create");
  }
  for (long i = 0; i < at_once && i < threads; ++i) join(workers[static_cast<size_t>(i)]);
  const double seconds = bench::now_seconds() - start;
  std::printf("thread_churn: %ld threads, %llu bytes\n", threads, static_cast<unsigned long long>(bytes));
  std::fprintf(stderr, "%.2f us a thread, peak RSS %ld KiB\n", seconds * 1e6 / static_cast<double>(threads),
               bench::peak_rss_kib());
  return 0;
}
