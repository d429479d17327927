// Pictures made small, to be looked at many at once.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace tiltshift::picture {

// A PNG as a JPEG of at most `longest_side` pixels a side, without metadata; never larger than it
// was. DataLoss for what is no PNG or a damaged one, ResourceExhausted above 64 megapixels.
absl::StatusOr<std::string> SmallerJpeg(std::string_view png, int longest_side);

}  // namespace tiltshift::picture
