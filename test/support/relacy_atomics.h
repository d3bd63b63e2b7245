// SPDX-License-Identifier: MIT
//
// relacy_atomics.h - relacy's atomics under the names of std::atomic, so that code which takes its atomics as a
// template parameter is model-checked as it ships.
#pragma once

#include <atomic>
#include <cstdint>
#include <new>

#include "test/support/relacy.h"

// relacy replaces operator new by malloc, and not every operator delete: AddressSanitizer must not mind, nor that it
// leaks its stacks. (So one file of a program includes this.)
extern "C" const char* __asan_default_options();   // NOLINT(readability-identifier-naming,bugprone-reserved-identifier)
extern "C" const char* __asan_default_options() {  // NOLINT(readability-identifier-naming,bugprone-reserved-identifier)
  return "alloc_dealloc_mismatch=0:detect_leaks=0";
}

namespace ashlar_test {

constexpr rl::memory_order to_relacy(std::memory_order order) {
  switch (order) {
    case std::memory_order_relaxed:
      return rl::mo_relaxed;
    case std::memory_order_consume:
    case std::memory_order_acquire:
      return rl::mo_acquire;
    case std::memory_order_release:
      return rl::mo_release;
    case std::memory_order_acq_rel:
      return rl::mo_acq_rel;
    default:
      return rl::mo_seq_cst;
  }
}

template <class T>
class RelacyAtomic {
 public:
  RelacyAtomic() = default;
  explicit RelacyAtomic(T value) : value_(value) {}

  T load(std::memory_order order) const { return value_.load(to_relacy(order), $); }
  void store(T value, std::memory_order order) { value_.store(value, to_relacy(order), $); }
  T exchange(T value, std::memory_order order) { return value_.exchange(value, to_relacy(order), $); }
  T fetch_add(T value, std::memory_order order) { return value_.fetch_add(value, to_relacy(order), $); }
  T fetch_sub(T value, std::memory_order order) { return value_.fetch_sub(value, to_relacy(order), $); }
  T fetch_or(T value, std::memory_order order) { return value_.fetch_or(value, to_relacy(order), $); }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order yes, std::memory_order no) {
    return value_.compare_exchange_strong(expected, desired, to_relacy(yes), $, to_relacy(no), $);
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order yes, std::memory_order no) {
    return compare_exchange_strong(expected, desired, yes, no);
  }

 private:
  mutable rl::atomic<T> value_;
};

/// Runs a relacy suite for so many random schedules, or to the first bug; a bug's history goes to stdout.
template <class Suite>
rl::test_result_e simulate(unsigned iterations) {
  rl::test_params params;
  params.iteration_count = iterations;
  params.search_type = rl::random_scheduler_type;
  rl::simulate<Suite>(params);
  return params.test_result;
}

}  // namespace ashlar_test
