// SPDX-License-Identifier: MIT
//
// override_cxx.cc - every replaceable operator new and delete.
//
// Owns: these operators, and what happens when memory runs out: the new_handler loop, then std::bad_alloc, or null.
// The one file that is compiled with -fexceptions: a new_handler may throw, and the nothrow operators must catch that.
//
// No C++ run time is required. The shared library is preloaded into C programs, too, so it names the run time weakly.
// Where a C program has loaded it privately (python3 and its extensions), it is looked up when memory has run out.
// In the archive (ASHLAR_STATIC_ARCHIVE) this is a member of its own that only C++ programs pull in, so the references
// are strong: weak ones would not pull the run time into a static program. The operators are weak there, because a
// program may define some of them itself.
//
// A program may replace operator new(size_t) and operator delete(void*) alone and rely on all the others ending there
// ([new.delete.single], [new.delete.array]); if they did not, its heap and ours would get each other's blocks. So each
// of the others looks whether what it stands for is still ours: the address that the linker chose for the name is
// compared with a local alias. That costs three instructions, and the two plain operators nothing.
#include <stddef.h>

#include <new>

#include "alloc/alloc.h"
#include "alloc/base/check.h"
#include "alloc/fast_path.h"
#include "alloc/requests.h"

#if defined(ASHLAR_STATIC_ARCHIVE)
#define ASHLAR_RUN_TIME_
#define ASHLAR_OPERATOR_ [[gnu::weak, gnu::visibility("default")]]
#else
#include <dlfcn.h>
#define ASHLAR_RUN_TIME_ __attribute__((weak))
#define ASHLAR_OPERATOR_ [[gnu::visibility("default")]]
// What the compiler itself names for a catch clause.
asm(".weak __gxx_personality_v0");
asm(".weak __cxa_begin_catch");
asm(".weak __cxa_end_catch");
asm(".weak _ZSt9terminatev");
#endif

namespace {

using GetNewHandler = std::new_handler();
using ThrowBadAlloc = void();

extern "C" {
// std::get_new_handler and std::__throw_bad_alloc, under which names libc++ has them, too.
extern GetNewHandler run_time_get_new_handler __asm__("_ZSt15get_new_handlerv") ASHLAR_RUN_TIME_;
extern ThrowBadAlloc run_time_throw_bad_alloc __asm__("_ZSt17__throw_bad_allocv") ASHLAR_RUN_TIME_;
extern int run_time_personality(...) __asm__("__gxx_personality_v0") ASHLAR_RUN_TIME_;
}

/// What is needed of the C++ run time; null where there is none.
struct RunTime {
  GetNewHandler* get_new_handler;
  ThrowBadAlloc* throw_bad_alloc;
};

#if defined(ASHLAR_STATIC_ARCHIVE)

RunTime find_run_time() {
  return {&run_time_get_new_handler, &run_time_throw_bad_alloc};
}

bool can_catch() {
  return true;
}

#else

RunTime find_run_time() {
  if (&run_time_get_new_handler != nullptr && &run_time_throw_bad_alloc != nullptr) {
    return {&run_time_get_new_handler, &run_time_throw_bad_alloc};
  }
  // Loaded with RTLD_LOCAL, it is in nobody's global scope. NOLOAD: only what is there already. The reference is
  // kept, since code of the library is about to run.
  static constexpr const char* kNames[] = {"libstdc++.so.6", "libc++abi.so.1", "libc++.so.1"};
  for (const char* name : kNames) {
    void* library = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) continue;
    void* get = dlsym(library, "_ZSt15get_new_handlerv");
    void* raise = dlsym(library, "_ZSt17__throw_bad_allocv");
    if (get != nullptr && raise != nullptr) {
      return {reinterpret_cast<GetNewHandler*>(get), reinterpret_cast<ThrowBadAlloc*>(raise)};
    }
  }
  return {nullptr, nullptr};
}

// Without a personality routine an exception would pass by the catch clauses of this file. The detour by asm is for
// clang, which takes the routine of its own catch clauses for granted.
bool can_catch() {
  auto* personality = &run_time_personality;
  asm("" : "+r"(personality));
  return personality != nullptr;
}

#endif

[[noreturn]] void throw_bad_alloc() {
  const RunTime run_time = find_run_time();
  if (run_time.throw_bad_alloc != nullptr) run_time.throw_bad_alloc();
  ashlar::fatal("out of memory in operator new, and no C++ run time to throw std::bad_alloc");
}

std::new_handler current_handler() {
  const RunTime run_time = find_run_time();
  return run_time.get_new_handler != nullptr ? run_time.get_new_handler() : nullptr;
}

[[gnu::cold, gnu::noinline]] void* new_slow(size_t alignment, size_t size) {
  for (;;) {
    const std::new_handler handler = current_handler();
    if (handler == nullptr) throw_bad_alloc();
    handler();
    if (void* block = ashlar::allocate_at(alignment, size)) return block;
  }
}

