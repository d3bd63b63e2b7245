// SPDX-License-Identifier: MIT
//
// compat.cc - see compat.h.
#include "alloc/compat.h"

#include <errno.h>
#include <limits.h>

#include "alloc/alloc.h"
#include "alloc/ashlar.h"
#include "alloc/base/print.h"

namespace ashlar {

namespace {

struct Figure {
  const char* name;
  uint64_t ashlar_memstats::*field;
  bool is_bytes;
};

// Go's names of the fields, in the order of the struct.
constexpr Figure kFigures[] = {
    {"Alloc", &ashlar_memstats::alloc, true},
    {"TotalAlloc", &ashlar_memstats::total_alloc, true},
    {"Sys", &ashlar_memstats::sys, true},
    {"Mallocs", &ashlar_memstats::mallocs, false},
    {"Frees", &ashlar_memstats::frees, false},
    {"HeapAlloc", &ashlar_memstats::heap_alloc, true},
    {"HeapSys", &ashlar_memstats::heap_sys, true},
    {"HeapIdle", &ashlar_memstats::heap_idle, true},
    {"HeapInuse", &ashlar_memstats::heap_inuse, true},
    {"HeapReleased", &ashlar_memstats::heap_released, true},
    {"HeapObjects", &ashlar_memstats::heap_objects, false},
    {"MSpanInuse", &ashlar_memstats::mspan_inuse, true},
    {"MSpanSys", &ashlar_memstats::mspan_sys, true},
    {"MCacheInuse", &ashlar_memstats::mcache_inuse, true},
    {"MCacheSys", &ashlar_memstats::mcache_sys, true},
    {"CachedBytes", &ashlar_memstats::cached_bytes, true},
    {"LargeObjects", &ashlar_memstats::large_objects, false},
    {"NumPurge", &ashlar_memstats::num_purge, false},
    {"PurgedBytes", &ashlar_memstats::purged_bytes, true},
    {"NumPs", &ashlar_memstats::num_ps, false},
};

// The differences of the figures, each of which may have moved a little while they were read.
uint64_t minus(uint64_t a, uint64_t b) {
  return a > b ? a - b : 0;
}

/// Live small blocks, the others, and what is free, in bytes.
struct Split {
  uint64_t small_live;
  uint64_t large_live;
  uint64_t held;       // not given back to the kernel: the two above, and free memory
  uint64_t trimmable;  // of held: whole free pages
};

Split split_of(const ashlar_memstats& stats) {
  Split s{};
  for (uint64_t i = 0; i < stats.by_size_count; ++i) {
    const ashlar_size_class_stats& row = stats.by_size[i];
    s.small_live += minus(row.mallocs, row.frees) * row.size;
  }
  s.large_live = minus(stats.heap_alloc, s.small_live);
  s.held = minus(stats.heap_sys, stats.heap_released);
  s.trimmable = minus(stats.heap_idle, stats.heap_released);
  return s;
}

class XmlWriter {
 public:
  explicit XmlWriter(FILE* stream) : stream_(stream) { flockfile(stream); }
  ~XmlWriter() { funlockfile(stream_); }
  XmlWriter(const XmlWriter&) = delete;
  XmlWriter& operator=(const XmlWriter&) = delete;

  LineWriter& line() { return line_; }
  void attribute(const char* name, uint64_t n) { line_.text(" ").text(name).text("=\"").dec(n).text("\""); }
  void total(const char* type, uint64_t count, uint64_t bytes) {
    line_.text("<total type=\"").text(type).text("\"");
    attribute("count", count);
    attribute("size", bytes);
    line_.text("/>");
    end_line();
  }
  void system(const char* type, uint64_t bytes) {
    line_.text("<system type=\"").text(type).text("\"");
    attribute("size", bytes);
    line_.text("/>");
    end_line();
  }
  void end_line() {
    line_.text("\n");
    // A buffer of the stream that is made now comes from us; nothing of ours is held here.
    if (fwrite(line_.data(), 1, line_.size(), stream_) != line_.size()) is_good_ = false;
    line_.clear();
  }
  bool is_good() const { return is_good_; }

