// SPDX-License-Identifier: MIT
//
// place.cc - the policies of place.h.
//
// All but smt are one operation: take turns among the parts of the machine at one level (sockets, say), and within each
// part among its parts at the next level. What differs is which levels, and in which part of the machine.
#include "bench/place/place.h"

#include <algorithm>

namespace place {
namespace {

using Pus = std::vector<hwloc_obj_t>;
using Levels = std::vector<hwloc_obj_type_t>;

/// Those of `pus` below each object of `type`, leaving out objects without any. Where the machine has no such level,
/// all of them together.
std::vector<Pus> split(hwloc_topology_t topology, const Pus& pus, hwloc_obj_type_t type) {
  std::vector<Pus> parts;
  for (hwloc_obj_t object = nullptr; (object = hwloc_get_next_obj_by_type(topology, type, object)) != nullptr;) {
    Pus part;
    for (hwloc_obj_t pu : pus) {
      if (hwloc_bitmap_isset(object->cpuset, pu->os_index)) part.push_back(pu);
    }
    if (!part.empty()) parts.push_back(part);
  }
  if (parts.empty()) parts.push_back(pus);
  return parts;
}

/// Takes turns among the parts at the first level, each in the order of the levels below.
Pus take_turns(hwloc_topology_t topology, const Pus& pus, Levels levels) {
  if (levels.empty() || pus.size() < 2) return pus;
  const hwloc_obj_type_t type = levels.front();
  levels.erase(levels.begin());
  std::vector<Pus> parts = split(topology, pus, type);
  for (Pus& part : parts) part = take_turns(topology, part, levels);
  Pus order;
  for (size_t i = 0; order.size() < pus.size(); ++i) {
    for (const Pus& part : parts) {
      if (i < part.size()) order.push_back(part[i]);
    }
  }
  return order;
}

Pus all_pus(hwloc_topology_t topology) {
  Pus pus;
  for (hwloc_obj_t pu = nullptr; (pu = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_PU, pu)) != nullptr;) {
    if (hwloc_bitmap_isset(hwloc_topology_get_allowed_cpuset(topology), pu->os_index)) pus.push_back(pu);
  }
  return pus;
}

/// The first two hardware threads of each core that has two.
Pus smt_pairs(hwloc_topology_t topology) {
  Pus pairs;
  for (const Pus& core : split(topology, all_pus(topology), HWLOC_OBJ_CORE)) {
    if (core.size() >= 2) pairs.insert(pairs.end(), core.begin(), core.begin() + 2);
  }
  return pairs;
}

/// The first part at `outer` that has at least two parts at `inner`; empty where there is none.
Pus first_with_two(hwloc_topology_t topology, hwloc_obj_type_t outer, hwloc_obj_type_t inner) {
  for (const Pus& part : split(topology, all_pus(topology), outer)) {
    if (split(topology, part, inner).size() >= 2) return part;
  }
  return {};
}

Pus order_of(hwloc_topology_t topology, const std::string& policy, std::string& problem) {
  if (policy == "smt") {
    problem = "no core has two hardware threads";
    return smt_pairs(topology);
  }
  if (policy == "same-l3") {
    problem = "no L3 cache is shared by two cores";
    if (hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_L3CACHE) <= 0) return {};
    return take_turns(topology, first_with_two(topology, HWLOC_OBJ_L3CACHE, HWLOC_OBJ_CORE), {HWLOC_OBJ_CORE});
  }
  if (policy == "across-l3") {
    problem = "no socket has two L3 caches";
    return take_turns(topology, first_with_two(topology, HWLOC_OBJ_PACKAGE, HWLOC_OBJ_L3CACHE),
                      {HWLOC_OBJ_L3CACHE, HWLOC_OBJ_CORE});
  }
  if (policy == "across-numa") {
    problem = "there is one NUMA node";
    const Pus all = all_pus(topology);
    if (split(topology, all, HWLOC_OBJ_NUMANODE).size() < 2) return {};
    return take_turns(topology, all, {HWLOC_OBJ_NUMANODE, HWLOC_OBJ_CORE});
  }
  if (policy == "spread") {
    return take_turns(topology, all_pus(topology), {HWLOC_OBJ_PACKAGE, HWLOC_OBJ_L3CACHE, HWLOC_OBJ_CORE});
  }
  problem = "there is no policy '" + policy + "'";
  return {};
}

}  // namespace

const std::vector<Policy>& policies() {
  static const std::vector<Policy> all = {
      {"smt", "two threads on one core's two hardware threads, then the next core"},
      {"same-l3", "threads on the cores below one L3 cache, one a core before the second hardware threads"},
      {"across-l3", "each thread on another L3 cache of one socket than the one before"},
      {"across-numa", "each thread on another NUMA node than the one before"},
      {"spread", "as far apart as can be: by turns among sockets, their L3 caches, their cores"},
      {"none", "the kernel decides"},
  };
  return all;
}

Plan plan(hwloc_topology_t topology, const std::string& policy, unsigned threads) {
  Plan result;
  if (policy == "none") return result;
  std::string problem;
  const Pus order = order_of(topology, policy, problem);
  if (order.empty()) {
    result.problem = problem;
  } else if (order.size() < threads) {
    result.problem = std::to_string(threads) + " threads, but it has " + std::to_string(order.size()) +
                     " hardware threads to place them on";
  } else {
    result.pus.assign(order.begin(), order.begin() + static_cast<long>(threads));
  }
  return result;
}

}  // namespace place
