// SPDX-License-Identifier: MIT
//
// block.h - how the memory of a slice<T> grows and its elements move; the half of slice.h that users do not see.
//
// Owns: which types move as bytes, and the growth of three pointers {begin, end, limit}. These go in and come out by
// value and `this` goes nowhere, so that a slice that is a local variable stays in registers while it is appended to:
// the compiler could not keep it there if its address reached a function that is not inlined.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "alloc/ashlar.h"
#include "alloc/slice/errors.h"
#include "alloc/slice/growslice.h"
#include "sizeclass/growth.h"

namespace ashlar {

/// Whether a T may be moved by copying its bytes and forgetting the old ones. Say so for a type of your own that holds
/// no pointer into itself: template <> struct ashlar::is_trivially_relocatable<Mine> : std::true_type {};
template <class T>
struct is_trivially_relocatable
    : std::bool_constant<std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T> &&
                         // Without any way to move or copy it (std::atomic) it is trivially copyable, by the letter.
                         (std::is_move_constructible_v<T> || std::is_copy_constructible_v<T>)> {};
template <class T, class D>
struct is_trivially_relocatable<std::unique_ptr<T, D>>
    : std::bool_constant<std::is_empty_v<D> || is_trivially_relocatable<D>::value> {};
template <class T>
struct is_trivially_relocatable<std::shared_ptr<T>> : std::true_type {};
template <class T>
struct is_trivially_relocatable<std::weak_ptr<T>> : std::true_type {};

namespace detail {

template <class T>
struct SlicePointers {
  T* begin = nullptr;
  T* end = nullptr;
  T* limit = nullptr;

  std::size_t size() const { return static_cast<std::size_t>(end - begin); }
  std::size_t capacity() const { return static_cast<std::size_t>(limit - begin); }
};

template <class T>
inline constexpr bool kMovesAsBytes = is_trivially_relocatable<T>::value;

/// Else a slice has the elements that it was made with, and as many more as fit behind them.
template <class T>
inline constexpr bool kMoves = std::is_move_constructible_v<T> || kMovesAsBytes<T>;

/// What a growth is for: so many elements follow at once, or the caller only wants the room.
enum class Follow : bool { kNothing, kElements };

template <class T>
ashlar_block_growth request(const SlicePointers<T>& p, std::size_t needed, std::size_t wanted, Follow follow) {
  ashlar_block_growth g = {};
  g.block = const_cast<std::remove_cv_t<T>*>(p.begin);
  g.capacity = p.capacity() * sizeof(T);
  g.used = p.size() * sizeof(T);
  g.least = needed * sizeof(T);
  g.wanted = wanted * sizeof(T);
  g.filled = follow == Follow::kElements ? g.least : 0;
  g.alignment = alignof(T);
  return g;
}

/// Owns a block and the elements made in it, until release().
template <class T>
class FreshBlock {
 public:
  explicit FreshBlock(const ashlar_block& block) : begin_(static_cast<T*>(block.data)), end_(begin_) {}
  FreshBlock(const FreshBlock&) = delete;
  FreshBlock& operator=(const FreshBlock&) = delete;
  ~FreshBlock() {
    if (begin_ == nullptr) return;
    std::destroy(begin_, end_);
    ashlar_free(begin_);
  }
  template <class Source>
  void add(Source&& source) {
    ::new (static_cast<void*>(end_)) T(std::forward<Source>(source));
    ++end_;
  }
  T* begin() { return begin_; }
  T* end() { return end_; }
  void release() { begin_ = nullptr; }

 private:
  T* begin_;
  T* end_;
};

/// Gives moved elements back, if a later one throws: what is moved but not kept returns to where it came from. A second
/// throw on the way ends the program.
template <class T>
class MoveBack {
 public:
  MoveBack(T* from, FreshBlock<T>* to) : from_(from), to_(to) {}
  MoveBack(const MoveBack&) = delete;
  MoveBack& operator=(const MoveBack&) = delete;
  ~MoveBack() {
    if (to_ == nullptr) return;
    T* back = from_;
    for (T* p = to_->begin(); p != to_->end(); ++p, ++back) {
      std::destroy_at(back);
      ::new (static_cast<void*>(back)) T(std::move(*p));
    }
  }
  void done() { to_ = nullptr; }

