// SPDX-License-Identifier: MIT
//
// check.cc - see check.h.
#include "alloc/base/check.h"

#include <stdlib.h>

#include "alloc/base/print.h"

namespace ashlar {

void fatal(const char* cause) noexcept {
  LineWriter("ashlar: ").text(cause).flush(kStderr);
  abort();
}

void fatal_pointer(const char* cause, const void* p) noexcept {
  LineWriter("ashlar: ").text(cause).text(": ").pointer(p).flush(kStderr);
  abort();
}

}  // namespace ashlar
