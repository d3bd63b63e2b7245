// SPDX-License-Identifier: MIT
//
// operators.cc - every form of operator new and delete, run preloaded by test/preload/operators.sh.
#include <dlfcn.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <initializer_list>
#include <new>

#include "test/programs/check.h"

// Sized deletion, which clang 14 declares only with -fsized-deallocation.
void operator delete(void*, size_t) noexcept;
void operator delete[](void*, size_t) noexcept;
void operator delete(void*, size_t, std::align_val_t) noexcept;
void operator delete[](void*, size_t, std::align_val_t) noexcept;

namespace {

constexpr auto kAligned = std::align_val_t{256};

/// Looked up by name, as the dynamic linker sees it: the operators must come from Ashlar, not from libstdc++ over
/// malloc.
void check_owned(const char* mangled) {
  void* function = dlsym(RTLD_DEFAULT, mangled);
  Dl_info info{};
  CHECK(function != nullptr && dladdr(function, &info) != 0);
  if (strstr(info.dli_fname, "/libashlar") == nullptr) dprintf(2, "%s is in %s\n", mangled, info.dli_fname);
  CHECK(strstr(info.dli_fname, "/libashlar") != nullptr);
}

void check_ownership() {
  for (const char* name : {"_Znwm",
                           "_Znam",
                           "_ZnwmRKSt9nothrow_t",
                           "_ZnamRKSt9nothrow_t",
                           "_ZnwmSt11align_val_t",
                           "_ZnamSt11align_val_t",
                           "_ZnwmSt11align_val_tRKSt9nothrow_t",
                           "_ZnamSt11align_val_tRKSt9nothrow_t",
                           "_ZdlPv",
                           "_ZdaPv",
                           "_ZdlPvm",
                           "_ZdaPvm",
                           "_ZdlPvRKSt9nothrow_t",
                           "_ZdaPvRKSt9nothrow_t",
                           "_ZdlPvSt11align_val_t",
                           "_ZdaPvSt11align_val_t",
                           "_ZdlPvmSt11align_val_t",
                           "_ZdaPvmSt11align_val_t",
                           "_ZdlPvSt11align_val_tRKSt9nothrow_t",
                           "_ZdaPvSt11align_val_tRKSt9nothrow_t"}) {
    check_owned(name);
  }
}

void check_block(void* block, size_t size, size_t alignment) {
  CHECK(block != nullptr);
  CHECK(is_multiple(block, alignment));
  CHECK(malloc_usable_size(block) >= size);
  memset(block, 0x7e, size);
}

void check_forms(size_t size) {
  void* p = ::operator new(size);
  check_block(p, size, 16);
  ::operator delete(p);
  p = ::operator new(size);
  ::operator delete(p, size);
  p = ::operator new[](size);
  check_block(p, size, 16);
  ::operator delete[](p);
  p = ::operator new[](size);
  ::operator delete[](p, size);
  p = ::operator new(size, std::nothrow);
  check_block(p, size, 16);
  ::operator delete(p, std::nothrow);
  p = ::operator new[](size, std::nothrow);
  check_block(p, size, 16);
  ::operator delete[](p, std::nothrow);

  p = ::operator new(size, kAligned);
  check_block(p, size, 256);
  ::operator delete(p, kAligned);
  p = ::operator new(size, kAligned);
  ::operator delete(p, size, kAligned);
  p = ::operator new[](size, kAligned);
  check_block(p, size, 256);
  ::operator delete[](p, kAligned);
  p = ::operator new[](size, kAligned);
  ::operator delete[](p, size, kAligned);
  p = ::operator new(size, kAligned, std::nothrow);
  check_block(p, size, 256);
  ::operator delete(p, kAligned, std::nothrow);
  p = ::operator new[](size, kAligned, std::nothrow);
  check_block(p, size, 256);
  ::operator delete[](p, kAligned, std::nothrow);

  // Across the two worlds: both are one heap.
  free(::operator new(size));
  ::operator delete(malloc(size));
  ::operator delete(nullptr);
  ::operator delete[](nullptr, size);
}

template <typename Allocate>
bool throws_bad_alloc(Allocate allocate) {
  try {
    allocate();
  } catch (const std::bad_alloc&) {
    return true;
  }
  return false;
}

void check_failures() {
  for (size_t size :
       {static_cast<size_t>(PTRDIFF_MAX), static_cast<size_t>(PTRDIFF_MAX) + 1, SIZE_MAX - 16, SIZE_MAX}) {
    const size_t huge = opaque(size);
    CHECK(throws_bad_alloc([=] { return ::operator new(huge); }));
    CHECK(throws_bad_alloc([=] { return ::operator new[](huge); }));
    CHECK(throws_bad_alloc([=] { return ::operator new(huge, kAligned); }));
    CHECK(throws_bad_alloc([=] { return ::operator new[](huge, kAligned); }));
    CHECK(::operator new(huge, std::nothrow) == nullptr);
    CHECK(::operator new[](huge, std::nothrow) == nullptr);
    CHECK(::operator new(huge, kAligned, std::nothrow) == nullptr);
    CHECK(::operator new[](huge, kAligned, std::nothrow) == nullptr);
  }
  const size_t count = opaque(SIZE_MAX / 4);
  CHECK(throws_bad_alloc([=] { return reinterpret_cast<char*>(new uint64_t[count]); }));
}

int handler_calls = 0;

void handler_that_gives_up_after_three() {
  if (++handler_calls == 3) std::set_new_handler(nullptr);
}

struct OwnException {};

void handler_that_throws() {
  ++handler_calls;
  throw OwnException{};
}

void check_handlers() {
  const size_t huge = opaque(PTRDIFF_MAX);
  // new calls the handler until it gives way; without one it throws.
  handler_calls = 0;
  std::set_new_handler(handler_that_gives_up_after_three);
  CHECK(throws_bad_alloc([=] { return ::operator new(huge); }));
  CHECK(handler_calls == 3);
  handler_calls = 0;
  std::set_new_handler(handler_that_gives_up_after_three);
  CHECK(::operator new(huge, std::nothrow) == nullptr);
  CHECK(handler_calls == 3);
  handler_calls = 0;
  std::set_new_handler(handler_that_gives_up_after_three);
  CHECK(throws_bad_alloc([=] { return ::operator new[](huge, kAligned); }));
  CHECK(handler_calls == 3);

  // What a handler throws comes through new, and becomes null in the nothrow forms.
  handler_calls = 0;
  std::set_new_handler(handler_that_throws);
  bool came_through = false;
  try {
    ::operator delete(::operator new(huge));
  } catch (const OwnException&) {
    came_through = true;
  }
  CHECK(came_through);
  CHECK(handler_calls == 1);
  std::set_new_handler([] { throw std::bad_alloc(); });
  CHECK(::operator new(huge, std::nothrow) == nullptr);
  CHECK(::operator new(huge, kAligned, std::nothrow) == nullptr);
  std::set_new_handler(nullptr);
  CHECK(std::get_new_handler() == nullptr);
}

struct alignas(1024) Overaligned {
  char bytes[1024];
};

void check_expressions() {
  auto* one = new Overaligned;
  CHECK(is_multiple(one, 1024));
  delete one;
  auto* many = new Overaligned[5];
  CHECK(is_multiple(many, 1024));
  delete[] many;
  auto* numbers = new int[1000]();
  for (int i = 0; i < 1000; ++i) CHECK(numbers[i] == 0);
  delete[] numbers;
}

}  // namespace

int main() {
  check_ownership();
  for (size_t size = 0; size < 2000; ++size) check_forms(size);
  for (size_t size : {size_t{4096}, size_t{32768}, size_t{32769}, size_t{1} << 20, size_t{5} << 20}) check_forms(size);
  check_failures();
  check_handlers();
  check_expressions();
  report_checks();
  return 0;
}
