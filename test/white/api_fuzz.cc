// SPDX-License-Identifier: MIT
//
// api_fuzz.cc - sequences of calls of the whole C API, by several threads in turn and with failing memory calls,
// against a shadow model: no overlap, alignment, usable sizes, contents, errors and figures as alloc/ashlar.h says.
//
// One thread acts at a time, so an input means the same sequence each time. What the allocator keeps from one input to
// the next (caches, dirty pages) it keeps; every input frees all its blocks.
#include <errno.h>

#include <condition_variable>
#include <functional>
#include <mutex>

#include "alloc/os/os.h"
#include "test/white/fuzz_util.h"

namespace ashlar_test {
namespace {

constexpr size_t kSlots = 48;
constexpr size_t kMaxBlock = 8 * kMiB;
constexpr size_t kMaxLive = 64 * kMiB;
constexpr size_t kMaxOps = 600;

/// Threads that live as long as the process and do one thing at a time for the caller, who waits.
class Workers {
 public:
  void run(size_t worker, const std::function<void()>& body) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (threads_ <= worker) {
      std::thread([this, self = threads_] { serve(self); }).detach();
      ++threads_;
    }
    body_ = &body;
    turn_ = worker;
    wake_.notify_all();
    wake_.wait(lock, [this] { return body_ == nullptr; });
  }

 private:
  void serve(size_t self) {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return body_ != nullptr && turn_ == self; });
      (*body_)();
      body_ = nullptr;
      wake_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  const std::function<void()>* body_ = nullptr;
  size_t turn_ = 0;
  size_t threads_ = 0;
};

class Model {
 public:
  Model(const uint8_t* data, size_t size) : in_(data, size), before_(stats()), last_(before_) {}

  void run() {
    // The workers never end, and so neither does this.
    static auto* workers = new Workers;  // NOLINT(readability-identifier-naming)
    for (size_t ops = 0; !in_.empty() && ops < kMaxOps; ++ops) {
      seam_ = ashlar::os::failure_seam();
      const size_t who = in_.byte();
      const auto one = [this, who] { step(who % 16); };
      // Six workers, more than two CPUs have leases, so that some are guests.
      if (who / 16 <= 8) {
        one();
      } else if (who / 16 == 15) {
        std::thread(one).join();
      } else {
        workers->run(who / 16 - 9, one);
      }
      if (ops % 16 == 15) check_figures();
    }
    ashlar::os::fail_after(0);
    for (Slot& slot : slots_) release(slot);
    check_figures();
    in_.require(last_.mallocs - before_.mallocs == last_.frees - before_.frees, "mallocs != frees at the end");
    in_.require(last_.heap_alloc == before_.heap_alloc, "bytes left at the end", last_.heap_alloc, before_.heap_alloc);
  }

 private:
  /// Whether a call to the kernel was made to fail in this operation: only then may it refuse.
  bool has_failed() const { return ashlar::os::failure_seam().count != seam_.count; }

  struct Slot {
    Stamped block;
    size_t usable = 0;
  };

  size_t size() {
    switch (in_.below(8)) {
      case 0:
        return in_.byte();
      case 1:
        return in_.word() % (2 * kKiB);
      case 2:
        return in_.word();
      case 3:  // about the end of a class
        return ashlar_good_size(in_.word() % (kLargestSmall + 1)) + in_.below(3) - 1;
      case 4:  // about whole pages
        return in_.below(64) * 8 * kKiB + in_.below(33) - 16 + (8 * kKiB);
      case 5:  // about a power of two
        return (size_t{1} << in_.below(23)) + in_.below(3) - 1;
      case 6:
        return in_.word() * 128 % kMaxBlock;
      default:
        return in_.word() % 512;
    }
  }

  Slot& slot() { return slots_[in_.below(kSlots)]; }

  void step(size_t op) {
    switch (op) {
      case 0:
      case 1:
      case 2: {
        const size_t bytes = size();
        put(slot(), bytes, 16, [&] { return ashlar_malloc(bytes); });
        break;
      }
      case 3: {
        const size_t bytes = size();
        const size_t count = in_.below(2) == 0 ? 1 : in_.below(7) + 1;
        put(
            slot(), bytes / count * count, 16, [&] { return ashlar_calloc(count, bytes / count); }, true);
        break;
      }
      case 4:
      case 5:
      case 6:
        reallocate(slot());
        break;
      case 7: {
        const size_t alignment = size_t{1} << in_.below(18);
        const size_t bytes = size();
        put(slot(), bytes, alignment, [&] { return ashlar_aligned_alloc(alignment, bytes); });
        break;
      }
      case 8: {
        const size_t alignment = size_t{8} << in_.below(16);
        const size_t bytes = size();
        put(slot(), bytes, alignment, [&] { return by_posix_memalign(alignment, bytes); });
        break;
      }
      case 9: {
        const size_t bytes = size();
        put(slot(), bytes, 128, [&] { return ashlar_malloc_padded(bytes); });
        break;
      }
      case 10:
      case 11:
        release(slot());
        break;
      case 12:
        release_many();
        break;
      case 13:
        purge();
        break;
      case 14:
        fail_memory_calls();
        break;
      default:
        wrong_requests();
    }
  }

