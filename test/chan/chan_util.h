// SPDX-License-Identifier: MIT
//
// chan_util.h - what the tests of channels share: a C channel of words that frees itself, threads, waiting for somebody
// to park.
//
// Owns: Words (a channel of uint64_t by the C interface), parked() (how many threads the dump lists for a channel),
// until().
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "chan/chan.hpp"
#include "test/alloc/stress_util.h"

namespace ashlar_test {

inline constexpr uint64_t kMs = 1'000'000;  // ns

class Words {
 public:
  explicit Words(size_t capacity) : c_(ashlar_newchan(8, 8, capacity)) {}
  Words(const Words&) = delete;
  Words& operator=(const Words&) = delete;
  ~Words() { ashlar_chan_unref(c_); }
  operator ashlar_chan*() const { return c_; }

  ashlar_chan_status send(uint64_t v) const { return ashlar_chan_send(c_, &v); }
  ashlar_chan_status try_send(uint64_t v) const { return ashlar_chan_try_send(c_, &v); }
  ashlar_chan_status recv(uint64_t& v) const { return ashlar_chan_recv(c_, &v); }
  ashlar_chan_status try_recv(uint64_t& v) const { return ashlar_chan_try_recv(c_, &v); }
  ashlar_chan_status close() const { return ashlar_chan_close(c_); }

 private:
  ashlar_chan* c_;
};

inline uint64_t in_ms(uint64_t ms) {
  return ashlar_chan_now() + ms * kMs;
}

inline std::string dump() {
  int ends[2];
  if (pipe(ends) != 0) return "";
  std::string text;
  std::thread reader([&] {
    char buffer[4096];
    for (ssize_t n = 0; (n = read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(n));
  });
  ashlar_chan_dump(ends[1]);
  close(ends[1]);
  reader.join();
  close(ends[0]);
  return text;
}

/// Threads that the dump lists under the channel (null: under the null channel).
inline size_t parked(const ashlar_chan* c) {
  const std::string text = dump();
  char name[64];
  snprintf(name, sizeof name, c == nullptr ? "ashlar: chan null" : "ashlar: chan %p ", static_cast<const void*>(c));
  size_t at = text.find(name);
  if (at == std::string::npos) return 0;
  size_t count = 0;
  while ((at = text.find('\n', at)) != std::string::npos && text.compare(at + 1, 17, "ashlar:   thread ") == 0) {
    ++count;
    ++at;
  }
  return count;
}

/// Waits until it is true; a watchdog of the caller ends a wait that never does.
inline void until(const std::function<bool()>& f) {
  while (!f()) std::this_thread::sleep_for(std::chrono::microseconds(200));
}
inline void until_parked(const ashlar_chan* c, size_t threads) {
  until([&] { return parked(c) == threads; });
}

inline constexpr int kChanWatchdogSeconds = 120;

/// Capacities that take each flavour and each edge of the ring: no slot, one, two, no power of two, patient senders.
inline constexpr size_t kCapacities[] = {0, 1, 2, 3, 10, 100};

}  // namespace ashlar_test
