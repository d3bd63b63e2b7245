// SPDX-License-Identifier: MIT
//
// epoch_core.h - the algorithm of epoch.h, over any atomics.
//
// Owns: records, bags, the epoch. Who calls it: epoch.cc with what ships, a model checker with its own atomics.
//
// The epoch is a number that only grows. A pin stores the epoch it began in. The epoch advances from e to e + 1 when
// nobody is pinned in one before e. A bag of retired blocks is sealed with the epoch of that moment, s, and is freed
// in epoch s + 3. The barrier of the step to s + 2 lies behind the sealing, for that read s while the step had seen s +
// 1: so pins of s + 2 and later see the blocks unlinked. The step to s + 3 found no older pin. (Freed in s + 2 relacy
// finds nothing wrong, either, in 3,000,000 runs with fenced pins, where the exchange in seal() orders what is read;
// the third step needs no such argument for the pins that membarrier orders, which it cannot model.)
//
//   thread's record:  open bag (being filled) -> sealed bags, oldest first -> freed
//   thread ends:      its bags -> orphans -> the sealed bags of whoever collects next
//   rest:             what a release left of its block: freed at the end of a later pin, whatever the epoch
//
// A fork may stop any thread between any two of its stores, and what its record holds at that moment the child frees.
// So each block is out of the record before it is freed, and whole before it is in; at worst it is in none, and leaks.
// in_order() keeps the compiler to the order of the lines. (The machine needs nothing more: fork takes the right to
// write away page by page, and a store that faults stops its thread: the child gets all stores before that one.)
//
// Invariants: records are never freed, and stay in the list; `in_use` says whether a thread has it. Bags are touched by
// the thread that has the record alone, orphans by exchange and compare-exchange of whole lists. No locks: a thread
// that stops anywhere keeps at most its own bags and, inside a pin, the epoch. P: Atomic<T>, Plain (what EpochHead and
// EpochClock are made of), kBagBlocks, heavy_barrier(), allocate_bag(bytes), deallocate_bag(p), allocate_record(bytes).
#pragma once

#include <new>

#include "alloc/epoch.h"

namespace ashlar {

using EpochRelease = void (*)(void*);

template <class P>
struct EpochBag {
  static constexpr uint32_t kCapacity = P::kBagBlocks;

  struct Block {
    void* at;
    EpochRelease release;
  };
  EpochBag* next;
  uint64_t sealed;  // epoch
  size_t bytes;
  uint32_t count;
  Block blocks[kCapacity];
};

template <class P>
struct alignas(128) EpochRecord : EpochHead<typename P::Plain> {
  template <class T>
  using Atomic = typename P::template Atomic<T>;

  // Another line than the head's where lines are pairs of 64 bytes: the owner alone writes both, scanners read the
  // first.
  alignas(64) EpochBag<P>* open{nullptr};
  EpochBag<P>* spare{nullptr};
  EpochBag<P>* first{nullptr};  // sealed, oldest first
  EpochBag<P>* last{nullptr};
  struct Rest {
    void* at;
    EpochRelease release;
    size_t bytes;
  } rest{};                    // what a release left of its block: nobody reaches it
  uint32_t urgent_ends{0};     // pins that ended, kUrgent, since memory was freed
  bool collecting{false};      // a release that retires does not collect again
  Atomic<uint64_t> blocks{0};  // for statistics
  Atomic<uint64_t> bytes{0};
  EpochRecord* next{nullptr};  // never changes once the record is in the list
  Atomic<uint32_t> in_use{0};
};

template <class P>
class EpochCore {
 public:
  template <class T>
  using Atomic = typename P::template Atomic<T>;
  using Bag = EpochBag<P>;
  using Record = EpochRecord<P>;

  /// Steps of the epoch until a sealed bag is freed.
  static constexpr uint64_t kGrace = 3;
  static constexpr size_t kBagBytes = 64 * 1024;  // a bag that holds more is sealed before it is full

  constexpr EpochCore() = default;

