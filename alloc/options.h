// SPDX-License-Identifier: MIT
//
// options.h - what ASHLAR_CONF and ASHLAR_DEBUG can say.
//
// Owns: the options, their defaults, and reading them from the environment. To add one: a field here and a row of
// the table in options.cc; parsing, messages and ASHLAR_CONF=help follow from the row.
// Written once, by initialisation, before there is a second thread; read without synchronisation ever after.
#pragma once

#include <stdint.h>

#include "alloc/base/hardened.h"

namespace ashlar {

struct Options {
  enum Thp : uint8_t { kAuto, kOn, kOff };

  // ASHLAR_CONF
  bool percpu = true;
  bool purge = true;
  bool purge_thread = true;
  uint32_t purge_delay_ms = 1000;
  Thp thp = kAuto;
  bool stats_exit = false;
  bool membarrier = true;
  uint32_t guard_sample = kHardened ? 1000 : 0;

  // ASHLAR_DEBUG
  bool inittrace = false;
  bool scavtrace = false;
  bool chantrace = false;
  bool maptrace = false;
};

extern Options options;

/// Reads ASHLAR_CONF and ASHLAR_DEBUG from `envp` (null: no environment) into `options`. Does nothing if `secure`
/// (AT_SECURE: the environment belongs to somebody with fewer rights than the program).
/// Errors: an unknown key or a bad value is named once on stderr and ignored.
void read_options(const char* const* envp, bool secure) noexcept;

}  // namespace ashlar
