// SPDX-License-Identifier: MIT
//
// print.cc - see print.h.
#include "alloc/base/print.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ashlar {

namespace {

// 2^64 - 1 has 20 decimal digits.
constexpr size_t kMaxDigits = 20;

// Digits of `n`, least significant last, at the end of `out`; at least `min_digits`. Returns how many.
size_t format_digits(uint64_t n, unsigned base, size_t min_digits, char (&out)[kMaxDigits]) {
  size_t digits = 0;
  while (digits < kMaxDigits && (n != 0 || digits < min_digits)) {
    out[kMaxDigits - ++digits] = "0123456789abcdef"[n % base];
    n /= base;
  }
  return digits;
}

}  // namespace

void LineWriter::put(char c) noexcept {
  if (size_ == kMaxText) {
    was_cut_ = true;
    return;
  }
  buffer_[size_++] = c;
}

LineWriter& LineWriter::text(const char* s) noexcept {
  for (; *s != '\0'; ++s) put(*s);
  return *this;
}

LineWriter& LineWriter::text(const char* s, size_t length) noexcept {
  for (size_t i = 0; i < length; ++i) put(s[i]);
  return *this;
}

LineWriter& LineWriter::quoted(const char* s, size_t length) noexcept {
  put('"');
  for (size_t i = 0; i < length; ++i) put(s[i] >= ' ' && s[i] <= '~' && s[i] != '"' ? s[i] : '?');
  put('"');
  return *this;
}

LineWriter& LineWriter::dec(uint64_t n) noexcept {
  char digits[kMaxDigits];
  const size_t count = format_digits(n, 10, 1, digits);
  return text(digits + kMaxDigits - count, count);
}

LineWriter& LineWriter::dec_signed(int64_t n) noexcept {
  if (n < 0) put('-');
  // Negated as unsigned, so that INT64_MIN is no overflow.
  return dec(n < 0 ? 0 - static_cast<uint64_t>(n) : static_cast<uint64_t>(n));
}

LineWriter& LineWriter::fixed(uint64_t n, unsigned decimals) noexcept {
  char digits[kMaxDigits];
  const size_t count = format_digits(n, 10, decimals + size_t{1}, digits);
  text(digits + kMaxDigits - count, count - decimals);
  if (decimals == 0) return *this;
  put('.');
  return text(digits + kMaxDigits - decimals, decimals);
}

LineWriter& LineWriter::hex(uint64_t n) noexcept {
  char digits[kMaxDigits];
  const size_t count = format_digits(n, 16, 1, digits);
  return text("0x").text(digits + kMaxDigits - count, count);
}

LineWriter& LineWriter::megabytes(uint64_t bytes) noexcept {
  // The low 20 bits apart: bytes * 10 would overflow for the top of the range.
  const uint64_t rounding = uint64_t{1} << 19;
  return fixed((bytes >> 20) * 10 + (((bytes & 0xfffff) * 10 + rounding) >> 20), 1);
}

LineWriter& LineWriter::column(size_t column) noexcept {
  while (size_ < column && !was_cut_) put(' ');
  return *this;
}

void LineWriter::clear() noexcept {
  size_ = 0;
  was_cut_ = false;
}

void LineWriter::flush(int fd) noexcept {
  const int saved_errno = errno;
  if (was_cut_) {
    memcpy(buffer_ + size_, "...", 3);
    size_ += 3;
  }
  buffer_[size_++] = '\n';
  for (size_t written = 0; written < size_;) {
    // syscall(), since write() is a cancellation point: a thread must not die here with our locks held.
    const long n = syscall(SYS_write, fd, buffer_ + written, size_ - written);
    if (n > 0) {
      written += static_cast<size_t>(n);
    } else if (n == 0 || errno != EINTR) {
      break;
    }
  }
  clear();
  errno = saved_errno;
}

}  // namespace ashlar