  /// A record for the calling thread, unpinned; null: no memory.
  Record* attach(bool fenced) noexcept {
    for (Record* r = records_.load(std::memory_order_acquire); r != nullptr; r = r->next) {
      uint32_t free = 0;
      // Relaxed: only a look. Acquire pairs with the release in detach: its last owner is done with the bags.
      if (r->in_use.load(std::memory_order_relaxed) == 0 &&
          r->in_use.compare_exchange_strong(free, 1, std::memory_order_acquire, std::memory_order_relaxed)) {
        r->fenced = fenced;
        return r;
      }
    }
    void* memory = P::allocate_record(sizeof(Record));
    if (memory == nullptr) return nullptr;
    auto* r = ::new (memory) Record;
    r->clock = &clock_;
    r->fenced = fenced;
    r->number = 1 + records_made_.fetch_add(1, std::memory_order_relaxed);  // a name
    r->in_use.store(1, std::memory_order_relaxed);                          // published by the list's head
    Record* head = records_.load(std::memory_order_relaxed);
    do {
      r->next = head;
      // Release pairs with the acquires of all who walk the list: they see the record initialised.
    } while (!records_.compare_exchange_weak(head, r, std::memory_order_release, std::memory_order_relaxed));
    return r;
  }

  /// Ends all pins of a record and gives it back; its bags become orphans.
  void detach(Record* r) noexcept {
    r->held = 0;
    r->pinned.store(0, std::memory_order_release);  // as in epoch_leave
    r->collecting = false;
    seal(r);
    if (r->rest.at != nullptr) {
      // To a bag of its own: where a fork stopped the thread the open one may have been full.
      const auto rest = take_rest(r);
      if (provide_open(r))
        add(r, rest.at, rest.bytes, rest.release);
      else
        leak();
      seal(r);
    }
    Bag* first = r->first;
    Bag* spare = r->spare;
    r->first = r->last = r->spare = nullptr;
    in_order();
    if (first != nullptr) give_orphans(first);
    if (spare != nullptr) P::deallocate_bag(spare);
    count(r, r->blocks, uint64_t{0} - r->blocks.load(std::memory_order_relaxed));
    count(r, r->bytes, uint64_t{0} - r->bytes.load(std::memory_order_relaxed));
    r->in_use.store(0, std::memory_order_release);  // pairs with the acquire in attach
  }

  /// False: the block leaks.
  bool retire(Record* r, void* block, size_t bytes, EpochRelease release) noexcept {
    if (r == nullptr || !provide_open(r)) {
      leak();
      return false;
    }
    const Bag* bag = add(r, block, bytes, release);
    if (bag->count == Bag::kCapacity || bag->bytes >= kBagBytes) {
      if (bag->bytes >= kBagBytes) r->held |= Record::kUrgent;
      seal(r);
      collect(r);
    }
    return true;
  }

  /// For a release function: what it left of its block. Nobody reaches that any more, so it waits for no epoch, but for
  /// free_rest. (One at a time: another one waits as any block.) False: it leaks.
  bool retire_rest(Record* r, void* block, size_t bytes, EpochRelease release) noexcept {
    if (r == nullptr || r->rest.at != nullptr) return retire(r, block, bytes, release);
    r->rest.release = release;
    r->rest.bytes = bytes;
    in_order();
    r->rest.at = block;
    count(r, r->blocks, 1);
    count(r, r->bytes, bytes);
    r->held |= Record::kUrgent;
    return true;
  }

  /// Calls its release function.
  void free_rest(Record* r) noexcept {
    if (r->collecting || r->rest.at == nullptr) return;
    const auto rest = take_rest(r);
    r->collecting = true;
    rest.release(rest.at);
    r->collecting = false;
  }

