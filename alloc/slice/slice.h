// SPDX-License-Identifier: MIT
//
// slice.h - ashlar::slice<T>: std::vector's vocabulary on Ashlar's memory; installed as <ashlar/slice.h>.
//
// Owns: a block of ashlar_malloc's (whatever malloc the program has otherwise) and the elements in it. Three pointers:
//
//     begin_ -> [ elements | room ]      end_: behind the last element      limit_: behind the block
//
// Invariants: begin_ <= end_ <= limit_; all null, or a block, all of whose usable bytes are room.
// Growth: in place whenever the allocator can. Else types that are_trivially_relocatable move as bytes (large blocks by
// page tables), others by their move constructor, or by copy where a move could throw. The old block is freed at once.
// Guarantees: an operation at the end that throws (an element's constructor, std::bad_alloc, std::length_error
// "growslice: len out of range") leaves the elements as they were; insert and erase in the middle do so too for types
// that move as bytes, for others as std::vector does. Pointers, iterators and views of a slice end where a vector's
// would: when it grows, shrinks, or loses the elements. Threads: like a vector's. Elements of append, push_back and
// insert may be the slice's own, in whatever order or view. Elements that can neither be moved nor copied stay in the
// block that the slice was made with: std::length_error where that does not do.
#pragma once

#include <algorithm>
#include <compare>
#include <cstring>
#include <initializer_list>

#include "alloc/slice/block.h"
#include "alloc/slice/view.h"

namespace ashlar {

/// `Policy`: see growslice.h; null: kDefaultGrowth, or grow_twice where elements do not move as bytes. T may be an
/// incomplete type where slice<T> is only named.
template <class T, GrowthPolicy Policy = nullptr>
class slice {
  static_assert(std::is_object_v<T> && !std::is_const_v<T> && !std::is_volatile_v<T>);

 public:
  using value_type = T;
  using size_type = std::size_t;
  using difference_type = std::ptrdiff_t;
  using reference = T&;
  using const_reference = const T&;
  using pointer = T*;
  using const_pointer = const T*;
  using iterator = T*;
  using const_iterator = const T*;
  using reverse_iterator = std::reverse_iterator<iterator>;
  using const_reverse_iterator = std::reverse_iterator<const_iterator>;

  slice() noexcept = default;
  explicit slice(size_type count) {
    filling([&] { resize(count); });
  }
  slice(size_type count, const T& value) {
    filling([&] { resize(count, value); });
  }
  slice(std::initializer_list<T> list) {
    filling([&] { append(list.begin(), list.end()); });
  }
  template <std::input_iterator It>
  slice(It first, It last) {
    guarded([&] { append(std::move(first), std::move(last)); });
  }
  /// Copies a view: the way to grow one.
  explicit slice(slice_view<const T> view) {
    filling([&] { append(view.begin(), view.end()); });
  }
  slice(const slice& other) {
    filling([&] { append(other.begin(), other.end()); });
  }
  slice(slice&& other) noexcept : p_(std::exchange(other.p_, {})) {}
  ~slice() { give_back(); }

  slice& operator=(const slice& other) {
    if (this != &other) slice(other).swap(*this);
    return *this;
  }
  slice& operator=(slice&& other) noexcept {
    slice(std::move(other)).swap(*this);
    return *this;
  }
  slice& operator=(std::initializer_list<T> list) {
    slice(list).swap(*this);
    return *this;
  }
  void swap(slice& other) noexcept { std::swap(p_, other.p_); }
  friend void swap(slice& a, slice& b) noexcept { a.swap(b); }

  void assign(size_type count, const T& value) { slice(count, value).swap(*this); }
  void assign(std::initializer_list<T> list) { slice(list).swap(*this); }
  template <std::input_iterator It>
  void assign(It first, It last) {
    slice(std::move(first), std::move(last)).swap(*this);
  }

