// SPDX-License-Identifier: MIT
//
// place - prints which CPU each of N threads should run on, by a policy (place.h).
//
//   place POLICY THREADS [--synthetic DESCRIPTION] [--xml FILE]
//   place --list
// stdout: the CPUs by the kernel's numbers, "0,2,4", as BENCH_CPUS wants them; an empty line for none. Exit code 3 and
// the reason on stderr where the machine cannot serve the policy. --synthetic takes hwloc's descriptions ("pack:2
// [numa] l3:4 core:8 pu:2"), so that big machines can be planned on small ones; hwloc reads HWLOC_SYNTHETIC as well.
// --xml writes the topology with the chosen CPUs marked, for `lstopo -i FILE` to draw.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>

#include "bench/place/place.h"

namespace {

int usage() {
  std::fprintf(stderr, "usage: place POLICY THREADS [--synthetic DESCRIPTION] [--xml FILE], or place --list\n");
  return 2;
}

/// lstopo draws an object as its attribute lstopoStyle says.
void mark(const place::Plan& plan) {
  for (size_t i = 0; i < plan.pus.size(); ++i) {
    hwloc_obj_add_info(plan.pus[i], "lstopoStyle", "Background=#1f77b4;Text=#ffffff");
    hwloc_obj_add_info(plan.pus[i], "Thread", std::to_string(i).c_str());
  }
}

int run(const std::string& policy, unsigned threads, const char* synthetic, const char* xml) {
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0 ||
      (synthetic != nullptr && hwloc_topology_set_synthetic(topology, synthetic) != 0) ||
      hwloc_topology_load(topology) != 0) {
    std::fprintf(stderr, "place: hwloc cannot load %s\n", synthetic == nullptr ? "this machine" : synthetic);
    return 2;
  }
  const place::Plan plan = place::plan(topology, policy, threads);
  int status = 0;
  if (!plan.problem.empty()) {
    std::fprintf(stderr, "%s\n", plan.problem.c_str());
    status = 3;
  } else {
    for (size_t i = 0; i < plan.pus.size(); ++i) std::printf("%s%u", i == 0 ? "" : ",", plan.pus[i]->os_index);
    std::printf("\n");
    mark(plan);
    if (xml != nullptr && hwloc_topology_export_xml(topology, xml, 0) != 0) {
      std::fprintf(stderr, "place: %s cannot be written\n", xml);
      status = 2;
    }
  }
  hwloc_topology_destroy(topology);
  return status;
}

int parse(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--list") == 0) {
    for (const place::Policy& policy : place::policies()) std::printf("%-12s %s\n", policy.name, policy.meaning);
    return 0;
  }
  if (argc < 3 || argc % 2 == 0) return usage();
  char* end = nullptr;
  const unsigned long threads = std::strtoul(argv[2], &end, 10);
  if (*end != '\0' || threads == 0 || threads > 1u << 20) return usage();
  const char* synthetic = nullptr;
  const char* xml = nullptr;
  for (int i = 3; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--synthetic") == 0) {
      synthetic = argv[i + 1];
    } else if (std::strcmp(argv[i], "--xml") == 0) {
      xml = argv[i + 1];
    } else {
      return usage();
    }
  }
  return run(argv[1], static_cast<unsigned>(threads), synthetic, xml);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return parse(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "place: %s\n", error.what());
    return 2;
  }
}
