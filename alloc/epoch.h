/* SPDX-License-Identifier: MIT
 *
 * epoch.h - memory that readers without locks may still look at: when it can be freed.
 *
 * Owns: pins and retired blocks, for hash/, chan/, slices, and programs of their own. One scheme a process (epochs).
 * A reader pins, follows pointers, and unpins. Whoever takes a block out of a structure retires it, and it is freed
 * once every pin that may have seen it has ended.
 *
 * Cost: a pin is a plain store to a line of the thread's own, no fence and no atomic read-modify-write; whoever frees
 * pays, with membarrier(2), once for a batch. Where the kernel refuses that (and with ASHLAR_CONF=membarrier:off) each
 * pin is one atomic exchange instead; the process chooses once, at its first pin.
 *
 * Bound: a thread keeps at most 4 batches (of 254 blocks, or 64 KiB and the last block) when no pin lasts. A pin
 * that lasts - a reader that sleeps inside of one - keeps everything that is retired meanwhile, by all threads, and
 * nothing else waits for it: operations go on, memory grows (ashlar_epoch_stats says how much). So do not sleep with a
 * pin.
 *
 * Threads: MT-Safe. Signals: AS-Unsafe. Fork: in the child the pins of the other threads are gone, and what they had
 * retired is the child's. A thread's pins end with the thread.
 */
#ifndef ASHLAR_EPOCH_H_
#define ASHLAR_EPOCH_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#include <atomic>
extern "C" {
#define ASHLAR_EPOCH_NOEXCEPT_ noexcept
#else
#define ASHLAR_EPOCH_NOEXCEPT_
#endif

#define ASHLAR_EPOCH_API_ __attribute__((visibility("default")))

/** Begins a pin of the calling thread; pins nest. Never fails. O(1), wait-free. */
ASHLAR_EPOCH_API_ void ashlar_epoch_pin(void) ASHLAR_EPOCH_NOEXCEPT_;

/** Ends the innermost pin. O(1), wait-free. Without a pin: aborts. */
ASHLAR_EPOCH_API_ void ashlar_epoch_unpin(void) ASHLAR_EPOCH_NOEXCEPT_;

/**
 * Frees `block` with ashlar_free once nobody can see it. No new reader may find it any more. Null does nothing.
 * Errors: none; where memory is out even for a batch's list, the block leaks, and the statistics count it.
 * Cost: O(1) amortised; may free other blocks that were retired before, and so call their `release`. Lock-free.
 */
ASHLAR_EPOCH_API_ void ashlar_epoch_retire(void* block) ASHLAR_EPOCH_NOEXCEPT_;

/**
 * The same with a function that frees it, and the bytes that it holds (for the bound). `release` runs once, in any
 * thread that retires or ends; it may pin, unpin and retire.
 */
ASHLAR_EPOCH_API_ void ashlar_epoch_retire_with(void* block, size_t bytes,
                                                void (*release)(void*)) ASHLAR_EPOCH_NOEXCEPT_;

/**
 * For a `release` that does its work in parts: retires what it has left of its block, which nobody reaches any more. So
 * that need not wait for readers: it is released by one of the next 8 pins of this thread that end, or later.
 */
ASHLAR_EPOCH_API_ void ashlar_epoch_retire_rest(void* block, size_t bytes,
                                                void (*release)(void*)) ASHLAR_EPOCH_NOEXCEPT_;

/**
 * Waits until the pins of other threads that began before have ended, and frees what this thread and ended threads had
 * retired. Returns 0; or -1 at once where the calling thread has a pin itself (it would wait for itself).
 */
ASHLAR_EPOCH_API_ int ashlar_epoch_synchronize(void) ASHLAR_EPOCH_NOEXCEPT_;

typedef struct ashlar_epoch_statistics {
  uint64_t epoch;          /**< the number of the current epoch, counted from 1 */
  uint64_t retired_blocks; /**< retired and not yet freed */
  uint64_t retired_bytes;  /**< of these, as far as their sizes were told */
  uint64_t leaked_blocks;  /**< that never will be: memory was out */
  uint64_t records;        /**< threads that have pinned at the same time, at most */
  uint64_t pinned;         /**< threads with a pin now */
  uint64_t lagging;        /**< of these: pinned since an epoch before the current one */
  int fenced;              /**< 1: the kernel gives no membarrier, a pin is an atomic exchange */
} ashlar_epoch_statistics;

/** Fills `*out`; figures that move are read once each. O(records). */
ASHLAR_EPOCH_API_ void ashlar_epoch_stats(ashlar_epoch_statistics* out) ASHLAR_EPOCH_NOEXCEPT_;

#ifdef __cplusplus
} /* extern "C" */

