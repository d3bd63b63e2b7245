// SPDX-License-Identifier: MIT
//
// errors.h - how the header-only parts of slices report errors.
//
// Owns: the one place that knows whether the program has exceptions; without them, an error ends it.
#pragma once

#include <new>
#include <stdexcept>

namespace ashlar::detail {

#if defined(__cpp_exceptions)
[[noreturn, gnu::noinline, gnu::cold]] inline void throw_length_error(const char* what) {
  throw std::length_error(what);
}
[[noreturn, gnu::noinline, gnu::cold]] inline void throw_out_of_range(const char* what) {
  throw std::out_of_range(what);
}
[[noreturn, gnu::noinline, gnu::cold]] inline void throw_invalid_argument(const char* what) {
  throw std::invalid_argument(what);
}
[[noreturn, gnu::noinline, gnu::cold]] inline void throw_bad_alloc() {
  throw std::bad_alloc();
}
#else
[[noreturn]] inline void throw_length_error(const char* /*what*/) {
  __builtin_abort();
}
[[noreturn]] inline void throw_out_of_range(const char* /*what*/) {
  __builtin_abort();
}
[[noreturn]] inline void throw_invalid_argument(const char* /*what*/) {
  __builtin_abort();
}
[[noreturn]] inline void throw_bad_alloc() {
  __builtin_abort();
}
#endif

}  // namespace ashlar::detail