  /// Advances the epoch by one if no pin is older than it. True: it is newer than it was.
  bool advance() noexcept {
    const uint64_t now = clock_.now.load(std::memory_order_acquire);
    // The same look without the barrier, which costs: an old pin is no older with it.
    if (!all_pinned_in(now)) return false;
    // Both pair with epoch_enter; the exchange is for fenced pins, and costs nothing beside the other one.
    clock_.fence.exchange(1, std::memory_order_acq_rel);
    P::heavy_barrier();
    if (!all_pinned_in(now)) return false;
    uint64_t expected = now;
    // Release pairs with the acquire in epoch_enter. Where it fails, another thread did the same.
    clock_.now.compare_exchange_strong(expected, now + 1, std::memory_order_acq_rel, std::memory_order_acquire);
    return true;
  }

  /// Frees what can be freed of the record's bags and of the orphans.
  void collect(Record* r) noexcept {
    if (r->collecting) return;
    r->collecting = true;
    adopt_orphans(r);
    advance();
    free_old(r);
    r->collecting = false;
  }

  /// Whether the end of each pin shall try to free what waits for the epoch.
  static bool is_much(const Record* r) noexcept {
    return r->first != nullptr && r->bytes.load(std::memory_order_relaxed) - r->rest.bytes >= kBagBytes;
  }

  void seal(Record* r) noexcept {
    Bag* bag = r->open;
    if (bag == nullptr || bag->count == 0) return;
    r->open = nullptr;
    bag->next = nullptr;
    // The exchange: as in epoch_enter, for the fenced mode. Either the step from s + 1 to s + 2 acquires the unlinking
    // from it, or it acquires the step's view of the epoch, and s is not what we read.
    clock_.fence.exchange(1, std::memory_order_acq_rel);
    bag->sealed = clock_.now.load(std::memory_order_acquire);
    in_order();
    if (r->last == nullptr)
      r->first = bag;
    else
      r->last->next = bag;
    r->last = bag;
  }

  uint64_t epoch() const noexcept { return clock_.now.load(std::memory_order_acquire); }
  Record* records() const noexcept { return records_.load(std::memory_order_acquire); }
  uint64_t leaked() const noexcept { return leaked_.load(std::memory_order_relaxed); }
  uint64_t orphan_blocks() const noexcept { return orphan_blocks_.load(std::memory_order_relaxed); }
  uint64_t orphan_bytes() const noexcept { return orphan_bytes_.load(std::memory_order_relaxed); }

  /// Pins of threads that could get no record: while there are any, the epoch stands still.
  void enter_without_record() noexcept {
    // Relaxed and the exchange: as in epoch_enter, whether there is a membarrier or not.
    nameless_.fetch_add(1, std::memory_order_relaxed);
    clock_.fence.exchange(1, std::memory_order_acq_rel);
  }
  void leave_without_record() noexcept { nameless_.fetch_sub(1, std::memory_order_release); }
  uint32_t nameless() const noexcept { return nameless_.load(std::memory_order_acquire); }
  void forget_nameless() noexcept { nameless_.store(0, std::memory_order_relaxed); }

 private:
  bool all_pinned_in(uint64_t now) const noexcept {
    if (nameless_.load(std::memory_order_acquire) != 0) return false;
    for (const Record* r = records_.load(std::memory_order_acquire); r != nullptr; r = r->next) {
      // Acquire pairs with the release in epoch_leave.
      const uint64_t pinned = r->pinned.load(std::memory_order_acquire);
      if (pinned != 0 && pinned != now) return false;
    }
    return true;
  }

  static void count(Record* /*owner*/, Atomic<uint64_t>& figure, uint64_t n) noexcept {
    // Relaxed, and no read-modify-write: a figure that the owner alone writes.
    figure.store(figure.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }

  static void in_order() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }

  void leak() noexcept { leaked_.fetch_add(1, std::memory_order_relaxed); }  // a figure

  /// To the open bag.
  static Bag* add(Record* r, void* block, size_t bytes, EpochRelease release) noexcept {
    Bag* bag = r->open;
    bag->blocks[bag->count] = {block, release};
    in_order();
    ++bag->count;
    bag->bytes += bytes;
    count(r, r->blocks, 1);
    count(r, r->bytes, bytes);
    return bag;
  }

