// SPDX-License-Identifier: MIT
//
// mixes.cc - maps, in turn, under mixes of operations that others have published.
//
//   mixes --map NAME,... --suite bustle [--log2 20] [--threads 1,2,16]
//   mixes --map NAME,... --suite ycsb --streams FOLDER [--keys 1000000] [--threads 1,2,16] [--ms 50]
//
// bustle: the mixes of conc-map-bench (github.com/xacrimon/conc-map-bench, src/workloads.rs; it has three) and, as the
// fourth, `uniform` of its harness bustle (github.com/jonhoo/bustle, Mix). As there: a map with room for 2^log2 keys,
// three quarters of them in (rapid grow: none), then 3/4 x 2^log2 operations; every thread has keys of its own,
// inserts the next one, removes the oldest, reads and updates any of twice the capacity. (There the log2 is 25.)
// So what is found is the same for every map, whatever the threads do: `digest`.
//
// ycsb: the core workloads (github.com/brianfrankcooper/YCSB, workloads/) with 8-byte keys and values. A, B, C: 50, 95,
// 100 % reads, the rest replaces values; zipf. D: 95 % reads of the latest, 5 % inserts. F: 50 % reads, 50 % of the
// values become themselves + 1; afterwards no addition may be missing. E: 95 % scans of 1 to 100 records, 5 % inserts.
// A hash map has no order, so who scans knows the ids, and asks for all of a scan at once (one operation), where a map
// has a way to (find_many); `walk` is the one scan that all have, over all entries.
#include <memory>
#include <numeric>

#include <algorithm>

#include "bench/hash/harness.h"
#include "bench/hash/maps.h"

