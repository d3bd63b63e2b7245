// SPDX-License-Identifier: MIT
//
// threads.cc - blocks that another thread frees, threads that are born and die, processes that start.
//
// Idea: remote: the asymmetric half of C. Lever and D. Boreham's malloc-test, USENIX 2000. startup: the start-up of
// short processes, of which shell scripts and builds are made. Stresses: remote   each thread fills a batch and swaps
// it for one that any thread has filled, which it frees
//           thread   pthread_create, ten blocks in the new thread, join: building and ending a thread's cache
//           startup  posix_spawn of a process that calls malloc once: initialisation of the library
#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <climits>
#include <memory>
#include <utility>

#include "bench/micro/micro.h"

namespace micro {
namespace {

constexpr size_t kBatch = 256;
constexpr size_t kBoxes = 4;

struct Batch {
  std::array<void*, kBatch> blocks{};
};

std::array<std::atomic<Batch*>, kBoxes> g_boxes;

Case remote_case(size_t size, long runs) {
  return {"remote/" + std::to_string(size), Threads::kTwoAndMore, runs, kBatch, [size](benchmark::State&) -> Body {
            auto mine = std::make_shared<Batch*>(new Batch);
            return repeated([size, mine, box = size_t{0}]() mutable {
              if (*mine == nullptr) *mine = new Batch;
              for (void*& block : (*mine)->blocks) block = touched(size);
              // acq_rel pairs with the other threads' exchange: the batch travels with the pointer. What is left in
              // the boxes is freed by whoever comes next, or by the end of the process.
              *mine = g_boxes[box++ % kBoxes].exchange(*mine, std::memory_order_acq_rel);
              if (*mine == nullptr) return;
              for (void*& block : (*mine)->blocks) std::free(std::exchange(block, nullptr));
            });
          }};
}

void* ten_blocks(void*) {
  std::array<void*, 10> blocks{};
  for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = touched(16 << (i % 6));
  for (void* block : blocks) std::free(block);
  return nullptr;
}

void thread_body() {
  pthread_t thread;
  if (pthread_create(&thread, nullptr, ten_blocks, nullptr) != 0) bench::fail("pthread_create");
  pthread_join(thread, nullptr);
}

/// build/bench/startup lies beside this program.
std::string startup_path() {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  if (length <= 0) bench::fail("readlink /proc/self/exe");
  std::string text(path, static_cast<size_t>(length));
  return text.substr(0, text.rfind('/')) + "/startup";
}

Body startup_body() {
  return repeated([path = startup_path()] {
    std::string name = path;
    char* arguments[] = {name.data(), nullptr};
    pid_t child = 0;
    int status = 0;
    if (posix_spawn(&child, path.c_str(), nullptr, nullptr, arguments, environ) != 0) bench::fail("posix_spawn");
    if (waitpid(child, &status, 0) != child || status != 0) bench::fail("build/bench/startup failed");
  });
}

}  // namespace

void add_threads(std::vector<Case>& cases) {
  for (const size_t size : {16, 64, 1024}) cases.push_back(remote_case(size, 12'000));
  cases.push_back({"thread", Threads::kAll, 600, 1, [](benchmark::State&) -> Body { return repeated(thread_body); }});
  cases.push_back({"startup", Threads::kOne, 60, 1, [](benchmark::State&) { return startup_body(); }});
}

}  // namespace micro
