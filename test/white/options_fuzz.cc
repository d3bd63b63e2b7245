// SPDX-License-Identifier: MIT
//
// options_fuzz.cc - ASHLAR_CONF and ASHLAR_DEBUG of any bytes against a second reading of the grammar: the same
// options come out, and what is said on stderr is whole, printable lines, none where nothing is wrong.
#include "alloc/options.h"

#include <string_view>

#include "test/white/fuzz_util.h"

namespace ashlar_test {
namespace {

using ashlar::Options;
using std::string_view;

/// Words that make inputs of few bytes meaningful; a byte from 0x80 on stands for one of them.
constexpr string_view kWords[] = {
    "percpu",
    "purge",
    "purge_delay",
    "thp",
    "stats",
    "inittrace",
    "scavtrace",
    "help",
    "on",
    "off",
    "auto",
    "exit",
    "none",
    "true",
    "false",
    "0",
    "1",
    "ms",
    "s",
    "m",
    ":",
    "=",
    ",",
    "1000",
    "4294967295",
    "4294967296",
    "71582",
    "\n",
    "\xff",
    "\x1b[2J",
    "unknown",
    "ASHLAR_CONF=",
    "ASHLAR_DEBUG=",
    "purge:off",
    "thp:on",
    "stats:exit",
    "purge_delay:5s",
    "percpu:off",
    "purge_thread",
    "membarrier",
    "guard_sample",
    "chantrace",
    "maptrace",
    "k",
    "4294968",
};

bool parse_flag(string_view value, bool& out) {
  const bool on = value == "on" || value == "1" || value == "true";
  const bool off = value == "off" || value == "0" || value == "false";
  if (on || off) out = on;
  return on || off;
}

bool parse_time(string_view value, uint32_t& out) {
  const size_t digits = std::min(value.find_first_not_of("0123456789"), value.size());
  if (digits == 0) return false;
  const string_view unit = value.substr(digits);
  const uint64_t factor = unit.empty() || unit == "ms" ? 1 : unit == "s" ? 1000 : unit == "m" ? 60000 : 0;
  uint64_t n = 0;
  for (const char c : value.substr(0, digits)) {
    n = n * 10 + static_cast<uint64_t>(c - '0');
    if (n > UINT32_MAX) return false;
  }
  if (factor == 0 || n * factor > UINT32_MAX) return false;
  out = static_cast<uint32_t>(n * factor);
  return true;
}

bool parse_count(string_view value, uint32_t& out) {
  if (!value.empty() && value.back() == 'k') {
    value.remove_suffix(1);
    uint32_t thousands = 0;
    if (value.empty() || value.find_first_not_of("0123456789") != string_view::npos || !parse_time(value, thousands) ||
        uint64_t{thousands} * 1000 > UINT32_MAX)
      return false;
    out = thousands * 1000;
    return true;
  }
  return value.find_first_not_of("0123456789") == string_view::npos && parse_time(value, out);
}

/// Whether `key` with `value` is a good setting of ASHLAR_CONF; it is made in `out`.
bool set_conf(string_view key, string_view value, Options& out) {
  if (key == "percpu") return parse_flag(value, out.percpu);
  if (key == "purge") return parse_flag(value, out.purge);
  if (key == "purge_thread") return parse_flag(value, out.purge_thread);
  if (key == "membarrier") return parse_flag(value, out.membarrier);
  if (key == "guard_sample") return parse_count(value, out.guard_sample);
  if (key == "purge_delay") return parse_time(value, out.purge_delay_ms);
  if (key == "thp") {
    if (value != "auto" && value != "on" && value != "off") return false;
    out.thp = value == "auto" ? Options::kAuto : value == "on" ? Options::kOn : Options::kOff;
    return true;
  }
  if (key != "stats" || (value != "none" && value != "exit")) return false;
  out.stats_exit = value == "exit";
  return true;
}

bool set_debug(string_view key, string_view value, Options& out) {
  if (key == "inittrace") return parse_flag(value, out.inittrace);
  if (key == "chantrace") return parse_flag(value, out.chantrace);
  if (key == "maptrace") return parse_flag(value, out.maptrace);
  return key == "scavtrace" && parse_flag(value, out.scavtrace);
}

/// Reads one variable; returns how many of its entries must be spoken of (help counts as one).
size_t expect_variable(string_view all, char assign, bool (*set)(string_view, string_view, Options&), Options& out) {
  size_t complaints = 0;
  while (!all.empty()) {
    const string_view entry = all.substr(0, all.find(','));
    all.remove_prefix(std::min(entry.size() + 1, all.size()));
    if (entry.empty()) continue;
    const size_t at = entry.find(assign);
    const string_view value = at == string_view::npos ? string_view() : entry.substr(at + 1);
    if (!set(entry.substr(0, at), value, out)) ++complaints;
  }
  return complaints;
}

/// Standard error as a file, while it lives.
class Captured {
 public:
  Captured() : saved_(dup(2)), file_(memfd_create("stderr", MFD_CLOEXEC)) {
    if (saved_ < 0 || file_ < 0 || dup2(file_, 2) < 0) abort();
  }
  ~Captured() { close(file_); }
  Captured(const Captured&) = delete;
  Captured& operator=(const Captured&) = delete;

