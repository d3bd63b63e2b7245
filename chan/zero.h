// SPDX-License-Identifier: MIT
//
// zero.h - elements of size 0: nothing to copy, so the two indexes are the whole channel, and a claim is the whole
// operation.
//
// Owns: try_send and try_recv of up to n. Positions count from 0 and never wrap (2^63). Each side remembers on its own
// line an index that the other side once had; being too small it can only make it look again, so a stream takes no line
// from the other side. One word for both would be smaller, but every operation would then take the line from the other
// side (README.md has the figures).
#pragma once

#include "chan/ring.h"

namespace ashlar::chan_core {

/// Who waits after `n` have been sent, or received up to `last`. Always kOk, as serve_waiters.
template <class Os, bool is_send>
[[gnu::noinline]] Status serve_token_waiters(Channel<Os>& c, uint32_t waits, uint64_t last, size_t n) noexcept {
  if constexpr (is_send) {
    after_send<Os>(c, waits, nullptr, 0, n);
  } else {
    after_recv<Os>(c, waits, last, n);
  }
  return Status::kOk;
}

/// What follows a claim. Always kOk.
template <class Os, bool is_send>
inline Status after_claim(Channel<Os>& c, uint64_t last, size_t n) noexcept {
  const uint32_t waits = c.waits.load(std::memory_order_seq_cst);
  if ((waits & (is_send ? kRecvWaits | kRecvStrict : kSendWaits | kSendStrict)) != 0) [[unlikely]]
    return serve_token_waiters<Os, is_send>(c, waits, last, n);
  return Status::kOk;
}

template <class Os>
inline Status zero_send(Channel<Os>& c, size_t n, size_t& done) noexcept {
  Backoff<Os> backoff;
  for (;;) {
    // seq_cst, not relaxed: not to be satisfied behind the look at the other index, which then would be older.
    uint64_t position = c.send.load(std::memory_order_seq_cst);
    if ((position & kClosedBit) != 0) return Status::kClosed;
    // Acquire pairs with the release of whoever stored it, who had acquired it from the receivers: what they did before
    // they made room happened before this send.
    uint64_t received = c.seen_recv.load(std::memory_order_acquire);
    // Where that is not room for all, perhaps it is old.
    if (const uint64_t used = position - received; used >= c.capacity || c.capacity - used < n) {
      received = c.recv.load(std::memory_order_seq_cst);
      if (position - received >= c.capacity) {
        if (c.send.load(std::memory_order_relaxed) != position) continue;
        return Status::kNotReady;
      }
      c.seen_recv.store(received, std::memory_order_release);
    }
    const uint64_t room = c.capacity - (position - received);
    const size_t take = n < room ? n : room;
    if (!c.send.compare_exchange_weak(position, position + take, std::memory_order_seq_cst,
                                      std::memory_order_relaxed)) {
      backoff();
      continue;
    }
    done = take;
    return after_claim<Os, true>(c, position + take - 1, take);
  }
}

template <class Os>
inline Status zero_recv(Channel<Os>& c, size_t n, size_t& done) noexcept {
  Backoff<Os> backoff;
  for (;;) {
    // As above; here a position younger than `sent` could even be ahead of it, and a token would be made of nothing.
    uint64_t position = c.recv.load(std::memory_order_seq_cst);
    uint64_t sent = c.seen_send.load(std::memory_order_acquire);  // as above
    if (const auto there = static_cast<int64_t>(sent - position); there <= 0 || static_cast<uint64_t>(there) < n) {
      sent = c.send.load(std::memory_order_seq_cst);
      const bool is_closed = (sent & kClosedBit) != 0;
      sent &= ~kClosedBit;
      if (sent == position) return is_closed ? Status::kClosed : Status::kNotReady;
      // A stale position can lie behind; never ahead, since senders are ahead of receivers.
      c.seen_send.store(sent, std::memory_order_release);
    }
    const uint64_t there = sent - position;
    const size_t take = n < there ? n : there;
    if (!c.recv.compare_exchange_weak(position, position + take, std::memory_order_seq_cst,
                                      std::memory_order_relaxed)) {
      backoff();
      continue;
    }
    done = take;
    return after_claim<Os, false>(c, position + take - 1, take);
  }
}

}  // namespace ashlar::chan_core