namespace ashlar {

/// What all pins read. `fence` is written by every pin where there is no membarrier, and by nobody else where there is.
template <class P>
struct EpochClock {
  alignas(128) typename P::template Atomic<uint64_t> now{1};  ///< the current epoch
  alignas(128) typename P::template Atomic<uint32_t> fence{0};
};

/// What a thread's pins write: one line of its own. `P` gives the atomics: std's, or a model checker's.
template <class P>
struct EpochHead {
  typename P::template Atomic<uint64_t> pinned{0};  ///< 0: no pin; else the epoch that the outermost pin began in
  EpochClock<P>* clock{nullptr};
  /// Pins that ashlar_epoch_pin began and nobody ended, and kUrgent: much memory is retired, so that the end of a pin
  /// has to look whether it can be freed, where otherwise the next retired batch would. Only the owner looks.
  uint32_t held{0};
  static constexpr uint32_t kUrgent = uint32_t{1} << 31;
  bool fenced{false};  ///< no membarrier: a pin makes an exchange, too
  bool outer{false};   ///< the first of `held` is the outermost pin
  uint32_t number{0};  ///< of the record, from 1; the lower, the longer it has been there
};

/// Begins the outermost pin of a thread (`pinned` is 0). What the caller reads afterwards was not yet freed when it
/// read it, and is not before epoch_leave.
template <class P>
inline void epoch_enter(EpochHead<P>& head) noexcept {
  // Acquire pairs with the release in EpochCore::advance: in an epoch, what had been unlinked two epochs before is not
  // found any more.
  const uint64_t now = head.clock->now.load(std::memory_order_acquire);
  // Release pairs with the acquire in advance: who sees this pin has all reads of the pin before it behind him. What
  // we read from here on is ordered by membarrier, in advance, which runs a full fence on this CPU: before it in our
  // program order, the pin is seen there; after it, we read what was written before the call. The compiler may not mix
  // the two.
  head.pinned.store(now, std::memory_order_release);
  if (head.fenced) [[unlikely]] {
    // Pairs with the same exchange in advance. Of two exchanges of one word one is first, and the second acquires what
    // the first released: either advance sees the pin, or we see what was unlinked before it. (Exchanges of two words
    // would not do, by the letter: a later acquire load may be early. relacy shows it.)
    head.clock->fence.exchange(1, std::memory_order_acq_rel);
    return;
  }
  P::light_barrier();
}

/// Ends it.
template <class P>
inline void epoch_leave(EpochHead<P>& head) noexcept {
  // Release pairs with the acquire in advance: our reads come before the block is freed.
  head.pinned.store(0, std::memory_order_release);
}

/// The atomics that ship.
struct EpochAtomics {
  template <class T>
  using Atomic = std::atomic<T>;
  static void light_barrier() noexcept { asm volatile("" ::: "memory"); }
};

}  // namespace ashlar

extern "C" {
/* The calling thread's record; before its first pin a dummy that is always pinned. Only what is below uses these. */
extern __attribute__((visibility("default"),
                      tls_model("initial-exec"))) __thread ashlar::EpochHead<ashlar::EpochAtomics>* ashlar_epoch_self;
/* The same where its pins are plain stores, else that dummy. */
extern __attribute__((visibility("default"),
                      tls_model("initial-exec"))) __thread ashlar::EpochHead<ashlar::EpochAtomics>* ashlar_epoch_plain;
ASHLAR_EPOCH_API_ ashlar::EpochHead<ashlar::EpochAtomics>* ashlar_epoch_pin_slow() noexcept;
ASHLAR_EPOCH_API_ void ashlar_epoch_unpin_slow(ashlar::EpochHead<ashlar::EpochAtomics>* outermost) noexcept;
}

namespace ashlar {

/// Begins a pin for what neither pins, nor retires, nor throws, and ends with epoch_leave: so nothing has to be looked
/// at at its end. Null, and no pin, where that is not so simple: use an EpochPin.
[[gnu::always_inline]] inline EpochHead<EpochAtomics>* epoch_enter_briefly() noexcept {
  EpochHead<EpochAtomics>* head = ashlar_epoch_plain;
  // Relaxed: our own.
  if (head->pinned.load(std::memory_order_relaxed) != 0) [[unlikely]]
    return nullptr;
  head->pinned.store(head->clock->now.load(std::memory_order_acquire), std::memory_order_release);  // see epoch_enter
  EpochAtomics::light_barrier();
  return head;
}

/// A pin for the length of a scope. Inline: 11 instructions, of which two store.
class EpochPin {
 public:
  EpochPin() noexcept : head_(ashlar_epoch_self) {
    // Relaxed: our own.
    if (head_->pinned.load(std::memory_order_relaxed) == 0) [[likely]]
      epoch_enter(*head_);
    else
      head_ = ashlar_epoch_pin_slow();  // nested, or the thread's first
  }
  ~EpochPin() {
    if (head_ != nullptr && head_->held == 0) [[likely]]
      epoch_leave(*head_);
    else
      ashlar_epoch_unpin_slow(head_);
  }
  EpochPin(const EpochPin&) = delete;
  EpochPin& operator=(const EpochPin&) = delete;

 private:
  EpochHead<EpochAtomics>* head_;  // where this is the outermost pin
};

}  // namespace ashlar
#endif /* __cplusplus */

#endif /* ASHLAR_EPOCH_H_ */
