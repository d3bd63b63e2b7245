// SPDX-License-Identifier: MIT
//
// slices CONTAINER MODE ELEMENT BYTES ROUNDS - how long a growable array takes to grow, and how much memory.
//
// Containers: `vector` and `boost` (boost::container::vector) on malloc, which comes by LD_PRELOAD or from libc;
// `slice` (and `step`, `smooth`, slices by the other policies) on Ashlar's memory, from the libashlar-core.a that is
// linked in. Modes: `push`: a local variable, one element at a time. `member`: the same through a reference that the
// compiler knows nothing of, an element a call. `range`: 4 KiB at a time (at least one element) out of an array.
// `small`: BYTES is the number of arrays that are alive together, each of 0 to 16 elements, pushed one at a time.
// ELEMENT: 1, 8, 24 or 64 bytes. Every round builds and drops. stdout: a checksum, the same for all containers; stderr,
// in one line of JSON: nanoseconds to build and to drop, for each round, and bytes of memory before, at the peak and at
// rest (small: all arrays alive).
#include <sys/mman.h>
#include <sys/wait.h>

#include <boost/container/vector.hpp>
#include <new>
#include <string_view>
#include <vector>

#include "alloc/slice/slice.h"
#include "bench/program.h"

namespace {

template <size_t N>
struct Element {
  uint64_t word[N / 8];
  explicit Element(uint64_t i) {
    for (uint64_t& w : word) w = i;
  }
  uint64_t value() const { return word[0]; }
};
template <>
struct Element<1> {
  unsigned char byte;
  explicit Element(uint64_t i) : byte(static_cast<unsigned char>(i)) {}
  uint64_t value() const { return byte; }
};

/// In a virtual machine whose host takes free memory back, the first touch of a page costs many times a page fault. So
/// a child touches as much as will be used, huge pages included, and ends.
void warm_machine(size_t bytes) {
  const pid_t child = fork();
  if (child == 0) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p != MAP_FAILED) {
      madvise(p, bytes, MADV_HUGEPAGE);
      for (size_t at = 0; at < bytes; at += 4096) static_cast<volatile char*>(p)[at] = 1;
    }
    _exit(0);
  }
  if (child > 0) waitpid(child, nullptr, 0);
}

/// Resident bytes now, counted page by page (statm may be off by some 100 KB).
long rss_bytes() {
  static char text[4096];
  const int file = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
  const ssize_t got = file < 0 ? 0 : read(file, text, sizeof text - 1);
  if (got <= 0) bench::fail("no /proc/self/smaps_rollup");
  close(file);
  text[got] = '\0';
  const char* line = std::strstr(text, "Rss:");
  return line == nullptr ? 0 : std::strtol(line + 4, nullptr, 10) * 1024;
}

struct Figures {
  std::vector<double> build, drop;
  long before = 0, at_rest = 0;
  uint64_t sum = 0;
};

/// The compiler must take the elements for used.
void use(const void* p) {
  asm volatile("" ::"r"(p) : "memory");
}

template <class C, class E>
[[gnu::noinline]] void push_one(C& c, E e) {
  c.push_back(e);
}

template <class E>
uint64_t checksum(const E* c, size_t n) {
  uint64_t sum = n;
  for (size_t i = 0; i < n; i += n / 64 + 1) sum = sum * 31 + c[i].value();
  return sum;
}

template <class C, class E>
void append_chunk(C& c, const E* from, size_t n) {
  if constexpr (requires { c.append(from, from + n); }) {
    c.append(from, from + n);
  } else {
    c.insert(c.end(), from, from + n);
  }
}

enum class Mode { kPush, kMember, kFilled, kRange, kPair, kSmall };

template <class C, class E, Mode M>
[[gnu::noinline]] void grow_once(size_t bytes, const E* chunk, size_t chunk_elements, Figures* f, size_t round) {
  const size_t n = bytes / sizeof(E);
  // Small ones many times between two looks at the clock, which costs 25 ns.
  const size_t times = bytes < 1'000'000 ? 1'000'000 / bytes : 1;
  double start = bench::now_seconds();
  double built = 0;
  for (size_t k = 0; k < times; ++k) {
    C c;
    C other;
    if constexpr (M == Mode::kFilled) c.reserve(n);
    if constexpr (M == Mode::kPush || M == Mode::kFilled) {
      for (size_t i = 0; i < n; ++i) c.push_back(E(i));
    } else if constexpr (M == Mode::kMember) {
      for (size_t i = 0; i < n; ++i) push_one(c, E(i));
    } else if constexpr (M == Mode::kPair) {
      for (size_t i = 0; i + 2 * chunk_elements <= n; i += 2 * chunk_elements) {
        append_chunk(c, chunk, chunk_elements);
        append_chunk(other, chunk, chunk_elements);
      }
    } else {
      size_t i = 0;
      for (; i + chunk_elements <= n; i += chunk_elements) append_chunk(c, chunk, chunk_elements);
      append_chunk(c, chunk, n - i);
    }
    use(c.data());
    if (M == Mode::kPair) use(other.data());
    if (k + 1 < times) continue;
    built = bench::now_seconds();
    f->sum = checksum(c.data(), c.size());  // not c: its address would go out of our hands
    if (round == 0) f->at_rest = rss_bytes();
    f->build.push_back((built - start) / static_cast<double>(times));
    start = bench::now_seconds();
  }
  f->drop.push_back((bench::now_seconds() - start) / static_cast<double>(times));
}

