// SPDX-License-Identifier: MIT
//
// percpu.cc - see percpu.h.
#include "alloc/percpu.h"

#include <pthread.h>
#include <sys/auxv.h>

#include "alloc/base/futex.h"
#include "alloc/central.h"
#include "alloc/fast_path.h"
#include "alloc/options.h"
#include "alloc/os/os.h"
#include "alloc/page_heap.h"

// glibc >= 2.35 registers every thread and says where. Weak: older ones do not.
extern "C" {
[[gnu::weak]] extern const ptrdiff_t __rseq_offset;
[[gnu::weak]] extern const unsigned int __rseq_size;
}

namespace ashlar {

__thread Slab* tls_slab = empty_slab();
__thread bool tls_guest = false;
constinit bool thread_came = false;

namespace {

__thread bool tls_exited __attribute__((tls_model("initial-exec"))) = false;  // gave its lease back for good

// Offsets of struct rseq (linux/rseq.h), and AT_RSEQ_FEATURE_SIZE, which glibc 2.36 does not name.
constexpr uintptr_t kRseqCpuId = 4;
constexpr uintptr_t kRseqMmCid = 24;
constexpr unsigned long kAuxRseqFeatureSize = 27;

constexpr unsigned kMaxPs = 8192;  // NR_CPUS of the largest x86 kernels

constinit Mutex mutex;  // guards everything below but the slabs
constinit Slab* slabs = nullptr;
constinit unsigned num_slabs = 0;
constinit Slab* lease[kMaxLeases] = {};
constinit uint64_t lease_taken[kMaxLeases / 64] = {};
constinit unsigned max_leases = 1;    // until the second thread comes
constinit unsigned full_leases = 1;   // of them; the caches of those beyond begin small
constinit unsigned leases_free = 1;   // relaxed hint for guests
constinit bool counted_cpus = false;  // likewise: read without the lock to skip it
constinit bool rseq_wanted = false;
constinit unsigned rseq_bound = 0;  // Ps that slabtab has; 0: rseq is not active
enum Barrier : uint8_t { kNotAsked, kWorks, kMissing };
constinit Barrier barrier = kNotAsked;  // what the kernel said to membarrier, with which Ps are stopped
constinit uintptr_t rseq_p_offset = kRseqCpuId;
constinit Slab* slabtab[kMaxPs] = {};
constinit Slab* stopped[kMaxPs] = {};  // real slabs out of slabtab, while their Ps stand still
constinit RealSlab first_slab = {};
constinit pthread_key_t exit_key = 0;
constinit bool have_exit_key = false;

consteval EmptySlab make_empty_slab() {
  EmptySlab s{};
  for (uint64_t& h : s.header) h = kEmptyDead;
  s.tags[0] = s.tags[1] = kTag;
  return s;
}

char* rseq_area() {
  return static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
}

Slab* new_slab_locked(bool small) {
  Slab* s = num_slabs == 0 ? &first_slab : static_cast<RealSlab*>(page_heap.metadata(sizeof(RealSlab)));
  if (s == nullptr) return nullptr;
  init_slab(s, num_slabs, num_slabs % kHomeGroups, small);
  ++num_slabs;
  s->next = slabs;
  // Release: statistics walk the list without the lock.
  __atomic_store_n(&slabs, s, __ATOMIC_RELEASE);
  return s;
}

/// The second thread: find out how many Ps there should be.
void count_cpus_locked() {
  const os::CpuCount cpus = os::cpu_count();
  // Two for each CPU: some of the first threads, the initial one above all, do nothing but wait.
  full_leases = 2 * cpus.usable < kMaxLeases ? 2 * cpus.usable : kMaxLeases;
  if (rseq_wanted && cpus.bound != 0 && cpus.bound <= kMaxPs) {
    for (unsigned p = 0; p < cpus.bound; ++p) slabtab[p] = empty_slab();
    __atomic_store_n(&rseq_bound, cpus.bound, __ATOMIC_RELEASE);
    max_leases = full_leases;
  } else {
    max_leases = kMaxLeases;
  }
  // Relaxed: whoever acts on these hints takes the lock first. The leases before the flag, so that a thread that sees
  // the flag is likely to see them.
  __atomic_store_n(&leases_free, leases_free + max_leases - 1, __ATOMIC_RELAXED);
  __atomic_store_n(&counted_cpus, true, __ATOMIC_RELAXED);
}

void thread_exit(void* /*leased*/) {
  Slab* s = tls_slab;
  tls_slab = empty_slab();
  tls_exited = true;
  MutexGuard guard(mutex);
  for (unsigned i = 0; i < max_leases; ++i) {
    if (lease[i] != s) continue;
    lease_taken[i / 64] &= ~(uint64_t{1} << (i % 64));
    __atomic_store_n(&leases_free, leases_free + 1, __ATOMIC_RELAXED);
  }
}

bool try_lease() {
  {
    MutexGuard guard(mutex);
    if (leases_free == 0 && !counted_cpus) count_cpus_locked();
    if (leases_free == 0) return false;
    unsigned i = 0;
    while (lease_taken[i / 64] == ~uint64_t{0}) i += 64;
    i += static_cast<unsigned>(__builtin_ctzll(~lease_taken[i / 64]));
    if (lease[i] == nullptr && (lease[i] = new_slab_locked(i >= full_leases)) == nullptr) return false;
    lease_taken[i / 64] |= uint64_t{1} << (i % 64);
    __atomic_store_n(&leases_free, leases_free - 1, __ATOMIC_RELAXED);
    tls_slab = lease[i];
    tls_guest = false;
    __atomic_store_n(&thread_came, true, __ATOMIC_RELAXED);
  }
  // Outside of the lock: a key number above 31 makes glibc allocate here.
  if (have_exit_key) pthread_setspecific(exit_key, tls_slab);
  return true;
}

/// A slab for the P that this thread runs on now.
void give_p_a_slab(const RseqSite& site) {
  MutexGuard guard(mutex);
  const auto p = *reinterpret_cast<const volatile uint32_t*>(site.area + site.p_offset);
  if (p >= rseq_bound || slabtab[p] != empty_slab()) return;
  Slab* s = new_slab_locked(false);
  // Release: a sequence that finds the slab finds it initialised.
  if (s != nullptr) __atomic_store_n(&slabtab[p], s, __ATOMIC_RELEASE);
}

Cache guest_cache() {
  // Acquire pairs with the release in count_cpus_locked: slabtab is filled.
  if (__atomic_load_n(&rseq_bound, __ATOMIC_ACQUIRE) == 0) {
    // Nobody leases without the key, and so nobody has counted.
    if (have_exit_key || __atomic_load_n(&counted_cpus, __ATOMIC_RELAXED)) return {};
    MutexGuard guard(mutex);
    if (!counted_cpus) count_cpus_locked();
    if (rseq_bound == 0) return {};
  }
  Cache c;
  c.rseq = true;
  c.site = guest_site();
  // A thread whose registration failed, or that is not glibc's, has a negative CPU number.
  if (*reinterpret_cast<const volatile int32_t*>(c.site.area + kRseqCpuId) < 0) return {};
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto p = *reinterpret_cast<const volatile uint32_t*>(c.site.area + c.site.p_offset);
    if (p >= rseq_bound) return {};
    c.slab = __atomic_load_n(&slabtab[p], __ATOMIC_ACQUIRE);
    if (c.slab->real) {
      tls_guest = true;
      __atomic_store_n(&thread_came, true, __ATOMIC_RELAXED);
      return c;
    }
    give_p_a_slab(c.site);
  }
  return {};
}

}  // namespace