  // ---- elements ----
  T* data() noexcept { return p_.begin; }
  const T* data() const noexcept { return p_.begin; }
  size_type size() const noexcept { return p_.size(); }
  size_type capacity() const noexcept { return p_.capacity(); }
  static constexpr size_type max_size() noexcept { return max_elements(sizeof(T)); }
  [[nodiscard]] bool empty() const noexcept { return p_.begin == p_.end; }
  iterator begin() noexcept { return p_.begin; }
  iterator end() noexcept { return p_.end; }
  const_iterator begin() const noexcept { return p_.begin; }
  const_iterator end() const noexcept { return p_.end; }
  const_iterator cbegin() const noexcept { return p_.begin; }
  const_iterator cend() const noexcept { return p_.end; }
  reverse_iterator rbegin() noexcept { return reverse_iterator(end()); }
  reverse_iterator rend() noexcept { return reverse_iterator(begin()); }
  const_reverse_iterator rbegin() const noexcept { return const_reverse_iterator(end()); }
  const_reverse_iterator rend() const noexcept { return const_reverse_iterator(begin()); }
  T& operator[](size_type i) noexcept { return p_.begin[i]; }
  const T& operator[](size_type i) const noexcept { return p_.begin[i]; }
  T& at(size_type i) { return p_.begin[checked(i)]; }
  const T& at(size_type i) const { return p_.begin[checked(i)]; }
  T& front() noexcept { return *p_.begin; }
  const T& front() const noexcept { return *p_.begin; }
  T& back() noexcept { return p_.end[-1]; }
  const T& back() const noexcept { return p_.end[-1]; }

  /// Elements [from, to), shared with this slice. Errors: std::out_of_range unless from <= to <= size.
  slice_view<T> sub(size_type from, size_type to) { return slice_view<T>(*this).sub(from, to); }
  slice_view<const T> sub(size_type from, size_type to) const { return slice_view<const T>(*this).sub(from, to); }

  // ---- room ----
  void reserve(size_type capacity) {
    if (capacity > p_.capacity()) take(detail::reserved(p_, capacity));
  }
  /// Asks for the smallest block; what cannot be had stays as it is.
  void shrink_to_fit() {
    if (p_.end != p_.limit) take(detail::shrunk(p_));
  }

  // ---- at the end ----
  void push_back(const T& value) { emplace_back(value); }
  void push_back(T&& value) { emplace_back(std::move(value)); }
  template <class... Args>
  T& emplace_back(Args&&... args) {
    if (p_.end == p_.limit) [[unlikely]] {
      if constexpr (kCheap) {
        T value(std::forward<Args>(args)...);  // before the growth: an argument may be an element of ours
        take(detail::grown<T, Policy>(p_.begin, p_.end, p_.limit, 1));
        return *::new (static_cast<void*>(p_.end++)) T(std::move(value));
      } else {
        return emplace_back_slow(std::forward<Args>(args)...);
      }
    }
    T* made = ::new (static_cast<void*>(p_.end)) T(std::forward<Args>(args)...);
    ++p_.end;
    return *made;
  }
  void pop_back() noexcept {
    --p_.end;
    std::destroy_at(p_.end);
  }

  /// Elements of a range behind the last one; a part of this slice is a range, too.
  template <std::ranges::input_range Range>
  void append_range(Range&& range) {
    if constexpr (std::ranges::contiguous_range<Range> && std::ranges::sized_range<Range>) {
      append(std::ranges::data(range), std::ranges::data(range) + std::ranges::size(range));
    } else if constexpr (std::ranges::sized_range<Range>) {
      append_counted(std::ranges::begin(range), static_cast<size_type>(std::ranges::size(range)));
    } else {
      append(std::ranges::begin(range), std::ranges::end(range));
    }
  }
  template <std::input_iterator It, std::sentinel_for<It> End>
  void append(It first, End last) {
    if constexpr (std::contiguous_iterator<It> && std::sized_sentinel_for<End, It>) {
      append_counted(std::to_address(first), static_cast<size_type>(last - first));
    } else if constexpr (std::forward_iterator<It>) {
      append_counted(first, static_cast<size_type>(std::ranges::distance(first, last)));
    } else {
      const size_type before = size();
      TailGuard guard(this, before);
      for (; first != last; ++first) emplace_back(*first);
      guard.done();
    }
  }

  void resize(size_type count) { resize_with(count); }
  void resize(size_type count, const T& value) { resize_with(count, value); }
  void clear() noexcept { cut(0); }

