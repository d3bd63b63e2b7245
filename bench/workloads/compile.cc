// SPDX-License-Identifier: MIT
//
// compile.cc - input for the compiler: standard headers full of templates. Compiled, never run. Half a second: <regex>
// alone would take as long again, and leave the other workloads no time.
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

std::map<std::string, std::vector<std::string>> fields(const std::string& text) {
  std::map<std::string, std::vector<std::string>> found;
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const size_t colon = std::min(text.find(':', at), end);
    found[text.substr(at, colon - at)].push_back(text.substr(colon, end - colon));
    at = end + 1;
  }
  for (auto& [name, values] : found) std::stable_sort(values.begin(), values.end());
  return found;
}

std::vector<std::pair<std::string, int>> most_frequent(const std::vector<std::string>& words) {
  std::unordered_map<std::string, int> counts;
  for (const auto& word : words) ++counts[word];
  std::vector<std::pair<std::string, int>> all(counts.begin(), counts.end());
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  return all;
}

std::shared_ptr<std::function<std::string(const std::string&)>> prefixing(const std::string& prefix) {
  return std::make_shared<std::function<std::string(const std::string&)>>(
      [prefix](const std::string& text) { return prefix + text; });
}