  void* by_posix_memalign(size_t alignment, size_t bytes) {
    void* const untouched = this;
    void* out = untouched;
    errno = 77;
    const int error = ashlar_posix_memalign(&out, alignment, bytes);
    in_.require(errno == 77, "posix_memalign changed errno");
    if (error == 0) return out;
    in_.require(error == ENOMEM && out == untouched, "posix_memalign's error", static_cast<size_t>(error));
    errno = ENOMEM;
    return nullptr;
  }

  template <typename Allocate>
  void put(Slot& into, size_t bytes, size_t alignment, Allocate allocate, bool zero = false) {
    release(into);
    if (live_bytes_ + bytes > kMaxLive) return;
    errno = 0;
    void* at = allocate();
    if (at == nullptr) {
      in_.require(has_failed(), "null without a cause", bytes, alignment);
      in_.require(errno == ENOMEM, "null without ENOMEM", bytes, alignment);
      return;
    }
    in_.require(!zero || is_zero(at, bytes), "calloc is not zero", reinterpret_cast<size_t>(at), bytes);
    in_.require(is_aligned(at, std::max(alignment, size_t{ASHLAR_MIN_ALIGN})), "alignment",
                reinterpret_cast<size_t>(at), alignment);
    adopt(into, at, bytes);
  }

  /// The block is new, or may have moved: it enters the model, and all that is usable is written.
  void adopt(Slot& into, void* at, size_t bytes) {
    into.usable = ashlar_usable_size(at);
    in_.require(into.usable >= bytes, "usable size", into.usable, bytes);
    into.block = {at, into.usable, ++tags_};
    shadow_.add(into.block);
    fill(at, into.usable, into.block.tag);
    live_bytes_ += into.usable;
    ++live_;
  }

  void disown(Slot& from) {
    check_stamped(from.block, "fuzz");
    in_.require(ashlar_usable_size(from.block.at) == from.usable, "usable size changed", from.usable);
    shadow_.remove(from.block);
    live_bytes_ -= from.usable;
    --live_;
  }

  void release(Slot& from) {
    if (from.block.at == nullptr) return;
    disown(from);
    errno = 78;
    ashlar_free(from.block.at);
    in_.require(errno == 78, "free changed errno");
    from = {};
  }

  void reallocate(Slot& at) {
    const size_t bytes = size();
    if (live_bytes_ + bytes > kMaxLive) return;
    Slot old = at;
    if (old.block.at != nullptr) disown(old);
    errno = 0;
    void* moved = in_.below(2) == 0 ? ashlar_realloc(old.block.at, bytes) : ashlar_reallocarray(old.block.at, 1, bytes);
    at = {};
    if (moved != nullptr) {
      const size_t kept = std::min(old.usable, bytes);
      in_.require(old.block.at == nullptr || holds_prefix(moved, old.usable, kept, old.block.tag),
                  "realloc lost contents", old.usable, bytes);
      in_.require(is_aligned(moved, ASHLAR_MIN_ALIGN), "alignment of realloc", reinterpret_cast<size_t>(moved));
      adopt(at, moved, bytes);
    } else if (bytes != 0 || old.block.at == nullptr) {
      in_.require(has_failed() && errno == ENOMEM, "realloc failed without a cause", old.usable, bytes);
      if (old.block.at != nullptr) adopt_untouched(at, old);
    }
  }

  /// realloc failed: the block must be as it was.
  void adopt_untouched(Slot& into, const Slot& old) {
    check_stamped(old.block, "after a realloc that failed");
    adopt(into, old.block.at, old.usable);
  }

  void release_many() {
    const size_t from = in_.below(kSlots);
    const size_t count = in_.below(kSlots);
    const size_t step = in_.below(3) + 1;
    for (size_t i = 0; i < count; i += step) release(slots_[(from + i) % kSlots]);
  }

