// SPDX-License-Identifier: MIT
//
// shared_slice_model.cc - shared_slice.h under the model checker relacy, on the epochs it ships with (fenced pins:
// membarrier is beyond relacy), and broken twins that it must find.
#include <gtest/gtest.h>

#include "alloc/epoch_core.h"
#include "alloc/slice/shared_slice.h"
#include "test/support/relacy_epoch.h"

namespace ashlar_test {
namespace {

enum class Twin : uint8_t { kShips, kStoresRelaxed, kFreesAtOnce };

using Core = ashlar::EpochCore<RelacyEpochParts>;
constexpr unsigned kThreads = 3;

template <Twin kTwin>
struct WeakAtomic {
  template <class T>
  class Of {
   public:
    Of() = default;
    explicit Of(T value) : value_(value) {}
    T load(std::memory_order order) const { return value_.load(order); }
    void store(T value, std::memory_order order) {
      value_.store(value, kTwin == Twin::kStoresRelaxed ? std::memory_order_relaxed : order);
    }

   private:
    RelacyAtomic<T> value_;
  };
};

// What a schedule works on. Buffers are never unmapped within one: a freed one's elements are overwritten, which races
// with a look that came too late, or is seen by it.
constexpr size_t kBuffers = 4;
constexpr size_t kBufferBytes = 1024;
class ModelCell;
struct World {
  Core core;
  Core::Record* record[kThreads];
  alignas(64) unsigned char buffer[kBuffers][kBufferBytes];
  size_t buffers;
  size_t cells_at;
  bool over;
  ModelCell* cell[32];
  size_t cells;
};
World* world;

/// An element whose accesses relacy sees. Trivially copyable ints go in, so the element of the slice is an int.
class ModelCell {
 public:
  explicit ModelCell(int value) {
    world->cell[world->cells++] = this;
    value_($) = value;
  }
  ModelCell(const ModelCell& other) : ModelCell(other.get()) {}
  int get() const { return value_($); }
  void kill() { value_($) = -1; }

 private:
  mutable rl::var<int> value_;
};

void kill_buffer(void* p) {
  reinterpret_cast<ModelCell*>(static_cast<unsigned char*>(p) + world->cells_at)->kill();
}

template <Twin kTwin>
struct ModelParts {
  template <class T>
  using Atomic = typename WeakAtomic<kTwin>::template Of<T>;
  template <class T>
  using Cell = ModelCell;

  static ashlar_block allocate(size_t /*alignment*/, size_t bytes) {
    if (world->buffers == kBuffers || bytes > kBufferBytes) return {nullptr, 0};
    return {world->buffer[world->buffers++], bytes};
  }
  static size_t expand(void* /*block*/, size_t /*bytes*/) { return 0; }
  static void deallocate(void* /*block*/) {}
};

template <Twin kTwin>
struct ModelBarrier {
  class Pin {
   public:
    Pin() { ashlar::epoch_enter(*head()); }
    ~Pin() { ashlar::epoch_leave(*head()); }
    Pin(const Pin&) = delete;
    Pin& operator=(const Pin&) = delete;

   private:
    static ashlar::EpochHead<RelacyEpochParts>* head() { return world->record[rl::thread_index()]; }
  };
  static constexpr bool kKeeps = false;
  static void retire(void* buffer, size_t bytes) {
    if (world->over) return;
    if (kTwin == Twin::kFreesAtOnce) return kill_buffer(buffer);
    world->core.retire(world->record[rl::thread_index()], buffer, bytes, kill_buffer);
  }
};

size_t exactly(size_t /*capacity*/, size_t needed, size_t /*element_bytes*/) {
  return needed;
}
/// Two of room at a time: every second append is in place.
size_t in_twos(size_t /*capacity*/, size_t needed, size_t /*element_bytes*/) {
  return (needed + 1) & ~size_t{1};
}

/// A writer appends; two readers look, one of them twice, and the lengths they see may not fall.
template <Twin kTwin, ashlar::GrowthPolicy Policy>
struct Append : rl::test_suite<Append<kTwin, Policy>, kThreads> {
  using Slice = ashlar::shared_slice<int, ModelBarrier<kTwin>, Policy, ModelParts<kTwin>>;
  static constexpr int kElements = 3;

  World mine;
  Slice* slice = nullptr;
  alignas(Slice) unsigned char room[sizeof(Slice)];

  void before() {
    world = &mine;
    mine.buffers = 0;
    mine.over = false;
    mine.cells = 0;
    mine.cells_at = Slice::kCellsAt;
    slice = ::new (room) Slice;
  }
  void after() {
    for (int i = 0; i < 8; ++i) mine.core.collect(mine.core.records());
    for (auto* r = mine.core.records(); r != nullptr;) {
      auto* next = r->next;
      if (r->spare != nullptr) RelacyEpochParts::deallocate_bag(r->spare);
      r->~EpochRecord();
      ::operator delete (r, std::align_val_t{128});
      r = next;
    }
    // relacy counts its variables. The length is the first of a buffer.
    mine.over = true;
    slice->~Slice();
    using Length = typename ModelParts<kTwin>::template Atomic<size_t>;
    for (size_t i = 0; i < mine.buffers; ++i) reinterpret_cast<Length*>(mine.buffer[i])->~Length();
    for (size_t i = 0; i < mine.cells; ++i) mine.cell[i]->~ModelCell();
  }
  void thread(unsigned index) {
    auto* record = mine.record[index] = mine.core.attach(true);
    if (index == 0) {
      for (int i = 1; i <= kElements; ++i) slice->append(i);
      // Enough steps of the epoch to free what was retired, if no pin stands in the way.
      for (int i = 0; i < 4; ++i) mine.core.collect(record);
    } else {
      size_t longest = 0;
      for (unsigned look = 0; look < index; ++look) {
        const auto r = slice->read();
        RL_ASSERT(r.size() >= longest);
        longest = r.size();
        for (size_t i = 0; i < r.size(); ++i) RL_ASSERT(r[i].get() == static_cast<int>(i) + 1);
      }
      mine.core.advance();
    }
    mine.core.detach(record);
  }
};

const unsigned kIterations = getenv("TEST_EMULATED") != nullptr ? 10'000 : 150'000;

TEST(SharedSliceModel, readers_see_whole_elements_and_no_freed_buffer) {
  EXPECT_EQ(rl::test_result_success, (simulate<Append<Twin::kShips, exactly>>(kIterations)));
  EXPECT_EQ(rl::test_result_success, (simulate<Append<Twin::kShips, in_twos>>(kIterations)));
}

// The tests of the test.
void expect_found(rl::test_result_e result) {
  EXPECT_TRUE(result == rl::test_result_data_race || result == rl::test_result_user_assert_failed ||
              result == rl::test_result_unitialized_access)
      << result;
}

TEST(SharedSliceModel, stores_that_do_not_release_are_found) {
  expect_found(simulate<Append<Twin::kStoresRelaxed, exactly>>(kIterations));
  expect_found(simulate<Append<Twin::kStoresRelaxed, in_twos>>(kIterations));
}
TEST(SharedSliceModel, a_buffer_freed_at_once_is_found) {
  expect_found(simulate<Append<Twin::kFreesAtOnce, exactly>>(kIterations));
}
}  // namespace
}  // namespace ashlar_test
