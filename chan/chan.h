/* SPDX-License-Identifier: MIT
 *
 * chan.h - channels in the manner of Go's, for C. (For C++: chan/chan.hpp, installed as <ashlar/chan.hpp>.)
 *
 * Owns: the names `ashlar_chan_...` and `ashlar_newchan`. A channel carries elements of one size from senders to
 * receivers, any number of each. With a capacity of n > 0 up to n elements wait in it; with 0 a sender and a receiver
 * meet.
 *
 * For every function, unless it says otherwise:
 * - MT-Safe. AS-Unsafe. No cancellation point. A null channel blocks for ever (with a deadline: until then), and is
 * never ready.
 * - Linearizable: sends, receives, close and len take effect at one moment between call and return, in one order that
 * all agree on.
 * - Elements are copied as bytes (or moved by the function given to ashlar_newchan_of). Elements of one sender arrive
 * in its order.
 * - What happened before a send happens before the end of the receive that gets its element; what happened before the
 * receive of element k happens before the end of the send of element k + capacity.
 * - Progress: lock-free on buffered channels that are neither full nor empty. A thread stopped in the middle of its
 * copy delays only whoever needs that slot (a try_ included), and those sleep. Waiting is by futex; a waiter is in a
 * queue, first come, first woken, but a thread that does not wait may be faster than one that is being woken.
 * - A waiter whose wait has lasted less than a millisecond may be left asleep up to that millisecond where threads of
 * the same side that are awake serve the other side (chan/README.md, "Lazy and strict").
 * - fork: in the child, channels work, and whoever waited in the parent is not there. A copy that another thread was in
 * the middle of at the fork stays unfinished in the child.
 */
#ifndef ASHLAR_CHAN_H_
#define ASHLAR_CHAN_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define ASHLAR_CHAN_NOEXCEPT_ noexcept
#else
#define ASHLAR_CHAN_NOEXCEPT_
#endif

#define ASHLAR_CHAN_API_ __attribute__((visibility("default")))

typedef struct ashlar_chan ashlar_chan;

typedef enum ashlar_chan_status {
  ASHLAR_CHAN_OK = 0,
  ASHLAR_CHAN_CLOSED = 1,    /**< send: closed, the value stays with the caller. receive: closed and drained */
  ASHLAR_CHAN_NOT_READY = 2, /**< try_: it would have to wait */
  ASHLAR_CHAN_TIMEOUT = 3,   /**< the deadline passed; nothing was sent or received */
  ASHLAR_CHAN_INVALID = 4    /**< close: null, or closed before */
} ashlar_chan_status;

/** A deadline that never passes. Deadlines are absolute, in nanoseconds of CLOCK_MONOTONIC; one that has passed makes
 * one attempt. */
#define ASHLAR_CHAN_NEVER UINT64_MAX

/** Now, for deadlines: nanoseconds of CLOCK_MONOTONIC. AS-Safe. */
ASHLAR_CHAN_API_ uint64_t ashlar_chan_now(void) ASHLAR_CHAN_NOEXCEPT_;

/**
 * Makes an open, empty channel for `capacity` elements of `element_size` bytes, one behind the other, the first aligned
 * to `alignment` (a power of two; 0: 16): so are all, if `element_size` is a multiple of it, as sizeof of a C type is.
 * The buffer is not touched. An element size of 0 needs no buffer, and the capacity still counts. Errors: null and
 * errno = EINVAL (alignment), ERANGE ("makechan: size out of range": more than PTRDIFF_MAX bytes, or 2^62 elements),
 * ENOMEM. Cost: one allocation, two where the buffer exceeds 16 KiB, and a global lock for the list of channels.
 */
ASHLAR_CHAN_API_ ashlar_chan* ashlar_newchan(size_t element_size, size_t alignment,
                                             size_t capacity) ASHLAR_CHAN_NOEXCEPT_;

