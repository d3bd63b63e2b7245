// SPDX-License-Identifier: MIT
//
// cxx_program.cc - a C++ program that takes over malloc and operator new by linking libashlar.a. test/linked/linked.sh
// runs it, dynamic and static. It throws, uses containers and threads, and checks that all of it is Ashlar's.
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <map>
#include <memory>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "alloc/ashlar.h"
#include "test/programs/check.h"

namespace {

ashlar_memstats stats() {
  ashlar_memstats figures;
  ashlar_read_memstats(&figures);
  return figures;
}

void check_new_is_ashlar() {
  const uint64_t before = stats().mallocs;
  std::vector<std::unique_ptr<char[]>> blocks;
  blocks.reserve(100);
  for (int i = 0; i < 100; ++i) blocks.emplace_back(new char[200]);
  CHECK(stats().mallocs == before + 101);
  CHECK(ashlar_usable_size(blocks[0].get()) == ashlar_good_size(200));
  auto* over_aligned = ::operator new (100, std::align_val_t{512});
  CHECK(is_multiple(over_aligned, 512));
  ::operator delete (over_aligned, std::align_val_t{512});
  ashlar_free(malloc(10));
  free(::operator new(10));
}

void check_bad_alloc() {
  bool caught = false;
  try {
    ::operator delete(::operator new(opaque(PTRDIFF_MAX)));
  } catch (const std::bad_alloc&) {
    caught = true;
  }
  CHECK(caught);
  caught = false;
  try {
    const std::vector<uint64_t> too_big(opaque(size_t{1} << 58));
  } catch (const std::bad_alloc&) {
    caught = true;
  }
  CHECK(caught);
  CHECK(::operator new(opaque(PTRDIFF_MAX), std::nothrow) == nullptr);
}

int handler_calls = 0;

void check_new_handler() {
  std::set_new_handler([] {
    if (++handler_calls == 5) std::set_new_handler(nullptr);
  });
  bool caught = false;
  try {
    ::operator delete(::operator new(opaque(PTRDIFF_MAX)));
  } catch (const std::bad_alloc&) {
    caught = true;
  }
  CHECK(caught);
  CHECK(handler_calls == 5);
}

void check_containers() {
  std::map<std::string, std::vector<int>> tree;
  std::unordered_map<int, std::string> table;
  for (int i = 0; i < 50000; ++i) {
    tree["key " + std::to_string(i % 5000)].push_back(i);
    table[i] = std::string(static_cast<size_t>(i % 100), 'x');
  }
  CHECK(tree.size() == 5000);
  CHECK(tree["key 77"].size() == 10 && tree["key 77"].back() == 45077);
  size_t length = 0;
  for (const auto& [key, text] : table) {
    CHECK(text.size() == static_cast<size_t>(key % 100));
    length += text.size();
  }
  CHECK(length == 500 * 99 * 50);
}

int sum_of_digits(const std::string& text) {
  if (text.empty()) throw std::invalid_argument("nothing in " + std::string(100, '.'));
  return std::accumulate(text.begin(), text.end(), 0, [](int sum, char c) { return sum + (c - '0'); });
}

void check_threads_and_exceptions() {
  std::vector<std::future<int>> results;
  for (int i = 0; i < 16; ++i) {
    results.push_back(std::async(std::launch::async, [i] {
      int caught = 0;
      for (int k = 0; k < 3000; ++k) {
        try {
          if (sum_of_digits(k % 3 == 0 ? std::string() : std::to_string(k)) < 0) return -1;
        } catch (const std::invalid_argument& error) {
          if (std::string(error.what()).size() == 111) ++caught;
        }
      }
      return caught + i;
    }));
  }
  for (int i = 0; i < 16; ++i) CHECK(results[static_cast<size_t>(i)].get() == 1000 + i);
}

struct AtExit {
  std::string text = std::string(300, 'e');
  ~AtExit() {
    text += std::string(5000, 'f');
    if (text.size() == 5300 && ashlar_usable_size(text.data()) >= 5301) {
      constexpr char kText[] = "destroyed at exit\n";
      if (write(1, kText, sizeof kText - 1) != sizeof kText - 1) _exit(1);
    }
  }
};

AtExit at_exit;
thread_local std::vector<std::string> of_this_thread(10, std::string(50, 't'));

void check_thread_locals() {
  std::vector<std::thread> threads;
  for (int i = 0; i < 20; ++i) {
    threads.emplace_back([] {
      of_this_thread.resize(100, "more than fits into the string object itself");
      CHECK(of_this_thread.size() == 100);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main() {
  alarm(120);
  check_new_is_ashlar();
  check_bad_alloc();
  check_new_handler();
  check_containers();
  check_threads_and_exceptions();
  check_thread_locals();
  const ashlar_memstats figures = stats();
  CHECK(figures.heap_sys == figures.heap_idle + figures.heap_inuse);
  CHECK(figures.mallocs - figures.frees == figures.heap_objects);
  report_checks();
  return 0;
}
