// SPDX-License-Identifier: MIT
//
// signals.cc - signals that hit malloc, of a program with one thread: handlers that jump out of it, that fork, and that
// allocate where they must not. test/preload/signals.sh runs it: signals jump|fork|reenter [rounds]
//
// The alarm is armed anew when a handler is done, by a random time, so that it comes at any instruction. `inside` is
// set around every call of the allocator: a handler that finds it has interrupted malloc.
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "test/programs/check.h"

namespace {

volatile sig_atomic_t inside = 0;
volatile sig_atomic_t hits_inside = 0, hits_outside = 0;
volatile sig_atomic_t forked_inside = 0, forked_outside = 0;
sigjmp_buf landing;
uint64_t state = 0;

uint64_t draw() {
  state += 0x9e3779b97f4a7c15U;
  uint64_t x = state;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

// The handler's own, since the program may be in the middle of a draw.
uint64_t handler_state = 12345;
uint64_t longest_wait = 200;  // in us, and 20
void arm() {
  handler_state = handler_state * 6364136223846793005U + 1442695040888963407U;
  const itimerval soon = {{0, 0}, {0, static_cast<suseconds_t>(20 + (handler_state >> 33) % longest_wait)}};
  setitimer(ITIMER_REAL, &soon, nullptr);
}
void disarm() {
  const itimerval never = {};
  setitimer(ITIMER_REAL, &never, nullptr);
}

void on_alarm(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  CHECK(sigaction(SIGALRM, &action, nullptr) == 0);
}

struct Block {
  unsigned char* at;
  size_t size;
  unsigned char stamp;
};
constexpr int kBlocks = 300;
Block blocks[kBlocks];

// Sizes that keep the slow paths busy: refills, flushes, fresh spans, large blocks, purges.
size_t draw_size() {
  const uint64_t kind = draw() % 8;
  if (kind == 0) return (size_t{1} << 20) + draw() % (1 << 20);
  if (kind == 1) return 33000 + draw() % 200000;
  return 1 + draw() % 30000;
}

void check_block(const Block& b) {
  if (b.at == nullptr) return;
  CHECK(b.at[0] == b.stamp && b.at[b.size / 2] == b.stamp && b.at[b.size - 1] == b.stamp);
}

void stamp(Block* b, unsigned char* at, size_t size) {
  const auto value = static_cast<unsigned char>(draw());
  at[0] = at[size / 2] = at[size - 1] = value;
  *b = {at, size, value};
}

void step() {
  Block& b = blocks[draw() % kBlocks];
  check_block(b);
  const size_t size = draw_size();
  unsigned char* at = nullptr;
  inside = 1;
  if (draw() % 4 == 0) {
    at = static_cast<unsigned char*>(realloc(b.at, size));
  } else {
    free(b.at);
    at = static_cast<unsigned char*>(malloc(size));
  }
  CHECK(at != nullptr);
  stamp(&b, at, size);
  inside = 0;
  // Something of the program's own, in which nothing is half done.
  for (uint64_t i = draw() % 300; i > 0; --i) opaque(i);
}

void check_all() {
  for (const Block& b : blocks) check_block(b);
}

// ---- fork -------------------------------------------------------------------------------------------

volatile sig_atomic_t am_child = 0;
int rounds_wanted = 0;
constexpr int kLeastSteps = 300;  // of the parent: alarms must not hit the first ones alone

void forking(int) {
  const pid_t child = fork();
  if (child < 0) _exit(9);
  if (child == 0) {
    am_child = 1;
    alarm(60);
    on_alarm(SIG_DFL);
    if (inside != 0) return;  // the interrupted call goes on, in the child: see fork_from_handlers
    for (size_t size = 1; size < 4000000; size = size * 2 + 1) free(malloc(size));
    _exit(0);
  }
  if (inside != 0) {
    forked_inside = forked_inside + 1;
  } else {
    forked_outside = forked_outside + 1;
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    dprintf(2, "a child of the handler (inside: %d) ended with %x\n", static_cast<int>(inside), status);
    _exit(8);
  }
  // An emulated or a busy CPU may make no step at all within 200 us: rarer and rarer, until it has made enough.
  const int forks = forked_inside + forked_outside;
  if (forks % (2 * rounds_wanted) == 0 && longest_wait < 200000) longest_wait *= 2;
  arm();
}

void fork_from_handlers(int rounds) {
  rounds_wanted = rounds > 0 ? rounds : 1;
  on_alarm(forking);
  arm();
  for (int steps = 0; am_child == 0 && (forked_inside < rounds || forked_outside < 3 || steps < kLeastSteps); ++steps) {
    step();
  }
  if (am_child != 0) {
    // The child, back from the handler: what was interrupted has ended well. Now everything must still work.
    for (int i = 0; i < 300; ++i) step();
    check_all();
    const pid_t nested = fork();
    if (nested == 0) {
      for (int i = 0; i < 100; ++i) step();
      check_all();
      _exit(0);
    }
    int status = 0;
    CHECK(waitpid(nested, &status, 0) == nested && status == 0);
    _exit(0);
  }
  disarm();
  check_all();
  CHECK(forked_inside >= rounds);
}

// ---- siglongjmp -------------------------------------------------------------------------------------

void jumping(int) {
  if (inside != 0) {  // in a slow path, as far as this program knows
    hits_inside = hits_inside + 1;
    arm();
    return;
  }
  hits_outside = hits_outside + 1;
  siglongjmp(landing, 1);
}

void always_jumping(int) {
  hits_inside = hits_inside + 1;
  siglongjmp(landing, 1);
}

void jump_out(int rounds) {
  // Out of user code, between calls that take every path.
  on_alarm(jumping);
  if (sigsetjmp(landing, 1) == 0 || hits_outside < rounds) {
    arm();
    for (;;) step();
  }
  check_all();
  // Out of malloc and free on their fast paths, at any instruction: the loop below never leaves them, since the
  // cache is filled up, with signals blocked, after each jump, which may have lost one block.
  on_alarm(always_jumping);
  hits_inside = 0;
  static volatile uint64_t pairs = 0;
  sigset_t alarms;
  sigemptyset(&alarms);
  sigaddset(&alarms, SIGALRM);
  sigsetjmp(landing, 1);
  CHECK(sigprocmask(SIG_BLOCK, &alarms, nullptr) == 0);
  void* warm[8];
  for (void*& p : warm) CHECK((p = malloc(64)) != nullptr);
  for (int i = 0; i < 8; ++i) {
    for (int k = 0; k < i; ++k) CHECK(warm[i] != warm[k]);  // no block twice
    memset(warm[i], i, 64);
  }
  for (void* p : warm) free(p);
  if (hits_inside < rounds) {
    arm();
    CHECK(sigprocmask(SIG_UNBLOCK, &alarms, nullptr) == 0);
    for (;;) {
      void* a = malloc(64);
      void* b = malloc(64);
      free(a);
      free(b);
      pairs = pairs + 1;
    }
  }
  disarm();
  CHECK(pairs != 0);
  for (int i = 0; i < 10000; ++i) step();
  check_all();
}

// ---- malloc where it must not be ----------------------------------------------------------------------

void allocating(int) {
  // Large, so that it takes the page heap's lock.
  free(malloc(100000));
  arm();
}

[[noreturn]] void reenter() {
  on_alarm(allocating);
  arm();
  for (;;) {
    void* p = malloc(200000);
    free(p);
  }
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc >= 2);
  const int rounds = argc > 2 ? atoi(argv[2]) : 100;
  const char* seed = getenv("TEST_SEED");
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  state = seed != nullptr ? strtoull(seed, nullptr, 0) : static_cast<uint64_t>(now.tv_nsec);
  handler_state ^= state;
  dprintf(1, "seed: run again with TEST_SEED=%llu\n", static_cast<unsigned long long>(state));
  if (strcmp(argv[1], "jump") == 0) {
    jump_out(rounds);
  } else if (strcmp(argv[1], "fork") == 0) {
    fork_from_handlers(rounds);
  } else {
    reenter();
  }
  dprintf(1, "forked inside: %d, outside: %d\n", static_cast<int>(forked_inside), static_cast<int>(forked_outside));
  report_checks();
  return 0;
}
