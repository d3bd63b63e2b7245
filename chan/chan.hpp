// SPDX-License-Identifier: MIT
//
// chan.hpp - Go's channels for C++: ashlar::chan<T> and select, over the C interface of chan.h.
//
// Owns: chan<T>, its ends sender<T> and receiver<T>, closed_channel, select. Header only. Contracts of single
// operations are those of chan.h; what differs: errors are exceptions, elements may be move-only, a chan<T> owns a
// share of its channel, as a std::shared_ptr would, and elements that nobody received are destroyed with the last
// share, once. T must be nothrow move constructible, since it is moved in the middle of an operation. Its move
// constructor and destructor must not use the channel.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>

#include "chan/chan.h"

namespace ashlar {

/// A send on a closed channel, or a second close. The value that could not be sent is still the caller's.
class closed_channel : public std::logic_error {
 public:
  explicit closed_channel(const char* what) : std::logic_error(what) {}
};

using chan_clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC

namespace chan_detail {

template <class T>
inline constexpr bool is_bytes = std::is_trivially_copyable_v<T>&& std::is_trivially_destructible_v<T>;

// An empty class is no bytes at all.
template <class T>
inline constexpr std::size_t size_of = std::is_empty_v<T>&& is_bytes<T> ? 0 : sizeof(T);

inline std::uint64_t deadline_ns(chan_clock::time_point t) {
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count();
  return ns < 0 ? 0 : static_cast<std::uint64_t>(ns);
}
template <class Rep, class Period>
std::uint64_t deadline_ns(std::chrono::duration<Rep, Period> d) {
  // Beyond a hundred years either way the clock would overflow.
  constexpr double kFar = 100 * 365.25 * 24 * 3600;
  const double seconds = std::chrono::duration_cast<std::chrono::duration<double>>(d).count();
  if (seconds >= kFar) return ASHLAR_CHAN_NEVER;
  if (seconds <= -kFar) return 0;
  return deadline_ns(chan_clock::now() + std::chrono::duration_cast<chan_clock::duration>(d));
}

/// Room for one received element.
template <class T>
class room {
 public:
  room() noexcept {}
  room(const room&) = delete;
  room& operator=(const room&) = delete;
  ~room() {}
  void* data() noexcept { return std::addressof(value_); }
  /// The element that was received into it, which ends here.
  std::optional<T> take() noexcept {
    std::optional<T> out(std::move(value_));
    value_.~T();
    return out;
  }

 private:
  union {
    T value_;
  };
};

template <class T>
ashlar_chan* make(std::size_t capacity) {
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>);
  ashlar_chan* made = nullptr;
  if constexpr (is_bytes<T>) {
    made = ashlar_newchan(size_of<T>, alignof(T), capacity);
  } else {
    made = ashlar_newchan_of(
        sizeof(T), alignof(T), capacity, [](void* to, void* from) { ::new (to) T(std::move(*static_cast<T*>(from))); },
        [](void* element) { static_cast<T*>(element)->~T(); });
  }
  if (made != nullptr) return made;
  if (errno == ENOMEM) throw std::bad_alloc();
  throw std::length_error("makechan: size out of range");
}

/// A share of a channel, or none.
class share {
 public:
  share() noexcept = default;
  explicit share(ashlar_chan* owned) noexcept : chan_(owned) {}
  share(const share& other) noexcept : chan_(ashlar_chan_ref(other.chan_)) {}
  share(share&& other) noexcept : chan_(std::exchange(other.chan_, nullptr)) {}
  share& operator=(share other) noexcept {
    std::swap(chan_, other.chan_);
    return *this;
  }
  ~share() { ashlar_chan_unref(chan_); }
  ashlar_chan* get() const noexcept { return chan_; }