namespace bench {
namespace {

using K = uint64_t;

struct Mix {
  const char* name;
  unsigned read, insert, remove, update, upsert;  // percent
  bool filled;
};
constexpr Mix kMixes[] = {{"read heavy", 98, 1, 1, 0, 0, true},
                          {"exchange", 10, 40, 40, 10, 0, true},
                          {"rapid grow", 5, 80, 5, 10, 0, false},
                          {"uniform", 20, 20, 20, 20, 20, true}};

/// The hundred operations of a mix, in an order that is the same everywhere.
std::string order_of(const Mix& mix) {
  const std::string ops = std::string(mix.read, 'r') + std::string(mix.insert, 'i') + std::string(mix.remove, 'd') +
                          std::string(mix.update, 'u') + std::string(mix.upsert, 'p');
  std::vector<unsigned> order(100);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [](unsigned a, unsigned b) { return scramble(a) < scramble(b); });
  std::string result;
  for (const unsigned i : order) result += ops[i];
  return result;
}

/// The keys of one thread: the k-th is own_key(t, k).
uint64_t own_key(unsigned t, uint64_t k) {
  return key_of((static_cast<uint64_t>(t) << 40) + k);
}

template <class Map>
uint64_t work_off(Map& map, const std::string& order, unsigned t, uint64_t operations, uint64_t filled, uint64_t any) {
  uint64_t next = filled, oldest = 0, got = 0;
  for (uint64_t i = 0; i < operations; ++i) {
    const uint64_t key = own_key(t, scramble(i) % any);
    switch (order[i % 100]) {
      case 'r':
        got += map.find_or(key, 0);
        break;
      case 'i':
        got += map.insert(own_key(t, next++), i | 1) ? 1 : 0;
        break;
      case 'd':
        if (oldest < next) got += map.erase(own_key(t, oldest++)) ? 3 : 0;
        break;
      case 'u':
        got += map.update(key, i | 1) ? 5 : 0;
        break;
      default:
        map.modify(key, [](uint64_t v) { return v + 2; });
    }
  }
  return got;
}

template <class Map>
void bustle(const Mix& mix, unsigned threads, uint64_t capacity) {
  const auto map = std::make_unique<Map>(capacity);
  const uint64_t filled = mix.filled ? capacity * 3 / 4 / threads : 0, any = 2 * capacity / threads;
  for (unsigned t = 0; t < threads; ++t) {
    for (uint64_t k = 0; k < filled; ++k) map->insert(own_key(t, k), k | 1);
  }
  const std::string order = order_of(mix);
  const uint64_t operations = capacity * 3 / 4 / threads;
  std::vector<uint64_t> got(threads);
  const Timing timing = together(threads, 0, [&](unsigned t, const std::atomic<bool>&) {
    got[t] = work_off(*map, order, t, operations, filled, any);
  });
  uint64_t digest = map->size();
  for (const uint64_t g : got) digest = scramble(digest ^ g);
  Line line;
  line.text("side", Map::kName).text("mix", mix.name).count("threads", threads);
  speed(line, operations * threads, timing, threads).text("digest", std::to_string(digest)).print();
}

struct Counts {
  uint64_t done = 0, reads = 0, hits = 0, additions = 0, inserted = 0;
};

/// What is done to a record that is there: its value is replaced, or becomes itself + 1.
template <char kWorkload, class Map>
void change(Map& map, K key, uint64_t value, Counts& c) {
  if constexpr (kWorkload == 'F') {
    map.modify(key, [](uint64_t v) { return v + 1; });
    ++c.additions;
  }
  if constexpr (kWorkload == 'X') {
    uint64_t old = 0;
    do {
      if (!map.find(key, old)) fail("a record is not there");
    } while (!map.map.compare_exchange(key, old, old + 1));
    ++c.additions;
  }
  if constexpr (kWorkload == 'A' || kWorkload == 'B') map.assign(key, value);
}

constexpr unsigned kScan = 100;  // records, at most: YCSB's maxscanlength

/// How many are there of the records from id `first` on (no value is 0).
template <class Map>
uint64_t scan(const Map& map, uint64_t first, unsigned length, uint64_t records) {
  K keys[kScan];
  for (unsigned i = 0; i < length; ++i) keys[i] = key_of((first + i) % records);
  uint64_t found = 0;
  if constexpr (requires { map.find_many(keys, size_t{length}, [](uint64_t) {}); })
    map.find_many(keys, length, [&](uint64_t v) { found += v != 0 ? 1 : 0; });
  else
    for (unsigned i = 0; i < length; ++i) found += map.find_or(keys[i], 0) != 0 ? 1 : 0;
  return found;
}

/// Thread t of n has the records t, t + n, t + 2 n, ...: D and E insert the next of its own; D reads back from there.
template <char kWorkload, class Map>
Counts ycsb_work(Map& map, const Stream& stream, unsigned t, unsigned n, uint64_t own, const std::atomic<bool>& stop) {
  constexpr unsigned kReads = kWorkload == 'A' || kWorkload == 'F' || kWorkload == 'X' ? 50
                              : kWorkload == 'C'                                       ? 100
                                                                                       : 95;
  constexpr bool kInserts = kWorkload == 'D' || kWorkload == 'E';
  const uint64_t loaded = own * n;
  Counts c;
  size_t at = Stream::start(t, n);
  do {
    for (unsigned i = 0; i < 64; ++i) {
      const uint64_t rank = stream[at++], dice = scramble(at) % 100;
      if (kWorkload == 'E' && dice < kReads) {
        const auto length = static_cast<unsigned>(1 + scramble(~at) % kScan);
        c.reads += length;
        c.hits += scan(map, rank, length, loaded);
      } else if (dice < kReads) {
        const uint64_t id = kWorkload == 'D' ? (own - 1 - rank % own) * n + t : rank;
        ++c.reads;
        c.hits += map.find_or(key_of(id), 0) != 0 ? 1 : 0;
      } else if (kInserts) {
        c.inserted += map.insert(key_of(own++ * n + t), 1) ? 1 : 0;
      } else {
        change<kWorkload>(map, key_of(rank), at, c);
      }
    }
    c.done += 64;
  } while (!stop.load(std::memory_order_relaxed));
  return c;
}

template <class Map>
uint64_t sum_of(Map& map) {
  uint64_t sum = 0;
  map.walk([&](K, uint64_t v) { sum += v; });
  return sum;
}

template <char kWorkload, class Map>
void ycsb_one(Map& map, const Args& args, const Stream& stream, uint64_t records, unsigned threads) {
  const uint64_t before = sum_of(map), size = map.size();
  std::vector<Counts> counts(threads);
  const double limit = static_cast<double>(args.number("ms", 100)) / 1e3;
  const Timing timing = together(threads, limit, [&](unsigned t, const std::atomic<bool>& stop) {
    counts[t] = ycsb_work<kWorkload>(map, stream, t, threads, records / threads, stop);
  });
  Counts all;
  for (const Counts& c : counts) {
    all.done += c.done;
    all.reads += c.reads;
    all.hits += c.hits;
    all.additions += c.additions;
    all.inserted += c.inserted;
  }
  if (all.hits != all.reads) fail("a record was not found");
  if (map.size() != size + all.inserted) fail("the size does not fit what was inserted");
  if (all.additions != 0 && sum_of(map) != before + all.additions) fail("an addition was lost");
  Line line;
  line.text("side", Map::kName)
      .text("mix", std::string("YCSB ") + (kWorkload == 'X' ? "F, compare_exchange" : std::string(1, kWorkload)));
  speed(line.count("threads", threads), all.done, timing, threads).print();
  // What was inserted ends at another record for each thread: it goes, so that all that follows finds what it expects.
  if (all.inserted != 0) {
    for (unsigned t = 0; t < threads; ++t) {
      for (uint64_t k = records / threads; k < records / threads + counts[t].inserted; ++k)
        map.erase(key_of(k * threads + t));
    }
  }
}

/// One of the maps that take turns.
class Side {
 public:
  virtual ~Side() = default;
  virtual void walk() = 0;
  virtual void run(char workload, unsigned threads) = 0;
};

template <class Map>
class SideOf final : public Side {
 public:
  SideOf(const Args& args, const Stream& stream, uint64_t records)
      : args_(args), stream_(stream), records_(records), map_(records) {
    for (uint64_t i = 0; i < records; ++i) map_.insert(key_of(i), 1);
  }

