// What the two registries have in common: for their own sources alone.
#pragma once

#include <array>
#include <string>

#include "base/status.h"

namespace tiltshift::monitoring {

// Upper bounds of every histogram's buckets; one without a bound follows.
inline constexpr std::array<double, 19> kSeconds = {
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1,
    0.2,    0.5,    1,      2,     5,     10,    20,   50,   100};

inline absl::Status CannotServe(const std::string& address, const std::string& why) {
  return absl::UnavailableError(absl::StrCat("cannot serve metrics on ", address, ": ", why,
                                             "; choose another port with --metrics"));
}

}  // namespace tiltshift::monitoring
