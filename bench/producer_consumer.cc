// SPDX-License-Identifier: MIT
//
// producer_consumer [PAIRS] [MESSAGES] [QUEUED] - some threads only allocate, others only free.
//
// Models: a pipeline (network reader -> worker, logger, message bus) with a long bounded queue between its stages.
// Idea: "asymmetric" loads of xmalloc-test (C. Lever and D. Boreham, "malloc() Performance in a Multithreaded Linux
// Environment", USENIX 2000); memory growth of such programs: mimalloc#1364, jemalloc#1497, snmalloc#814.
// Stresses: the way of a block back from the thread that frees to the thread that allocates. An allocator that has none
// grows without bound; one whose way is slow loses time.
// The consumer starts when the queue is full for the first time, so the peak of the live set is always the whole queue.
// stderr: peak RSS, peak live set (bytes that the program asked for, and its queue), their ratio.
#include <pthread.h>

#include <vector>

#include "bench/program.h"

namespace {

constexpr uint32_t kMinSize = 16;
constexpr uint32_t kMaxSize = 512;
/// Messages that change hands at once: the queue's lock is taken seldom, so that the allocator is what is measured.
constexpr long kParcel = 256;

using Parcel = std::vector<bench::Block*>;

/// A bounded queue of parcels between one producer and one consumer.
class Queue {
 public:
  explicit Queue(size_t capacity) : ring_(capacity) {
    for (Parcel& parcel : ring_) parcel.reserve(kParcel);
  }

  /// Swaps a full parcel for an empty one. Waits while the queue is full.
  void put(Parcel& parcel) {
    pthread_mutex_lock(&lock_);
    while (count_ == ring_.size()) {
      started_ = true;
      pthread_cond_signal(&filled_);
      pthread_cond_wait(&drained_, &lock_);
    }
    std::swap(ring_[(first_ + count_) % ring_.size()], parcel);
    ++count_;
    if (started_) pthread_cond_signal(&filled_);
    pthread_mutex_unlock(&lock_);
  }

  /// Swaps an empty parcel for a full one. False: the producer has ended and all is taken.
  bool take(Parcel& parcel) {
    pthread_mutex_lock(&lock_);
    while (!ended_ && (!started_ || count_ == 0)) pthread_cond_wait(&filled_, &lock_);
    const bool got = count_ > 0;
    if (got) {
      std::swap(ring_[first_], parcel);
      first_ = (first_ + 1) % ring_.size();
      // The producer is woken at three quarters: a wake for every parcel would measure the scheduler.
      if (--count_ <= ring_.size() / 4 * 3) pthread_cond_signal(&drained_);
    }
    pthread_mutex_unlock(&lock_);
    return got;
  }

  void end() {
    pthread_mutex_lock(&lock_);
    ended_ = true;
    pthread_cond_signal(&filled_);
    pthread_mutex_unlock(&lock_);
  }

 private:
  pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t filled_ = PTHREAD_COND_INITIALIZER;
  pthread_cond_t drained_ = PTHREAD_COND_INITIALIZER;
  std::vector<Parcel> ring_;
  size_t first_ = 0;
  size_t count_ = 0;
  bool started_ = false;
  bool ended_ = false;
};

struct Pair {
  Pair(size_t parcels, long number) : queue(parcels), index(number), seed(static_cast<uint64_t>(number) + 1) {}
  Queue queue;
  long index;
  uint64_t seed;
  long messages = 0;
  uint64_t produced_bytes = 0;
  uint64_t consumed_bytes = 0;
  pthread_t producer{};
  pthread_t consumer{};
};

void* produce(void* argument) {
  auto* pair = static_cast<Pair*>(argument);
  bench::pin_thread(2 * pair->index);
  bench::Rng random(pair->seed);
  Parcel parcel;
  parcel.reserve(kParcel);
  for (long i = 0; i < pair->messages; ++i) {
    const uint32_t size = random.between(kMinSize, kMaxSize);
    pair->produced_bytes += size;
    parcel.push_back(bench::make_block(size));
    if (parcel.size() == kParcel) pair->queue.put(parcel);
  }
  pair->queue.put(parcel);
  pair->queue.end();
  return nullptr;
}

void* consume(void* argument) {
  auto* pair = static_cast<Pair*>(argument);
  bench::pin_thread(2 * pair->index + 1);
  Parcel parcel;
  parcel.reserve(kParcel);
  while (pair->queue.take(parcel)) {
    for (bench::Block* block : parcel) pair->consumed_bytes += bench::drop_block(block);
    parcel.clear();
  }
  return nullptr;
}

/// The largest sum of sizes over `window` messages in a row: the most that one queue can hold.
uint64_t peak_live_bytes(uint64_t seed, long messages, long window) {
  bench::Rng entering(seed);
  bench::Rng leaving(seed);
  uint64_t sum = 0;
  uint64_t peak = 0;
  for (long i = 0; i < messages; ++i) {
    sum += entering.between(kMinSize, kMaxSize);
    if (i >= window) sum -= leaving.between(kMinSize, kMaxSize);
    if (sum > peak) peak = sum;
  }
  return peak;
}

}  // namespace

int main(int argc, char** argv) {
  const long pairs = bench::argument(argc, argv, 1, 1);
  const long messages = bench::argument(argc, argv, 2, 8000000) / (pairs > 0 ? pairs : 1);
  const long queued = bench::argument(argc, argv, 3, 262144) / (pairs > 0 ? pairs : 1);
  if (pairs == 0 || queued < kParcel || messages < queued) bench::fail("messages >= queued >= 256 are needed");

  const long parcels = queued / kParcel;
  std::vector<Pair*> all;
  for (long i = 0; i < pairs; ++i) {
    all.push_back(new Pair(static_cast<size_t>(parcels), i));
    all.back()->messages = messages;
  }
  const double start = bench::now_seconds();
  for (Pair* pair : all) {
    if (pthread_create(&pair->producer, nullptr, produce, pair) != 0) bench::fail("pthread_create");
    if (pthread_create(&pair->consumer, nullptr, consume, pair) != 0) bench::fail("pthread_create");
  }
  uint64_t bytes = 0;
  for (Pair* pair : all) {
    pthread_join(pair->producer, nullptr);
    pthread_join(pair->consumer, nullptr);
    if (pair->produced_bytes != pair->consumed_bytes) bench::fail("the consumer missed messages");
    bytes += pair->consumed_bytes;
  }
  const double seconds = bench::now_seconds() - start;
  const long peak_kib = bench::peak_rss_kib();
  uint64_t live = 0;
  for (Pair* pair : all) {
    // Beyond the queue a parcel is in the producer's hand and one in the consumer's.
    live += peak_live_bytes(pair->seed, messages, (parcels + 2) * kParcel);
    live += static_cast<uint64_t>(queued) * sizeof(void*);
    delete pair;
  }
  std::printf("producer_consumer: %ld messages, %llu bytes\n", messages * pairs,
              static_cast<unsigned long long>(bytes));
  std::fprintf(stderr, "%.1f ns a message, peak RSS %ld KiB, live set %llu KiB, ratio %.3f\n",
               seconds * 1e9 / static_cast<double>(messages * pairs), peak_kib,
               static_cast<unsigned long long>(live / 1024),
               static_cast<double>(peak_kib) * 1024.0 / static_cast<double>(live));
  return 0;
}
