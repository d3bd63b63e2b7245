// SPDX-License-Identifier: MIT
//
// modules.cc - see modules.h.
#include "alloc/os/modules.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ashlar::os {
namespace {

/// The file, a character at a time; -1 at its end.
class Reader {
 public:
  Reader() noexcept : fd_(syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0)) {}
  ~Reader() {
    if (fd_ >= 0) syscall(SYS_close, fd_);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  int next() noexcept {
    if (at_ == size_) {
      const long got = fd_ < 0 ? 0 : syscall(SYS_read, fd_, buffer_, sizeof buffer_);
      if (got <= 0) return -1;
      at_ = 0;
      size_ = static_cast<size_t>(got);
    }
    return static_cast<unsigned char>(buffer_[at_++]);
  }

  /// A hexadecimal number; eats the character behind it.
  uintptr_t hex() noexcept {
    uintptr_t n = 0;
    for (;;) {
      const int c = next();
      if (c >= '0' && c <= '9') {
        n = n * 16 + static_cast<unsigned>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        n = n * 16 + static_cast<unsigned>(c - 'a' + 10);
      } else {
        return n;
      }
    }
  }

 private:
  long fd_;
  size_t at_ = 0, size_ = 0;
  char buffer_[1024];
};

}  // namespace

void find_modules(const uintptr_t* at, size_t n, Module* out) noexcept {
  for (size_t i = 0; i < n; ++i) out[i] = {};
  Reader maps;
  uintptr_t base = 0;
  for (;;) {
    // start-end perms offset device inode path
    const uintptr_t start = maps.hex();
    const uintptr_t end = maps.hex();
    if (end == 0) return;
    for (int c = 0; c != ' ' && c != -1;) c = maps.next();
    if (maps.hex() == 0) base = start;
    Module found = {base, {}};
    size_t length = 0;
    int c = 0;
    while ((c = maps.next()) != '\n' && c != -1) {
      if (c == '/') {
        length = 0;
      } else if (length + 1 < sizeof found.name) {
        found.name[length++] = static_cast<char>(c);
      }
      found.name[length] = '\0';
    }
    for (size_t i = 0; i < n; ++i) {
      if (at[i] >= start && at[i] < end) out[i] = found;
    }
  }
}

}  // namespace ashlar::os
