// SPDX-License-Identifier: MIT
//
// relacy_epoch.h - what EpochCore asks for, over relacy: a bag of one block, so that everything is freed as soon as it
// may be.
#pragma once

#include <new>

#include "test/support/relacy_atomics.h"

namespace ashlar_test {

struct RelacyEpochParts {
  template <class T>
  using Atomic = RelacyAtomic<T>;
  using Plain = RelacyEpochParts;
  static constexpr uint32_t kBagBlocks = 1;

  static void light_barrier() {}
  static void heavy_barrier() {}
  static void* allocate_bag(size_t bytes) { return ::operator new(bytes); }
  static void deallocate_bag(void* p) { ::operator delete(p); }
  static void* allocate_record(size_t bytes) { return ::operator new (bytes, std::align_val_t{128}); }
};

}  // namespace ashlar_test
