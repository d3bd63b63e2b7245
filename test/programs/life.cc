// SPDX-License-Identifier: MIT
//
// life.cc - malloc at the odd moments of a process: before main, in destructors of threads and of the process, in
// fork handlers, in the child of fork and of vfork, in a signal-free exit with threads alive. test/preload/life.sh runs
// it.
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "test/programs/check.h"

extern char** environ;

namespace {

void* early_block = nullptr;

[[gnu::constructor(101)]] void allocate_before_main() {
  early_block = malloc(100);
  CHECK(early_block != nullptr);
  memset(early_block, 0x11, 100);
}

[[gnu::destructor(101)]] void free_after_main() {
  free(early_block);
  void* late = malloc(5000);
  CHECK(late != nullptr);
  memset(late, 1, 5000);
  free(late);
  constexpr char kText[] = "freed after main\n";
  CHECK(write(1, kText, sizeof kText - 1) == sizeof kText - 1);
}

std::string global_string(1000, 'g');  // freed by a destructor of the process

std::atomic<int> destructed{0};

struct ThreadGuest {
  std::vector<std::string> strings{std::string(100, 'a'), std::string(1000, 'b')};
  ~ThreadGuest() {
    strings.emplace_back(2000, 'c');
    if (strings.back().size() == 2000) destructed.fetch_add(1);
  }
};

thread_local ThreadGuest guest;

void check_thread_locals() {
  for (int i = 0; i < 50; ++i) {
    std::thread([] { guest.strings.emplace_back(50, 'd'); }).join();
  }
  CHECK(destructed.load() == 50);
}

std::atomic<int> prepared{0};

void* atfork_block = nullptr;

void check_fork_handlers() {
  // Handlers allocate and free, in all three places, as runtimes do.
  CHECK(pthread_atfork(
            [] {
              atfork_block = malloc(777);
              prepared.fetch_add(1);
            },
            [] { free(atfork_block); },
            [] {
              free(atfork_block);
              free(malloc(50000));
            }) == 0);
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      alarm(60);
      std::vector<std::string> strings;
      for (int k = 0; k < 1000; ++k) strings.emplace_back(static_cast<size_t>(k), 'x');
      std::thread([&strings] { strings.clear(); }).join();
      _exit(prepared.load() == i + 1 ? 0 : 2);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
}

void check_vfork_and_spawn() {
  void* block = malloc(300);
  const pid_t child = vfork();
  if (child == 0) {
    // Shares our memory until it executes something: the allocator must not see a fork here.
    execl("/bin/true", "true", static_cast<char*>(nullptr));
    _exit(9);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  free(block);
  for (int i = 0; i < 20; ++i) {
    pid_t spawned = 0;
    char name[] = "/bin/true";
    char* argv[] = {name, nullptr};
    CHECK(posix_spawn(&spawned, name, nullptr, nullptr, argv, environ) == 0);
    CHECK(waitpid(spawned, &status, 0) == spawned);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
}

void check_cancellation() {
  // A thread cancelled at a cancellation point leaves its blocks to the cleanup handler.
  for (int i = 0; i < 20; ++i) {
    pthread_t thread{};
    CHECK(pthread_create(
              &thread, nullptr,
              [](void*) -> void* {
                void* block = malloc(4000);
                pthread_cleanup_push(free, block);
                for (;;) {
                  free(malloc(100));
                  pthread_testcancel();
                }
                pthread_cleanup_pop(1);
                return nullptr;
              },
              nullptr) == 0);
    CHECK(pthread_cancel(thread) == 0);
    void* result = nullptr;
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED);
  }
}

void check_small_stack() {
  // The allocator's slow paths must fit a thread with the smallest stack.
  pthread_attr_t attributes;
  CHECK(pthread_attr_init(&attributes) == 0);
  CHECK(pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN + 4096) == 0);
  pthread_t thread{};
  CHECK(pthread_create(
            &thread, &attributes,
            [](void*) -> void* {
              for (size_t size = 1; size < (size_t{8} << 20); size = size * 3 / 2 + 1) {
                void* block = malloc(size);
                CHECK(block != nullptr);
                block = realloc(block, size * 2);
                CHECK(block != nullptr);
                free(block);
              }
              malloc_trim(0);
              return nullptr;
            },
            nullptr) == 0);
  CHECK(pthread_join(thread, nullptr) == 0);
  pthread_attr_destroy(&attributes);
}

}  // namespace

int main() {
  alarm(120);
  CHECK(static_cast<char*>(early_block)[99] == 0x11);
  CHECK(global_string.size() == 1000);
  check_thread_locals();
  check_fork_handlers();
  check_vfork_and_spawn();
  check_cancellation();
  check_small_stack();
  report_checks();
  // exit() runs the destructors while these threads still allocate.
  for (int i = 0; i < 4; ++i) {
    std::thread([] {
      for (;;) free(malloc(100));
    }).detach();
  }
  return 0;
}
