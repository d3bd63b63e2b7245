// SPDX-License-Identifier: MIT
//
// maps.h - the maps that are compared, under one interface.
//
// Owns: an adapter for each: find_or(k, v), insert(k, v), assign(k, v), erase(k), size(). boost::concurrent_flat_map
// and ParlayHash are there where the compiler finds their headers (bench/hash/README.md).
#pragma once

#include <libcuckoo/cuckoohash_map.hh>
#include <mutex>
#include <string>
#include <unordered_map>

#include <tbb/concurrent_hash_map.h>

#include "hash/hash_map.h"

#if __has_include(<boost/unordered/concurrent_flat_map.hpp>)
#include <boost/unordered/concurrent_flat_map.hpp>
#define BENCH_BOOST 1
#else
#define BENCH_BOOST 0
#endif
#if __has_include(<parlay_hash/unordered_map.h>)
#include <parlay_hash/unordered_map.h>
#define BENCH_PARLAY 1
#else
#define BENCH_PARLAY 0
#endif

namespace bench {

/// For maps that take the low bits of what they are given, or the high ones, as they are.
template <class K>
struct MixedHash {
  size_t operator()(const K& k) const {
    uint64_t x = std::hash<K>()(k);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
};

template <class K, class V>
struct Ashlar {
  static constexpr const char* kName = "ashlar";
  explicit Ashlar(size_t hint) : map(static_cast<int64_t>(hint)) {}
  V find_or(const K& k, V other) const { return map.find(k).value_or(other); }
  bool insert(const K& k, const V& v) { return map.insert(k, v); }
  void assign(const K& k, const V& v) { map.insert_or_assign(k, v); }
  bool erase(const K& k) { return map.remove(k); }
  template <class F>
  void modify(const K& k, F f) {
    map.upsert(k, [&](const V* old) { return f(old == nullptr ? V() : *old); });
  }
  size_t size() const { return map.size(); }
  ashlar::hash_map<K, V> map;
};

template <class K, class V>
struct Tbb {
  static constexpr const char* kName = "tbb";
  struct Compare {
    static size_t hash(const K& k) { return MixedHash<K>()(k); }
    static bool equal(const K& a, const K& b) { return a == b; }
  };
  using Map = tbb::concurrent_hash_map<K, V, Compare>;
  explicit Tbb(size_t hint) : map(hint) {}
  V find_or(const K& k, V other) const {
    typename Map::const_accessor a;
    return map.find(a, k) ? a->second : other;
  }
  bool insert(const K& k, const V& v) { return map.insert({k, v}); }
  void assign(const K& k, const V& v) {
    typename Map::accessor a;
    map.insert(a, k);
    a->second = v;
  }
  bool erase(const K& k) { return map.erase(k); }
  template <class F>
  void modify(const K& k, F f) {
    typename Map::accessor a;
    map.insert(a, k);
    a->second = f(a->second);
  }
  size_t size() const { return map.size(); }
  Map map;
};

template <class K, class V>
struct Cuckoo {
  static constexpr const char* kName = "libcuckoo";
  explicit Cuckoo(size_t hint) : map(hint == 0 ? 16 : hint) {}
  V find_or(const K& k, V v) const {
    map.find(k, v);
    return v;
  }
  bool insert(const K& k, const V& v) { return map.insert(k, v); }
  void assign(const K& k, const V& v) { map.insert_or_assign(k, v); }
  bool erase(const K& k) { return map.erase(k); }
  template <class F>
  void modify(const K& k, F f) {
    map.upsert(
        k, [&](V& v) { v = f(v); }, f(V()));
  }
  size_t size() const { return map.size(); }
  libcuckoo::cuckoohash_map<K, V, MixedHash<K>> map;
};

template <class K, class V>
struct Mutexed {
  static constexpr const char* kName = "mutex+std";
  explicit Mutexed(size_t hint) { map.reserve(hint); }
  V find_or(const K& k, V other) const {
    const std::lock_guard<std::mutex> guard(mutex);
    const auto at = map.find(k);
    return at == map.end() ? other : at->second;
  }
  bool insert(const K& k, const V& v) {
    const std::lock_guard<std::mutex> guard(mutex);
    return map.emplace(k, v).second;
  }
  void assign(const K& k, const V& v) {
    const std::lock_guard<std::mutex> guard(mutex);
    map[k] = v;
  }
  bool erase(const K& k) {
    const std::lock_guard<std::mutex> guard(mutex);
    return map.erase(k) != 0;
  }
  template <class F>
  void modify(const K& k, F f) {
    const std::lock_guard<std::mutex> guard(mutex);
    V& v = map[k];
    v = f(v);
  }
  size_t size() const { return map.size(); }
  mutable std::mutex mutex;
  std::unordered_map<K, V> map;
};

#if BENCH_BOOST
template <class K, class V>
struct Boost {
  static constexpr const char* kName = "boost";
  explicit Boost(size_t hint) : map(hint) {}
  V find_or(const K& k, V v) const {
    map.visit(k, [&](const auto& e) { v = e.second; });
    return v;
  }
  bool insert(const K& k, const V& v) { return map.emplace(k, v); }
  void assign(const K& k, const V& v) { map.insert_or_assign(k, v); }
  bool erase(const K& k) { return map.erase(k) != 0; }
  template <class F>
  void modify(const K& k, F f) {
    map.emplace_or_visit(k, f(V()), [&](auto& e) { e.second = f(e.second); });
  }
  size_t size() const { return map.size(); }
  boost::concurrent_flat_map<K, V> map;
};
#endif

#if BENCH_PARLAY
template <class K, class V>
struct Parlay {
  static constexpr const char* kName = "parlayhash";
  explicit Parlay(size_t hint) : map(static_cast<long>(hint == 0 ? 16 : hint)) {}
  V find_or(const K& k, V other) const { return const_cast<Map&>(map).Find(k).value_or(other); }
  bool insert(const K& k, const V& v) { return !map.Insert(k, v).has_value(); }
  void assign(const K& k, const V& v) {
    map.Upsert(k, [&](const auto&) { return v; });
  }
  bool erase(const K& k) { return map.Remove(k).has_value(); }
  template <class F>
  void modify(const K& k, F f) {
    map.Upsert(k, [&](const auto& old) { return f(old.has_value() ? *old : V()); });
  }
  size_t size() const { return static_cast<size_t>(const_cast<Map&>(map).size()); }
  using Map = parlay::parlay_unordered_map<K, V, MixedHash<K>>;
  Map map;
};
#endif

}  // namespace bench