 private:
  T* from_;
  FreshBlock<T>* to_;
};

/// Elements that do not move as bytes: copied where their move may throw and they can be copied, else moved, with the
/// way back if one throws. Either way a throw leaves the old block as it was.
template <class T>
SlicePointers<T> move_elements(const SlicePointers<T>& p, const ashlar_block& block) {
  FreshBlock<T> to(block);
  constexpr bool kCopies = !std::is_nothrow_move_constructible_v<T> && std::is_copy_constructible_v<T>;
  if constexpr (kCopies || std::is_nothrow_move_constructible_v<T>) {
    for (T* from = p.begin; from != p.end; ++from) to.add(std::move_if_noexcept(*from));
  } else {
    MoveBack<T> way_back(p.begin, &to);
    for (T* from = p.begin; from != p.end; ++from) to.add(std::move(*from));
    way_back.done();
  }
  const SlicePointers<T> moved = {to.begin(), to.end(), to.begin() + block.bytes / sizeof(T)};
  to.release();
  std::destroy(p.begin, p.end);
  ashlar_free(p.begin);
  return moved;
}

/// Room for `needed` elements, by preference for `wanted`. On an error, the slice is as it was.
template <class T>
SlicePointers<T> with_room(const SlicePointers<T>& p, std::size_t needed, std::size_t wanted, Follow follow) {
  ashlar_block_growth g = request(p, needed, wanted, follow);
  if constexpr (!kMovesAsBytes<T>) {
    if (p.begin != nullptr) {
      std::size_t bytes = ashlar_expand(p.begin, g.wanted);
      if (bytes == 0) bytes = ashlar_expand(p.begin, g.least);
      if (bytes != 0) return {p.begin, p.end, p.begin + bytes / sizeof(T)};
      if constexpr (!kMoves<T>) throw_length_error("slice: elements that cannot be moved");
      g.block = nullptr;
      g.capacity = g.used = 0;
    }
  }
  const ashlar_block block = ashlar_grow_block(&g);
  if (block.data == nullptr) throw_bad_alloc();
  if constexpr (kMoves<T> && !kMovesAsBytes<T>) {
    if (p.begin != nullptr) return move_elements(p, block);
  }
  T* begin = static_cast<T*>(block.data);
  return {begin, begin + p.size(), begin + block.bytes / sizeof(T)};
}

template <class T>
constexpr GrowthPolicy policy_of(GrowthPolicy policy) {
  if (policy != nullptr) return policy;
  return kMovesAsBytes<T> ? kDefaultGrowth : grow_twice;
}

/// Up to so many bytes a block that grows is copied, whatever it is.
inline constexpr std::size_t kSmallBytes = 16384;

/// Room for `more` elements behind the last one.
template <class T, GrowthPolicy Policy>
[[gnu::noinline]] SlicePointers<T> grown(T* begin, T* end, T* limit, std::size_t more) {
  const SlicePointers<T> p = {begin, end, limit};
  const std::size_t needed = add_saturated(p.size(), more);
  const std::size_t wanted = next_capacity(policy_of<T>(Policy), p.capacity(), needed, sizeof(T));
  if constexpr (kMovesAsBytes<T> && alignof(T) <= ASHLAR_MIN_ALIGN) {
    if (wanted - 1 < kSmallBytes / sizeof(T)) [[likely]] {
      const ashlar_block block = ashlar_move_block(begin, p.size() * sizeof(T), wanted * sizeof(T));
      if (block.data == nullptr) throw_bad_alloc();
      begin = static_cast<T*>(block.data);
      return {begin, begin + (end - p.begin), begin + block.bytes / sizeof(T)};
    }
  }
  if (wanted == 0) throw_length_error("growslice: len out of range");
  return with_room(p, needed, wanted, Follow::kElements);
}

/// Room for `capacity` elements in all, as exactly as blocks are.
template <class T>
[[gnu::noinline]] SlicePointers<T> reserved(SlicePointers<T> p, std::size_t capacity) {
  if (capacity > max_elements(sizeof(T))) throw_length_error("growslice: len out of range");
  return with_room(p, capacity, capacity, Follow::kNothing);
}

/// The smallest block that holds the elements, where that is smaller; none where there are no elements.
template <class T>
[[gnu::noinline]] SlicePointers<T> shrunk(SlicePointers<T> p) {
  const std::size_t bytes = p.size() * sizeof(T);
  if (bytes == 0) {
    ashlar_free(p.begin);
    return {};
  }
  const std::size_t fitting = ashlar_good_size(bytes);
  if (fitting >= p.capacity() * sizeof(T) || !kMoves<T>) return p;
  if constexpr (kMovesAsBytes<T> && alignof(T) <= ASHLAR_MIN_ALIGN) {
    // Large blocks shrink where they lie. Small ones realloc leaves in peace unless it saves half of them.
    if (void* same = ashlar_realloc(p.begin, fitting)) {
      p = {static_cast<T*>(same), static_cast<T*>(same) + p.size(), nullptr};
      const std::size_t have = ashlar_usable_size(same);
      p.limit = p.begin + have / sizeof(T);
      if (have <= fitting) return p;
    }
  }
  ashlar_block_growth g = {};
  g.least = bytes;
  g.alignment = alignof(T);
  const ashlar_block block = ashlar_grow_block(&g);
  if (block.data == nullptr) return p;  // a wish only
  if constexpr (kMovesAsBytes<T>) {
    __builtin_memcpy(block.data, static_cast<const void*>(p.begin), bytes);
    ashlar_free(p.begin);
    T* begin = static_cast<T*>(block.data);
    return {begin, begin + p.size(), begin + block.bytes / sizeof(T)};
  } else if constexpr (kMoves<T>) {
    return move_elements(p, block);
  } else {
    return p;
  }
}

}  // namespace detail
}  // namespace ashlar
