// SPDX-License-Identifier: MIT
//
// maps.h - the maps that are compared, under one interface.
//
// Owns: Ashlar's adapter, the mutexed std::unordered_map's, and with_map, which finds a map by its name. Those of
// libtbb-dev and libcuckoo-dev, boost::concurrent_flat_map and ParlayHash are in peers.h, each where the compiler finds
// its headers (bench/hash/README.md), and none with BENCH_PEERS=0, as the test builds it.
//
// An adapter has, for any number of threads:
//   find_or(k, other)   the value, or other: a caller that does not branch on whether the key was there
//   find(k, v)          whether the key is there; its value: a caller that does
//   insert(k, v)        adds, if the key is new; whether it was
//   assign(k, v)        adds or replaces
//   update(k, v)        replaces, if the key is there; whether it was
//   erase(k)            whether the key was there
//   find_many(ks, n, f) f(value) for each of n keys that is there: of maps that look for many at once
//   modify(k, f)        the value becomes f(value), or f(V()) if there is none, as one step
// and for one thread, while no other is at it: size(), walk(f) for every (key, value).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <unordered_map>

#include "hash/hash_map.h"

#ifndef BENCH_PEERS
#define BENCH_PEERS 1
#endif

namespace bench {

template <class K, class V>
struct Ashlar {
  static constexpr const char* kName = "ashlar";
  explicit Ashlar(size_t hint) : map(static_cast<int64_t>(hint)) {}
  V find_or(const K& k, V other) const { return map.find(k).value_or(other); }
  bool find(const K& k, V& v) const {
    const std::optional<V> found = map.find(k);
    if (!found.has_value()) return false;
    v = *found;
    return true;
  }
  template <class F>
  void find_many(const K* keys, size_t n, F f) const {
    map.bulk_find(keys, n, [&](size_t, const V* v) {
      if (v != nullptr) f(*v);
    });
  }
  bool insert(const K& k, const V& v) { return map.insert(k, v); }
  void assign(const K& k, const V& v) { map.insert_or_assign(k, v); }
  bool update(const K& k, const V& v) {
    bool there = false;
    map.upsert(k, [&](const V* old) {
      there = old != nullptr;
      return there ? std::optional<V>(v) : std::nullopt;
    });
    return there;
  }
  bool erase(const K& k) { return map.remove(k); }
  template <class F>
  void modify(const K& k, F f) {
    map.upsert(k, [&](const V* old) { return f(old == nullptr ? V() : *old); });
  }
  size_t size() const { return map.size(); }
  template <class F>
  void walk(F f) {
    map.for_each(f);
  }
  ashlar::hash_map<K, V> map;
};

template <class K, class V>
struct Mutexed {
  static constexpr const char* kName = "mutex+std";
  using Guard = std::lock_guard<std::mutex>;
  explicit Mutexed(size_t hint) { map.reserve(hint); }
  V find_or(const K& k, V v) const {
    find(k, v);
    return v;
  }
  bool find(const K& k, V& v) const {
    const Guard guard(mutex);
    const auto at = map.find(k);
    if (at == map.end()) return false;
    v = at->second;
    return true;
  }
  bool insert(const K& k, const V& v) {
    const Guard guard(mutex);
    return map.emplace(k, v).second;
  }
  void assign(const K& k, const V& v) {
    const Guard guard(mutex);
    map[k] = v;
  }
  bool update(const K& k, const V& v) {
    const Guard guard(mutex);
    const auto at = map.find(k);
    if (at == map.end()) return false;
    at->second = v;
    return true;
  }
  bool erase(const K& k) {
    const Guard guard(mutex);
    return map.erase(k) != 0;
  }
  template <class F>
  void modify(const K& k, F f) {
    const Guard guard(mutex);
    V& v = map[k];
    v = f(v);
  }
  size_t size() const { return map.size(); }
  template <class F>
  void walk(F f) {
    for (const auto& [k, v] : map) f(k, v);
  }
  mutable std::mutex mutex;
  std::unordered_map<K, V> map;
};

template <class T>
struct Tag {
  using Map = T;
};

}  // namespace bench

#if BENCH_PEERS
#include "bench/hash/peers.h"
#else
#define BENCH_BOOST 0
#define BENCH_PARLAY 0
#endif

namespace bench {

/// Calls f(Tag<Map>()) with the map of that name; false: it is not compiled in.
template <class K, class V, class F>
bool with_map(const std::string& name, F f) {
  const auto named = [&](auto tag) {
    if (name != decltype(tag)::Map::kName) return false;
    f(tag);
    return true;
  };
  if (named(Tag<Ashlar<K, V>>()) || named(Tag<Mutexed<K, V>>())) return true;
#if BENCH_PEERS
  if (named(Tag<Tbb<K, V>>()) || named(Tag<Cuckoo<K, V>>())) return true;
#endif
#if BENCH_BOOST
  if (named(Tag<Boost<K, V>>())) return true;
#endif
#if BENCH_PARLAY
  if (named(Tag<Parlay<K, V>>())) return true;
#endif
  return false;
}

/// What a program says when it is asked `--map list`.
inline const char* map_names() {
#if BENCH_PEERS
  return "ashlar tbb libcuckoo mutex+std"
#if BENCH_BOOST
         " boost"
#endif
#if BENCH_PARLAY
         " parlayhash"
#endif
      ;
#else
  return "ashlar mutex+std";
#endif
}

}  // namespace bench