  void walk() override {
    const double begin = wall();
    if (sum_of(map_) != records_) fail("a walk does not meet every entry once");
    const double mops = static_cast<double>(records_) / (wall() - begin) / 1e6;
    Line().text("side", Map::kName).text("mix", "walk").count("threads", 1).number("mops", mops).print();
  }

  void run(char workload, unsigned threads) override {
    if (workload == 'A') one<'A'>(threads);
    if (workload == 'B') one<'B'>(threads);
    if (workload == 'C') one<'C'>(threads);
    if (workload == 'D') one<'D'>(threads);
    if (workload == 'E') one<'E'>(threads);
    if (workload == 'F') one<'F'>(threads);
    if constexpr (std::is_same_v<Map, Ashlar<K, uint64_t>>) {
      if (workload == 'X') one<'X'>(threads);
    }
  }

 private:
  template <char kWorkload>
  void one(unsigned threads) {
    ycsb_one<kWorkload>(map_, args_, stream_, records_, threads);
  }

  const Args& args_;
  const Stream& stream_;
  uint64_t records_;
  Map map_;
};

void ycsb(const Args& args) {
  const uint64_t records = args.number("keys", 1'000'000);
  const Stream stream(args.text("streams", "."), "zipf", records);
  std::vector<std::unique_ptr<Side>> sides;
  for (const std::string& name : args.list("map", "ashlar")) {
    const bool found = with_map<K, uint64_t>(name, [&](auto tag) {
      sides.push_back(std::make_unique<SideOf<typename decltype(tag)::Map>>(args, stream, records));
    });
    if (!found) fail("no map " + name);
  }
  for (auto& side : sides) side->walk();
  for (const unsigned threads : args.numbers("threads", "1,2,16")) {
    if (records % threads != 0) fail("the threads do not divide the records");
    for (const char workload : {'A', 'B', 'C', 'F', 'X', 'D', 'E'}) {
      for (auto& side : sides) side->run(workload, threads);
    }
  }
}

void mixes(const Args& args) {
  for (const unsigned threads : args.numbers("threads", "1,2,16")) {
    for (const Mix& mix : kMixes) {
      for (const std::string& name : args.list("map", "ashlar")) {
        const bool found = with_map<K, uint64_t>(name, [&](auto tag) {
          bustle<typename decltype(tag)::Map>(mix, threads, uint64_t{1} << args.number("log2", 20));
        });
        if (!found) fail("no map " + name);
      }
    }
  }
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  const bench::Args args(argc, argv);
  if (args.text("suite", "bustle") == "ycsb")
    bench::ycsb(args);
  else
    bench::mixes(args);
  return 0;
}