  // ---- in the middle ----
  iterator insert(const_iterator at, const T& value) { return emplace(at, value); }
  iterator insert(const_iterator at, T&& value) { return emplace(at, std::move(value)); }
  iterator insert(const_iterator at, size_type count, const T& value) {
    const T copy(value);  // it may be an element of ours
    return insert_made(at, count, [&copy, count](T* to) { return std::uninitialized_fill_n(to, count, copy); });
  }
  iterator insert(const_iterator at, std::initializer_list<T> list) { return insert(at, list.begin(), list.end()); }
  template <std::input_iterator It, std::sentinel_for<It> End>
  iterator insert(const_iterator at, It first, End last) {
    if constexpr (std::contiguous_iterator<It> && std::sized_sentinel_for<End, It>) {
      const auto* from = std::to_address(first);
      const auto count = static_cast<size_type>(last - first);
      if (count == 0 || (own_offset(from) >= size() * sizeof(T) && (kMovesWhatItOwns || count <= room()))) {
        return insert_made(at, count, [from, count](T* to) { return std::uninitialized_copy_n(from, count, to); });
      }
    }
    const size_type index = index_of(at);
    const size_type before = size();
    append(std::move(first), std::move(last));
    return rotate_in(index, before);
  }
  template <class... Args>
  iterator emplace(const_iterator at, Args&&... args) {
    const size_type index = index_of(at);
    const size_type before = size();
    emplace_back(std::forward<Args>(args)...);
    return rotate_in(index, before);
  }
  iterator erase(const_iterator at) { return erase(at, at + 1); }
  iterator erase(const_iterator first, const_iterator last) {
    T* const from = p_.begin + index_of(first);
    T* const to = p_.begin + index_of(last);
    if (from == to) return from;
    if constexpr (detail::kMovesAsBytes<T>) {
      std::destroy(from, to);
      move_bytes(from, to, p_.end);
      p_.end -= to - from;
    } else {
      cut(static_cast<size_type>(std::move(to, p_.end, from) - p_.begin));
    }
    return from;
  }

