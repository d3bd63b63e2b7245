// SPDX-License-Identifier: MIT
//
// map_walk.cc - walks over an ashlar_map.
//
// Owns: ashlar_map_each, ashlar_map_clear, ashlar_map_iter. An iterator holds copies of the entries of one bucket, so
// no pin outlives a call; each key's value is looked up again when its turn comes.
#include <errno.h>
#include <string.h>

#include "alloc/alloc.h"
#include "hash/map_c.h"

using namespace ashlar::hash_core;

struct ashlar_map_iter {
  const ashlar_map* map;
  uint64_t next_hash;  // of the bucket that comes next
  bool at_end;         // there is none
  uint64_t count, at;  // entries in `copies`, and of these handed out
  uint64_t room;
  char* copies;  // of key (padded) and value each
};

namespace {

/// Copies the entries of the next bucket that has some. False: no memory.
template <class Policy>
bool refill(ashlar_map_iter* iter, const Core<Policy>& core) {
  const Policy& policy = core.policy();
  const size_t key_bytes = policy.padded(policy.key_size), bytes = key_bytes + policy.padded(policy.value_size);
  iter->count = iter->at = 0;
  while (iter->count == 0 && !iter->at_end) {
    const ashlar::EpochPin pin;
    typename Core<Policy>::Snapshot s;
    if (!core.take(iter->next_hash, s)) {
      iter->at_end = true;
      return true;
    }
    const uint64_t most = s.count();
    if (most > iter->room) {
      void* copies = ashlar::reallocate(iter->copies, most * bytes);
      if (copies == nullptr) return false;
      iter->copies = static_cast<char*>(copies);
      iter->room = most;
    }
    core.each_of(s, [&](const Word* words) {
      char* copy = iter->copies + iter->count++ * bytes;
      memcpy(copy, policy.key_of(words), policy.key_size);
      memcpy(copy + key_bytes, policy.value_of(words), policy.value_size);
      return true;
    });
    iter->at_end = s.last == ~uint64_t{0};
    iter->next_hash = s.last + 1;
  }
  return true;
}

}  // namespace

extern "C" {

ashlar_map_iter* ashlar_map_iter_begin(const ashlar_map* map) noexcept {
  auto* iter = static_cast<ashlar_map_iter*>(ashlar::allocate_zeroed(1, sizeof(ashlar_map_iter)));
  if (iter != nullptr) iter->map = map;
  return iter;
}

int ashlar_map_iter_next(ashlar_map_iter* iter, void* key, void* value) noexcept {
  return iter->map->with_core([&](const auto& core) {
    const auto& policy = core.policy();
    const size_t key_bytes = policy.padded(policy.key_size), bytes = key_bytes + policy.padded(policy.value_size);
    for (;;) {
      if (iter->at == iter->count) {
        if (iter->at_end) return 0;
        if (!refill(iter, core)) {
          errno = ENOMEM;
          return -1;
        }
        continue;
      }
      const char* copy = iter->copies + iter->at++ * bytes;
      const ashlar::EpochPin pin;
      const uint64_t hash = policy.hash_key(copy, core.seed());
      const bool found = core.find(hash, policy.match(copy, hash), [&](const Word* words) {
        if (value != nullptr) memcpy(value, policy.value_of(words), policy.value_size);
      });
      if (!found) {
        if (policy.eq == nullptr || policy.equal(copy, copy)) continue;  // gone
        if (value != nullptr) memcpy(value, copy + key_bytes, policy.value_size);
      }
      if (key != nullptr) memcpy(key, copy, policy.key_size);
      return 1;
    }
  });
}

void ashlar_map_iter_end(ashlar_map_iter* iter) noexcept {
  if (iter == nullptr) return;
  ashlar::deallocate(iter->copies);
  ashlar::deallocate(iter);
}

void ashlar_map_each(const ashlar_map* map, int (*visit)(void* context, const void* key, const void* value),
                     void* context) noexcept {
  map->with_core([&](const auto& core) {
    const auto& policy = core.policy();
    core.walk([&](const Word* words) { return visit(context, policy.key_of(words), policy.value_of(words)) != 0; });
    return 0;
  });
}

int ashlar_map_clear(ashlar_map* map) noexcept {
  return map->with_core([&](auto& core) {
    const auto& policy = core.policy();
    bool failed = false;
    core.walk([&](const Word* words) {
      using Policy = std::remove_cvref_t<decltype(policy)>;
      typename Core<Policy>::Seen seen;
      const auto erase = [](const auto& s, Word*) { return s.found() ? Action::kErase : Action::kKeep; };
      const uint64_t hash = policy.hash_of(words, core.seed());
      const Outcome outcome = policy.is_findable(words) ? core.modify(hash, policy.match_of(words), erase, &seen)
                                                        : core.modify(hash, SameWords<2>{words}, erase, &seen);
      if (outcome == Outcome::kDone) policy.retire(seen.words);
      failed = outcome == Outcome::kNoMemory;
      return !failed;
    });
    if (!failed) {
      const ashlar::EpochPin pin;
      core.set_min_log2(0);
      const Word root = core.root();
      const unsigned log2 = std::remove_reference_t<decltype(core)>::log2_for(static_cast<uint64_t>(core.size()));
      failed = root != 0 && log2_of(root) > log2 && !core.resize(log2, false);
    }
    if (failed) errno = ENOMEM;
    return failed ? -1 : 0;
  });
}

}  // extern "C"