/**
 * The same for elements that are not plain bytes. `move(to, from)` makes an element at `to` out of the one at `from`,
 * which stays alive (moved from) until its owner ends it: the sender for what it sent, the channel, by `drop`, for what
 * lay in it. `drop` also ends elements that nobody received. Either may be null (bytes; nothing to end). They must not
 * use channels, and not throw.
 */
ASHLAR_CHAN_API_ ashlar_chan* ashlar_newchan_of(size_t element_size, size_t alignment, size_t capacity,
                                                void (*move)(void* to, void* from),
                                                void (*drop)(void* element)) ASHLAR_CHAN_NOEXCEPT_;

/** One more owner (there is one at first). Returns `chan`; null stays null. */
ASHLAR_CHAN_API_ ashlar_chan* ashlar_chan_ref(ashlar_chan* chan) ASHLAR_CHAN_NOEXCEPT_;

/**
 * One owner less. The last one drops the elements that nobody received, and frees the channel: nobody may be inside any
 * function with it, or wait. Null: nothing happens.
 */
ASHLAR_CHAN_API_ void ashlar_chan_unref(ashlar_chan* chan) ASHLAR_CHAN_NOEXCEPT_;

/** Sends `*element`, waiting for room (capacity 0: for a receiver). OK or CLOSED, also where close comes while it
 * waits. */
ASHLAR_CHAN_API_ ashlar_chan_status ashlar_chan_send(ashlar_chan* chan, const void* element) ASHLAR_CHAN_NOEXCEPT_;
/** Does not wait: OK, CLOSED or NOT_READY, which is exact: the channel was full at one moment of the call. */
ASHLAR_CHAN_API_ ashlar_chan_status ashlar_chan_try_send(ashlar_chan* chan, const void* element) ASHLAR_CHAN_NOEXCEPT_;
/** Waits until `deadline_ns`: OK, CLOSED or TIMEOUT. */
ASHLAR_CHAN_API_ ashlar_chan_status ashlar_chan_send_until(ashlar_chan* chan, const void* element,
                                                           uint64_t deadline_ns) ASHLAR_CHAN_NOEXCEPT_;

/** Receives into `*element`, waiting for one. OK, or CLOSED once a closed channel is drained (`*element` is left
 * alone). */
ASHLAR_CHAN_API_ ashlar_chan_status ashlar_chan_recv(ashlar_chan* chan, void* element) ASHLAR_CHAN_NOEXCEPT_;
/** Does not wait: OK, CLOSED or NOT_READY, which is exact: the channel was empty at one moment of the call. */
ASHLAR_CHAN_API_ ashlar_chan_status ashlar_chan_try_recv(ashlar_chan* chan, void* element) ASHLAR_CHAN_NOEXCEPT_;
/** Waits until `deadline_ns`: OK, CLOSED or TIMEOUT. */
ASHLAR_CHAN_API_ ashlar_chan_status ashlar_chan_recv_until(ashlar_chan* chan, void* element,
                                                           uint64_t deadline_ns) ASHLAR_CHAN_NOEXCEPT_;

/**
 * Sends the first of `n` elements as ashlar_chan_send_until, and with it those for which there is room right then, in
 * one claim: they stand next to each other in the channel. `*done` says how many. OK means at least one (or n was 0).
 */
ASHLAR_CHAN_API_ ashlar_chan_status ashlar_chan_send_n(ashlar_chan* chan, const void* elements, size_t n, size_t* done,
                                                       uint64_t deadline_ns) ASHLAR_CHAN_NOEXCEPT_;
/** Receives one as ashlar_chan_recv_until, and with it those that are there right then, up to `n`, in one claim. */
ASHLAR_CHAN_API_ ashlar_chan_status ashlar_chan_recv_n(ashlar_chan* chan, void* elements, size_t n, size_t* done,
                                                       uint64_t deadline_ns) ASHLAR_CHAN_NOEXCEPT_;

/**
 * Closes: no send succeeds after it, receivers drain what is there. Wakes everybody who waits. Who was sending when
 * it came has either sent or is told CLOSED. OK; INVALID where `chan` is null or was closed.
 */
