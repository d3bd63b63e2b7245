// SPDX-License-Identifier: MIT
//
// print_sizeclasses.cc - prints the table of size classes with its waste columns (scripts/print-sizeclasses).
#include <stdio.h>

#include "sizeclass/sizeclass.h"

int main() {
  using namespace ashlar;
  printf("%5s %7s %6s %8s %6s %6s %10s %10s %10s\n", "class", "bytes", "pages", "objects", "slots", "batch",
         "tail bytes", "tail waste", "max waste");
  for (ClassIndex c = 0; c < kNumClasses; ++c) {
    const ClassInfo& i = class_info(c);
    const size_t span = i.span_pages * kPageBytes;
    const size_t tail = span - i.span_objects * size_t{i.bytes};
    const size_t smallest = c == 0 ? 1 : class_bytes(c - 1) + 1;  // the request that wastes most
    const size_t wasted = span - i.span_objects * smallest;
    printf("%5u %7u %6u %8u %6u %6u %10zu %9.2f%% %9.2f%%\n", c, i.bytes, i.span_pages, i.span_objects, i.cache_slots,
           i.batch, tail, 100.0 * static_cast<double>(tail) / static_cast<double>(span),
           100.0 * static_cast<double>(wasted) / static_cast<double>(span));
  }
  printf("max waste: of a span full of the smallest requests of its class, the share that is not asked for\n");
  return 0;
}
