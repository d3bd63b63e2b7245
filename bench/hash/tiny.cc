// SPDX-License-Identifier: MIT
//
// tiny.cc - a million maps at once, of 0, 1 or 4 entries each: nanoseconds and bytes a map (of an empty one a miss is
// timed).
//
//   tiny --map NAME [--maps 1000000] [--entries 0,1,4]
//
// Bytes are resident ones, of a map as a member of an array (its own size, by its alignment) and all that it
// allocates. Where the maps of a kind take more than 1 GiB, there are fewer of them: `maps`.
#include <sys/wait.h>

#include <algorithm>
#include <new>

#include "bench/hash/harness.h"
#include "bench/hash/maps.h"

namespace bench {
namespace {

constexpr double kMostBytes = 1 << 30;

template <class Map>
void tiny(uint64_t maps, unsigned entries) {
  // Some maps' first use sets up what all of them share.
  {
    Map first(0);
    first.insert(1, 1);
  }
  const double before = resident_bytes(), begin = wall();
  auto* all = static_cast<Map*>(operator new(maps * sizeof(Map), std::align_val_t(alignof(Map))));
  for (uint64_t i = 0; i < maps; ++i) {
    new (&all[i]) Map(0);
    for (unsigned k = 0; k < entries; ++k) all[i].insert(key_of(i + k), k + 1);
    if (i % 1024 == 1023 && resident_bytes() - before > kMostBytes) maps = i + 1;
  }
  const double made = wall();
  const double bytes = (resident_bytes() - before) / static_cast<double>(maps);
  uint64_t sum = 0;
  for (uint64_t i = 0; i < maps; ++i) {
    for (unsigned k = 0; k < std::max(entries, 1u); ++k) sum += all[i].find_or(key_of(i + k), 0);
  }
  if (sum != maps * entries * (entries + 1) / 2) fail("a tiny map lost an entry");
  const double found = wall();
  for (uint64_t i = 0; i < maps; ++i) all[i].~Map();
  const double gone = wall();
  operator delete(all, std::align_val_t(alignof(Map)));
  const double ns = 1e9 / static_cast<double>(maps);
  Line()
      .count("entries", entries)
      .count("maps", maps)
      .count("header", sizeof(Map))
      .number("bytes", bytes)
      .number("make_ns", (made - begin) * ns)
      .number("find_ns", (found - made) * ns)
      .number("destroy_ns", (gone - found) * ns)
      .print();
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  const bench::Args args(argc, argv);
  const bool known = bench::with_map<uint64_t, uint64_t>(args.text("map", "ashlar"), [&](auto tag) {
    for (const unsigned entries : args.numbers("entries", "0,1,4")) {
      // A process each: what the last million left behind would serve the next one.
      const pid_t child = fork();
      if (child == 0) {
        bench::tiny<typename decltype(tag)::Map>(args.number("maps", 1'000'000), entries);
        _exit(0);
      }
      int status = 0;
      if (waitpid(child, &status, 0) != child || status != 0) bench::fail("a child failed");
    }
  });
  if (!known) bench::fail("no map of that name");
  return 0;
}
