// SPDX-License-Identifier: MIT
//
// chan.cc - the C interface of chan.h over the core; how a channel is laid out, made and freed.
//
// Owns: the names, the sizes, the memory of channels, what a null channel does. Contracts are in chan.h.
#include "chan/chan.h"

#include <errno.h>
#include <limits.h>
#include <new>

#include "alloc/alloc.h"
#include "alloc/base/check.h"
#include "chan/registry.h"
#include "chan/select.h"

struct ashlar_chan : ashlar::chan_core::SystemChannel {};

namespace {

using namespace ashlar::chan_core;
using Turn = SystemChannel::Half;

static_assert(offsetof(SystemChannel, send) == ASHLAR_CHAN_SEND_OFFSET_);
static_assert(offsetof(SystemChannel, recv) == ASHLAR_CHAN_RECV_OFFSET_);
static_assert(sizeof(ashlar_chan) == 4 * kLine && sizeof(Turn) == 4);
static_assert(static_cast<int>(Status::kInvalid) == ASHLAR_CHAN_INVALID);

// Header, buffer and turns are one block up to here.
constexpr size_t kOneBlock = 16 * 1024;
// Above this, the allocator gives zeroed pages that it has not touched.
constexpr size_t kLargeBlock = 32 * 1024;

constexpr size_t kHugeFrom = size_t{4} << 20;

struct Sizes {
  size_t alignment, buffer, turns, total;  // bytes
  bool is_one_block;
};

/// 0, EINVAL or ERANGE.
int measure(size_t element_size, size_t alignment, size_t capacity, Sizes& out) {
  if (alignment == 0) alignment = 16;
  if ((alignment & (alignment - 1)) != 0) return EINVAL;
  out = {};
  out.alignment = alignment;
  out.total = sizeof(SystemChannel);
  out.is_one_block = true;
  if (capacity >= size_t{1} << 62) return ERANGE;
  if (element_size > PTRDIFF_MAX) return ERANGE;
  if (capacity == 0 || element_size == 0) return 0;
  size_t turns = 0;
  if (__builtin_mul_overflow(element_size, capacity, &out.buffer) ||
      __builtin_mul_overflow(sizeof(Turn), capacity, &turns) ||
      __builtin_add_overflow(out.buffer, alignof(Turn) - 1, &out.turns))
    return ERANGE;
  const size_t turns_at = out.turns & ~(alignof(Turn) - 1);
  out.turns = turns;
  if (__builtin_add_overflow(turns_at, turns, &turns) ||
      __builtin_add_overflow(turns, sizeof(SystemChannel), &out.total) || out.total > PTRDIFF_MAX)
    return ERANGE;
  out.is_one_block = out.total <= kOneBlock && alignment <= kLine;
  return 0;
}

size_t turns_offset(const Sizes& sizes) {
  return (sizes.buffer + alignof(Turn) - 1) & ~(alignof(Turn) - 1);
}

/// A large ring that is used is written from end to end, a page fault for every 4 KiB. Not its beginning: a channel
/// through which little ever passes stays small.
void ask_for_huge_pages(void* block, const Sizes& sizes) {
  if (sizes.buffer + sizes.turns < kHugeFrom) return;
  ashlar::want_huge_pages(block, sizes.buffer / 32, sizes.buffer);
  const size_t turns = turns_offset(sizes);
  ashlar::want_huge_pages(block, turns + sizes.turns / 32, turns + sizes.turns);
}

/// Buffer and turns in a block of their own; the turns are zero, the buffer is untouched where it is large.
void* allocate_buffer(const Sizes& sizes) {
  const size_t bytes = turns_offset(sizes) + sizes.turns;
  if (bytes > kLargeBlock) {
    void* block = ashlar::allocate_zeroed(1, bytes);
    const size_t want = sizes.alignment < 64 ? 64 : sizes.alignment;
    if (block == nullptr) return nullptr;
    if (reinterpret_cast<uintptr_t>(block) % want == 0) {
      ask_for_huge_pages(block, sizes);
      return block;
    }
    ashlar::deallocate(block);
  }
  void* block =
      sizes.alignment <= kLine ? ashlar::allocate_padded(bytes) : ashlar::allocate_aligned(sizes.alignment, bytes);
  if (block != nullptr) memset(static_cast<char*>(block) + turns_offset(sizes), 0, sizes.turns);
  return block;
}

ashlar_chan* refuse(int error, const void* caller) {
  errno = error;
  trace_refusal(error == ERANGE   ? "makechan: size out of range"
                : error == EINVAL ? "makechan: alignment is no power of two"
                                  : "makechan: out of memory",
                caller);
  return nullptr;
}

uint8_t bits_for(size_t capacity) {
  uint8_t bits = 0;
  while ((size_t{1} << bits) < capacity) ++bits;
  return bits;
}

ashlar_chan* make(size_t element_size, size_t alignment, size_t capacity, Move mover, Drop drop, const void* caller) {
  Sizes sizes{};
  if (const int error = measure(element_size, alignment, capacity, sizes)) return refuse(error, caller);
  void* block = ashlar::allocate_padded(sizes.is_one_block ? sizes.total : sizeof(SystemChannel));
  if (block == nullptr) return refuse(ENOMEM, caller);
  unsigned char* buffer = static_cast<unsigned char*>(block) + sizeof(SystemChannel);
  if (!sizes.is_one_block) {
    buffer = static_cast<unsigned char*>(allocate_buffer(sizes));
    if (buffer == nullptr) {
      ashlar::deallocate(block);
      return refuse(ENOMEM, caller);
    }
  } else if (sizes.turns != 0) {
    memset(buffer + turns_offset(sizes), 0, sizes.turns);
  }
  System::prepare();
  auto* c = new (block) ashlar_chan;
  c->is_one_block = sizes.is_one_block;
  c->alignment = sizes.alignment;
  c->mover = mover;
  c->drop = drop;
  c->maker = caller;
  c->measure(element_size, capacity);
  // Never equal to `send`: chan.hpp takes equal indexes for an empty channel.
  if (c->flavour == Flavour::kRendezvous) c->recv.store(UINT64_MAX, std::memory_order_relaxed);
  if (c->flavour == Flavour::kRing) {
    c->buffer = buffer;
    c->turns = reinterpret_cast<Turn*>(buffer + turns_offset(sizes));
  }
  if (c->is_patient) {
    const uint8_t bits = bits_for(capacity / 4 + 1);
    c->quarter_mask = bits > 31 ? UINT32_MAX >> 1 : (uint32_t{1} << (bits - 1)) - 1;
  }
  constexpr uint32_t kFirstSpins = 300;  // pauses; adapts from there
  c->send_hints.spins.store(kFirstSpins, std::memory_order_relaxed);
  c->recv_hints.spins.store(kFirstSpins, std::memory_order_relaxed);
  // Release: who is given the pointer without other synchronisation and acquires this, or any word of the channel, sees
  // all of it.
  c->references.store(1, std::memory_order_release);
  enlist(*c);
  trace_newchan(*c);
  return c;
}

void drop_all(ashlar_chan& c) {
  if (c.drop == nullptr || c.flavour == Flavour::kRendezvous) return;
  // Nobody else is here any more (contract), so relaxed reads are exact.
  const uint64_t sent = c.send.load(std::memory_order_relaxed) & ~kClosedBit;
  uint64_t position = c.recv.load(std::memory_order_relaxed);
  while (position != sent) {
    if (c.flavour == Flavour::kZero) {
      c.drop(c.cell);
      ++position;
    } else {
      c.drop(c.slot(c.index_of(position)));
      position = c.advance(position, 1);
    }
  }
}

constexpr ashlar_chan_status public_status(Status status) {
  return static_cast<ashlar_chan_status>(status);
}

[[gnu::noinline]] ashlar_chan_status block_on_null(Waits what, uint64_t deadline_ns, const void* caller) {
  wait_for_nothing(what, deadline_ns, caller);
  return ASHLAR_CHAN_TIMEOUT;
}

// Senders' elements are not written to (a `mover` may, and says so).
void* unconst(const void* element) {
  return const_cast<void*>(element);
}

// ---- select -----------------------------------------------------------------------------------------------

// Any number but 0; each select leaves it changed.
__thread uint64_t tls_random __attribute__((tls_model("initial-exec"))) = 0;

constexpr size_t kCasesOnStack = 32;

struct OneCase {
  Case<System> what;
  CaseState<System> state;
};

ashlar_chan_status select_with(const ashlar_chan_case* cases, size_t n, size_t* chosen, bool may_wait,
                               uint64_t deadline_ns, const void* caller, Case<System>* what,
                               CaseState<System>* states) {
  bool has_any = false;
  for (size_t i = 0; i < n; ++i) {
    new (&states[i]) CaseState<System>;
    new (&what[i]) Case<System>{cases[i].chan, cases[i].element,
                                cases[i].op == ASHLAR_CHAN_SEND ? Side::kSender : Side::kReceiver};
    has_any |= cases[i].chan != nullptr;
  }
  if (!has_any) {
    if (!may_wait) return ASHLAR_CHAN_NOT_READY;
    return block_on_null(Waits::kSelect, deadline_ns, caller);
  }
  if (tls_random == 0) tls_random = System::now_ns() ^ reinterpret_cast<uintptr_t>(&tls_random);
  Select<System> select(what, states, static_cast<uint32_t>(n), tls_random);
  uint32_t index = 0;
  const Status status = may_wait ? select.run(index, deadline_ns, caller) : select.attempt(index);
  tls_random = select.seed();
  if (chosen != nullptr && (status == Status::kOk || status == Status::kClosed)) *chosen = index;
  return public_status(status);
}

ashlar_chan_status select_any(const ashlar_chan_case* cases, size_t n, size_t* chosen, bool may_wait,
                              uint64_t deadline_ns, const void* caller) {
  ashlar::check(n < size_t{1} << 24, "select: more than 2^24 cases");
  if (n <= kCasesOnStack) {
    alignas(OneCase) unsigned char what[kCasesOnStack * sizeof(Case<System>)];
    alignas(OneCase) unsigned char states[kCasesOnStack * sizeof(CaseState<System>)];
    return select_with(cases, n, chosen, may_wait, deadline_ns, caller, reinterpret_cast<Case<System>*>(what),
                       reinterpret_cast<CaseState<System>*>(states));
  }
  void* block = ashlar::allocate(n * (sizeof(Case<System>) + sizeof(CaseState<System>)));
  ashlar::check(block != nullptr, "select: no memory for so many cases");
  auto* states = static_cast<CaseState<System>*>(block);
  const ashlar_chan_status status =
      select_with(cases, n, chosen, may_wait, deadline_ns, caller, reinterpret_cast<Case<System>*>(states + n), states);
  ashlar::deallocate(block);
  return status;
}

}  // namespace