  std::string text() {
    dup2(saved_, 2);
    close(saved_);
    std::string said(static_cast<size_t>(lseek(file_, 0, SEEK_END)), '\0');
    if (pread(file_, said.data(), said.size(), 0) != static_cast<ssize_t>(said.size())) abort();
    return said;
  }

 private:
  int saved_, file_;
};

std::string decode(Input& in) {
  std::string text;
  while (!in.empty()) {
    const size_t b = in.byte();
    if (b < 0x80) {
      if (b == 0) break;
      text += static_cast<char>(b);
    } else {
      text += kWords[(b - 0x80) % std::size(kWords)];
    }
  }
  return text;
}

void run(const uint8_t* data, size_t size) {
  Input in(data, size);
  const bool secure = in.below(16) == 15;
  const std::string conf = decode(in);
  const std::string debug = decode(in);
  const std::string conf_string = "ASHLAR_CONF=" + conf;
  const std::string debug_string = "ASHLAR_DEBUG=" + debug;
  const std::string second = "ASHLAR_CONF=purge_delay:123";  // the first of several counts
  const char* const envp[] = {"PATH=/bin", conf_string.c_str(), debug_string.c_str(), second.c_str(), nullptr};

  Options expected;
  size_t complaints = 0;
  if (!secure) {
    complaints = expect_variable(conf, ':', set_conf, expected) + expect_variable(debug, '=', set_debug, expected);
  }
  const Options saved = ashlar::options;
  ashlar::options = Options();
  Captured captured;
  ashlar::read_options(envp, secure);
  const std::string said = captured.text();
  const Options got = ashlar::options;
  ashlar::options = saved;

  in.require(got.percpu == expected.percpu && got.purge == expected.purge && got.thp == expected.thp &&
                 got.stats_exit == expected.stats_exit && got.inittrace == expected.inittrace &&
                 got.scavtrace == expected.scavtrace && got.chantrace == expected.chantrace &&
                 got.maptrace == expected.maptrace && got.purge_thread == expected.purge_thread &&
                 got.membarrier == expected.membarrier && got.guard_sample == expected.guard_sample,
             "options");
  in.require(got.purge_delay_ms == expected.purge_delay_ms, "purge_delay", got.purge_delay_ms, expected.purge_delay_ms);
  in.require(said.empty() == (complaints == 0), "silence", said.size(), complaints);
  in.require(said.empty() || said.back() == '\n', "last line");
  const bool helps = conf.find("help") != std::string::npos || debug.find("help") != std::string::npos;
  size_t lines = 0;
  for (size_t at = 0; at < said.size(); ++lines) {
    const string_view line = string_view(said).substr(at, said.find('\n', at) - at);
    in.require(line.substr(0, 8) == "ashlar: ", "a line's beginning", lines);
    for (const char c : line) in.require(c >= ' ' && c < 0x7f, "a byte on stderr", static_cast<uint8_t>(c), lines);
    at += line.size() + 1;
  }
  in.require(helps || lines <= complaints, "more lines than entries", lines, complaints);
}

}  // namespace
}  // namespace ashlar_test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ashlar_test::run(data, size);
  return 0;
}

FUZZ_TESTS(OptionsFuzz, "options", 20000, 256)
