// SPDX-License-Identifier: MIT
//
// loops.cc - malloc and free in turn, in batches (LIFO and FIFO), and of random sizes.
//
// Idea: glibc's benchtests/bench-malloc-simple.c and bench-malloc-thread.c.
// Stresses: pair    the fast paths, one block at a time
//           lifo    batches of 1,000 freed in reverse: deeper than many caches
//           fifo    the same freed in order
//           random  16 blocks live, the oldest replaced; narrow: 16 .. 527 bytes, wide: 16 bytes .. 64 KiB
#include "bench/micro/micro.h"

namespace micro {
namespace {

constexpr size_t kBatch = 1000;

Case pair_case(size_t size, long runs) {
  return {"pair/" + std::to_string(size), Threads::kAll, runs, 1,
          [size](benchmark::State&) -> Body { return repeated([size] { std::free(touched(size)); }); }};
}

Case batch_case(const std::string& name, std::vector<uint32_t> sizes, bool lifo, long runs) {
  return {name, Threads::kAll, runs, kBatch, [sizes, lifo](benchmark::State&) -> Body {
            return repeated([sizes, lifo, blocks = std::vector<void*>(kBatch)]() mutable {
              for (size_t i = 0; i < kBatch; ++i) blocks[i] = touched(sizes[i]);
              if (lifo) {
                for (size_t i = kBatch; i > 0; --i) std::free(blocks[i - 1]);
              } else {
                for (void* block : blocks) std::free(block);
              }
            });
          }};
}

/// The blocks that are live outlive the body, and are freed with it.
class Window {
 public:
  Window() : blocks_(16, nullptr) {}
  Window(const Window& other) : blocks_(other.blocks_.size(), nullptr) {}
  Window& operator=(const Window&) = delete;
  ~Window() {
    for (void* block : blocks_) std::free(block);
  }
  void replace(size_t at, size_t size) {
    void*& slot = blocks_[at % blocks_.size()];
    std::free(slot);
    slot = touched(size);
  }

 private:
  std::vector<void*> blocks_;
};

Case random_case(const std::string& name, std::vector<uint32_t> sizes, long runs) {
  return {name, Threads::kAll, runs, static_cast<long>(sizes.size()), [sizes](benchmark::State&) -> Body {
            return repeated([sizes, window = Window()]() mutable {
              for (size_t i = 0; i < sizes.size(); ++i) window.replace(i, sizes[i]);
            });
          }};
}

}  // namespace

void add_loops(std::vector<Case>& cases) {
  for (const size_t size : {16, 48, 128, 512, 2048, 16384}) cases.push_back(pair_case(size, 4'000'000));
  for (const size_t size : {65536, 1 << 20}) cases.push_back(pair_case(size, 20'000));
  for (const uint32_t size : {16, 64, 256, 1024, 8192}) {
    const std::vector<uint32_t> same(kBatch, size);
    cases.push_back(batch_case("lifo/" + std::to_string(size), same, true, size < 1024 ? 3000 : 300));
    cases.push_back(batch_case("fifo/" + std::to_string(size), same, false, size < 1024 ? 3000 : 300));
  }
  cases.push_back(batch_case("fifo/mixed", random_sizes(16, 1024, true), false, 2000));
  cases.push_back(random_case("random/narrow", random_sizes(16, 527, false), 2500));
  cases.push_back(random_case("random/wide", random_sizes(16, 65536, true), 700));
}

}  // namespace micro
