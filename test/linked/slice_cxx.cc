// SPDX-License-Identifier: MIT
//
// slice_cxx.cc - slices from C++: slice<T>, views, shared_slice<T> with a reader. The example of alloc/slice/README.md;
// test/slice/examples.sh compiles it in several ways and runs it.
#include <cstdio>
#include <memory>
#include <numeric>
#include <string>
#include <thread>

#include "alloc/slice/shared_slice.h"
#include "alloc/slice/slice.h"
#include "test/programs/check.h"

namespace {

long sum(ashlar::slice_view<const long> numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), 0L);
}

}  // namespace

int main() {
  ashlar::slice<long> s;
  for (long i = 0; i < 1000000; ++i) s.push_back(i);
  CHECK(sum(s) == 499999500000);
  CHECK(sum(s.sub(10, 13)) == 33);
  s.append_range(s.sub(0, 3));
  s.insert(s.begin(), -1);
  s.erase(s.begin() + 1, s.begin() + 1000001);
  CHECK((s == ashlar::slice<long>{-1, 0, 1, 2}));
  s.shrink_to_fit();

  ashlar::slice<std::string> words{"one", "two"};
  words.emplace_back(100, 'x');
  ashlar::slice<std::unique_ptr<int>> owners;
  owners.push_back(std::make_unique<int>(7));
  CHECK(words.size() == 3 && *owners.front() == 7);

  long theirs[] = {1, 2, 3};
  ashlar::slice<long> grown{ashlar::slice_view<const long>(theirs)};
  grown.push_back(4);
  CHECK(sum(theirs) == 6 && sum(grown) == 10);
  try {
    const ashlar::slice_view<long> bad(theirs, -1);
    CHECK(bad.empty());
  } catch (const std::length_error& e) {
    std::printf("%s\n", e.what());
  }

  ashlar::shared_slice<long> shared;
  std::thread reader([&shared] {
    for (std::size_t seen = 0; seen < 100000;) {
      const auto look = shared.read();  // never waits
      CHECK(look.size() >= seen);
      seen = look.size();
      for (std::size_t i = seen < 10 ? 0 : seen - 10; i < seen; ++i) CHECK(look[i] == static_cast<long>(i));
    }
  });
  for (long i = 0; i < 100000; ++i) shared.append(i);
  reader.join();
  std::printf("%zu elements\n", shared.size());
  return 0;
}
