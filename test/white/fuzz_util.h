// SPDX-License-Identifier: MIT
//
// fuzz_util.h - what the fuzz targets share: reading decisions from bytes, a failure that shows its input, replay.
//
// A target is one file NAME_fuzz.cc with LLVMFuzzerTestOneInput. `make fuzz` links it with libFuzzer (AFL++'s driver
// takes the same entry); `make test` links it with GoogleTest, and the two cases that FUZZ_TESTS makes run the corpus
// and a number of seeded random inputs. The fuzzer's own memory is libc's: the objects offer `ashlar_` names only.
#pragma once

#include <dirent.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "test/alloc/stress_util.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);  // NOLINT(readability-identifier-naming)

namespace ashlar_test {

/// The bytes of an input, as decisions. Behind its end all decisions are 0.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  bool empty() const { return at_ >= size_; }
  size_t byte() { return at_ < size_ ? data_[at_++] : 0; }
  size_t word() {
    const size_t high = byte();
    return high << 8 | byte();
  }
  size_t below(size_t bound) { return (bound > 256 ? word() : byte()) % bound; }

  /// Ends the process with the input on stderr, for a GoogleTest run has no crash file.
  [[noreturn]] void fail(const char* what, size_t a, size_t b) const {
    fprintf(stderr, "fuzz: %s (%#zx, %#zx) at byte %zu of", what, a, b, at_);
    for (size_t i = 0; i < size_; ++i) fprintf(stderr, " %02x", data_[i]);
    fprintf(stderr, "\n");
    abort();
  }

  void require(bool holds, const char* what, size_t a = 0, size_t b = 0) const {
    if (!holds) fail(what, a, b);
  }

 private:
  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
};

/// Runs every file of test/white/corpus/NAME; returns how many there were.
inline size_t replay_corpus(const std::string& name) {
  const char* root = getenv("ROOT");
  const std::string folder = std::string(root != nullptr ? root : ".") + "/test/white/corpus/" + name;
  std::vector<std::string> files;
  if (DIR* dir = opendir(folder.c_str())) {
    while (const dirent* entry = readdir(dir)) {
      if (entry->d_name[0] != '.') files.push_back(folder + "/" + entry->d_name);
    }
    closedir(dir);
  }
  std::sort(files.begin(), files.end());
  for (const std::string& file : files) {
    std::ifstream in(file, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  }
  return files.size();
}

/// Runs `count` inputs of up to `max_bytes` random bytes.
inline void run_random_inputs(size_t count, size_t max_bytes) {
  const uint64_t seed = announce_seed();
  for (size_t i = 0; i < rounds(count); ++i) {
    Rng rng(mix(seed + i));
    std::vector<uint8_t> bytes(rng.skewed_size(max_bytes));
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(rng.next());
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
}

}  // namespace ashlar_test

#define FUZZ_TESTS(suite, name, count, max_bytes)     \
  TEST(suite, corpus) {                               \
    EXPECT_GE(ashlar_test::replay_corpus(name), 5U);  \
  }                                                   \
  TEST(suite, random_inputs) {                        \
    ashlar_test::run_random_inputs(count, max_bytes); \
  }
