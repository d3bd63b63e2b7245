// SPDX-License-Identifier: MIT
//
// wide_cas.h - compare-and-exchange of 16 bytes.
//
// Owns: the one place that asks the compiler for it. std::atomic of 16 bytes would call libatomic (g++ 12 even with
// -mcx16).
#pragma once

#include <stdint.h>

namespace ashlar {

#if defined(__x86_64__)
#define ASHLAR_WIDE_CAS_TARGET __attribute__((target("cx16")))
#else
#define ASHLAR_WIDE_CAS_TARGET
#endif

/// If the two words at `at` (16-byte aligned) are {low, high}, makes them {new_low, new_high}. Sequentially consistent.
ASHLAR_WIDE_CAS_TARGET inline bool wide_cas(void* at, uint64_t low, uint64_t high, uint64_t new_low,
                                            uint64_t new_high) noexcept {
  __extension__ using Wide = unsigned __int128;
  const Wide expected = (static_cast<Wide>(high) << 64) | low;
  const Wide desired = (static_cast<Wide>(new_high) << 64) | new_low;
  return __sync_bool_compare_and_swap(static_cast<Wide*>(at), expected, desired);
}

}  // namespace ashlar