  friend bool operator==(const slice& a, const slice& b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }
  friend auto operator<=>(const slice& a, const slice& b) requires std::three_way_comparable<T> {
    return std::lexicographical_compare_three_way(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  /// Made on the stack before a growth, in line.
  static constexpr bool kCheap = std::is_trivially_copyable_v<T> && sizeof(T) <= 64;

  /// What an element owns lies where it lay when the element has moved to another block.
  static constexpr bool kMovesWhatItOwns = detail::kMovesAsBytes<T> || std::is_nothrow_move_constructible_v<T>;

  /// For constructors: one that throws runs no destructor.
  template <class Fill>
  void filling(Fill fill) {
    if constexpr (std::is_trivially_copyable_v<T> &&
                  (std::is_nothrow_default_constructible_v<T> || !std::is_default_constructible_v<T>)) {
      fill();  // nothing throws once there is a block
    } else {
      guarded(fill);
    }
  }
  template <class Fill>
  void guarded(Fill fill) {
    struct Guard {
      slice* owner;
      ~Guard() {
        if (owner != nullptr) owner->give_back();
      }
    } guard{this};
    fill();
    guard.owner = nullptr;
  }

  /// Takes the elements behind the first `size` away, unless done().
  class TailGuard {
   public:
    TailGuard(slice* s, size_type size) : slice_(s), size_(size) {}
    TailGuard(const TailGuard&) = delete;
    TailGuard& operator=(const TailGuard&) = delete;
    ~TailGuard() {
      if (slice_ != nullptr) slice_->cut(size_);
    }
    void done() { slice_ = nullptr; }

   private:
    slice* slice_;
    size_type size_;
  };

  /// Closes the gap of `count` elements that was opened before the last one was made, unless done().
  class GapGuard {
   public:
    GapGuard(T* gap, size_type count, T* end) : gap_(gap), count_(count), end_(end) {}
    GapGuard(const GapGuard&) = delete;
    GapGuard& operator=(const GapGuard&) = delete;
    ~GapGuard() {
      if (gap_ != nullptr) move_bytes(gap_, gap_ + count_, end_ + count_);
    }
    void done() { gap_ = nullptr; }

   private:
    T* gap_;
    size_type count_;
    T* end_;
  };

  /// What std::rotate moves instead of a T: its bytes alone.
  struct alignas(T) Bytes {
    unsigned char byte[sizeof(T)];
  };

  /// Below size() * sizeof(T): an address in this slice.
  template <class U>
  std::uintptr_t own_offset(const U* p) const {
    return reinterpret_cast<std::uintptr_t>(p) - reinterpret_cast<std::uintptr_t>(p_.begin);
  }

  static void move_bytes(T* to, const T* from, const T* end) {
    std::memmove(static_cast<void*>(to), static_cast<const void*>(from),
                 static_cast<size_type>(end - from) * sizeof(T));
  }

  size_type index_of(const_iterator at) const { return static_cast<size_type>(at - p_.begin); }

  size_type checked(size_type i) const {
    if (i >= size()) detail::throw_out_of_range("slice: index out of range");
    return i;
  }

  /// Not `p_ = grown(...)`: the compiler could have the callee write to p_ itself, which must stay whole if it throws.
  void take(const detail::SlicePointers<T>& p) noexcept { p_ = p; }

  void give_back() noexcept {
    if (p_.begin == nullptr) return;
    std::destroy(p_.begin, p_.end);
    ashlar_free(p_.begin);
  }

  void cut(size_type count) noexcept {
    T* const to = p_.begin + count;
    std::destroy(to, p_.end);
    p_.end = to;
  }

  template <class... Args>
  [[gnu::noinline]] T& emplace_back_slow(Args&&... args) {
    T value(std::forward<Args>(args)...);
    take(detail::grown<T, Policy>(p_.begin, p_.end, p_.limit, 1));
    T* made = ::new (static_cast<void*>(p_.end)) T(std::move(value));
    ++p_.end;
    return *made;
  }

  size_type room() const { return static_cast<size_type>(p_.limit - p_.end); }

  void make_room(size_type more) {
    if (more > room()) take(detail::grown<T, Policy>(p_.begin, p_.end, p_.limit, more));
  }

  template <class It>
  void append_counted(It first, size_type count) {
    if (count == 0) return;
    if (count > room()) {
      if constexpr (!std::is_pointer_v<It> || !kMovesWhatItOwns) {
        return append_made(std::move(first), count);
      } else {
        // A part of this slice: it comes along where the block moves.
        const std::uintptr_t offset = own_offset(first);
        const bool own = offset < size() * sizeof(T);
        make_room(count);
        if (own) first = reinterpret_cast<It>(reinterpret_cast<std::uintptr_t>(p_.begin) + offset);
      }
    }
    p_.end = std::uninitialized_copy_n(std::move(first), count, p_.end);
  }
  /// The same for ranges that may lead into this slice, or into what its elements own, in a way that cannot be seen:
  /// the new elements are made before the old ones go.
  template <class It>
  [[gnu::noinline]] void append_made(It first, size_type count) {
    slice made;
    made.reserve(count);
    made.p_.end = std::uninitialized_copy_n(std::move(first), count, made.p_.end);
    make_room(count);
    if constexpr (detail::kMovesAsBytes<T>) {
      std::memcpy(static_cast<void*>(p_.end), static_cast<const void*>(made.p_.begin), count * sizeof(T));
      made.p_.end = made.p_.begin;
      p_.end += count;
    } else {
      p_.end = std::uninitialized_move_n(made.p_.begin, count, p_.end).second;
    }
  }

  template <class... Value>
  void resize_with(size_type count, const Value&... value) {
    if (count <= size()) return cut(count);
    if constexpr (sizeof...(Value) != 0) {
      const T copy(value...);  // it may be an element of ours
      make_room(count - size());
      p_.end = std::uninitialized_fill_n(p_.end, count - size(), copy);
    } else {
      make_room(count - size());
      p_.end = std::uninitialized_value_construct_n(p_.end, count - size());
    }
  }

  /// `make` builds `count` elements at an address, or none and throws.
  template <class Make>
  iterator insert_made(const_iterator at, size_type count, Make make) {
    const size_type index = index_of(at);
    const size_type before = size();
    if (count == 0) return p_.begin + index;
    make_room(count);
    if constexpr (detail::kMovesAsBytes<T>) {
      T* const gap = p_.begin + index;
      move_bytes(gap + count, gap, p_.end);
      GapGuard guard(gap, count, p_.end);
      make(gap);
      guard.done();
      p_.end += count;
      return gap;
    } else {
      p_.end = make(p_.end);
      return rotate_in(index, before);
    }
  }

  /// Brings the elements behind the first `before` to `index`.
  iterator rotate_in(size_type index, size_type before) {
    T* const to = p_.begin + index;
    T* const from = p_.begin + before;
    if (to == from || from == p_.end) return to;
    if constexpr (detail::kMovesAsBytes<T>) {
      const auto bytes = static_cast<size_type>(p_.end - from) * sizeof(T);
      unsigned char piece[sizeof(T) > 512 ? sizeof(T) : 512];
      if (bytes <= sizeof piece) {
        std::memcpy(piece, static_cast<const void*>(from), bytes);
        move_bytes(to + (p_.end - from), to, from);
        std::memcpy(static_cast<void*>(to), piece, bytes);
      } else {
        std::rotate(reinterpret_cast<Bytes*>(to), reinterpret_cast<Bytes*>(from), reinterpret_cast<Bytes*>(p_.end));
      }
    } else {
      std::rotate(to, from, p_.end);
    }
    return to;
  }

  detail::SlicePointers<T> p_;
};

}  // namespace ashlar