 private:
  ashlar_chan* chan_ = nullptr;
};

inline bool sent(ashlar_chan_status status) {
  if (status == ASHLAR_CHAN_CLOSED) throw closed_channel("send on closed channel");
  return status == ASHLAR_CHAN_OK;
}

/// Open and empty, by one look at the two indexes (acquire: a receive that finds nothing promises nothing more).
inline bool is_idle(const ashlar_chan* c) noexcept {
  const char* at = reinterpret_cast<const char*>(c);
  const auto received =
      __atomic_load_n(reinterpret_cast<const std::uint64_t*>(at + ASHLAR_CHAN_RECV_OFFSET_), __ATOMIC_ACQUIRE);
  return __atomic_load_n(reinterpret_cast<const std::uint64_t*>(at + ASHLAR_CHAN_SEND_OFFSET_), __ATOMIC_SEQ_CST) ==
         received;
}

template <class T>
class base {
 public:
  using value_type = T;

  /// True for the null channel, on which everything blocks for ever.
  explicit operator bool() const noexcept { return share_.get() != nullptr; }
  ashlar_chan* get() const noexcept { return share_.get(); }
  bool is_closed() const noexcept { return ashlar_chan_is_closed(get()) != 0; }
  std::size_t len() const noexcept { return ashlar_chan_len(get()); }
  std::size_t cap() const noexcept { return ashlar_chan_cap(get()); }
  friend bool operator==(const base& a, const base& b) noexcept { return a.get() == b.get(); }

 protected:
  base() noexcept = default;
  explicit base(share s) noexcept : share_(std::move(s)) {}
  share share_;
};

}  // namespace chan_detail

namespace chan_detail {

/// What a sender and a chan can do; End is one of them. A value of another type than T becomes a T first, whether that
/// is sent or not: a std::unique_ptr<Derived> that was moved into it is gone where try_send says false. Who tries again
/// makes the T himself.
template <class End, class T>
class send_ops {
 public:
  /// Sends, waiting for room. Throws closed_channel; `value` is then as it was.
  void send(T&& value) const { sent(ashlar_chan_send(to(), std::addressof(value))); }
  void send(const T& value) const requires std::is_copy_constructible_v<T> {
    if constexpr (is_bytes<T>) {
      sent(ashlar_chan_send(to(), std::addressof(value)));
    } else {
      send(T(value));
    }
  }
  /// Does not wait. False: it was full (or nobody received), and `value` is as it was. Throws closed_channel.
  [[nodiscard]] bool try_send(T&& value) const { return sent(ashlar_chan_try_send(to(), std::addressof(value))); }
  [[nodiscard]] bool try_send(const T& value) const requires std::is_copy_constructible_v<T> {
    if constexpr (is_bytes<T>) {
      return sent(ashlar_chan_try_send(to(), std::addressof(value)));
    } else {
      return try_send(T(value));
    }
  }
  /// Waits until a time, or for a duration. False: too late, and `value` is as it was. Throws closed_channel.
  template <class Deadline>
  [[nodiscard]] bool send_until(T&& value, Deadline deadline) const {
    return sent(ashlar_chan_send_until(to(), std::addressof(value), deadline_ns(deadline)));
  }
  template <class Deadline>
  [[nodiscard]] bool send_until(const T& value, Deadline deadline) const requires std::is_copy_constructible_v<T> {
    if constexpr (is_bytes<T>) {
      return sent(ashlar_chan_send_until(to(), std::addressof(value), deadline_ns(deadline)));
    } else {
      return send_until(T(value), deadline);
    }
  }
  /// Waits for the first of `n`, moves as many as there is room for. Throws closed_channel. Returns how many.
  std::size_t send_n(T* values, std::size_t n) const {
    std::size_t done = 0;
    sent(ashlar_chan_send_n(to(), values, n, &done, ASHLAR_CHAN_NEVER));
    return done;
  }
  /// Throws closed_channel where it was closed before, or is null.
  void close() const {
    if (ashlar_chan_close(to()) != ASHLAR_CHAN_OK)
      throw closed_channel(to() != nullptr ? "close of closed channel" : "close of null channel");
  }