  static typename Record::Rest take_rest(Record* r) noexcept {
    // Out of the record first: a release may leave the next one, and a fork in the middle must not free twice.
    const auto rest = r->rest;
    r->rest.at = nullptr;
    in_order();
    r->rest.bytes = 0;
    count(r, r->blocks, uint64_t{0} - 1);
    count(r, r->bytes, uint64_t{0} - rest.bytes);
    return rest;
  }

  bool provide_open(Record* r) noexcept {
    if (r->open != nullptr) return true;
    Bag* bag = r->spare;
    r->spare = nullptr;
    if (bag == nullptr) bag = static_cast<Bag*>(P::allocate_bag(sizeof(Bag)));
    if (bag == nullptr) return false;
    // Empty before it is in the record: it may hold what has been freed.
    bag->count = 0;
    bag->bytes = 0;
    in_order();
    r->open = bag;
    return true;
  }

  void free_old(Record* r) noexcept {
    const uint64_t now = clock_.now.load(std::memory_order_acquire);
    while (r->first != nullptr && r->first->sealed + kGrace <= now) {
      // Out of the list first: a release may retire, and a fork in the middle must not free twice.
      Bag* bag = r->first;
      r->first = bag->next;
      if (r->first == nullptr) r->last = nullptr;
      in_order();
      count(r, r->blocks, uint64_t{0} - bag->count);
      count(r, r->bytes, uint64_t{0} - bag->bytes);
      // The bag is free before its blocks are: a release that retires finds one, however short memory is.
      const uint32_t n = bag->count;
      typename Bag::Block blocks[Bag::kCapacity];  // NOLINT(cppcoreguidelines-pro-type-member-init): the first n are
      __builtin_memcpy(blocks, bag->blocks, n * sizeof(blocks[0]));
      if (r->spare == nullptr)
        r->spare = bag;
      else
        P::deallocate_bag(bag);
      for (uint32_t i = 0; i < n; ++i) blocks[i].release(blocks[i].at);
    }
  }

  void give_orphans(Bag* first) noexcept {
    Bag* last = first;  // not the record's: a fork may have stopped the thread before it stored that
    for (Bag* b = first; b != nullptr; b = b->next) {
      last = b;
      orphan_blocks_.fetch_add(b->count, std::memory_order_relaxed);  // figures
      orphan_bytes_.fetch_add(b->bytes, std::memory_order_relaxed);
    }
    Bag* head = orphans_.load(std::memory_order_relaxed);
    do {
      last->next = head;
      // Release pairs with the acquire in adopt_orphans.
    } while (!orphans_.compare_exchange_weak(head, first, std::memory_order_release, std::memory_order_relaxed));
  }

  void adopt_orphans(Record* r) noexcept {
    if (orphans_.load(std::memory_order_relaxed) == nullptr) return;  // only a look
    Bag* first = orphans_.exchange(nullptr, std::memory_order_acquire);
    if (first == nullptr) return;
    Bag* last = first;
    for (Bag* b = first; b != nullptr; b = b->next) {
      last = b;
      orphan_blocks_.fetch_sub(b->count, std::memory_order_relaxed);
      orphan_bytes_.fetch_sub(b->bytes, std::memory_order_relaxed);
      count(r, r->blocks, b->count);
      count(r, r->bytes, b->bytes);
    }
    // In front: they are older than most of ours. Where they are not, ours wait for them a little.
    last->next = r->first;
    in_order();
    r->first = first;
    if (r->last == nullptr) r->last = last;
  }

  EpochClock<typename P::Plain> clock_{};
  alignas(128) Atomic<Record*> records_{nullptr};
  Atomic<Bag*> orphans_{nullptr};
  Atomic<uint64_t> orphan_blocks_{0};
  Atomic<uint64_t> orphan_bytes_{0};
  Atomic<uint64_t> leaked_{0};
  Atomic<uint32_t> nameless_{0};
  Atomic<uint32_t> records_made_{0};
};

}  // namespace ashlar