template <class C, class E>
[[gnu::noinline]] void grow_many(size_t count, Figures* f, size_t round) {
  // Not the side's own memory: the arrays' headers are the same everywhere.
  void* raw =
      mmap(nullptr, count * sizeof(C), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (raw == MAP_FAILED) bench::fail("no memory");
  if (round == 0) f->before = rss_bytes();
  double start = bench::now_seconds();
  C* all = static_cast<C*>(raw);
  uint64_t sum = 0;
  for (size_t i = 0; i < count; ++i) {
    C* c = ::new (static_cast<void*>(all + i)) C;
    const size_t n = (i * 7919) % 17;
    for (size_t k = 0; k < n; ++k) c->push_back(E(i + k));
    sum += c->size();
  }
  f->build.push_back(bench::now_seconds() - start);
  if (round == 0) f->at_rest = rss_bytes();
  f->sum = sum + checksum(all[count / 2].data(), all[count / 2].size());
  start = bench::now_seconds();
  for (size_t i = 0; i < count; ++i) all[i].~C();
  f->drop.push_back(bench::now_seconds() - start);
  munmap(raw, count * sizeof(C));
}

template <class C, class E>
Figures measure(Mode mode, size_t bytes, size_t rounds) {
  Figures f;
  f.build.reserve(rounds);
  f.drop.reserve(rounds);
  const size_t n = sizeof(E) > 4096 ? 1 : 4096 / sizeof(E);
  std::vector<E> chunk;
  for (size_t i = 0; i < n; ++i) chunk.push_back(E(i));
  {
    C first;  // what the allocator needs to begin with is no part of a growth
    first.push_back(E(0));
    use(first.data());
  }
  f.before = rss_bytes();
  for (size_t r = 0; r < rounds; ++r) {
    switch (mode) {
      case Mode::kPush:
        grow_once<C, E, Mode::kPush>(bytes, chunk.data(), n, &f, r);
        break;
      case Mode::kMember:
        grow_once<C, E, Mode::kMember>(bytes, chunk.data(), n, &f, r);
        break;
      case Mode::kFilled:
        grow_once<C, E, Mode::kFilled>(bytes, chunk.data(), n, &f, r);
        break;
      case Mode::kPair:
        grow_once<C, E, Mode::kPair>(bytes, chunk.data(), n, &f, r);
        break;
      case Mode::kRange:
        grow_once<C, E, Mode::kRange>(bytes, chunk.data(), n, &f, r);
        break;
      case Mode::kSmall:
        grow_many<C, E>(bytes, &f, r);
        break;
    }
  }
  return f;
}

template <class E>
Figures dispatch(std::string_view container, Mode mode, size_t bytes, size_t rounds) {
  if (container == "vector") return measure<std::vector<E>, E>(mode, bytes, rounds);
  if (container == "boost") return measure<boost::container::vector<E>, E>(mode, bytes, rounds);
  if (container == "slice") return measure<ashlar::slice<E>, E>(mode, bytes, rounds);
  if (container == "double") return measure<ashlar::slice<E, ashlar::grow_twice>, E>(mode, bytes, rounds);
  if (container == "pages") return measure<ashlar::slice<E, ashlar::grow_by_pages>, E>(mode, bytes, rounds);
  if (container == "step") return measure<ashlar::slice<E, ashlar::grow_by_step>, E>(mode, bytes, rounds);
  if (container == "smooth") return measure<ashlar::slice<E, ashlar::grow_smoothly>, E>(mode, bytes, rounds);
  bench::fail("container: vector boost slice double pages step smooth");
}

Mode mode_of(std::string_view name) {
  if (name == "push") return Mode::kPush;
  if (name == "member") return Mode::kMember;
  if (name == "range") return Mode::kRange;
  if (name == "filled") return Mode::kFilled;
  if (name == "pair") return Mode::kPair;
  if (name == "small") return Mode::kSmall;
  bench::fail("mode: push member filled range pair small");
}

void print(const char* name, const std::vector<double>& seconds) {
  std::fprintf(stderr, "\"%s\": [", name);
  for (size_t i = 0; i < seconds.size(); ++i) std::fprintf(stderr, "%s%.0f", i == 0 ? "" : ", ", seconds[i] * 1e9);
  std::fprintf(stderr, "], ");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) bench::fail("slices CONTAINER MODE ELEMENT BYTES ROUNDS");
  const Mode mode = mode_of(argv[2]);
  const auto bytes = static_cast<size_t>(bench::argument(argc, argv, 4, 0));
  const auto rounds = static_cast<size_t>(bench::argument(argc, argv, 5, 1));
  if (mode != Mode::kSmall) warm_machine(3 * bytes + (size_t{64} << 20));
  Figures f;
  switch (bench::argument(argc, argv, 3, 0)) {
    case 1:
      f = dispatch<Element<1>>(argv[1], mode, bytes, rounds);
      break;
    case 8:
      f = dispatch<Element<8>>(argv[1], mode, bytes, rounds);
      break;
    case 24:
      f = dispatch<Element<24>>(argv[1], mode, bytes, rounds);
      break;
    case 64:
      f = dispatch<Element<64>>(argv[1], mode, bytes, rounds);
      break;
    default:
      bench::fail("element: 1 8 24 64");
  }
  std::printf("slices: %s of %s bytes, checksum %llu\n", argv[2], argv[3], static_cast<unsigned long long>(f.sum));
  std::fprintf(stderr, "{");
  print("build", f.build);
  print("drop", f.drop);
  std::fprintf(stderr, "\"before\": %ld, \"rest\": %ld, \"peak\": %ld}\n", f.before, f.at_rest,
               bench::peak_rss_kib() * 1024);
  return 0;
}
