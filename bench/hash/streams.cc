// SPDX-License-Identifier: MIT
//
// streams FOLDER DIST UNIVERSE - writes FOLDER/DIST-UNIVERSE, unless it is there: 2^21 ids below UNIVERSE, uniform or
// zipf (0.99), as uint32. All maps of all languages read these, so that none draws luckier keys.
#include <math.h>

#include "bench/hash/harness.h"

namespace {

/// Ranks after J. Gray and others, "Quickly generating billion-record synthetic databases", SIGMOD 1994.
class Zipf {
 public:
  explicit Zipf(uint64_t universe) : universe_(static_cast<double>(universe)) {
    for (uint64_t i = 1; i <= universe; ++i) zetan_ += 1 / pow(static_cast<double>(i), kTheta);
    const double zeta2 = 1 + pow(0.5, kTheta);
    eta_ = (1 - pow(2 / universe_, 1 - kTheta)) / (1 - zeta2 / zetan_);
  }
  uint64_t rank(double u) const {
    const double uz = u * zetan_;
    if (uz < 1) return 0;
    if (uz < 1 + pow(0.5, kTheta)) return 1;
    const double rank = universe_ * pow(eta_ * u - eta_ + 1, 1 / (1 - kTheta));
    return static_cast<uint64_t>(rank < universe_ ? rank : universe_ - 1);
  }

 private:
  static constexpr double kTheta = 0.99;
  double universe_, zetan_ = 0, eta_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) bench::fail("streams FOLDER uniform|zipf UNIVERSE");
  const std::string dist = argv[2], path = std::string(argv[1]) + "/" + dist + "-" + argv[3];
  const uint64_t universe = strtoull(argv[3], nullptr, 10);
  if (universe == 0 || universe > UINT32_MAX || (dist != "uniform" && dist != "zipf")) bench::fail("no such stream");
  if (access(path.c_str(), R_OK) == 0) return 0;
  const Zipf zipf(dist == "zipf" ? universe : 2);
  std::vector<uint32_t> ids(bench::Stream::kSteps);
  uint64_t draw = 0;
  for (uint32_t& id : ids) {
    const double u = static_cast<double>(bench::scramble(draw++ ^ 0x5851f42d4c957f2du) >> 11) * 0x1p-53;
    id =
        static_cast<uint32_t>(dist == "zipf" ? zipf.rank(u) : static_cast<uint64_t>(u * static_cast<double>(universe)));
  }
  const std::string fresh = path + "." + std::to_string(getpid());
  FILE* f = fopen(fresh.c_str(), "w");
  if (f == nullptr || fwrite(ids.data(), 4, ids.size(), f) != ids.size() || fclose(f) != 0) bench::fail(fresh);
  if (rename(fresh.c_str(), path.c_str()) != 0) bench::fail(path);
  return 0;
}