/// What `function` returns; null where it throws.
template <class Function, class... Arguments>
[[gnu::cold, gnu::noinline]] void* null_if_throws(Function* function, Arguments... arguments) noexcept {
  try {
    return function(arguments...);
  } catch (...) {
    return nullptr;
  }
}

[[gnu::cold, gnu::noinline]] void* new_nothrow_slow(size_t alignment, size_t size) noexcept {
  if (!can_catch() || current_handler() == nullptr) return nullptr;
  return null_if_throws(&new_slow, alignment, size);
}

inline void* new_block(size_t size) {
  void* block = ashlar::fast_allocate(size);
  if (block != nullptr) [[likely]]
    return block;
  return new_slow(1, size);
}

inline void* new_aligned(size_t size, std::align_val_t align) {
  const auto alignment = static_cast<size_t>(align);
  // No new_handler can help here.
  if (!ashlar::is_power_of_two(alignment)) throw_bad_alloc();
  void* block = ashlar::allocate_at(alignment, size);
  if (block != nullptr) [[likely]]
    return block;
  return new_slow(alignment, size);
}

inline void* new_nothrow(size_t size) noexcept {
  void* block = ashlar::fast_allocate(size);
  if (block != nullptr) [[likely]]
    return block;
  return new_nothrow_slow(1, size);
}

inline void* new_aligned_nothrow(size_t size, std::align_val_t align) noexcept {
  const auto alignment = static_cast<size_t>(align);
  if (!ashlar::is_power_of_two(alignment)) return nullptr;
  void* block = ashlar::allocate_at(alignment, size);
  if (block != nullptr) [[likely]]
    return block;
  return new_nothrow_slow(alignment, size);
}

// ---- replaced operators -----------------------------------------------------------------------------

using New = void*(size_t);
using NewAligned = void*(size_t, std::align_val_t);
using Delete = void(void*) noexcept;
using DeleteAligned = void(void*, std::align_val_t) noexcept;

/// The function that the linker chose for a name, and whether it is the one of this file.
template <class Function>
struct Chosen {
  Function* call;
  bool is_ours;
};

template <class Function>
[[gnu::always_inline]] inline Chosen<Function> choice(Function* chosen, Function* own) {
  // Compilers take their own definition of a name for the only one unless they are kept from seeing it.
  asm("" : "+r"(chosen));
  asm("" : "+r"(own));
  return {chosen, chosen == own};
}

// g++ wants an alias to repeat the attributes of its target.
New own_new __attribute__((alias("_Znwm"), malloc, alloc_size(1)));
New own_new_array __attribute__((alias("_Znam"), malloc, alloc_size(1)));
NewAligned own_new_aligned __attribute__((alias("_ZnwmSt11align_val_t"), malloc, alloc_size(1)));
NewAligned own_new_array_aligned __attribute__((alias("_ZnamSt11align_val_t"), malloc, alloc_size(1)));
Delete own_delete __attribute__((alias("_ZdlPv")));
Delete own_delete_array __attribute__((alias("_ZdaPv")));
DeleteAligned own_delete_aligned __attribute__((alias("_ZdlPvSt11align_val_t")));
DeleteAligned own_delete_array_aligned __attribute__((alias("_ZdaPvSt11align_val_t")));

[[gnu::always_inline]] inline Chosen<New> chosen_new() {
  return choice<New>(&::operator new, &own_new);
}

[[gnu::always_inline]] inline Chosen<NewAligned> chosen_new_aligned() {
  return choice<NewAligned>(&::operator new, &own_new_aligned);
}

[[gnu::always_inline]] inline Chosen<Delete> chosen_delete() {
  return choice<Delete>(&::operator delete, &own_delete);
}

[[gnu::always_inline]] inline Chosen<DeleteAligned> chosen_delete_aligned() {
  return choice<DeleteAligned>(&::operator delete, &own_delete_aligned);
}

// The array forms end in the single ones, so a replacement of either counts.

[[gnu::always_inline]] inline Chosen<New> chosen_new_array() {
  const auto array = choice<New>(&::operator new[], &own_new_array);
  return array.is_ours ? chosen_new() : array;
}

[[gnu::always_inline]] inline Chosen<NewAligned> chosen_new_array_aligned() {
  const auto array = choice<NewAligned>(&::operator new[], &own_new_array_aligned);
  return array.is_ours ? chosen_new_aligned() : array;
}

[[gnu::always_inline]] inline Chosen<Delete> chosen_delete_array() {
  const auto array = choice<Delete>(&::operator delete[], &own_delete_array);
  return array.is_ours ? chosen_delete() : array;
}

[[gnu::always_inline]] inline Chosen<DeleteAligned> chosen_delete_array_aligned() {
  const auto array = choice<DeleteAligned>(&::operator delete[], &own_delete_array_aligned);
  return array.is_ours ? chosen_delete_aligned() : array;
}

}  // namespace

// ---- operator new -----------------------------------------------------------------------------------