  void purge() {
    const size_t keep = in_.below(2) == 0 ? 0 : in_.word() * 64;
    const size_t before = stats().purged_bytes;
    const size_t purged = ashlar_purge(keep);
    const ashlar_memstats s = stats();
    in_.require(s.purged_bytes - before >= purged, "purged_bytes", s.purged_bytes - before, purged);
    const size_t dirty = s.heap_idle - s.heap_released;
    in_.require(has_failed() || dirty <= keep, "purge kept more", dirty, keep);
  }

  void fail_memory_calls() {
    const size_t choice = in_.byte();
    const bool fail = choice % 4 != 0;
    ashlar::os::fail_after(fail ? static_cast<unsigned>(choice / 4 % 8 + 1) : 0,
                           choice >= 128 ? ~0U : static_cast<unsigned>(choice / 32 + 1));
  }

  /// What must fail does, and says why.
  void wrong_requests() {
    const size_t too_much = opaque(SIZE_MAX / 2 + 1 + in_.word());
    const size_t odd = in_.word() * 2 + 3;
    void* out = &out;
    errno = 0;
    in_.require(ashlar_malloc(too_much) == nullptr && errno == ENOMEM, "malloc of too much");
    errno = 0;
    in_.require(ashlar_calloc(opaque(SIZE_MAX / 2), 3) == nullptr && errno == ENOMEM, "calloc that overflows");
    errno = 0;
    in_.require(ashlar_aligned_alloc(odd, 10) == nullptr && errno == EINVAL, "aligned_alloc", odd);
    in_.require(ashlar_posix_memalign(&out, odd, 10) == EINVAL && out == &out, "posix_memalign", odd);
    in_.require(ashlar_posix_memalign(&out, 4, 10) == EINVAL && out == &out, "posix_memalign of 4");
    errno = 0;
    Slot& at = slot();
    if (at.block.at != nullptr) {
      in_.require(ashlar_realloc(at.block.at, too_much) == nullptr && errno == ENOMEM, "realloc to too much");
      errno = 0;
      in_.require(ashlar_reallocarray(at.block.at, opaque(SIZE_MAX / 2), 3) == nullptr && errno == ENOMEM,
                  "reallocarray that overflows");
      check_stamped(at.block, "after requests that failed");
    }
    in_.require(ashlar_usable_size(nullptr) == 0 && ashlar_good_size(too_much) == 0, "sizes of nothing");
    ashlar_free(nullptr);
    const size_t bytes = size();
    in_.require(ashlar_good_size(bytes) >= bytes, "good_size", bytes);
  }

  void check_figures() {
    const ashlar_memstats s = stats();
    in_.require(s.heap_sys == s.heap_idle + s.heap_inuse, "heap_sys", s.heap_sys);
    in_.require(s.heap_released <= s.heap_idle, "heap_released", s.heap_released, s.heap_idle);
    in_.require(s.mallocs - s.frees == s.heap_objects, "heap_objects", s.heap_objects);
    in_.require(s.heap_objects - before_.heap_objects == live_, "live objects", s.heap_objects, live_);
    in_.require(s.alloc == s.heap_alloc, "alloc");
    in_.require(s.heap_alloc - before_.heap_alloc == live_bytes_, "live bytes", s.heap_alloc - before_.heap_alloc,
                live_bytes_);
    in_.require(s.heap_alloc <= s.heap_inuse, "heap_inuse", s.heap_alloc, s.heap_inuse);
    in_.require(s.mallocs >= last_.mallocs && s.frees >= last_.frees && s.total_alloc >= last_.total_alloc,
                "a counter fell");
    in_.require(s.sys >= s.heap_sys && s.mspan_inuse <= s.mspan_sys, "sys");
    uint64_t small = 0;
    for (size_t i = 0; i < s.by_size_count; ++i) small += s.by_size[i].mallocs - s.by_size[i].frees;
    in_.require(small + s.large_objects == s.heap_objects, "by_size", small, s.large_objects);
    last_ = s;
  }

  Input in_;
  ashlar_memstats before_, last_;
  Shadow shadow_;
  Slot slots_[kSlots];
  size_t live_bytes_ = 0;
  size_t live_ = 0;
  uint64_t tags_ = 0;
  ashlar::os::FailureSeam seam_ = {};  // as the operation began
};

}  // namespace
}  // namespace ashlar_test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ashlar_free(ashlar_malloc(1));  // initialisation, and its figures, belong to no input
  ashlar_test::Model(data, size).run();
  return 0;
}

FUZZ_TESTS(ApiFuzz, "api", 200, 1024)
