// SPDX-License-Identifier: MIT
//
// crowd.cc - threads in numbers: births by the hundred thousand, thousands alive at once, and cancellation in the
// middle of allocation-heavy code. test/preload/crowd.sh runs it: crowd births|alive|cancel COUNT
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <vector>

#include "test/programs/check.h"

namespace {

pthread_attr_t small_stack;

void start(pthread_t* thread, void* (*body)(void*), void* argument) {
  const int error = pthread_create(thread, &small_stack, body, argument);
  if (error != 0) dprintf(2, "pthread_create: %s\n", strerror(error));
  CHECK(error == 0);
}

// ---- births -----------------------------------------------------------------------------------------

constexpr size_t kAtOnce = 8;
std::atomic<void*> estate[64];  // blocks that dead threads left

void* short_life(void* number) {
  auto n = reinterpret_cast<uintptr_t>(number);
  for (int i = 0; i < 4; ++i, n = n * 2654435761 + 1) {
    const size_t size = 1 + (n >> 7) % 3000;
    auto* block = static_cast<unsigned char*>(malloc(size));
    CHECK(block != nullptr);
    block[0] = block[size - 1] = 0x5a;
    auto* old = static_cast<unsigned char*>(estate[n % 64].exchange(block));
    CHECK(old == nullptr || old[0] == 0x5a);
    free(old);
  }
  return nullptr;
}

void births(size_t count) {
  pthread_t threads[kAtOnce];
  for (size_t born = 0; born < count; born += kAtOnce) {
    for (size_t i = 0; i < kAtOnce; ++i) start(&threads[i], short_life, reinterpret_cast<void*>(born + i + 1));
    for (pthread_t thread : threads) CHECK(pthread_join(thread, nullptr) == 0);
  }
  for (auto& block : estate) free(block.load());
}

// ---- alive ------------------------------------------------------------------------------------------

pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
bool is_open = false;
std::atomic<size_t> waiting{0};

void* long_life(void* number) {
  const auto n = reinterpret_cast<uintptr_t>(number);
  auto* block = static_cast<uintptr_t*>(malloc(100 + n % 400));
  CHECK(block != nullptr);
  *block = n;
  waiting.fetch_add(1);
  pthread_mutex_lock(&gate);
  while (!is_open) pthread_cond_wait(&opened, &gate);
  pthread_mutex_unlock(&gate);
  CHECK(*block == n);
  free(block);
  return malloc(50);  // freed by the joiner
}

void alive(size_t count) {
  std::vector<pthread_t> threads(count);
  for (size_t i = 0; i < count; ++i) start(&threads[i], long_life, reinterpret_cast<void*>(i));
  while (waiting.load() != count) usleep(1000);
  printf("%zu threads alive\n", count);
  malloc_trim(0);  // looks into the caches that they share
  pthread_mutex_lock(&gate);
  is_open = true;
  pthread_cond_broadcast(&opened);
  pthread_mutex_unlock(&gate);
  for (pthread_t thread : threads) {
    void* left = nullptr;
    CHECK(pthread_join(thread, &left) == 0 && left != nullptr);
    free(left);
  }
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc == 3);
  const size_t count = strtoull(argv[2], nullptr, 0);
  CHECK(pthread_attr_init(&small_stack) == 0);
  CHECK(pthread_attr_setstacksize(&small_stack, PTHREAD_STACK_MIN + 16384) == 0);
  if (strcmp(argv[1], "births") == 0) {
    births(count);
  } else {
    alive(count);
  }
  report_checks();
  return 0;
}
