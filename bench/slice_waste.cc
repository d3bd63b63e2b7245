// SPDX-License-Identifier: MIT
//
// slice_waste - what a slice wastes at rest, by policy: bytes of room behind the last element after so many were pushed
// one at a time. Computed from the policies and the size classes, not measured: exact. stdout, tab-separated: policy,
// element bytes, bytes used, bytes the block has, bytes of these that are in memory (above 32 KiB pages that nobody
// wrote are not).
#include <cmath>
#include <initializer_list>

#include "bench/program.h"
#include "sizeclass/growth.h"
#include "sizeclass/rounding.h"

namespace {

struct Named {
  const char* name;
  ashlar::GrowthPolicy policy;
};
constexpr Named kPolicies[] = {{"step", ashlar::grow_by_step},
                               {"smooth", ashlar::grow_smoothly},
                               {"double", ashlar::grow_twice},
                               {"pages", ashlar::grow_by_pages}};
constexpr size_t kOsPage = 4096;

}  // namespace

int main() {
  for (const Named& p : kPolicies) {
    for (size_t element : {1UL, 8UL, 24UL, 64UL}) {
      size_t capacity = 0;
      size_t n = 0;
      // 64 lengths for each doubling, from 16 bytes to 1 GiB.
      for (double bytes = 16; bytes <= 1073741824.0; bytes *= std::exp2(1.0 / 64)) {
        const auto want = static_cast<size_t>(bytes / static_cast<double>(element));
        if (want <= n) continue;
        for (n = want; capacity < n;) {
          capacity =
              ashlar::rounded_capacity(ashlar::next_capacity(p.policy, capacity, capacity + 1, element), element);
        }
        const size_t block = ashlar::rounded_bytes(capacity * element);
        const size_t touched = (n * element + kOsPage - 1) / kOsPage * kOsPage;
        const size_t resident = block <= ashlar::kMaxSmallBytes || touched > block ? block : touched;
        std::printf("%s\t%zu\t%zu\t%zu\t%zu\n", p.name, element, n * element, block, resident);
      }
    }
  }
  return 0;
}
