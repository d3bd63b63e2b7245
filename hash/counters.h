// SPDX-License-Identifier: MIT
//
// counters.h - how many entries a map has, counted by many threads at once.
//
// Owns: Stripes, counters on lines of their own. Small maps have one counter, in the map; larger ones stripes besides.
#pragma once

#include <new>

#include "hash/layout.h"

namespace ashlar::hash_core {

template <class P>
struct Stripes {
  struct alignas(64) Stripe {
    typename P::template Atomic<int64_t> n;
  };
  uint64_t count;   // a power of two
  uint64_t owners;  // numbers 1 to this have a stripe each
  Stripe stripe[1];
};

/// Null: no memory.
template <class P>
Stripes<P>* make_stripes() {
  const uint64_t count = P::stripes();
  void* memory = P::zeroed(sizeof(Stripes<P>) + (count - 1) * sizeof(typename Stripes<P>::Stripe));
  auto* s = static_cast<Stripes<P>*>(memory);
  if (s == nullptr) return nullptr;
  s->count = count;
  s->owners = count / 2 - 1;
  if constexpr (P::kConstructs) {
    for (uint64_t i = 0; i < count; ++i) {
      (::new (&s->stripe[i]) typename Stripes<P>::Stripe)->n.store(0, std::memory_order_relaxed);
    }
  }
  return s;
}

template <class P>
void free_stripes(Stripes<P>* s) {
  if constexpr (P::kConstructs) {
    for (uint64_t i = 0; i < s->count; ++i) s->stripe[i].~Stripe();
  }
  P::deallocate(s);
}

/// Relaxed throughout: figures. `number`: of the thread, or 0.
template <class P>
[[gnu::always_inline]] inline void add(typename P::template Atomic<int64_t>& one, Stripes<P>* s, int64_t n,
                                       size_t number) {
  if (s == nullptr) {
    one.fetch_add(n, std::memory_order_relaxed);
    return;
  }
  // The lower half of the stripes have an owner each, who needs no read-modify-write. (The owners of a number are
  // ordered by the epoch record's `in_use`.)
  if (number - 1 < s->owners) {
    auto& mine = s->stripe[number].n;
    mine.store(mine.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  } else {
    const size_t half = s->count / 2;
    s->stripe[half + number % half].n.fetch_add(n, std::memory_order_relaxed);
  }
}

template <class P>
int64_t sum(const typename P::template Atomic<int64_t>& one, const Stripes<P>* s) {
  int64_t n = one.load(std::memory_order_relaxed);
  for (uint64_t i = 0; s != nullptr && i < s->count; ++i) n += s->stripe[i].n.load(std::memory_order_relaxed);
  return n;
}

}  // namespace ashlar::hash_core
