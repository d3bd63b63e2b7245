// SPDX-License-Identifier: MIT
//
// quick.h - send, recv and batches, and their quick forms: what is done where nothing is in the way.
//
// Owns: the choice by `quick`, which newchan has made: words (8 plain bytes in a ring), tokens (elements of size 0), or
// neither. A quick form does what ring_send and its like do, in the same order and with the same barriers (their
// comments give the partners), for the first attempt alone: where the slot's turn has not come, the exchange fails or
// the channel is closed, nothing has happened, and send_slow begins anew. A call is the last thing that each way
// through it does, so that hardly anything is saved and restored: of the 215 instructions of a send and a receive (with
// their caller's loop) 101 are left.
#pragma once

#include "chan/blocking.h"

namespace ashlar::chan_core {

template <class Os>
[[gnu::always_inline]] inline Status send_word(Channel<Os>& c, void* word, uint64_t deadline_ns,
                                               const void* caller) noexcept {
  uint64_t position = c.send.load(std::memory_order_relaxed);
  const uint64_t index = c.index_of(position);
  const uint32_t turn_now = c.turn_of(position);
  auto& turn = c.turns[index];
  if ((position & kClosedBit) != 0 || turn.load(std::memory_order_acquire) != turn_now ||
      !c.send.compare_exchange_weak(position, c.after(position, index), std::memory_order_seq_cst,
                                    std::memory_order_relaxed)) [[unlikely]]
    return send_slow(c, word, deadline_ns, caller);
  Os::copy_word(c.buffer + index * sizeof(uint64_t), word);
  if (turn_now == 0) touch_ahead(c, index);
  return pass_turn<Os, true>(c, turn, turn_now + 1, position);
}

template <class Os>
[[gnu::always_inline]] inline Status recv_word(Channel<Os>& c, void* word, uint64_t deadline_ns,
                                               const void* caller) noexcept {
  uint64_t position = c.recv.load(std::memory_order_relaxed);
  const uint64_t index = c.index_of(position);
  const uint32_t turn_now = c.turn_of(position) + 1;
  auto& turn = c.turns[index];
  if (turn.load(std::memory_order_acquire) != turn_now ||
      !c.recv.compare_exchange_weak(position, c.after(position, index), std::memory_order_seq_cst,
                                    std::memory_order_relaxed)) [[unlikely]]
    return recv_slow(c, word, deadline_ns, caller);
  Os::copy_word(word, c.buffer + index * sizeof(uint64_t));
  return pass_turn<Os, false>(c, turn, turn_now + 1, position);
}

template <class Os>
[[gnu::always_inline]] inline Status send_token(Channel<Os>& c, void* token, uint64_t deadline_ns,
                                                const void* caller) noexcept {
  uint64_t position = c.send.load(std::memory_order_relaxed);
  // A position that is closed is too far from any index of a receiver.
  if (position - c.seen_recv.load(std::memory_order_acquire) >= c.capacity ||
      !c.send.compare_exchange_weak(position, position + 1, std::memory_order_seq_cst, std::memory_order_relaxed))
      [[unlikely]]
    return send_slow(c, token, deadline_ns, caller);
  return after_claim<Os, true>(c, position, 1);
}

template <class Os>
[[gnu::always_inline]] inline Status recv_token(Channel<Os>& c, void* token, uint64_t deadline_ns,
                                                const void* caller) noexcept {
  uint64_t position = c.recv.load(std::memory_order_relaxed);
  // Send and receive in turn: what was seen last is used up each time.
  if (static_cast<int64_t>(c.seen_send.load(std::memory_order_acquire) - position) <= 0) {
    const uint64_t sent = c.send.load(std::memory_order_seq_cst) & ~kClosedBit;
    if (static_cast<int64_t>(sent - position) <= 0) return recv_slow(c, token, deadline_ns, caller);
    c.seen_send.store(sent, std::memory_order_release);
  }
  if (!c.recv.compare_exchange_weak(position, position + 1, std::memory_order_seq_cst, std::memory_order_relaxed))
      [[unlikely]]
    return recv_slow(c, token, deadline_ns, caller);
  return after_claim<Os, false>(c, position, 1);
}

template <class Os>
[[gnu::always_inline]] inline Status send(Channel<Os>& c, void* element, uint64_t deadline_ns,
                                          const void* caller) noexcept {
  if (c.quick == Quick::kWord) [[likely]]
    return send_word(c, element, deadline_ns, caller);
  if (c.quick == Quick::kToken) return send_token(c, element, deadline_ns, caller);
  return send_slow(c, element, deadline_ns, caller);
}

template <class Os>
[[gnu::always_inline]] inline Status recv(Channel<Os>& c, void* element, uint64_t deadline_ns,
                                          const void* caller) noexcept {
  if (c.quick == Quick::kWord) [[likely]]
    return recv_word(c, element, deadline_ns, caller);
  if (c.quick == Quick::kToken) return recv_token(c, element, deadline_ns, caller);
  return recv_slow(c, element, deadline_ns, caller);
}

/// Up to `n` elements; waits for the first one only. `done` (0 before) says how many.
template <class Os, bool is_send>
inline Status batch(Channel<Os>& c, unsigned char* elements, size_t n, size_t& done, uint64_t deadline_ns,
                    const void* caller) noexcept {
  if (c.flavour == Flavour::kRing) [[likely]] {
    const Status status = ring_batch<Os, is_send, false>(c, elements, n, done, deadline_ns);
    if (status != Status::kNotReady) [[likely]]
      return status;
  }
  return batch_slow<Os, is_send>(c, elements, n, done, deadline_ns, caller);
}

}  // namespace ashlar::chan_core
