// SPDX-License-Identifier: MIT
//
// map_c.cc - ashlar_map: core.h with a type that is known at run time.
//
// Owns: the names of hash.h but for the walk (map_walk.cc).
#include "hash/map_c.h"

#include <errno.h>
#include <string.h>

#include <new>

#include "alloc/alloc.h"

namespace ashlar::hash_core {
namespace {

constexpr size_t kMaxSize = size_t{1} << 31;

int result_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::kDone:
      return 1;
    case Outcome::kKept:
      return 0;
    default:
      errno = ENOMEM;
      return -1;
  }
}

/// The words of an entry to be: in plain mode they hold it; in block mode they own a block until it is in the map.
template <class Policy>
struct Fresh {
  const Policy& policy;
  Word words[2] = {0, 0};
  bool made = false;

  explicit Fresh(const Policy& p) : policy(p) {}
  ~Fresh() {
    if (made) Policy::discard(words);
  }
  Fresh(const Fresh&) = delete;
  Fresh& operator=(const Fresh&) = delete;

  /// With the key, the value is the caller's to write. False: no memory.
  bool make(const void* key, [[maybe_unused]] uint64_t hash) {
    if (made) return true;
    if constexpr (std::is_same_v<Policy, BlockPolicy>) {
      auto* block = static_cast<char*>(Platform::allocate(policy.block_size()));
      if (block == nullptr) return false;
      memcpy(block, key, policy.key_size);
      memset(block + policy.key_size, 0, policy.padded_key() - policy.key_size);
      words[0] = hash;
      words[1] = reinterpret_cast<Word>(block);
    } else {
      memcpy(words, key, policy.key_size);
    }
    made = true;
    return true;
  }
  void* value() { return const_cast<void*>(policy.value_of(words)); }
  void take(Word* to) const {
    to[0] = words[0];
    to[1] = words[1];
  }
};

enum class Wish { kKeep, kPut, kErase, kFail };

/// Searches the key, asks `wish(value or null, fresh, hash)`, does it. 1: changed, 0: kept, -1. `*was_there`: whether
/// the last search found it.
template <bool kMayErase = true, class Map, class F>
int change(Map& core, const void* key, bool* was_there, void* old_value, F&& wish) {
  using Policy = std::remove_cvref_t<decltype(core.policy())>;
  const EpochPin pin;
  const Policy& policy = core.policy();
  const uint64_t hash = policy.hash_key(key, core.seed());
  // Of at most 8 bytes: in a word of its own, padded, so that it compares like those in slots.
  Fresh<Policy> fresh(policy);
  typename Map::Seen seen;
  Wish last = Wish::kKeep;
  // (Not for who may want to erase: the fast path cannot, and to ask again is for where other threads were faster.)
  if constexpr (std::is_same_v<Policy, PlainPolicy> && !kMayErase) {
    if (policy.eq == nullptr) {
      const Word word = load_word(key, policy.key_size);
      const Quick quick =
          core.change_word(hash, word, static_cast<uint32_t>(Platform::thread_number()), [&](bool found, Word& value) {
            *was_there = found;
            last = wish(found ? &value : nullptr, fresh, hash);
            value = fresh.words[1];
            return last == Wish::kPut;
          });
      if (quick != Quick::kNot) return result_of(last == Wish::kPut ? Outcome::kDone : Outcome::kKept);
    }
  }
  const auto decide = [&](const typename Map::Seen& s, Word* words) {
    *was_there = s.found();
    last = wish(s.found() ? policy.value_of(s.words) : nullptr, fresh, hash);
    if (last == Wish::kPut) fresh.take(words);
    return last == Wish::kPut ? Action::kPut : last == Wish::kErase ? Action::kErase : Action::kKeep;
  };
  const Outcome outcome = core.modify(hash, policy.match(key, hash), decide, &seen);
  if (last == Wish::kFail) return result_of(Outcome::kNoMemory);
  if (outcome == Outcome::kDone) {
    if (last == Wish::kPut) fresh.made = false;
    if (*was_there) {
      if (old_value != nullptr) memcpy(old_value, policy.value_of(seen.words), policy.value_size);
      policy.retire(seen.words);
    }
  }
  return result_of(outcome);
}

/// The wish to store `value`, where `may(old)` holds.
template <class May>
auto store(const void* key, const void* value, May&& may) {
  return [=](const void* old, auto& fresh, uint64_t hash) {
    if (!may(old)) return Wish::kKeep;
    if (!fresh.made) {
      if (!fresh.make(key, hash)) return Wish::kFail;
      memcpy(fresh.value(), value, fresh.policy.value_size);
    }
    return Wish::kPut;
  };
}

}  // namespace
}  // namespace ashlar::hash_core

using namespace ashlar::hash_core;

namespace {

ashlar_map* make_map(const ashlar_map_type* type, int64_t hint, const void* caller) {
  if (type == nullptr || type->key_size > kMaxSize || type->value_size > kMaxSize) {
    errno = EINVAL;
    return nullptr;
  }
  if (hint < 0 || static_cast<uint64_t>(hint) > ashlar_map::Plain::max_entries(ashlar_map::Plain::kMaxLog2)) {
    errno = ERANGE;  // makemap: size out of range
    return nullptr;
  }
  void* memory = ashlar::allocate_padded(sizeof(ashlar_map));
  if (memory == nullptr) return nullptr;
  const RuntimeType runtime{type->hash, type->eq, static_cast<uint32_t>(type->key_size),
                            static_cast<uint32_t>(type->value_size)};
  const unsigned log2 = ashlar_map::Plain::log2_for(static_cast<uint64_t>(hint));
  auto* map = ::new (memory) ashlar_map(runtime, ashlar_map_seed(), log2);
  map->with_core([&](const auto& core) {
    ashlar_map_trace(caller, sizeof(ashlar_map), uint64_t{1} << log2, core.seed());
    return 0;
  });
  return map;
}

}  // namespace

