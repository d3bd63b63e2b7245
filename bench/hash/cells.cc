// SPDX-License-Identifier: MIT
//
// cells.cc - operations a second of maps in cells: distribution x updates x threads.
//
//   cells --map NAME,... --keys N --streams FOLDER [--dist uniform,zipf] [--updates 0,10,50] [--threads 1,2,16] [--ms
//   50]
//         [--type int|string] [--caller plain|branch]
//
// All maps take turns in each cell. A map is filled with half of 2 N keys; finds take any of them, an update is an
// insert or an erase of any of them, as often. So half of the finds hit, and the size stays. `plain` callers take
// find_or, `branch` ones go one way on a hit and another on a miss, as programs do.
//
// Before the cells each stream's beginning is worked through by one thread; what it found is printed as a digest, the
// same for every map. After each cell: what was inserted and erased explains the size, or the program fails.
#include <memory>

#include "bench/hash/harness.h"
#include "bench/hash/maps.h"

namespace bench {
namespace {

enum Op : uint64_t { kFind, kInsert, kErase };

/// What of a stream's step i is done with `updates` percent of them.
Op op_of(size_t i, unsigned updates) {
  const uint64_t dice = scramble(i + 0x1234567) % 200;
  return dice < updates ? kInsert : dice < 2 * updates ? kErase : kFind;
}

/// A stream as work: for keys of 8 bytes key and operation in one word.
template <class K>
struct Steps;
template <>
struct Steps<uint64_t> {
  explicit Steps(const Stream& stream) : words(Stream::kSteps) {
    for (size_t i = 0; i < words.size(); ++i) words[i] = key_of(stream[i]) << 2;
  }
  void set_updates(unsigned updates) {
    for (size_t i = 0; i < words.size(); ++i) words[i] = (words[i] & ~uint64_t{3}) | op_of(i, updates);
  }
  uint64_t key(size_t i) const { return words[i] >> 2; }
  Op op(size_t i) const { return static_cast<Op>(words[i] & 3); }
  std::vector<uint64_t> words;
};
template <>
struct Steps<std::string> {
  explicit Steps(const Stream& stream) : ops(Stream::kSteps / 2) {
    for (size_t i = 0; i < ops.size(); ++i) texts.push_back(text_of(key_of(stream[i])));
  }
  void set_updates(unsigned updates) {
    for (size_t i = 0; i < ops.size(); ++i) ops[i] = static_cast<char>(op_of(i, updates));
  }
  const std::string& key(size_t i) const { return texts[i & (ops.size() - 1)]; }
  Op op(size_t i) const { return static_cast<Op>(ops[i & (ops.size() - 1)]); }
  std::vector<std::string> texts;
  std::vector<char> ops;
};

uint64_t make_key(uint64_t id, uint64_t /*unused*/) {
  return key_of(id);
}
std::string make_key(uint64_t id, const std::string& /*unused*/) {
  return text_of(key_of(id));
}

struct alignas(128) Counts {
  uint64_t done = 0, finds = 0, hits = 0, sum = 0, inserted = 0, erased = 0;
  uint64_t by_value[8] = {}, missed[8] = {};  // what a branching caller writes
  void operator+=(const Counts& c) {
    done += c.done;
    finds += c.finds;
    hits += c.hits;
    sum += c.sum;
    inserted += c.inserted;
    erased += c.erased;
    for (unsigned i = 0; i < 8; ++i) {
      by_value[i] += c.by_value[i];
      missed[i] += c.missed[i];
    }
  }
};

/// Values are odd, so that 0 means a miss.
template <bool kBranch, class Map, class K>
[[gnu::always_inline]] inline void step(Map& map, const K& key, uint64_t at, Op op, Counts& c) {
  if (op == kFind) {
    ++c.finds;
    if constexpr (kBranch) {
      uint64_t value = 0;
      if (map.find(key, value)) {
        ++c.by_value[(value >> 1) & 7];
        c.sum += value;
      } else {
        ++c.missed[at & 7];
      }
    } else {
      const uint64_t value = map.find_or(key, 0);
      c.hits += value & 1;
      c.sum += value;
    }
  } else if (op == kInsert) {
    c.inserted += map.insert(key, 2 * at + 1) ? 1 : 0;
  } else {
    c.erased += map.erase(key) ? 1 : 0;
  }
}

/// A cell: what all maps do in turn.
template <class K>
struct Cell {
  Steps<K>* steps;
  unsigned threads;
  double seconds;
  bool branch;
};

struct Outcome {
  Counts counts;
  Timing timing;
};

/// One of the maps that take turns.
template <class K>
class Side {
 public:
  virtual ~Side() = default;
  virtual const char* name() const = 0;
  virtual void fill(uint64_t keys) = 0;
  /// The first 2^16 steps by one thread: a number that tells what was found.
  virtual uint64_t digest(const Steps<K>& steps) = 0;
  virtual Outcome run(const Cell<K>& cell) = 0;
};

template <class Map, class K>
class SideOf final : public Side<K> {
 public:
  const char* name() const override { return Map::kName; }

  void fill(uint64_t keys) override {
    map_.reset();
    map_ = std::make_unique<Map>(keys);
    for (uint64_t i = 0; i < 2 * keys; i += 2) map_->insert(make_key(i, K()), 2 * i + 1);
    if (map_->size() != keys) fail(std::string(name()) + ": not every key went in");
  }

