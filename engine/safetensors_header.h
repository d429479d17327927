// The JSON header of a safetensors file, as it claims to be; safetensors.cc checks the claims.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/safetensors.h"

namespace tiltshift::engine {

struct SafetensorsEntry {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  std::array<uint64_t, 2> offsets = {0, 0};  // begin, end
};

// The entries in the header's order. DataLoss, without the file's name, at the first step off the
// format.
absl::StatusOr<std::vector<SafetensorsEntry>> ReadSafetensorsHeader(std::string_view header);

}  // namespace tiltshift::engine