 private:
  ashlar_chan* to() const noexcept { return static_cast<const End*>(this)->base<T>::get(); }
};

/// What a receiver and a chan can do.
template <class End, class T>
class recv_ops {
 public:
  /// The next element, waiting for one; nothing once the channel is closed and drained.
  std::optional<T> recv() const {
    room<T> room;
    if (ashlar_chan_recv(from(), room.data()) != ASHLAR_CHAN_OK) return std::nullopt;
    return room.take();
  }
  /// The next element if there is one. Empty, too, where it is closed and drained: is_closed() tells.
  std::optional<T> try_recv() const {
    if (from() == nullptr || is_idle(from())) return std::nullopt;
    room<T> room;
    if (ashlar_chan_try_recv(from(), room.data()) != ASHLAR_CHAN_OK) return std::nullopt;
    return room.take();
  }
  /// Waits until a time, or for a duration.
  template <class Deadline>
  std::optional<T> recv_until(Deadline deadline) const {
    room<T> room;
    if (ashlar_chan_recv_until(from(), room.data(), deadline_ns(deadline)) != ASHLAR_CHAN_OK) return std::nullopt;
    return room.take();
  }
  /// Waits for one element, takes up to `n` that are there, and constructs them at `into` (raw memory for n). 0: closed
  /// and drained.
  std::size_t recv_n(T* into, std::size_t n) const {
    std::size_t done = 0;
    ashlar_chan_recv_n(from(), into, n, &done, ASHLAR_CHAN_NEVER);
    return done;
  }

  /// for (T& x : receiver): until closed and drained.
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = T*;
    using reference = T&;

    explicit iterator(const recv_ops* from) : from_(from) { ++*this; }
    T& operator*() noexcept { return *value_; }
    T* operator->() noexcept { return &*value_; }
    iterator& operator++() {
      value_.reset();
      if (std::optional<T> next = from_->recv()) value_.emplace(std::move(*next));
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& it, std::default_sentinel_t) noexcept { return !it.value_.has_value(); }

   private:
    const recv_ops* from_;
    std::optional<T> value_;
  };
  iterator begin() const { return iterator(this); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  ashlar_chan* from() const noexcept { return static_cast<const End*>(this)->base<T>::get(); }
};

}  // namespace chan_detail

/// Both ends. A default-constructed one is null, as in Go. Copies share the channel.
template <class T>
class chan : public chan_detail::base<T>,
             public chan_detail::send_ops<chan<T>, T>,
             public chan_detail::recv_ops<chan<T>, T> {
 public:
  using value_type = T;
  chan() noexcept = default;
  /// Capacity 0: sender and receiver meet. Throws std::length_error ("makechan: size out of range") and std::bad_alloc.
  explicit chan(std::size_t capacity) : chan_detail::base<T>(chan_detail::share(chan_detail::make<T>(capacity))) {}
};

/// The end that sends.
template <class T>
class sender : public chan_detail::base<T>, public chan_detail::send_ops<sender<T>, T> {
 public:
  using value_type = T;
  sender() noexcept = default;
  sender(const chan<T>& c) noexcept : chan_detail::base<T>(c) {}  // as in Go, a chan is taken for either end
};

/// The end that receives.
template <class T>
class receiver : public chan_detail::base<T>, public chan_detail::recv_ops<receiver<T>, T> {
 public:
  using value_type = T;
  receiver() noexcept = default;
  receiver(const chan<T>& c) noexcept : chan_detail::base<T>(c) {}
};

// ---- select -------------------------------------------------------------------------------------------------