RseqSite guest_site() noexcept {
  return {rseq_area(), rseq_p_offset, slabtab};
}

constinit const EmptySlab kEmptySlab = make_empty_slab();

void init_percpu() noexcept {
  rseq_wanted = options.percpu && !os::kThreadSanitizer && &__rseq_size != nullptr && __rseq_size > 0;
  if (rseq_wanted && getauxval(kAuxRseqFeatureSize) >= kRseqMmCid + 4) rseq_p_offset = kRseqMmCid;
  have_exit_key = pthread_key_create(&exit_key, thread_exit) == 0;
}

const char* p_mode() noexcept {
  return rseq_wanted ? "rseq" : "fallback";
}

Cache current_cache() noexcept {
  Slab* s = tls_slab;
  if (s->real) [[likely]]
    return {s, false, {}};
  // Without the key (a program may have taken all PTHREAD_KEYS_MAX before us) a thread could not return its lease: only
  // the first one, which lives as long as the process, takes it.
  const bool may_lease = !tls_exited && (have_exit_key || num_slabs == 0);
  if (may_lease &&
      (__atomic_load_n(&leases_free, __ATOMIC_RELAXED) != 0 || !__atomic_load_n(&counted_cpus, __ATOMIC_RELAXED)) &&
      try_lease()) {
    return {tls_slab, false, {}};
  }
  return guest_cache();
}

PercpuStats percpu_stats() noexcept {
  MutexGuard guard(mutex);
  return {num_slabs, num_slabs * sizeof(RealSlab)};
}

