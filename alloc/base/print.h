// SPDX-License-Identifier: MIT
//
// print.h - one line of text, built in a fixed buffer and written with one write(2).
//
// Owns: LineWriter. It never allocates, never touches errno, takes no lock, and is no cancellation point, so the
// allocator may use it anywhere, before initialisation and under its own locks. What does not fit is cut off, and
// the line then ends in "...". Everything that Ashlar itself says goes through here: a line is one write, so lines of
// several threads do not mix.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace ashlar {

class LineWriter {
 public:
  /// Longest line, its newline included.
  static constexpr size_t kMaxBytes = 512;

  LineWriter() noexcept = default;
  explicit LineWriter(const char* s) noexcept { text(s); }
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  LineWriter& text(const char* s) noexcept;
  LineWriter& text(const char* s, size_t length) noexcept;
  /// Text from outside, in double quotes: what is not printable ASCII, and the quote itself, comes out as '?'.
  LineWriter& quoted(const char* s, size_t length) noexcept;
  LineWriter& dec(uint64_t n) noexcept;
  LineWriter& dec_signed(int64_t n) noexcept;
  /// `n` divided by 10^decimals: fixed(1234, 3) is 1.234. decimals <= 9.
  LineWriter& fixed(uint64_t n, unsigned decimals) noexcept;
  /// 0x and the digits, without leading zeros.
  LineWriter& hex(uint64_t n) noexcept;
  LineWriter& pointer(const void* p) noexcept { return hex(reinterpret_cast<uintptr_t>(p)); }
  /// Bytes as MB of 2^20 bytes, rounded to one decimal, without a unit.
  LineWriter& megabytes(uint64_t bytes) noexcept;
  /// Blanks up to `column` (counted from 0), if the line is shorter.
  LineWriter& column(size_t column) noexcept;

  /// What has been written so far, without a newline; not terminated by a zero.
  const char* data() const noexcept { return buffer_; }
  size_t size() const noexcept { return size_; }
  void clear() noexcept;

  /// Writes the line and a newline to `fd` and starts a new one. A failed write is dropped: there is nobody to tell.
  void flush(int fd) noexcept;

 private:
  // Room for "...\n" is kept free.
  static constexpr size_t kMaxText = kMaxBytes - 4;

  void put(char c) noexcept;

  size_t size_ = 0;
  bool was_cut_ = false;
  char buffer_[kMaxBytes];
};

/// The descriptor that diagnostics go to.
inline constexpr int kStderr = 2;

}  // namespace ashlar
