// SPDX-License-Identifier: MIT
//
// peers.h - the adapters (maps.h) of maps that are not ours. Included by maps.h alone.
//
// boost::concurrent_flat_map (boost 1.84 and later) and ParlayHash are header-only, and not in Debian 12.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <functional>
#include <libcuckoo/cuckoohash_map.hh>

#include <tbb/concurrent_hash_map.h>

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
struct Tbb {
  static constexpr const char* kName = "tbb";
  struct Compare {
    static size_t hash(const K& k) { return MixedHash<K>()(k); }
    static bool equal(const K& a, const K& b) { return a == b; }
  };
  using Map = tbb::concurrent_hash_map<K, V, Compare>;
  explicit Tbb(size_t hint) : map(hint) {}
  V find_or(const K& k, V v) const {
    find(k, v);
    return v;
  }
  bool find(const K& k, V& v) const {
    typename Map::const_accessor a;
    if (!map.find(a, k)) return false;
    v = a->second;
    return true;
  }
  bool insert(const K& k, const V& v) { return map.insert({k, v}); }
  void assign(const K& k, const V& v) {
    typename Map::accessor a;
    map.insert(a, k);
    a->second = v;
  }
  bool update(const K& k, const V& v) {
    typename Map::accessor a;
    if (!map.find(a, k)) return false;
    a->second = v;
    return true;
  }
  bool erase(const K& k) { return map.erase(k); }
  template <class F>
  void modify(const K& k, F f) {
    typename Map::accessor a;
    map.insert(a, k);
    a->second = f(a->second);
  }
  size_t size() const { return map.size(); }
  template <class F>
  void walk(F f) {
    for (const auto& [k, v] : map) f(k, v);
  }
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
  bool find(const K& k, V& v) const { return map.find(k, v); }
  bool insert(const K& k, const V& v) { return map.insert(k, v); }
  void assign(const K& k, const V& v) { map.insert_or_assign(k, v); }
  bool update(const K& k, const V& v) { return map.update(k, v); }
  bool erase(const K& k) { return map.erase(k); }
  template <class F>
  void modify(const K& k, F f) {
    map.upsert(
        k, [&](V& v) { v = f(v); }, f(V()));
  }
  size_t size() const { return map.size(); }
  template <class F>
  void walk(F f) {
    const auto locked = map.lock_table();
    for (const auto& [k, v] : locked) f(k, v);
  }
  libcuckoo::cuckoohash_map<K, V, MixedHash<K>> map;
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
  bool find(const K& k, V& v) const {
    return map.visit(k, [&](const auto& e) { v = e.second; }) != 0;
  }
  template <class F>
  void find_many(const K* keys, size_t n, F f) const {
    map.visit(keys, keys + n, [&](const auto& e) { f(e.second); });
  }
  bool insert(const K& k, const V& v) { return map.emplace(k, v); }
  void assign(const K& k, const V& v) { map.insert_or_assign(k, v); }
  bool update(const K& k, const V& v) {
    return map.visit(k, [&](auto& e) { e.second = v; }) != 0;
  }
  bool erase(const K& k) { return map.erase(k) != 0; }
  template <class F>
  void modify(const K& k, F f) {
    map.emplace_or_visit(k, f(V()), [&](auto& e) { e.second = f(e.second); });
  }
  size_t size() const { return map.size(); }
  template <class F>
  void walk(F f) {
    map.cvisit_all([&](const auto& e) { f(e.first, e.second); });
  }
  boost::concurrent_flat_map<K, V> map;
};
#endif

#if BENCH_PARLAY
template <class K, class V>
struct Parlay {
  static constexpr const char* kName = "parlayhash";
  explicit Parlay(size_t hint) : map(static_cast<long>(hint == 0 ? 16 : hint)) {}
  V find_or(const K& k, V other) const { return const_cast<Map&>(map).Find(k).value_or(other); }
  bool find(const K& k, V& v) const {
    const auto found = const_cast<Map&>(map).Find(k);
    if (!found.has_value()) return false;
    v = *found;
    return true;
  }
  bool insert(const K& k, const V& v) { return !map.Insert(k, v).has_value(); }
  void assign(const K& k, const V& v) {
    map.Upsert(k, [&](const auto&) { return v; });
  }
  /// It has no such operation; two steps are enough where each key has one writer, as here.
  bool update(const K& k, const V& v) {
    if (!map.Find(k).has_value()) return false;
    assign(k, v);
    return true;
  }
  bool erase(const K& k) { return map.Remove(k).has_value(); }
  template <class F>
  void modify(const K& k, F f) {
    map.Upsert(k, [&](const auto& old) { return f(old.has_value() ? *old : V()); });
  }
  size_t size() const { return static_cast<size_t>(const_cast<Map&>(map).size()); }
  template <class F>
  void walk(F f) {
    for (auto at = map.begin(); at != map.end(); ++at) f((*at).first, (*at).second);
  }
  using Map = parlay::parlay_unordered_map<K, V, MixedHash<K>>;
  Map map;
};
#endif

}  // namespace bench
