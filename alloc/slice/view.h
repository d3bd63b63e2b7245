// SPDX-License-Identifier: MIT
//
// view.h - slice_view<T>: elements that belong to somebody else. Go's unsafe.Slice, and what a part of a slice is.
//
// Owns: two words, and no memory. Nothing here allocates, copies or frees; a view ends like a pointer ends. It is valid
// as long as the memory that it shows: a view of a slice until the slice grows, shrinks or ends. To grow a view is to
// copy it: slice<T>(view), see slice.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <ranges>
#include <type_traits>

#include "alloc/slice/errors.h"
#include "sizeclass/growth.h"

namespace ashlar {

namespace detail {
/// A Range whose elements a view of T may show: they lie in a row, and outlive the range where that is a temporary, or
/// are only read; a T has no more rights than they (Derived[] is no Base[]).
template <class Range, class T>
concept ShowsAs = std::ranges::contiguous_range<Range> && std::ranges::sized_range<Range> &&
    (std::ranges::borrowed_range<Range> || std::is_lvalue_reference_v<Range> ||
     std::is_const_v<T>)&&std::is_convertible_v<std::remove_reference_t<std::ranges::range_reference_t<Range>> (*)[],
                                                T (*)[]>;
}  // namespace detail

template <class T>
class slice_view {
 public:
  using value_type = std::remove_cv_t<T>;
  using element_type = T;
  using size_type = std::size_t;
  using difference_type = std::ptrdiff_t;
  using pointer = T*;
  using reference = T&;
  using iterator = T*;
  using const_iterator = T*;

  /// The null slice.
  constexpr slice_view() noexcept = default;

  /// `len` elements at `data`; null with 0 is the null slice.
  /// Errors: std::length_error ("slice: len out of range") where len < 0, or the elements are more than PTRDIFF_MAX
  /// bytes or end beyond the address space; std::invalid_argument where data is null and len is not 0.
  constexpr slice_view(T* data, std::ptrdiff_t len) : data_(data), len_(static_cast<size_type>(len)) {
    if (len < 0 || len_ > max_elements(sizeof(T))) detail::throw_length_error("slice: len out of range");
    if (data == nullptr && len != 0) detail::throw_invalid_argument("slice: data is null and len is not zero");
    if (!std::is_constant_evaluated() && len_ * sizeof(T) > UINTPTR_MAX - reinterpret_cast<std::uintptr_t>(data)) {
      detail::throw_length_error("slice: len out of range");
    }
  }

  /// Everything in a row that stays where it is: arrays, vectors, spans, slices, views of T for views of const T.
  template <class Range>
  requires detail::ShowsAs<Range, T> &&(!std::is_same_v<std::remove_cvref_t<Range>, slice_view>)
      // NOLINTNEXTLINE(bugprone-forwarding-reference-overload): the constraint excludes views
      constexpr slice_view(Range&& range)
      : data_(std::ranges::data(range)), len_(std::ranges::size(range)) {}

  constexpr T* data() const noexcept { return data_; }
  constexpr size_type size() const noexcept { return len_; }
  constexpr bool empty() const noexcept { return len_ == 0; }
  constexpr T* begin() const noexcept { return data_; }
  constexpr T* end() const noexcept { return data_ + len_; }
  constexpr T& operator[](size_type i) const noexcept { return data_[i]; }
  constexpr T& front() const noexcept { return data_[0]; }
  constexpr T& back() const noexcept { return data_[len_ - 1]; }

  /// Errors: std::out_of_range.
  constexpr T& at(size_type i) const {
    if (i >= len_) detail::throw_out_of_range("slice: index out of range");
    return data_[i];
  }

  /// Elements [from, to), shared. Errors: std::out_of_range ("slice bounds out of range") unless from <= to <= size.
  constexpr slice_view sub(size_type from, size_type to) const {
    if (from > to || to > len_) detail::throw_out_of_range("slice bounds out of range");
    slice_view part;
    part.data_ = data_ + from;
    part.len_ = to - from;
    return part;
  }

 private:
  T* data_ = nullptr;
  size_type len_ = 0;
};

template <std::ranges::contiguous_range Range>
slice_view(Range&&) -> slice_view<std::remove_reference_t<std::ranges::range_reference_t<Range>>>;

}  // namespace ashlar

template <class T>
// NOLINTNEXTLINE(readability-identifier-naming): std's name
inline constexpr bool std::ranges::enable_borrowed_range<ashlar::slice_view<T>> = true;
template <class T>
// NOLINTNEXTLINE(readability-identifier-naming): std's name
inline constexpr bool std::ranges::enable_view<ashlar::slice_view<T>> = true;