extern "C" {

ashlar_map* ashlar_makemap(const ashlar_map_type* type, int hint) noexcept {
  return make_map(type, hint, __builtin_return_address(0));
}

ashlar_map* ashlar_makemap64(const ashlar_map_type* type, int64_t hint) noexcept {
  return make_map(type, hint, __builtin_return_address(0));
}

void ashlar_map_destroy(ashlar_map* map) noexcept {
  if (map == nullptr) return;
  map->with_core([](auto& core) {
    core.free_all([](const Word* words) { std::remove_reference_t<decltype(core.policy())>::discard(words); });
    return 0;
  });
  map->~ashlar_map();
  ashlar::deallocate(map);
}

int ashlar_map_get(const ashlar_map* map, const void* key, void* value) noexcept {
  if (map->has_quick()) {
    const auto& policy = map->plain.policy();
    const auto hit = map->plain.find_pinned(policy.hash_key(key, map->plain.seed()), load_word(key, policy.key_size));
    if (hit.found == 0) return 0;
    if (value != nullptr) store_word(value, hit.value, policy.value_size);
    return 1;
  }
  return map->with_core([&](const auto& core) {
    const ashlar::EpochPin pin;
    const auto& policy = core.policy();
    const uint64_t hash = policy.hash_key(key, core.seed());
    const bool found = core.find(hash, policy.match(key, hash), [&](const Word* words) {
      if (value != nullptr) memcpy(value, policy.value_of(words), policy.value_size);
    });
    return found ? 1 : 0;
  });
}

int ashlar_map_put(ashlar_map* map, const void* key, const void* value) noexcept {
  return map->with_core([&](auto& core) {
    bool was_there = false;
    const int done = change<false>(core, key, &was_there, nullptr, store(key, value, [](const void*) { return true; }));
    return done == 1 && was_there ? 0 : done;
  });
}

int ashlar_map_insert(ashlar_map* map, const void* key, const void* value) noexcept {
  if (map->has_quick()) {
    const auto& policy = map->plain.policy();
    const uint64_t hash = policy.hash_key(key, map->plain.seed());
    return result_of(map->plain.insert_pinned(hash, load_word(key, policy.key_size),
                                              value == nullptr ? 0 : load_word(value, policy.value_size)));
  }
  return map->with_core([&](auto& core) {
    bool was_there = false;
    return change<false>(core, key, &was_there, nullptr,
                         store(key, value, [](const void* old) { return old == nullptr; }));
  });
}

int ashlar_map_cas(ashlar_map* map, const void* key, const void* expected, const void* desired) noexcept {
  return map->with_core([&](auto& core) {
    bool was_there = false;
    const size_t size = core.policy().value_size;
    const auto equal = [=](const void* old) { return old != nullptr && memcmp(old, expected, size) == 0; };
    return change<false>(core, key, &was_there, nullptr, store(key, desired, equal));
  });
}

int ashlar_map_del(ashlar_map* map, const void* key, void* value) noexcept {
  if (map->has_quick()) {
    const auto& policy = map->plain.policy();
    const uint64_t hash = policy.hash_key(key, map->plain.seed());
    Word old = 0;
    const Outcome outcome = map->plain.erase_pinned(hash, load_word(key, policy.key_size), old);
    if (outcome == Outcome::kDone && value != nullptr) store_word(value, old, policy.value_size);
    return result_of(outcome);
  }
  return map->with_core([&](auto& core) {
    bool was_there = false;
    return change(core, key, &was_there, value,
                  [](const void* old, auto&, uint64_t) { return old == nullptr ? Wish::kKeep : Wish::kErase; });
  });
}

int ashlar_map_upsert(ashlar_map* map, const void* key, int (*decide)(void* context, const void* old, void* fresh),
                      void* context) noexcept {
  return map->with_core([&](auto& core) {
    bool was_there = false;
    return change(core, key, &was_there, nullptr, [&](const void* old, auto& fresh, uint64_t hash) {
      if (!fresh.make(key, hash)) return Wish::kFail;
      switch (decide(context, old, fresh.value())) {
        case ASHLAR_MAP_STORE:
          return Wish::kPut;
        case ASHLAR_MAP_ERASE:
          return old == nullptr ? Wish::kKeep : Wish::kErase;
        default:
          return Wish::kKeep;
      }
    });
  });
}

size_t ashlar_map_len(const ashlar_map* map) noexcept {
  return map->with_core([](const auto& core) { return static_cast<size_t>(core.size()); });
}

void ashlar_map_stats(const ashlar_map* map, ashlar_map_statistics* out) noexcept {
  const ashlar::EpochPin pin;
  *out = {};
  map->with_core([&](const auto& core) {
    const auto shape = core.shape();
    const auto figures = core.figures();
    out->entries = static_cast<uint64_t>(core.size());
    out->buckets = shape.buckets;
    out->slots = shape.slots;
    out->tombstones = shape.deleted;
    out->busy = shape.busy;
    out->displaced = shape.over_entries;
    out->longest = shape.longest;
    out->growths = figures.growths;
    out->shrinks = figures.shrinks;
    out->stalls = figures.overtaken;
    out->bytes = sizeof(ashlar_map) + core.table_bytes() + shape.over_entries * 16;
    out->seed = core.seed();
    return 0;
  });
}

}  // extern "C"
