// SPDX-License-Identifier: MIT
//
// map_cxx.cc - an example: a cache that several threads fill and read, with ashlar::hash_map.
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "hash/hash_map.h"

namespace {

std::string square(int n) {
  return "the square of " + std::to_string(n) + " is " + std::to_string(n * n);
}

}  // namespace

int main() {
  ashlar::hash_map<int, std::string> cache(100);
  ashlar::hash_map<std::string, long> hits;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) {
        const int n = i % 500;
        const bool hit = cache.visit(n, [&](const std::string& text) {
          if (text != square(n)) std::abort();
        });
        if (!hit) cache.insert(n, square(n));
        hits.upsert(hit ? "hit" : "miss", [](const long* old) { return old == nullptr ? 1 : *old + 1; });
      }
    });
  }
  for (std::thread& t : threads) t.join();
  const long all = hits.find("hit").value_or(0) + hits.find("miss").value_or(0);
  printf("%zu squares, %ld lookups\n", cache.size(), all);
  cache.erase(7);
  cache.for_each([](int n, const std::string& text) {
    if (text != square(n)) std::abort();
  });
  return all == 40'000 && cache.size() == 499 && !cache.contains(7) ? 0 : 1;
}
