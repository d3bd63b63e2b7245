// SPDX-License-Identifier: MIT
//
// options_test.cc - ASHLAR_CONF and ASHLAR_DEBUG: what is read, what is named on stderr, and what help says.
#include "alloc/options.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace ashlar {
namespace {

class OptionsTest : public testing::Test {
 protected:
  void SetUp() override { options = Options(); }
  void TearDown() override { options = saved_; }

  /// Reads an environment of these strings; returns what came on stderr.
  static std::string read(const std::vector<std::string>& strings, bool secure = false) {
    std::vector<const char*> envp;
    for (const std::string& s : strings) envp.push_back(s.c_str());
    envp.push_back(nullptr);
    testing::internal::CaptureStderr();
    read_options(envp.data(), secure);
    return testing::internal::GetCapturedStderr();
  }

  static std::string conf(const std::string& value) { return read({"ASHLAR_CONF=" + value}); }
  static std::string debug(const std::string& value) { return read({"ASHLAR_DEBUG=" + value}); }

 private:
  // The allocator of this very process reads them, too.
  const Options saved_ = options;
};

size_t count_of(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST_F(OptionsTest, defaults_without_an_environment) {
  testing::internal::CaptureStderr();
  read_options(nullptr, false);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(read({}), "");
  EXPECT_EQ(read({"PATH=/bin", "ASHLAR_CONF=", "ASHLAR_DEBUG="}), "");
  EXPECT_TRUE(options.percpu);
  EXPECT_TRUE(options.purge);
  EXPECT_EQ(options.purge_delay_ms, 1000U);
  EXPECT_EQ(options.thp, Options::kAuto);
  EXPECT_FALSE(options.stats_exit);
  EXPECT_EQ(options.guard_sample, kHardened ? 1000U : 0U);
  EXPECT_FALSE(options.inittrace);
  EXPECT_FALSE(options.scavtrace);
}

TEST_F(OptionsTest, every_option_is_read) {
  EXPECT_EQ(conf("percpu:off,purge:off,purge_delay:250,thp:on,stats:exit,guard_sample:2k"), "");
  EXPECT_EQ(options.guard_sample, 2000U);
  EXPECT_FALSE(options.percpu);
  EXPECT_FALSE(options.purge);
  EXPECT_EQ(options.purge_delay_ms, 250U);
  EXPECT_EQ(options.thp, Options::kOn);
  EXPECT_TRUE(options.stats_exit);
  EXPECT_EQ(debug("inittrace=1,scavtrace=1"), "");
  EXPECT_TRUE(options.inittrace);
  EXPECT_TRUE(options.scavtrace);
}

TEST_F(OptionsTest, words_for_on_and_off) {
  for (const char* word : {"off", "0", "false"}) {
    options.percpu = true;
    EXPECT_EQ(conf(std::string("percpu:") + word), "");
    EXPECT_FALSE(options.percpu) << word;
  }
  for (const char* word : {"on", "1", "true"}) {
    options.percpu = false;
    EXPECT_EQ(conf(std::string("percpu:") + word), "");
    EXPECT_TRUE(options.percpu) << word;
  }
}

TEST_F(OptionsTest, every_word_of_a_choice) {
  EXPECT_EQ(conf("thp:off"), "");
  EXPECT_EQ(options.thp, Options::kOff);
  EXPECT_EQ(conf("thp:on"), "");
  EXPECT_EQ(options.thp, Options::kOn);
  EXPECT_EQ(conf("thp:auto"), "");
  EXPECT_EQ(options.thp, Options::kAuto);
  EXPECT_EQ(conf("stats:exit,stats:none"), "");
  EXPECT_FALSE(options.stats_exit);
}

TEST_F(OptionsTest, times_have_units) {
  const std::pair<const char*, uint32_t> cases[] = {{"0", 0},     {"1", 1},       {"15ms", 15},
                                                    {"2s", 2000}, {"3m", 180000}, {"4294967295", UINT32_MAX}};
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(conf(std::string("purge_delay:") + text), "");
    EXPECT_EQ(options.purge_delay_ms, expected) << text;
  }
}

TEST_F(OptionsTest, bad_values_are_named_and_change_nothing) {
  for (const char* value : {"", "-1", "s", "1h", "1 s", "+1", "0x10", "1.5s", "4294967296", "4294968s",
                            "99999999999999999999999", "18446744073709551617"}) {
    EXPECT_EQ(conf(std::string("purge_delay:") + value),
              std::string("ashlar: ASHLAR_CONF: bad value \"") + value + "\" for purge_delay, not <n>[ms|s|m]\n");
    EXPECT_EQ(options.purge_delay_ms, 1000U);
  }
  EXPECT_EQ(conf("percpu:OFF"), "ashlar: ASHLAR_CONF: bad value \"OFF\" for percpu, not on|off\n");
  EXPECT_EQ(conf("percpu"), "ashlar: ASHLAR_CONF: bad value \"\" for percpu, not on|off\n");
  EXPECT_EQ(conf("thp:auto|on"), "ashlar: ASHLAR_CONF: bad value \"auto|on\" for thp, not auto|on|off\n");
  EXPECT_EQ(conf("thp:"), "ashlar: ASHLAR_CONF: bad value \"\" for thp, not auto|on|off\n");
  EXPECT_EQ(debug("inittrace=yes"), "ashlar: ASHLAR_DEBUG: bad value \"yes\" for inittrace, not on|off\n");
  EXPECT_TRUE(options.percpu);
  EXPECT_EQ(options.thp, Options::kAuto);
  EXPECT_FALSE(options.inittrace);
}

TEST_F(OptionsTest, an_unknown_key_is_named_once_and_the_rest_is_read) {
  EXPECT_EQ(conf("x:1,percpu:off,x:2,xy,x,purge_delay:7"),
            "ashlar: ASHLAR_CONF: unknown key \"x\"\nashlar: ASHLAR_CONF: unknown key \"xy\"\n");
  EXPECT_FALSE(options.percpu);
  EXPECT_EQ(options.purge_delay_ms, 7U);
  EXPECT_EQ(debug("gctrace=1"), "ashlar: ASHLAR_DEBUG: unknown key \"gctrace\"\n");
}

TEST_F(OptionsTest, keys_are_matched_whole) {
  EXPECT_EQ(count_of(conf("per:off,percpux:off,PERCPU:off,:off"), "unknown key"), 4U);
  EXPECT_TRUE(options.percpu);
}

TEST_F(OptionsTest, keys_of_one_variable_are_unknown_to_the_other) {
  EXPECT_EQ(conf("inittrace:1"), "ashlar: ASHLAR_CONF: unknown key \"inittrace\"\n");
  EXPECT_EQ(debug("percpu=0"), "ashlar: ASHLAR_DEBUG: unknown key \"percpu\"\n");
  EXPECT_FALSE(options.inittrace);
  EXPECT_TRUE(options.percpu);
}

TEST_F(OptionsTest, empty_entries_are_nothing) {
  EXPECT_EQ(conf(",,percpu:off,,"), "");
  EXPECT_FALSE(options.percpu);
}

TEST_F(OptionsTest, an_empty_key_behind_empty_entries_is_named) {
  EXPECT_EQ(conf(",,:off,:on"), "ashlar: ASHLAR_CONF: unknown key \"\"\n");
}

TEST_F(OptionsTest, the_last_of_several_entries_wins) {
  EXPECT_EQ(conf("percpu:off,percpu:on,purge_delay:1,purge_delay:2"), "");
  EXPECT_TRUE(options.percpu);
  EXPECT_EQ(options.purge_delay_ms, 2U);
}

TEST_F(OptionsTest, the_first_of_several_variables_wins_as_for_getenv) {
  EXPECT_EQ(read({"ASHLAR_CONF=purge_delay:1", "ASHLAR_CONF=purge_delay:2"}), "");
  EXPECT_EQ(options.purge_delay_ms, 1U);
}

TEST_F(OptionsTest, variables_are_matched_whole) {
  EXPECT_EQ(read({"ASHLAR_CONFX=percpu:off", "XASHLAR_CONF=percpu:off", "ASHLAR_CON=percpu:off", "ASHLAR_CONF"}), "");
  EXPECT_TRUE(options.percpu);
}

TEST_F(OptionsTest, nothing_is_read_in_a_secure_process) {
  EXPECT_EQ(read({"ASHLAR_CONF=percpu:off,help,x:1", "ASHLAR_DEBUG=inittrace=1"}, true), "");
  EXPECT_TRUE(options.percpu);
  EXPECT_FALSE(options.inittrace);
}

TEST_F(OptionsTest, what_is_named_cannot_forge_lines_and_is_cut_off) {
  const std::string err = conf("a\nashlar: forged:1," + std::string(100000, 'y') + ":1,percpu:off");
  EXPECT_EQ(std::count(err.begin(), err.end(), '\n'), 2);
  EXPECT_NE(err.find("unknown key \"a?ashlar\""), std::string::npos) << err.substr(0, 100);
  EXPECT_EQ(err.substr(err.size() - 5), "y...\n");
  EXPECT_LT(err.size(), 1000U);
  EXPECT_FALSE(options.percpu);
}

TEST_F(OptionsTest, help_has_a_line_for_every_option_with_its_default_and_goes_on) {
  const std::string err = conf("percpu:off,help,thp:off,help");
  EXPECT_FALSE(options.percpu);
  EXPECT_EQ(options.thp, Options::kOff);
  for (const char* start : {"percpu:on|off ", "purge:on|off ", "purge_delay:<n>[ms|s|m] ", "thp:auto|on|off ",
                            "stats:none|exit ", "inittrace=on|off ", "scavtrace=on|off "}) {
    EXPECT_EQ(count_of(err, std::string("\nashlar:   ") + start), 1U) << start << err;
  }
  // The defaults, not what was read before the word.
  for (const char* fallback : {"(on) ", "(1000ms) ", "(auto) ", "(none) ", "(off) "}) {
    EXPECT_GE(count_of(err, fallback), 1U) << fallback << err;
  }
  EXPECT_EQ(count_of(err, "\nashlar:   percpu:on|off             (on) "), 1U) << err;
  EXPECT_EQ(count_of(err, "..."), 2U) << "no line is cut off: the dots are those of the two headings\n" << err;
}

TEST_F(OptionsTest, help_for_a_value_is_no_help) {
  EXPECT_EQ(conf("help:1"), "ashlar: ASHLAR_CONF: unknown key \"help\"\n");
}

TEST_F(OptionsTest, any_text_leaves_every_option_in_its_range) {
  // Strings of 6 pieces from an alphabet that can form entries.
  const std::vector<std::string> pieces = {"thp", ":", ",", "off", "stats", "", "=", "7", "purge_delay", "s"};
  testing::internal::CaptureStderr();
  for (int n = 0; n < 20000; ++n) {
    std::string text = "ASHLAR_CONF=";
    for (size_t i = 0, rest = static_cast<size_t>(n) * 2654435761U % 1000000; i < 6; ++i, rest /= 10) {
      text += pieces[rest % 10];
    }
    const char* envp[] = {text.c_str(), nullptr};
    read_options(envp, false);
    ASSERT_LE(options.thp, Options::kOff) << text;
  }
  testing::internal::GetCapturedStderr();
}

}  // namespace
}  // namespace ashlar
