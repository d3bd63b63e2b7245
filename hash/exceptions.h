// SPDX-License-Identifier: MIT
//
// exceptions.h - how the map keeps exceptions of the program's functions from where they must not go.
//
// Owns: the one place that knows whether the program has exceptions.
#pragma once

namespace ashlar::hash_core {

/// Calls f, and drops what it throws.
template <class F>
void without_exceptions(F&& f) {
#if defined(__cpp_exceptions)
  try {
    f();
  } catch (...) {
  }
#else
  f();
#endif
}

}  // namespace ashlar::hash_core
