// SPDX-License-Identifier: MIT
//
// init_failure_test.cc - the first malloc of a process, and of its second and later threads, with the 1st, 2nd, 3rd ...
// call to the kernel failing: null and ENOMEM or a block, and success once memory is back. A process for each: this one
// never allocates from Ashlar itself.
#include <errno.h>
#include <sys/wait.h>

#include <thread>

#include "alloc/os/os.h"
#include "test/alloc/test_util.h"

namespace ashlar {
namespace {

constexpr unsigned kForEver = ~0U;
constexpr unsigned kMostCalls = 200;

// How a child ends.
constexpr int kReached = 0, kNotReached = 1, kBroken = 2;

void require(bool ok, const char* what) {
  if (ok) return;
  dprintf(2, "failed: %s\n", what);
  _exit(kBroken);
}

/// A block of either kind, or null and ENOMEM.
bool allocate_and_free(size_t size) {
  errno = 0;
  auto* p = static_cast<char*>(ashlar_calloc(1, size));
  if (p == nullptr) {
    require(errno == ENOMEM, "errno is ENOMEM");
    return false;
  }
  require(p[0] == 0 && p[size - 1] == 0, "calloc is zero");
  p[0] = p[size - 1] = 1;
  ashlar_free(p);
  return true;
}

void first_malloc() {
  const bool done = allocate_and_free(100) && allocate_and_free(1 << 20);
  (void)done;
}

/// More threads than leases, so that the last are guests.
void threads() {
  std::thread all[20];
  for (std::thread& t : all) {
    t = std::thread([] {
      for (const size_t size : {16, 500, 40000}) allocate_and_free(size);
    });
  }
  for (std::thread& t : all) t.join();
}

int run(void (*scenario)(), bool initialise, unsigned n, unsigned count) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    if (initialise) require(allocate_and_free(100), "the first malloc");
    os::fail_after(n, count);
    scenario();
    const bool reached = os::failure_seam().count < count;
    os::fail_after(0);
    require(allocate_and_free(100) && allocate_and_free(1 << 20), "memory is back");
    threads();
    const ashlar_memstats s = ashlar_test::stats();
    require(s.mallocs == s.frees && s.heap_objects == 0, "nothing is left");
    require(s.heap_sys == s.heap_idle + s.heap_inuse, "the heap's figures agree");
    _exit(reached ? kReached : kNotReached);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) return kBroken;
  return WEXITSTATUS(status);
}

void run_all(void (*scenario)(), bool initialise) {
  for (const unsigned count : {1U, 3U, kForEver}) {
    unsigned n = 1;
    for (int ended = kReached; ended == kReached && n < kMostCalls; ++n) {
      ended = run(scenario, initialise, n, count);
      ASSERT_NE(ended, kBroken) << "call " << n << ", " << count << " failures";
    }
    EXPECT_GT(n, 2U) << "no call was needed, so nothing was tested";
    EXPECT_LT(n, kMostCalls);
  }
}

TEST(InitFailure, first_malloc_of_a_process) {
  run_all(first_malloc, false);
}
TEST(InitFailure, first_malloc_of_threads) {
  run_all(threads, true);
}

}  // namespace
}  // namespace ashlar
