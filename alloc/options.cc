// SPDX-License-Identifier: MIT
//
// options.cc - see options.h.
//
// Owns: the table of options. It runs inside the first malloc of a process, perhaps before libc's own constructors:
// no allocation, no getenv, no strtoul, nothing that reads the locale.
#include "alloc/options.h"

#include <stddef.h>
#include <string.h>

#include "alloc/base/print.h"

namespace ashlar {

constinit Options options;

namespace {

/// A piece of an environment string.
struct Text {
  const char* begin;
  const char* end;

  size_t size() const { return static_cast<size_t>(end - begin); }
  bool equals(const char* s) const { return strlen(s) == size() && memcmp(begin, s, size()) == 0; }
  bool equals(Text other) const { return other.size() == size() && memcmp(begin, other.begin, size()) == 0; }
  /// What stands before the first `c` (or all of it); `*this` becomes what stands behind it.
  Text take_until(char c) {
    const char* p = begin;
    while (p != end && *p != c) ++p;
    const Text head{begin, p};
    begin = p == end ? end : p + 1;
    return head;
  }
};

struct Row {
  const char* key;
  bool (*parse)(const Row& row, Text value, Options& out);
  void (*print)(const Row& row, const Options& in, LineWriter& line);
  const char* values;  // as help shows them; words separated by '|' where the value is one of these words
  const char* help;
};

// Position of `value` among the words of `words`; -1 if it is none of them.
int find_word(const char* words, Text value) {
  Text rest{words, words + strlen(words)};
  for (int i = 0; rest.begin != rest.end; ++i) {
    if (rest.take_until('|').equals(value)) return i;
  }
  return -1;
}

void print_word(const char* words, unsigned index, LineWriter& line) {
  Text rest{words, words + strlen(words)};
  Text word = rest.take_until('|');
  for (; index != 0; --index) word = rest.take_until('|');
  line.text(word.begin, word.size());
}

// A decimal number with a unit behind it: one of `units`, or none. False on anything else, and beyond 32 bits.
struct Unit {
  const char* name;
  uint64_t factor;
};

bool parse_number(Text value, const Unit* units, size_t unit_count, uint32_t& out) {
  uint64_t n = 0;
  const char* p = value.begin;
  for (; p != value.end && *p >= '0' && *p <= '9'; ++p) {
    n = n * 10 + static_cast<unsigned>(*p - '0');
    if (n > UINT32_MAX) return false;
  }
  if (p == value.begin) return false;
  const Text suffix{p, value.end};
  for (size_t i = 0; i < unit_count; ++i) {
    if (!suffix.equals(units[i].name)) continue;
    if (n * units[i].factor > UINT32_MAX) return false;
    out = static_cast<uint32_t>(n * units[i].factor);
    return true;
  }
  return false;
}

// ---- the types of options, each a maker of rows -----------------------------------------------------

// off or on, under these and the usual other words.
template <bool Options::*Field>
consteval Row flag(const char* key, const char* help) {
  return {key,
          [](const Row&, Text value, Options& out) {
            const bool on = value.equals("on") || value.equals("1") || value.equals("true");
            const bool off = value.equals("off") || value.equals("0") || value.equals("false");
            if (on || off) out.*Field = on;
            return on || off;
          },
          [](const Row&, const Options& in, LineWriter& line) { line.text(in.*Field ? "on" : "off"); }, "on|off", help};
}

template <class Value>
void set_from_index(Value& field, int index) {
  field = static_cast<Value>(index);
}

// One of the words of `words`, in the order of the field's enumerators (or of false, true).
template <auto Field>
consteval Row choice(const char* key, const char* words, const char* help) {
  return {key,
          [](const Row& row, Text value, Options& out) {
            const int index = find_word(row.values, value);
            if (index < 0) return false;
            set_from_index(out.*Field, index);
            return true;
          },
          [](const Row& row, const Options& in, LineWriter& line) {
            print_word(row.values, static_cast<unsigned>(in.*Field), line);
          },
          words, help};
}

// A time, kept in milliseconds.
template <uint32_t Options::*Field>
consteval Row milliseconds(const char* key, const char* help) {
  return {key,
          [](const Row&, Text value, Options& out) {
            static constexpr Unit kUnits[] = {{"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60'000}};
            return parse_number(value, kUnits, sizeof kUnits / sizeof kUnits[0], out.*Field);
          },
          [](const Row&, const Options& in, LineWriter& line) { line.dec(in.*Field).text("ms"); }, "<n>[ms|s|m]", help};
}

// A count.
template <uint32_t Options::*Field>
consteval Row number(const char* key, const char* help) {
  return {key,
          [](const Row&, Text value, Options& out) {
            static constexpr Unit kUnits[] = {{"", 1}, {"k", 1000}};
            return parse_number(value, kUnits, sizeof kUnits / sizeof kUnits[0], out.*Field);
          },
          [](const Row&, const Options& in, LineWriter& line) { line.dec(in.*Field); }, "<n>[k]", help};
}

// ---- the options ------------------------------------------------------------------------------------

constexpr Row kConf[] = {
    flag<&Options::percpu>("percpu", "caches per CPU by rseq; off: caches leased to threads, without rseq"),
    flag<&Options::purge>("purge", "give free memory back to the kernel; off: only malloc_trim and ashlar_purge do"),
    flag<&Options::purge_thread>("purge_thread",
                                 "in programs with threads, a thread of ours purges while they are idle"),
    milliseconds<&Options::purge_delay_ms>("purge_delay", "memory idle for so long is given back"),
    choice<&Options::thp>("thp", "auto|on|off",
                          "huge pages: for small objects of large heaps, all fresh memory, never"),
    choice<&Options::stats_exit>("stats", "none|exit", "exit: print the memory statistics when the program ends"),
    flag<&Options::membarrier>("membarrier", "how readers of lock-free maps and channels pin; off: by a fence each"),
    number<&Options::guard_sample>("guard_sample", "one of so many small blocks between guard pages; 0: none"),
};

constexpr Row kDebug[] = {
    flag<&Options::inittrace>("inittrace", "one line per phase of initialisation, and the mode of the Ps"),
    flag<&Options::scavtrace>("scavtrace", "one line per purge cycle"),
    flag<&Options::chantrace>("chantrace", "one line per channel made and closed"),
    flag<&Options::maptrace>("maptrace", "one line per map that is made: caller, header, buckets, seed"),
};

struct Variable {
  const char* name;
  char assign;  // between key and value
  const Row* rows;
  size_t row_count;
};

constexpr Variable kVariables[] = {
    {"ASHLAR_CONF", ':', kConf, sizeof kConf / sizeof kConf[0]},
    {"ASHLAR_DEBUG", '=', kDebug, sizeof kDebug / sizeof kDebug[0]},
};

// ---- reading ----------------------------------------------------------------------------------------

void print_help() {
  const Options defaults;
  for (const Variable& variable : kVariables) {
    const char assign[] = {variable.assign, '\0'};
    LineWriter("ashlar: ").text(variable.name).text("=key").text(assign).text("value,...  (default)").flush(kStderr);
    for (const Row* row = variable.rows; row != variable.rows + variable.row_count; ++row) {
      LineWriter line("ashlar:   ");
      line.text(row->key).text(assign).text(row->values).column(36).text("(");
      row->print(*row, defaults, line);
      line.text(")").column(46).text(row->help).flush(kStderr);
    }
  }
}

const Row* find_row(const Variable& variable, Text key) {
  for (const Row* row = variable.rows; row != variable.rows + variable.row_count; ++row) {
    if (key.equals(row->key)) return row;
  }
  return nullptr;
}

// Whether an entry between `all`'s begin and `key` has the same key: then it has been named already.
bool seen_before(const Variable& variable, Text all, Text key) {
  Text rest{all.begin, key.begin};
  while (rest.begin != rest.end) {
    Text entry = rest.take_until(',');
    // Empty entries are skipped when read, so they named nothing: not the empty key either.
    if (entry.begin != entry.end && entry.take_until(variable.assign).equals(key)) return true;
  }
  return false;
}

void read_variable(const Variable& variable, Text all) {
  for (Text rest = all; rest.begin != rest.end;) {
    Text value = rest.take_until(',');
    if (value.begin == value.end) continue;
    const bool is_word = memchr(value.begin, variable.assign, value.size()) == nullptr;
    const Text key = value.take_until(variable.assign);
    const Row* row = find_row(variable, key);
    if (is_word && key.equals("help")) {
      if (!seen_before(variable, all, key)) print_help();
    } else if (row == nullptr) {
      if (seen_before(variable, all, key)) continue;
      LineWriter("ashlar: ").text(variable.name).text(": unknown key ").quoted(key.begin, key.size()).flush(kStderr);
    } else if (!row->parse(*row, value, options)) {
      LineWriter line("ashlar: ");
      line.text(variable.name).text(": bad value ").quoted(value.begin, value.size()).text(" for ").text(row->key);
      line.text(", not ").text(row->values).flush(kStderr);
    }
  }
}

}  // namespace

void read_options(const char* const* envp, bool secure) noexcept {
  if (secure || envp == nullptr) return;
  bool was_read[sizeof kVariables / sizeof kVariables[0]] = {};
  for (; *envp != nullptr; ++envp) {
    // Almost every string of an environment leaves here.
    if (strncmp(*envp, "ASHLAR_", 7) != 0) continue;
    Text value{*envp, *envp + strlen(*envp)};
    const Text name = value.take_until('=');
    for (size_t i = 0; i < sizeof was_read; ++i) {
      // The first of several counts, as for getenv.
      if (!name.equals(kVariables[i].name) || was_read[i]) continue;
      was_read[i] = true;
      read_variable(kVariables[i], value);
    }
  }
}

}  // namespace ashlar
