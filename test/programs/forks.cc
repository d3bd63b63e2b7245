// SPDX-License-Identifier: MIT
//
// forks.cc - new processes from a program whose threads all allocate: fork, forks of forks, vfork, posix_spawn, system,
// exec, and clone(CLONE_VM | CLONE_VFORK) as glibc does it. test/preload/forks.sh and bench/fork_storm run it:
//   forks storm THREADS FORKS   each thread allocates and forks so often, all at once
//   forks ways  THREADS ROUNDS  the main thread makes processes in every way while so many threads allocate
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include <atomic>
#include <thread>
#include <vector>

#include "test/programs/check.h"

extern char** environ;

namespace {

std::atomic<bool> stop{false};
uint64_t seed = 0;

class Worker {
 public:
  explicit Worker(uint64_t number) : state_(seed * 31 + number) {}
  ~Worker() {
    for (Block& b : blocks_) free(b.at);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void step() {
    Block& b = blocks_[draw() % kBlocks];
    if (b.at != nullptr) CHECK(b.at[0] == b.stamp && b.at[b.size - 1] == b.stamp);
    free(b.at);
    b.size = 1 + draw() % (draw() % 32 == 0 ? 400000 : 3000);
    b.at = static_cast<unsigned char*>(malloc(b.size));
    CHECK(b.at != nullptr);
    b.stamp = static_cast<unsigned char>(draw());
    b.at[0] = b.at[b.size - 1] = b.stamp;
  }
  void steps(int n) {
    for (; n > 0; --n) step();
  }

 private:
  struct Block {
    unsigned char* at = nullptr;
    size_t size = 0;
    unsigned char stamp = 0;
  };
  static constexpr size_t kBlocks = 64;

  uint64_t draw() {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return state_ >> 33;
  }

  uint64_t state_;
  Block blocks_[kBlocks];
};

void expect_success(pid_t child, const char* what) {
  int status = 0;
  pid_t got = 0;
  while ((got = waitpid(child, &status, 0)) < 0 && errno == EINTR) {
  }
  if (got != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    dprintf(2, "%s: child ended with status %x%s\n", what, static_cast<unsigned>(status),
            WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? " (it hung)" : "");
    _exit(7);
  }
}

// ---- storm ------------------------------------------------------------------------------------------

void storm(size_t threads, int forks) {
  std::vector<std::thread> all;
  for (size_t i = 0; i < threads; ++i) {
    all.emplace_back([i, forks] {
      Worker worker(i);
      for (int k = 0; k < forks; ++k) {
        worker.steps(30);
        const pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
          alarm(60);
          worker.steps(30);
          _exit(0);
        }
        expect_success(child, "storm");
      }
    });
  }
  for (std::thread& thread : all) thread.join();
  printf("%zu forks\n", threads * static_cast<size_t>(forks));
}

// ---- ways -------------------------------------------------------------------------------------------

char true_name[] = "/bin/true";
char* true_argv[] = {true_name, nullptr};

int run_true(void*) {
  execve(true_name, true_argv, environ);
  _exit(9);
}

[[gnu::noinline]] void run_by_vfork() {
  const pid_t child = vfork();
  if (child == 0) {
    execve(true_name, true_argv, environ);
    _exit(9);
  }
  expect_success(child, "vfork");
}

void fork_with_threads(Worker& worker, int generations) {
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child > 0) {
    expect_success(child, "fork");
    return;
  }
  alarm(100);
  worker.steps(200);
  // New threads, more than there are CPUs, of which some had no lease in the parent.
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 8; ++i) {
    threads.emplace_back([i] {
      Worker mine(1000 + i);
      mine.steps(100);
    });
  }
  if (generations > 0) fork_with_threads(worker, generations - 1);
  for (std::thread& thread : threads) thread.join();
  if (generations % 2 == 1) execve(true_name, true_argv, environ);
  _exit(0);
}

void ways(size_t threads, int rounds) {
  std::vector<std::thread> all;
  for (size_t i = 0; i < threads; ++i) {
    all.emplace_back([i] {
      Worker worker(i);
      while (!stop.load(std::memory_order_relaxed)) worker.step();
    });
  }
  Worker worker(99);
  for (int k = 0; k < rounds; ++k) {
    worker.steps(10);
    fork_with_threads(worker, k % 4);

    run_by_vfork();
    pid_t child = 0;
    CHECK(posix_spawn(&child, true_name, nullptr, nullptr, true_argv, environ) == 0);
    expect_success(child, "posix_spawn");

    // As glibc's posix_spawn: a stack of its own, our memory, and we stand still until it executes.
    constexpr size_t kStackBytes = 65536;
    auto* stack = static_cast<char*>(malloc(kStackBytes));
    CHECK(stack != nullptr);
    child = clone(run_true, stack + kStackBytes, CLONE_VM | CLONE_VFORK | SIGCHLD, nullptr);
    CHECK(child > 0);
    expect_success(child, "clone");
    free(stack);

    CHECK(system("exit 0") == 0);
    FILE* pipe = popen("echo out", "r");
    CHECK(pipe != nullptr);
    char line[16] = {};
    CHECK(fgets(line, sizeof line, pipe) != nullptr && strcmp(line, "out\n") == 0);
    CHECK(pclose(pipe) == 0);
  }
  stop = true;
  for (std::thread& thread : all) thread.join();
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc == 4);
  const char* given = getenv("TEST_SEED");
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  seed = given != nullptr ? strtoull(given, nullptr, 0) : static_cast<uint64_t>(now.tv_nsec);
  dprintf(1, "seed: run again with TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  const size_t threads = strtoull(argv[2], nullptr, 0);
  const int count = atoi(argv[3]);
  if (strcmp(argv[1], "storm") == 0) {
    storm(threads, count);
  } else {
    ways(threads, count);
  }
  report_checks();
  return 0;
}