ASHLAR_CHAN_API_ ashlar_chan_status ashlar_chan_close(ashlar_chan* chan) ASHLAR_CHAN_NOEXCEPT_;

/** 1 after close, from either end, drained or not; else 0. */
ASHLAR_CHAN_API_ int ashlar_chan_is_closed(const ashlar_chan* chan) ASHLAR_CHAN_NOEXCEPT_;
/** Elements in the channel at one moment of the call; 0 for capacity 0 and null. */
ASHLAR_CHAN_API_ size_t ashlar_chan_len(const ashlar_chan* chan) ASHLAR_CHAN_NOEXCEPT_;
/** The capacity it was made with; 0 for null. */
ASHLAR_CHAN_API_ size_t ashlar_chan_cap(const ashlar_chan* chan) ASHLAR_CHAN_NOEXCEPT_;
/** Bytes of an element; 0 for null. */
ASHLAR_CHAN_API_ size_t ashlar_chan_element_size(const ashlar_chan* chan) ASHLAR_CHAN_NOEXCEPT_;

typedef enum ashlar_chan_op { ASHLAR_CHAN_SEND = 0, ASHLAR_CHAN_RECV = 1 } ashlar_chan_op;

/** A case of select. The same channel may stand in several, both ways. */
typedef struct ashlar_chan_case {
  ashlar_chan* chan; /**< null: never ready */
  void* element;     /**< sent from here (and unchanged), or received into */
  ashlar_chan_op op;
} ashlar_chan_case;

/**
 * Does one of `n` (< 2^24) operations, the first that can be done; of several that can, any is as likely as the others.
 * OK or CLOSED, each for the case `*chosen`. Without cases it blocks for ever.
 */
ASHLAR_CHAN_API_ ashlar_chan_status ashlar_chan_select(const ashlar_chan_case* cases, size_t n,
                                                       size_t* chosen) ASHLAR_CHAN_NOEXCEPT_;
/** With a default: NOT_READY where none can be done now. */
ASHLAR_CHAN_API_ ashlar_chan_status ashlar_chan_try_select(const ashlar_chan_case* cases, size_t n,
                                                           size_t* chosen) ASHLAR_CHAN_NOEXCEPT_;
/** With a deadline: TIMEOUT. More than 32 cases need memory: where there is none the process ends with a line that says
 * so. */
ASHLAR_CHAN_API_ ashlar_chan_status ashlar_chan_select_until(const ashlar_chan_case* cases, size_t n, size_t* chosen,
                                                             uint64_t deadline_ns) ASHLAR_CHAN_NOEXCEPT_;

/**
 * Writes to `fd` a line for every channel (address, len, cap, closed, who made it) and one for every thread parked in
 * it: thread id, send, recv or select, since when, where it was called from. Locks every channel, one after the other,
 * while it writes its lines.
 */
ASHLAR_CHAN_API_ void ashlar_chan_dump(int fd) ASHLAR_CHAN_NOEXCEPT_;

/** How a channel lies in memory. Bytes. */
typedef struct ashlar_chan_memory {
  size_t header_bytes;
  size_t buffer_bytes;                          /**< element size x capacity */
  size_t turns_bytes;                           /**< what orders the slots: 4 bytes each */
  size_t total_bytes;                           /**< what the allocator gave */
  size_t send_offset, recv_offset, wait_offset; /**< of the parts of the header */
  size_t buffer_alignment;
} ashlar_chan_memory;

/** The layout that ashlar_newchan gives such a channel. Errors: as ashlar_newchan, by INVALID. */
ASHLAR_CHAN_API_ ashlar_chan_status ashlar_chan_layout(size_t element_size, size_t alignment, size_t capacity,
                                                       ashlar_chan_memory* out) ASHLAR_CHAN_NOEXCEPT_;

/* For the inline look in chan.hpp: where the two indexes lie in a channel. They are equal exactly when it is empty and
 * open. */
#define ASHLAR_CHAN_SEND_OFFSET_ 128
#define ASHLAR_CHAN_RECV_OFFSET_ 256

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* ASHLAR_CHAN_H_ */