namespace chan_detail {

template <class T, class F>
struct recv_case {
  static constexpr bool is_case = true;
  ashlar_chan* chan;
  F f;
  room<T> place;
  recv_case(ashlar_chan* c, F&& fn) : chan(c), f(std::forward<F>(fn)) {}
  recv_case(recv_case&& other) noexcept : chan(other.chan), f(std::forward<F>(other.f)) {}
  ashlar_chan_case raw() { return {chan, place.data(), ASHLAR_CHAN_RECV}; }
  void run(ashlar_chan_status status) {
    if (status == ASHLAR_CHAN_OK) {
      f(place.take());
    } else {
      f(std::optional<T>());
    }
  }
};

template <class T, class F>
struct send_case {
  static constexpr bool is_case = true;
  ashlar_chan* chan;
  T* value;
  F f;
  ashlar_chan_case raw() { return {chan, std::addressof(*value), ASHLAR_CHAN_SEND}; }
  void run(ashlar_chan_status status) {
    sent(status);
    f();
  }
};

template <class F>
struct default_case {
  static constexpr bool is_case = false;
  static constexpr std::uint64_t deadline = 0;
  static constexpr bool is_default = true;
  F f;
};

template <class F>
struct deadline_case {
  static constexpr bool is_case = false;
  static constexpr bool is_default = false;
  std::uint64_t deadline;
  F f;
};

}  // namespace chan_detail

/// Cases for select. f gets std::optional<T>: nothing where the channel is closed and drained.
template <class End, class F>
auto on_recv(const End& from, F&& f) {
  return chan_detail::recv_case<typename End::value_type, F>(from.get(), std::forward<F>(f));
}
/// `value` is moved from only if this case is chosen; it must live until select returns.
template <class End, class F>
auto on_send(const End& to, typename End::value_type& value, F&& f) {
  return chan_detail::send_case<typename End::value_type, std::decay_t<F>>{to.get(), std::addressof(value),
                                                                           std::forward<F>(f)};
}
template <class F>
auto on_default(F&& f) {
  return chan_detail::default_case<std::decay_t<F>>{std::forward<F>(f)};
}
template <class Deadline, class F>
auto on_deadline(Deadline deadline, F&& f) {
  return chan_detail::deadline_case<std::decay_t<F>>{chan_detail::deadline_ns(deadline), std::forward<F>(f)};
}

/// Does one of the cases and calls its function; with on_default or on_deadline (one of them, anywhere) perhaps that
/// one's. Returns its place among the arguments. Throws closed_channel where the chosen case is a send and the channel
/// is closed.
template <class... Cases>
std::size_t select(Cases&&... cases) {
  constexpr std::size_t kCount = (std::size_t{std::decay_t<Cases>::is_case} + ... + 0);
  ashlar_chan_case raw[kCount == 0 ? 1 : kCount] = {};
  std::size_t places[kCount == 0 ? 1 : kCount] = {};
  std::size_t used = 0;
  std::size_t place = 0;
  std::uint64_t deadline = ASHLAR_CHAN_NEVER;
  bool is_try = false;
  std::size_t otherwise = 0;
  const auto add = [&](auto& one) {
    if constexpr (std::decay_t<decltype(one)>::is_case) {
      places[used] = place;
      raw[used++] = one.raw();
    } else {
      is_try = one.is_default;
      deadline = one.deadline;
      otherwise = place;
    }
    ++place;
  };
  (add(cases), ...);
  std::size_t chosen = 0;
  const ashlar_chan_status status =
      is_try ? ashlar_chan_try_select(raw, used, &chosen) : ashlar_chan_select_until(raw, used, &chosen, deadline);
  const bool is_done = status == ASHLAR_CHAN_OK || status == ASHLAR_CHAN_CLOSED;
  const std::size_t winner = is_done ? places[chosen] : otherwise;
  place = 0;
  const auto call = [&](auto& one) {
    if (place++ != winner) return;
    if constexpr (std::decay_t<decltype(one)>::is_case) {
      one.run(status);
    } else {
      one.f();
    }
  };
  (call(cases), ...);
  return winner;
}

}  // namespace ashlar
