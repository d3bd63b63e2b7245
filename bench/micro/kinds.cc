// SPDX-License-Identifier: MIT
//
// kinds.cc - the other ways to get and give back memory: calloc, realloc, alignment, operator new and sized delete.
//
// Idea: the entries of malloc's interface that loops of malloc and free leave out.
// Stresses: calloc   clearing, or knowing that memory is clear already
//           realloc  doubling: a vector that grows from 16 bytes to 64 KiB; adding: a string that grows by 16 bytes up
//                    to 4 KiB; large: from 64 KiB to 16 MiB by halves (in place, by mremap, or by copying)
//           aligned  aligned_alloc of 64 bytes on 64, of 200 on 256, of 4,096 on 4,096
//           sized    operator new, and delete that is told the size
#include <new>

#include "bench/micro/micro.h"

// clang declares it only with -fsized-deallocation.
void operator delete(void* block, std::size_t size) noexcept;

namespace micro {
namespace {

template <class Once>
Case simple(const std::string& name, long runs, Once once) {
  return {name, Threads::kAll, runs, 1, [once](benchmark::State&) -> Body { return repeated(once); }};
}

void write_to(void* block) {
  *static_cast<volatile char*>(block) = 1;
}

auto calloc_and_free(size_t count, size_t size) {
  return [count, size] {
    void* block = used(std::calloc(count, size));
    write_to(block);
    std::free(block);
  };
}

auto aligned_and_free(size_t align, size_t size) {
  return [align, size] {
    void* block = used(std::aligned_alloc(align, size));
    write_to(block);
    std::free(block);
  };
}

auto new_and_sized_delete(size_t size) {
  return [size] {
    void* block = used(::operator new(size));
    write_to(block);
    ::operator delete(block, size);
  };
}

/// Grows a block from `from` to at least `to`; `next` says the size after one. Each step writes the new end.
template <class Next>
Body growth(size_t from, size_t to, Next next) {
  return repeated([from, to, next] {
    size_t size = from;
    void* block = touched(size);
    while (size < to) {
      size = next(size);
      block = used(std::realloc(block, size));
      static_cast<volatile char*>(block)[size - 1] = 1;
    }
    std::free(block);
  });
}

}  // namespace

void add_kinds(std::vector<Case>& cases) {
  cases.push_back(simple("calloc/64", 1'500'000, calloc_and_free(1, 64)));
  cases.push_back(simple("calloc/4096", 300'000, calloc_and_free(64, 64)));
  cases.push_back(simple("calloc/262144", 2'500, calloc_and_free(1, 262144)));
  cases.push_back(simple("aligned/64", 1'500'000, aligned_and_free(64, 64)));
  cases.push_back(simple("aligned/256", 1'500'000, aligned_and_free(256, 200)));
  cases.push_back(simple("aligned/4096", 1'000'000, aligned_and_free(4096, 4096)));
  cases.push_back(simple("sized_delete/48", 3'000'000, new_and_sized_delete(48)));
  cases.push_back(simple("sized_delete/512", 3'000'000, new_and_sized_delete(512)));
  cases.push_back({"realloc/doubling", Threads::kAll, 20'000, 12,
                   [](benchmark::State&) { return growth(16, 65536, [](size_t size) { return 2 * size; }); }});
  cases.push_back({"realloc/adding", Threads::kAll, 6'000, 255,
                   [](benchmark::State&) { return growth(16, 4096, [](size_t size) { return size + 16; }); }});
  cases.push_back({"realloc/large", Threads::kAll, 100, 14, [](benchmark::State&) {
                     return growth(65536, 16u << 20, [](size_t size) { return size + size / 2; });
                   }});
}

}  // namespace micro
