// SPDX-License-Identifier: MIT
//
// print_test.cc - LineWriter: what it formats, where it cuts off, and what it leaves alone; fatal messages.
#include "alloc/base/print.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "alloc/base/check.h"

namespace ashlar {
namespace {

std::string text_of(const LineWriter& line) {
  return {line.data(), line.size()};
}

/// What `write` writes to the descriptor it gets.
template <class Write>
std::string output_of(Write write) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  write(ends[1]);
  close(ends[1]);
  char buffer[4096];
  const ssize_t n = read(ends[0], buffer, sizeof buffer);
  close(ends[0]);
  return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : std::string();
}

TEST(LineWriter, decimal_numbers_at_the_ends_of_their_ranges) {
  LineWriter line;
  line.dec(0).text(" ").dec(UINT64_MAX).text(" ").dec_signed(INT64_MIN).text(" ").dec_signed(INT64_MAX);
  line.text(" ").dec_signed(-1).text(" ").dec_signed(0);
  EXPECT_EQ(text_of(line), "0 18446744073709551615 -9223372036854775808 9223372036854775807 -1 0");
}

TEST(LineWriter, fixed_point_pads_the_fraction) {
  LineWriter line;
  line.fixed(1234, 3).text(" ").fixed(5, 3).text(" ").fixed(0, 2).text(" ").fixed(7, 0).text(" ").fixed(1000, 3);
  line.text(" ").fixed(UINT64_MAX, 9);
  EXPECT_EQ(text_of(line), "1.234 0.005 0.00 7 1.000 18446744073.709551615");
}

TEST(LineWriter, hex_and_pointers) {
  LineWriter line;
  line.hex(0).text(" ").hex(0xdeadbeef).text(" ").hex(UINT64_MAX).text(" ").pointer(nullptr);
  line.text(" ").pointer(reinterpret_cast<const void*>(uintptr_t{0x7f0012345678}));
  EXPECT_EQ(text_of(line), "0x0 0xdeadbeef 0xffffffffffffffff 0x0 0x7f0012345678");
}

TEST(LineWriter, megabytes_are_rounded_to_one_decimal) {
  LineWriter line;
  const uint64_t mib = 1 << 20;
  for (uint64_t bytes : {uint64_t{0}, mib / 20 - 1, mib / 20 + 1, mib - 1, mib, mib * 3 / 2, UINT64_MAX}) {
    line.megabytes(bytes).text(" ");
  }
  EXPECT_EQ(text_of(line), "0.0 0.0 0.1 1.0 1.0 1.5 17592186044416.0 ");
}

TEST(LineWriter, columns_pad_and_never_cut) {
  LineWriter line;
  line.text("ab").column(5).text("|").column(2).text("|");
  EXPECT_EQ(text_of(line), "ab   ||");
}

TEST(LineWriter, quoted_text_cannot_forge_a_line) {
  const char raw[] = "a\nb\"c\x1b\x80";
  LineWriter line;
  line.quoted(raw, sizeof raw - 1);
  EXPECT_EQ(text_of(line), "\"a?b?c??\"");
}

TEST(LineWriter, flush_writes_one_line_and_starts_anew) {
  const std::string out = output_of([](int fd) {
    LineWriter line("one");
    line.flush(fd);
    line.text("two").flush(fd);
    EXPECT_EQ(line.size(), 0U);
  });
  EXPECT_EQ(out, "one\ntwo\n");
}

TEST(LineWriter, what_is_too_long_ends_in_dots) {
  const size_t most = LineWriter::kMaxBytes - 4;
  const std::string exact(most, 'x');
  const std::string out = output_of([&](int fd) {
    LineWriter line;
    line.text(exact.c_str()).flush(fd);
    line.text(exact.c_str()).text("y").dec(1).column(4000).flush(fd);
    // The cut belongs to the line, not to the writer.
    line.text("short").flush(fd);
  });
  EXPECT_EQ(out, exact + "\n" + exact + "...\nshort\n");
}

TEST(LineWriter, column_beyond_the_end_is_cut_off) {
  LineWriter line;
  line.column(size_t{1} << 40);
  EXPECT_EQ(line.size(), LineWriter::kMaxBytes - 4);
}

TEST(LineWriter, flush_leaves_errno_alone_when_the_write_fails) {
  errno = 4711;
  LineWriter("lost").flush(-1);
  EXPECT_EQ(errno, 4711);
}

TEST(LineWriter, flush_gives_up_on_a_full_pipe) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  const std::string block(4096, 'x');
  while (write(ends[1], block.data(), block.size()) > 0) {
  }
  while (write(ends[1], "x", 1) > 0) {
  }
  errno = 4711;
  LineWriter("lost").flush(ends[1]);
  EXPECT_EQ(errno, 4711);
  close(ends[0]);
  close(ends[1]);
}

/// A regular expression of stderr that holds this line and no other of ours (qemu adds one about the signal).
std::string only_line(const std::string& line) {
  return "^" + line + "\n(qemu: [^\n]*\n)?$";
}

TEST(CheckDeathTest, fatal_names_cause_and_pointer) {
  EXPECT_EXIT(fatal("page map damaged"), testing::KilledBySignal(SIGABRT), only_line("ashlar: page map damaged"));
  EXPECT_EXIT(fatal_pointer("double free", reinterpret_cast<void*>(uintptr_t{0x1230})),
              testing::KilledBySignal(SIGABRT), only_line("ashlar: double free: 0x1230"));
}

TEST(CheckDeathTest, check_aborts_only_where_it_fails) {
  check(true, "never seen");
  EXPECT_EXIT(check(false, "seen"), testing::KilledBySignal(SIGABRT), only_line("ashlar: seen"));
}

}  // namespace
}  // namespace ashlar