#define ASHLAR_CALLER_ __builtin_return_address(0)

uint64_t ashlar_chan_now() noexcept {
  return System::now_ns();
}

ashlar_chan* ashlar_newchan(size_t element_size, size_t alignment, size_t capacity) noexcept {
  return make(element_size, alignment, capacity, nullptr, nullptr, ASHLAR_CALLER_);
}

ashlar_chan* ashlar_newchan_of(size_t element_size, size_t alignment, size_t capacity, void (*move)(void*, void*),
                               void (*drop)(void*)) noexcept {
  return make(element_size, alignment, capacity, move, drop, ASHLAR_CALLER_);
}

ashlar_chan* ashlar_chan_ref(ashlar_chan* chan) noexcept {
  // Relaxed: whoever has a reference keeps the channel alive.
  if (chan != nullptr) chan->references.fetch_add(1, std::memory_order_relaxed);
  return chan;
}

void ashlar_chan_unref(ashlar_chan* chan) noexcept {
  // Release: what this owner did happens before the end; acquire: the last one sees all of it.
  if (chan == nullptr || chan->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  delist(*chan);
  drop_all(*chan);
  if (!chan->is_one_block) ashlar::deallocate(chan->buffer);
  ashlar::deallocate(chan);
}

ashlar_chan_status ashlar_chan_send(ashlar_chan* chan, const void* element) noexcept {
  if (chan == nullptr) [[unlikely]]
    return block_on_null(Waits::kSend, kNever, ASHLAR_CALLER_);
  return public_status(send<System>(*chan, unconst(element), kNever, ASHLAR_CALLER_));
}

ashlar_chan_status ashlar_chan_try_send(ashlar_chan* chan, const void* element) noexcept {
  if (chan == nullptr) return ASHLAR_CHAN_NOT_READY;
  return public_status(try_send<System>(*chan, unconst(element)));
}

ashlar_chan_status ashlar_chan_send_until(ashlar_chan* chan, const void* element, uint64_t deadline_ns) noexcept {
  if (chan == nullptr) return block_on_null(Waits::kSend, deadline_ns, ASHLAR_CALLER_);
  return public_status(send<System>(*chan, unconst(element), deadline_ns, ASHLAR_CALLER_));
}

ashlar_chan_status ashlar_chan_recv(ashlar_chan* chan, void* element) noexcept {
  if (chan == nullptr) [[unlikely]]
    return block_on_null(Waits::kRecv, kNever, ASHLAR_CALLER_);
  return public_status(recv<System>(*chan, element, kNever, ASHLAR_CALLER_));
}

ashlar_chan_status ashlar_chan_try_recv(ashlar_chan* chan, void* element) noexcept {
  if (chan == nullptr) return ASHLAR_CHAN_NOT_READY;
  return public_status(try_recv<System>(*chan, element));
}

ashlar_chan_status ashlar_chan_recv_until(ashlar_chan* chan, void* element, uint64_t deadline_ns) noexcept {
  if (chan == nullptr) return block_on_null(Waits::kRecv, deadline_ns, ASHLAR_CALLER_);
  return public_status(recv<System>(*chan, element, deadline_ns, ASHLAR_CALLER_));
}

ashlar_chan_status ashlar_chan_send_n(ashlar_chan* chan, const void* elements, size_t n, size_t* done,
                                      uint64_t deadline_ns) noexcept {
  *done = 0;
  if (n == 0) return ASHLAR_CHAN_OK;
  if (chan == nullptr) return block_on_null(Waits::kSend, deadline_ns, ASHLAR_CALLER_);
  return public_status(batch<System, true>(*chan, static_cast<unsigned char*>(unconst(elements)), n, *done, deadline_ns,
                                           ASHLAR_CALLER_));
}

ashlar_chan_status ashlar_chan_recv_n(ashlar_chan* chan, void* elements, size_t n, size_t* done,
                                      uint64_t deadline_ns) noexcept {
  *done = 0;
  if (n == 0) return ASHLAR_CHAN_OK;
  if (chan == nullptr) return block_on_null(Waits::kRecv, deadline_ns, ASHLAR_CALLER_);
  return public_status(
      batch<System, false>(*chan, static_cast<unsigned char*>(elements), n, *done, deadline_ns, ASHLAR_CALLER_));
}

ashlar_chan_status ashlar_chan_close(ashlar_chan* chan) noexcept {
  if (chan == nullptr) return ASHLAR_CHAN_INVALID;
  const Status status = close<System>(*chan);
  if (status == Status::kOk) trace_close(*chan, ASHLAR_CALLER_);
  return public_status(status);
}

int ashlar_chan_is_closed(const ashlar_chan* chan) noexcept {
  return chan != nullptr && (chan->send.load(std::memory_order_seq_cst) & kClosedBit) != 0 ? 1 : 0;
}

size_t ashlar_chan_len(const ashlar_chan* chan) noexcept {
  return chan == nullptr ? 0 : length<System>(*chan);
}

size_t ashlar_chan_cap(const ashlar_chan* chan) noexcept {
  return chan == nullptr ? 0 : chan->capacity;
}

size_t ashlar_chan_element_size(const ashlar_chan* chan) noexcept {
  return chan == nullptr ? 0 : chan->element_size;
}

ashlar_chan_status ashlar_chan_select(const ashlar_chan_case* cases, size_t n, size_t* chosen) noexcept {
  return select_any(cases, n, chosen, true, kNever, ASHLAR_CALLER_);
}

ashlar_chan_status ashlar_chan_try_select(const ashlar_chan_case* cases, size_t n, size_t* chosen) noexcept {
  return select_any(cases, n, chosen, false, kNever, ASHLAR_CALLER_);
}

ashlar_chan_status ashlar_chan_select_until(const ashlar_chan_case* cases, size_t n, size_t* chosen,
                                            uint64_t deadline_ns) noexcept {
  return select_any(cases, n, chosen, true, deadline_ns, ASHLAR_CALLER_);
}

ashlar_chan_status ashlar_chan_layout(size_t element_size, size_t alignment, size_t capacity,
                                      ashlar_chan_memory* out) noexcept {
  Sizes sizes{};
  if (measure(element_size, alignment, capacity, sizes) != 0) return ASHLAR_CHAN_INVALID;
  *out = {};
  out->header_bytes = sizeof(SystemChannel);
  out->buffer_bytes = sizes.buffer;
  out->turns_bytes = sizes.turns;
  out->total_bytes = sizes.is_one_block ? ashlar::good_size(sizes.total)
                                        : ashlar::good_size(sizeof(SystemChannel)) +
                                              ashlar::good_size(turns_offset(sizes) + sizes.turns);
  out->send_offset = offsetof(SystemChannel, send);
  out->recv_offset = offsetof(SystemChannel, recv);
  out->wait_offset = offsetof(SystemChannel, lock);
  out->buffer_alignment = sizes.alignment < 64 ? 64 : sizes.alignment;
  return ASHLAR_CHAN_OK;
}