ASHLAR_OPERATOR_ void* operator new(size_t size) {
  return new_block(size);
}

ASHLAR_OPERATOR_ void* operator new[](size_t size) {
  if (const auto other = chosen_new(); !other.is_ours) [[unlikely]]
    return other.call(size);
  return new_block(size);
}

ASHLAR_OPERATOR_ void* operator new(size_t size, const std::nothrow_t&) noexcept {
  if (const auto other = chosen_new(); !other.is_ours) [[unlikely]]
    return null_if_throws(other.call, size);
  return new_nothrow(size);
}

ASHLAR_OPERATOR_ void* operator new[](size_t size, const std::nothrow_t&) noexcept {
  if (const auto other = chosen_new_array(); !other.is_ours) [[unlikely]]
    return null_if_throws(other.call, size);
  return new_nothrow(size);
}

ASHLAR_OPERATOR_ void* operator new(size_t size, std::align_val_t align) {
  return new_aligned(size, align);
}

ASHLAR_OPERATOR_ void* operator new[](size_t size, std::align_val_t align) {
  if (const auto other = chosen_new_aligned(); !other.is_ours) [[unlikely]]
    return other.call(size, align);
  return new_aligned(size, align);
}

ASHLAR_OPERATOR_ void* operator new(size_t size, std::align_val_t align, const std::nothrow_t&) noexcept {
  if (const auto other = chosen_new_aligned(); !other.is_ours) [[unlikely]]
    return null_if_throws(other.call, size, align);
  return new_aligned_nothrow(size, align);
}

ASHLAR_OPERATOR_ void* operator new[](size_t size, std::align_val_t align, const std::nothrow_t&) noexcept {
  if (const auto other = chosen_new_array_aligned(); !other.is_ours) [[unlikely]]
    return null_if_throws(other.call, size, align);
  return new_aligned_nothrow(size, align);
}

// ---- operator delete --------------------------------------------------------------------------------

ASHLAR_OPERATOR_ void operator delete(void* block) noexcept {
  ashlar::fast_deallocate(block);
}

ASHLAR_OPERATOR_ void operator delete[](void* block) noexcept {
  if (const auto other = chosen_delete(); !other.is_ours) [[unlikely]]
    return other.call(block);
  ashlar::fast_deallocate(block);
}

ASHLAR_OPERATOR_ void operator delete(void* block, size_t size) noexcept {
  if (const auto other = chosen_delete(); !other.is_ours) [[unlikely]]
    return other.call(block);
  ashlar::sized_deallocate(block, size);
}

ASHLAR_OPERATOR_ void operator delete[](void* block, size_t size) noexcept {
  if (const auto other = chosen_delete_array(); !other.is_ours) [[unlikely]]
    return other.call(block);
  ashlar::sized_deallocate(block, size);
}

ASHLAR_OPERATOR_ void operator delete(void* block, const std::nothrow_t&) noexcept {
  if (const auto other = chosen_delete(); !other.is_ours) [[unlikely]]
    return other.call(block);
  ashlar::fast_deallocate(block);
}

ASHLAR_OPERATOR_ void operator delete[](void* block, const std::nothrow_t&) noexcept {
  if (const auto other = chosen_delete_array(); !other.is_ours) [[unlikely]]
    return other.call(block);
  ashlar::fast_deallocate(block);
}

ASHLAR_OPERATOR_ void operator delete(void* block, std::align_val_t) noexcept {
  ashlar::fast_deallocate(block);
}

ASHLAR_OPERATOR_ void operator delete[](void* block, std::align_val_t align) noexcept {
  if (const auto other = chosen_delete_aligned(); !other.is_ours) [[unlikely]]
    return other.call(block, align);
  ashlar::fast_deallocate(block);
}

ASHLAR_OPERATOR_ void operator delete(void* block, size_t size, std::align_val_t align) noexcept {
  if (const auto other = chosen_delete_aligned(); !other.is_ours) [[unlikely]]
    return other.call(block, align);
  ashlar::sized_deallocate(block, size);
}

ASHLAR_OPERATOR_ void operator delete[](void* block, size_t size, std::align_val_t align) noexcept {
  if (const auto other = chosen_delete_array_aligned(); !other.is_ours) [[unlikely]]
    return other.call(block, align);
  ashlar::sized_deallocate(block, size);
}

ASHLAR_OPERATOR_ void operator delete(void* block, std::align_val_t align, const std::nothrow_t&) noexcept {
  if (const auto other = chosen_delete_aligned(); !other.is_ours) [[unlikely]]
    return other.call(block, align);
  ashlar::fast_deallocate(block);
}

ASHLAR_OPERATOR_ void operator delete[](void* block, std::align_val_t align, const std::nothrow_t&) noexcept {
  if (const auto other = chosen_delete_array_aligned(); !other.is_ours) [[unlikely]]
    return other.call(block, align);
  ashlar::fast_deallocate(block);
}
