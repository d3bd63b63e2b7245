// SPDX-License-Identifier: MIT
//
// place.h - which thread runs on which CPU, by policy, on any machine that hwloc can describe.
//
// Owns: the policies. Knows nothing of what is measured. A plan names at most one thread per PU (hardware thread), in
// the order in which threads are numbered; a policy that this machine cannot serve says why, and the caller skips it.
#ifndef BENCH_PLACE_PLACE_H_
#define BENCH_PLACE_PLACE_H_

#include <hwloc.h>

#include <string>
#include <vector>

namespace place {

struct Policy {
  const char* name;
  const char* meaning;
};

/// All policies, in the order of increasing distance between neighbours; the last one is none.
const std::vector<Policy>& policies();

struct Plan {
  std::vector<hwloc_obj_t> pus;  ///< the i-th thread's PU; empty for none
  std::string problem;           ///< why the policy cannot be had here; empty if it can
};

/// Places `threads` threads (at least 1). An unknown policy is a problem, too.
Plan plan(hwloc_topology_t topology, const std::string& policy, unsigned threads);

}  // namespace place

#endif  // BENCH_PLACE_PLACE_H_