 private:
  FILE* stream_;
  LineWriter line_;
  bool is_good_ = true;
};

/// What mallopt says yes to: the range of values under which a program gets what it asked for. Parameters that tune
/// mechanisms which Ashlar does not have (arenas, thresholds, padding) are hints, accepted with any value.
/// All that is not here gets 0.
struct Mallopt {
  int parameter;
  int min, max;
};

constexpr Mallopt kMallopts[] = {
    {M_MXFAST, 0, 80 * sizeof(size_t) / 4},  // glibc's documented range
    {M_NLBLKS, INT_MIN, INT_MAX},
    {M_GRAIN, INT_MIN, INT_MAX},
    {M_KEEP, INT_MIN, INT_MAX},
    {M_TRIM_THRESHOLD, INT_MIN, INT_MAX},
    {M_TOP_PAD, INT_MIN, INT_MAX},
    {M_MMAP_THRESHOLD, INT_MIN, INT_MAX},
    {M_MMAP_MAX, INT_MIN, INT_MAX},
    {M_ARENA_TEST, 1, INT_MAX},
    {M_ARENA_MAX, 1, INT_MAX},
    {M_CHECK_ACTION, 3, 3},  // a message and abort: the only thing that we do on a bad free
    {M_PERTURB, 0, 0},       // no filling of blocks, so it can only be switched off
};

}  // namespace

void print_memstats(int fd) noexcept {
  ashlar_memstats stats;
  read_memstats(&stats);
  for (const Figure& figure : kFigures) {
    LineWriter line("ashlar: ");
    line.text(figure.name).text(" = ").dec(stats.*figure.field);
    if (figure.is_bytes) line.text(" (").megabytes(stats.*figure.field).text(" MB)");
    line.flush(fd);
  }
  for (uint64_t i = 0; i < stats.by_size_count; ++i) {
    const ashlar_size_class_stats& row = stats.by_size[i];
    if (row.mallocs == 0) continue;
    LineWriter line("ashlar: BySize[");
    line.dec(row.size).text("] = ").dec(row.mallocs).text(" mallocs, ").dec(row.frees).text(" frees, ");
    line.dec(minus(row.mallocs, row.frees)).text(" live").flush(fd);
  }
}

struct mallinfo2 mallinfo_of_heap() noexcept {
  ashlar_memstats stats;
  read_memstats(&stats);
  const Split s = split_of(stats);
  struct mallinfo2 info = {};
  info.arena = minus(s.held, s.large_live);
  info.uordblks = s.small_live;
  info.fordblks = minus(info.arena, s.small_live);
  info.hblks = stats.large_objects;
  info.hblkhd = s.large_live;
  info.fsmblks = stats.cached_bytes;
  info.keepcost = s.trimmable;
  return info;
}

int write_malloc_info(int flags, FILE* stream) noexcept {
  if (flags != 0) return EINVAL;
  ashlar_memstats stats;
  read_memstats(&stats);
  const Split s = split_of(stats);
  XmlWriter xml(stream);
  // glibc's elements, since tools read those: one heap, the live blocks of each size, and totals.
  xml.line().text("<malloc version=\"1\" allocator=\"ashlar\">");
  xml.end_line();
  xml.line().text("<heap nr=\"0\">");
  xml.end_line();
  xml.line().text("<sizes>");
  xml.end_line();
  uint64_t smaller = 0;
  for (uint64_t i = 0; i < stats.by_size_count; ++i) {
    const ashlar_size_class_stats& row = stats.by_size[i];
    const uint64_t live = minus(row.mallocs, row.frees);
    if (live != 0) {
      xml.line().text("<size");
      xml.attribute("from", smaller + 1);
      xml.attribute("to", row.size);
      xml.attribute("total", live * row.size);
      xml.attribute("count", live);
      xml.line().text("/>");
      xml.end_line();
    }
    smaller = row.size;
  }
  xml.line().text("</sizes>");
  xml.end_line();
  xml.line().text("</heap>");
  xml.end_line();
  xml.total("inuse", stats.heap_objects, stats.heap_alloc);
  xml.total("cached", 0, stats.cached_bytes);
  xml.total("rest", 0, minus(s.held, stats.heap_alloc));
  xml.total("mmap", stats.large_objects, s.large_live);
  xml.system("current", s.held);
  xml.system("max", stats.heap_sys);
  xml.line().text("</malloc>");
  xml.end_line();
  return xml.is_good() ? 0 : -1;
}

int accept_mallopt(int parameter, int value) noexcept {
  for (const Mallopt& row : kMallopts) {
    if (row.parameter == parameter) return value >= row.min && value <= row.max ? 1 : 0;
  }
  return 0;
}

}  // namespace ashlar
