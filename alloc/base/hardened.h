// SPDX-License-Identifier: MIT
//
// hardened.h - which of the two libraries this is.
//
// Owns: kHardened. The Makefile compiles the same sources once more with -DASHLAR_HARDENED=1 for libashlar-hardened.so;
// everything else asks this constant, by `if constexpr`.
#pragma once

namespace ashlar {

#if defined(ASHLAR_HARDENED)
inline constexpr bool kHardened = true;
#else
inline constexpr bool kHardened = false;
#endif

}  // namespace ashlar
