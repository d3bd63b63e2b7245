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
constinit unsigned leases_free = 1;   // relaxed hint for guests
constinit bool counted_cpus = false;  // likewise: read without the lock to skip it
constinit bool rseq_wanted = false;
enum PsState : uint8_t { kNotAsked, kAsking, kKnown };
constinit PsState ps_state = kNotAsked;  // whether the kernel was asked for the barrier that rseq Ps need; atomic
constinit unsigned rseq_bound = 0;       // Ps that slabtab has; 0: rseq is not active
constinit uintptr_t rseq_p_offset = kRseqCpuId;
constinit Slab* slabtab[kMaxPs] = {};
constinit Slab* stopped_by_drain[kMaxPs] = {};  // real slabs out of slabtab, while their Ps stand still
constinit Slab* stopped_by_fork[kMaxPs] = {};   // apart, since a signal handler may fork in the middle of a drain
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

Slab* new_slab_locked() {
  Slab* s = num_slabs == 0 ? &first_slab : static_cast<RealSlab*>(page_heap.metadata(sizeof(RealSlab)));
  if (s == nullptr) return nullptr;
  init_slab(s, num_slabs, num_slabs % kHomeGroups);
  ++num_slabs;
  s->next = slabs;
  // Release: statistics walk the list without the lock.
  __atomic_store_n(&slabs, s, __ATOMIC_RELEASE);
  return s;
}

void raise_leases_locked(unsigned to) {
  // Relaxed: whoever acts on this hint takes the lock first.
  __atomic_store_n(&leases_free, leases_free + to - max_leases, __ATOMIC_RELAXED);
  max_leases = to;
}

/// The second thread: find out how many leases there should be.
void count_cpus_locked() {
  const os::CpuCount cpus = os::cpu_count();
  // Two for each CPU: some of the first threads, the initial one above all, do nothing but wait.
  const bool few = rseq_wanted && cpus.bound != 0 && 2 * cpus.usable < kMaxLeases;
  raise_leases_locked(few ? 2 * cpus.usable : kMaxLeases);
  // Relaxed likewise. The leases before the flag, so that a thread that sees the flag is likely to see them.
  __atomic_store_n(&counted_cpus, true, __ATOMIC_RELAXED);
}

/// The first thread without a lease: asks the kernel for the barrier that stopping a P needs. Only here, since few
/// programs have so many threads, and some run under a filter that knows no membarrier. It takes milliseconds once a
/// process has several threads: that thread alone waits, with no lock held.
[[gnu::noinline, gnu::cold]] void open_ps() {
  PsState expected = kNotAsked;
  if (!__atomic_compare_exchange_n(&ps_state, &expected, kAsking, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return;
  const os::CpuCount cpus = os::cpu_count();
  const bool works = rseq_wanted && cpus.bound != 0 && cpus.bound <= kMaxPs && os::register_rseq_barrier();
  MutexGuard guard(mutex);
  if (works && rseq_bound == 0) {
    for (unsigned p = 0; p < cpus.bound; ++p) slabtab[p] = empty_slab();
    __atomic_store_n(&rseq_bound, cpus.bound, __ATOMIC_RELEASE);
  } else if (!works) {
    raise_leases_locked(kMaxLeases);
  }
  __atomic_store_n(&ps_state, kKnown, __ATOMIC_RELAXED);
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
    if (lease[i] == nullptr && (lease[i] = new_slab_locked()) == nullptr) return false;
    lease_taken[i / 64] |= uint64_t{1} << (i % 64);
    __atomic_store_n(&leases_free, leases_free - 1, __ATOMIC_RELAXED);
    tls_slab = lease[i];
    tls_guest = false;
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
  Slab* s = new_slab_locked();
  // Release: a sequence that finds the slab finds it initialised.
  if (s != nullptr) __atomic_store_n(&slabtab[p], s, __ATOMIC_RELEASE);
}

Cache guest_cache() {
  // Acquire pairs with the release in open_ps: slabtab is filled.
  if (__atomic_load_n(&rseq_bound, __ATOMIC_ACQUIRE) == 0) {
    // Relaxed: hints. A thread that has ended but for its last destructors is no reason to ask.
    const bool no_lease = __atomic_load_n(&leases_free, __ATOMIC_RELAXED) == 0 && !tls_exited &&
                          (__atomic_load_n(&counted_cpus, __ATOMIC_RELAXED) || !have_exit_key);
    if (!no_lease || __atomic_load_n(&ps_state, __ATOMIC_RELAXED) != kNotAsked) return {};
    open_ps();
    if (__atomic_load_n(&rseq_bound, __ATOMIC_ACQUIRE) == 0) return {};
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

/// Stops all Ps that run. Called once more, it stops those that do not stand still yet.
void stop_ps(Slab** stopped) {
  bool any = false;
  for (unsigned p = 0; p < rseq_bound; ++p) {
    if (slabtab[p] == empty_slab()) continue;
    any = true;
    stopped[p] = slabtab[p];
    __atomic_store_n(&slabtab[p], empty_slab(), __ATOMIC_RELAXED);
  }
  if (any) os::rseq_barrier();  // orders the stores before anything that follows, on every CPU
}

void restart_ps(Slab** stopped) {
  for (unsigned p = 0; p < rseq_bound; ++p) {
    if (stopped[p] == nullptr) continue;
    __atomic_store_n(&slabtab[p], stopped[p], __ATOMIC_RELEASE);
    stopped[p] = nullptr;
  }
}

void drain_slab(Slab* s) {
  Cache{s, false, {}}.drain_all();
}

}  // namespace

void drain_caches() noexcept {
  if (tls_slab->real) drain_slab(tls_slab);
  MutexGuard guard(mutex);
  if (rseq_bound != 0) {
    stop_ps(stopped_by_drain);
    for (unsigned p = 0; p < rseq_bound; ++p) {
      if (stopped_by_drain[p] != nullptr) drain_slab(stopped_by_drain[p]);
    }
    restart_ps(stopped_by_drain);
  }
  // Leases that nobody holds: their caches are as good as ours.
  for (unsigned i = 0; i < max_leases; ++i) {
    if (lease[i] != nullptr && (lease_taken[i / 64] >> (i % 64) & 1) == 0) drain_slab(lease[i]);
  }
}

bool percpu_is_mine() noexcept {
  return mutex.is_mine();
}

bool percpu_prepare_fork(bool interrupted) noexcept {
  const bool took_lock = mutex.lock_for_fork(interrupted);
  if (rseq_bound != 0) stop_ps(stopped_by_fork);
  return took_lock;
}

void percpu_after_fork(bool child, bool took_lock, bool outermost) noexcept {
  if (outermost && rseq_bound != 0) restart_ps(stopped_by_fork);
  if (!took_lock) return;  // what is below would change under the hands of the interrupted code
  // Slabs that other threads leased may have been copied in the middle of an update: what they cached is lost to the
  // child. They stay in the list of all slabs, so that statistics go on counting it as cached; new leases get new
  // slabs.
  for (unsigned i = 0; child && i < max_leases; ++i) {
    const bool taken = (lease_taken[i / 64] >> (i % 64) & 1) != 0;
    if (!taken || lease[i] == tls_slab) continue;
    lease[i] = nullptr;
    lease_taken[i / 64] &= ~(uint64_t{1} << (i % 64));
    ++leases_free;
  }
  // The thread that was asking may not be here any more. If it is, asking twice does no harm.
  if (child && ps_state == kAsking) ps_state = kNotAsked;
  mutex.unlock();
}

}  // namespace ashlar
