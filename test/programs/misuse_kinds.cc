// SPDX-License-Identifier: MIT
//
// misuse_kinds.cc - one misuse of malloc per process, whatever malloc is preloaded, and a program that goes on for a
// while. scripts/misuse-table runs it: `misuse_kinds KIND SIZE`; `misuse_kinds list` prints the kinds.
//
// It says "misuse" directly before the misusing statement, "on" directly behind it, and "end" after much ordinary
// allocation of this and of other sizes: where the words stop is where the process died. Nothing here checks
// anything, so whatever stops it is the allocator (or the machine).
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <new>

namespace {

void say(const char* word) {
  if (write(1, word, strlen(word)) < 0) _exit(9);
}

// Keeps the compiler from knowing where a pointer came from.
template <typename T>
T* hidden(T* pointer) {
  __asm__ volatile("" : "+r"(pointer)::"memory");
  return pointer;
}

char* fresh(size_t size) {
  auto* p = static_cast<char*>(malloc(size));
  if (p == nullptr) _exit(9);
  memset(p, 1, size);
  return hidden(p);
}

template <typename Misuse>
void commit(Misuse misuse) {
  say("misuse\n");
  misuse();
  say("on\n");
}

void free_twice(size_t size, size_t between) {
  static char* others[2000];
  char* p = fresh(size);
  for (size_t i = 0; i < between; ++i) others[i] = fresh(size);
  free(p);
  for (size_t i = 0; i < between; ++i) free(others[i]);
  commit([p] { free(hidden(p)); });
}

void free_at(char* p) {
  commit([p] { free(hidden(p)); });
}

// Writes `bytes` bytes from `offset` behind the usable end (or before the beginning) of a block with neighbours, then
// frees the block: a check of its edges may come then.
void write_beside(size_t size, size_t bytes, bool above) {
  char* row[3];
  for (char*& p : row) p = fresh(size);
  char* from = above ? row[1] + size : row[1] - bytes;
  commit([=] {
    for (size_t i = 0; i < bytes; ++i) *hidden(from + i) = '\x5a';
  });
  free(row[1]);
  free(row[0]);
  free(row[2]);
}

int static_data[100];

void double_free(size_t size) {
  free_twice(size, 0);
}
void double_free_1(size_t size) {
  free_twice(size, 1);
}
void double_free_10(size_t size) {
  free_twice(size, 10);
}
void double_free_1000(size_t size) {
  free_twice(size, 1000);
}
void free_near(size_t size) {
  free_at(fresh(size) + 16);
}
void free_odd(size_t size) {
  free_at(fresh(size) + 1);
}
void free_middle(size_t size) {
  free_at(fresh(size) + size / 32 * 16);
}
void free_far(size_t size) {
  free_at(fresh(size) + (size_t{1} << 30));
}
void free_wild(size_t size) {
  fresh(size);
  free_at(reinterpret_cast<char*>(0x123456789a0));
}
void free_stack(size_t size) {
  fresh(size);
  int local[100] = {0};
  free_at(reinterpret_cast<char*>(&local[48]));
}
void free_static(size_t size) {
  fresh(size);
  free_at(reinterpret_cast<char*>(&static_data[12]));
}
void free_mapped(size_t size) {
  fresh(size);
  void* page = mmap(nullptr, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  free_at(static_cast<char*>(page) + 4096);
}
template <size_t Bytes>
void overflow(size_t size) {
  write_beside(size, Bytes, true);
}
template <size_t Bytes>
void underflow(size_t size) {
  write_beside(size, Bytes, false);
}
void write_after_free(size_t size) {
  char* p = fresh(size);
  free(p);
  commit([p] { *hidden(p + 8) = '\x5a'; });
}
void read_after_free(size_t size) {
  char* p = fresh(size);
  free(p);
  commit([p] {
    volatile char got = *hidden(p + 8);
    (void)got;
  });
}
void wrong_sized_delete(size_t size) {
  void* p = hidden(::operator new(size));
  commit([p, size] { ::operator delete(hidden(p), size * 4); });
}

const struct {
  const char* name;
  void (*run)(size_t size);
} kKinds[] = {
    {"double_free", double_free},
    {"double_free_1", double_free_1},
    {"double_free_10", double_free_10},
    {"double_free_1000", double_free_1000},
    {"free_near", free_near},
    {"free_odd", free_odd},
    {"free_middle", free_middle},
    {"free_far", free_far},
    {"free_wild", free_wild},
    {"free_stack", free_stack},
    {"free_static", free_static},
    {"free_mapped", free_mapped},
    {"overflow_1", overflow<1>},
    {"overflow_8", overflow<8>},
    {"overflow_32", overflow<32>},
    {"overflow_4096", overflow<4096>},
    {"underflow_1", underflow<1>},
    {"underflow_8", underflow<8>},
    {"underflow_32", underflow<32>},
    {"underflow_4096", underflow<4096>},
    {"write_after_free", write_after_free},
    {"read_after_free", read_after_free},
    {"wrong_sized_delete", wrong_sized_delete},
};

// What a program does: blocks of this size and of others, more than caches and quarantines hold, written and freed.
void go_on(size_t size) {
  const size_t count = size > 32768 ? 200 : 8000;
  auto** blocks = static_cast<char**>(calloc(count, sizeof(char*)));
  if (blocks == nullptr) _exit(9);
  for (size_t round = 0; round < 3; ++round) {
    for (size_t i = 0; i < count; ++i) blocks[i] = fresh(i % 3 == 0 ? 16 + i % 1000 : size);
    for (size_t i = 0; i < count; ++i) free(blocks[round == 1 ? count - 1 - i : i]);
  }
  free(blocks);
  malloc_trim(0);
}

}  // namespace

int main(int argc, char** argv) {
  const char* wanted = argc > 1 ? argv[1] : "list";
  for (const auto& kind : kKinds) {
    if (strcmp(wanted, "list") == 0) {
      puts(kind.name);
    } else if (argc == 3 && strcmp(wanted, kind.name) == 0) {
      const size_t size = strtoul(argv[2], nullptr, 10);
      kind.run(size);
      go_on(size);
      say("end\n");
      return 0;
    }
  }
  return strcmp(wanted, "list") == 0 ? 0 : 2;
}