  uint64_t digest(const Steps<K>& steps) override {
    Counts c;
    for (size_t i = 0; i < (size_t{1} << 16); ++i) step<false>(*map_, steps.key(i), i, steps.op(i), c);
    uint64_t digest = 0;
    for (const uint64_t part : {c.finds, c.hits, c.sum, c.inserted, c.erased, uint64_t{map_->size()}})
      digest = scramble(digest ^ part);
    return digest;
  }

  Outcome run(const Cell<K>& cell) override {
    const size_t before = map_->size();
    std::vector<Counts> counts(cell.threads);
    Outcome outcome;
    outcome.timing = together(cell.threads, cell.seconds, [&](unsigned t, const std::atomic<bool>& stop) {
      const size_t first = Stream::start(t, cell.threads);
      counts[t] = cell.branch ? work<true>(*cell.steps, first, stop) : work<false>(*cell.steps, first, stop);
    });
    Counts& all = outcome.counts;
    for (const Counts& c : counts) all += c;
    if (cell.branch) {
      uint64_t missed = 0;
      for (const uint64_t n : all.by_value) all.hits += n;
      for (const uint64_t n : all.missed) missed += n;
      if (all.hits + missed != all.finds) fail("neither hit nor miss");
    }
    if (before + all.inserted - all.erased != map_->size())
      fail(std::string(name()) + ": the size does not fit what was inserted and erased");
    return outcome;
  }

 private:
  template <bool kBranch>
  [[gnu::noinline]] Counts work(const Steps<K>& steps, size_t at, const std::atomic<bool>& stop) {
    Counts c;
    Map& map = *map_;
    do {
      for (unsigned i = 0; i < 64; ++i) {
        const size_t now = at++ & (Stream::kSteps - 1);
        step<kBranch>(map, steps.key(now), now, steps.op(now), c);
      }
      c.done += 64;
    } while (!stop.load(std::memory_order_relaxed));
    return c;
  }

  std::unique_ptr<Map> map_;
};

template <class K>
class Bench {
 public:
  explicit Bench(const Args& args)
      : keys_(args.number("keys", 10000)), seconds_(static_cast<double>(args.number("ms", 50)) / 1e3), args_(args) {
    for (const std::string& name : args.list("map", "ashlar")) {
      const bool found = with_map<K, uint64_t>(
          name, [&](auto tag) { sides_.push_back(std::make_unique<SideOf<typename decltype(tag)::Map, K>>()); });
      if (!found) fail("no map " + name);
      sides_.back()->fill(keys_);
    }
    for (const std::string& dist : args_.list("dist", "uniform,zipf")) {
      const Stream stream(args_.text("streams", "."), dist, 2 * keys_);
      dists_.push_back({dist, std::make_unique<Steps<K>>(stream)});
    }
  }

  void run() {
    for (auto& side : sides_) {
      uint64_t digest = 0;
      for (Dist& dist : dists_) {
        for (const unsigned updates : {0u, 50u}) {
          dist.steps->set_updates(updates);
          digest = scramble(digest ^ side->digest(*dist.steps));
        }
      }
      Line().text("side", side->name()).text("digest", std::to_string(digest)).print();
    }
    // A machine that had nothing to do is slow for a moment.
    sides_[0]->run({dists_[0].steps.get(), 2, 0.3, false});
    // First what leaves the map as it is: whether the few hottest keys are there is much of the share of hits.
    for (const unsigned updates : args_.numbers("updates", "0,10,50")) {
      for (const unsigned threads : args_.numbers("threads", "1,2,16")) {
        for (Dist& dist : dists_) cells(dist, updates, threads);
      }
    }
  }

 private:
  struct Dist {
    std::string name;
    std::unique_ptr<Steps<K>> steps;
  };

  /// All maps in turn, so that a mood of the machine hits all alike; in the next cell another one is first.
  void cells(Dist& dist, unsigned updates, unsigned threads) {
    dist.steps->set_updates(updates);
    const Cell<K> cell{dist.steps.get(), threads, seconds_, args_.text("caller", "plain") == "branch"};
    for (size_t i = 0; i < sides_.size(); ++i) {
      Side<K>& side = *sides_[(first_ + i) % sides_.size()];
      // A big map is filled once: filling takes longer than all of its cells, and updates keep its size.
      if (keys_ <= 100'000) side.fill(keys_);
      const Outcome o = side.run(cell);
      Line line;
      line.text("side", side.name()).count("keys", keys_).text("dist", dist.name).count("updates", updates);
      speed(line.count("threads", threads), o.counts.done, o.timing, threads);
      line.count("finds", o.counts.finds).count("hits", o.counts.hits).count("sum", o.counts.sum).print();
    }
    ++first_;
  }

  uint64_t keys_;
  double seconds_;
  const Args& args_;
  std::vector<std::unique_ptr<Side<K>>> sides_;
  std::vector<Dist> dists_;
  size_t first_ = 0;
};

template <class K>
void run(const Args& args) {
  Bench<K>(args).run();
}

}  // namespace
}  // namespace bench

/// For report.py, which reads the compiled find: does it lock?
extern "C" [[gnu::noinline]] uint64_t bench_find_probe(const bench::Ashlar<uint64_t, uint64_t>& map, uint64_t key) {
  return map.map.find(key).value_or(0);
}

int main(int argc, char** argv) {
  const bench::Args args(argc, argv);
  if (args.text("map", "") == "list") return puts(bench::map_names()) < 0 ? 1 : 0;
  if (args.text("type", "int") == "string")
    bench::run<std::string>(args);
  else
    bench::run<uint64_t>(args);
  return 0;
}