void count_caches(CacheCounts* out) noexcept {
  *out = {};
  for (const Slab* s = __atomic_load_n(&slabs, __ATOMIC_ACQUIRE); s != nullptr; s = s->next) {
    for (CacheIndex k = 0; k < kNumCaches; ++k) {
      const uint64_t h = __atomic_load_n(&s->header[s->cache_bin[k]], __ATOMIC_RELAXED);
      out->cached[class_of_cache(k)] += (h & kTopMask) - __atomic_load_n(&s->first[k], __ATOMIC_RELAXED);
      if (k < kFirstForeignCache) out->pops[k] += h >> kPopsShift;
    }
  }
}

namespace {

/// Stops all Ps that have a slab. False: the kernel knows no barrier, so they go on. It is asked here and not before:
/// some programs run under a filter that kills whoever asks, and few drain Ps.
bool stop_ps() {
  bool any = false;
  for (unsigned p = 0; p < rseq_bound; ++p) any |= slabtab[p] != empty_slab();
  if (!any) return true;
  if (barrier == kNotAsked) barrier = os::register_rseq_barrier() ? kWorks : kMissing;
  if (barrier == kMissing) return false;
  for (unsigned p = 0; p < rseq_bound; ++p) {
    stopped[p] = slabtab[p];
    if (stopped[p] != empty_slab()) __atomic_store_n(&slabtab[p], empty_slab(), __ATOMIC_RELAXED);
  }
  os::rseq_barrier();  // orders the stores before anything that follows, on every CPU
  return true;
}

void restart_ps() {
  for (unsigned p = 0; p < rseq_bound; ++p) {
    if (stopped[p] == nullptr) continue;
    if (stopped[p] != empty_slab()) __atomic_store_n(&slabtab[p], stopped[p], __ATOMIC_RELEASE);
    stopped[p] = nullptr;
  }
}

void drain_slab(Slab* s) {
  Cache{s, false, {}}.drain_all();
}

/// Empties the leases that nobody holds, where `choose` holds: their caches are as good as ours.
template <typename F>
void drain_free_leases_locked(F choose) {
  for (unsigned i = 0; i < max_leases; ++i) {
    const bool taken = (lease_taken[i / 64] >> (i % 64) & 1) != 0;
    if (lease[i] != nullptr && !taken && choose(lease[i])) drain_slab(lease[i]);
  }
}

/// Whether the slab was used since the last call for it.
bool was_used(Slab* s) {
  uint64_t sum = 0;
  for (const uint64_t& h : s->header) sum = sum * 31 + __atomic_load_n(&h, __ATOMIC_RELAXED);
  const bool used = sum != s->look;
  s->look = sum;
  return used;
}

}  // namespace

bool thread_is_ending() noexcept {
  return tls_exited;
}

void drain_caches() noexcept {
  if (tls_slab->real) drain_slab(tls_slab);
  MutexGuard guard(mutex);
  if (rseq_bound != 0 && stop_ps()) {
    for (unsigned p = 0; p < rseq_bound; ++p) {
      if (stopped[p] != nullptr && stopped[p] != empty_slab()) drain_slab(stopped[p]);
    }
    restart_ps();
  }
  drain_free_leases_locked([](Slab*) { return true; });
}

void drain_idle_leases() noexcept {
  MutexGuard guard(mutex);
  drain_free_leases_locked([](Slab* s) { return !was_used(s); });
}

bool percpu_is_mine() noexcept {
  return mutex.is_mine();
}

bool percpu_lock_for_fork(bool interrupted) noexcept {
  return mutex.lock_for_fork(interrupted);
}

void percpu_after_fork(bool child, bool took_lock) noexcept {
  if (child) {
    __atomic_store_n(&thread_came, false, __ATOMIC_RELAXED);
    // Other threads may have been in the middle of a sequence while the kernel copied the slabs of the Ps: what these
    // cached is lost to the child. They stay in the list of all slabs, so that statistics go on counting it as cached.
    // To stop the Ps instead would cost an interrupt on every CPU at each fork, and a system call that sandboxes do not
    // know. (A drain that a signal handler which forks has interrupted puts those back that it had stopped.)
    for (unsigned p = 0; p < rseq_bound; ++p) __atomic_store_n(&slabtab[p], empty_slab(), __ATOMIC_RELAXED);
    barrier = kNotAsked;  // the registration is a process's own, or may be
  }
  if (!took_lock) return;  // what is below would change under the hands of the interrupted code
  // Likewise slabs that other threads leased; new leases get new slabs.
  for (unsigned i = 0; child && i < max_leases; ++i) {
    const bool taken = (lease_taken[i / 64] >> (i % 64) & 1) != 0;
    if (!taken || lease[i] == tls_slab) continue;
    forget_growth(lease[i]);
    lease[i] = nullptr;
    lease_taken[i / 64] &= ~(uint64_t{1} << (i % 64));
    ++leases_free;
  }
  mutex.unlock();
}

}  // namespace ashlar
