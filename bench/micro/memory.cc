// SPDX-License-Identifier: MIT
//
// memory.cc - what an object of a size costs in resident memory, and how fast a heap grows that never had it.
//
// Idea: our own. The sizes lie just above powers of two, where classes waste most, and on small ones, where headers do.
// Stresses: footprint  8 MiB of objects of one size, every page of each written, by a process that had none: resident
//                      memory before and after, divided by their number. All that the allocator adds is in it: headers,
//                      rounding, spans that are cut but not used, its tables.
#include <sys/mman.h>

#include "bench/micro/micro.h"

namespace micro {
namespace {

constexpr size_t kTotal = size_t{8} << 20;
constexpr size_t kPage = 4096;

/// Resident bytes of this process, counted page by page. Reads with read(2), since stdio would allocate.
double resident_bytes() {
  char text[4096];
  const int file = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
  const ssize_t got = file < 0 ? -1 : read(file, text, sizeof text - 1);
  if (file >= 0) close(file);
  if (got <= 0) bench::fail("/proc/self/smaps_rollup cannot be read");
  text[got] = '\0';
  const char* line = std::strstr(text, "\nRss:");
  if (line == nullptr) bench::fail("/proc/self/smaps_rollup has no Rss");
  return static_cast<double>(std::strtol(line + 5, nullptr, 10)) * 1024;
}

/// Room for `count` pointers that malloc knows nothing of, resident already: memory that malloc had and took back would
/// serve the objects.
void** pointers(size_t count) {
  void* room =
      mmap(nullptr, count * sizeof(void*), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (room == MAP_FAILED) bench::fail("mmap");
  return static_cast<void**>(room);
}

Case footprint_case(size_t size) {
  const size_t objects = kTotal / size;
  return {"footprint/" + std::to_string(size), Threads::kOne, 1, static_cast<long>(objects),
          [size, objects](benchmark::State& state) -> Body {
            void** blocks = pointers(objects);
            return repeated([size, objects, &state, blocks] {
              const int64_t began = now_ns();
              const double before = resident_bytes();
              leave_out_ns(now_ns() - began);
              for (size_t i = 0; i < objects; ++i) {
                blocks[i] = used(std::malloc(size));
                auto* bytes = static_cast<volatile char*>(blocks[i]);
                for (size_t at = 0; at < size; at += kPage) bytes[at] = 1;
                bytes[size - 1] = 1;
              }
              const int64_t filled = now_ns();
              const double after = resident_bytes();
              state.counters["bytes_per_object"] = (after - before) / static_cast<double>(objects);
              for (size_t i = 0; i < objects; ++i) std::free(blocks[i]);
              leave_out_ns(now_ns() - filled);
            });
          }};
}

}  // namespace

void add_memory(std::vector<Case>& cases) {
  for (const size_t size : {8, 16, 24, 40, 72, 136, 520, 1032, 4104, 20000}) cases.push_back(footprint_case(size));
}

}  // namespace micro
