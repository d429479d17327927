// What a PNG says of itself in its first bytes, for whoever must refuse one without decoding it.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"

namespace tiltshift::plan {

struct PngSize {
  uint32_t width = 0, height = 0;
};

// InvalidArgument: no PNG, or one that ends before its sizes.
absl::StatusOr<PngSize> ReadPngSize(std::string_view png);

}  // namespace tiltshift::plan
