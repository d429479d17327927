// PNG in and out, through libvips.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "picture/image.h"

namespace tiltshift::picture {

// rgb is [height, width, 3]. The same pixels give the same bytes, from any thread: fixed
// compression and filter, no time and no metadata.
absl::StatusOr<std::string> EncodePng(int width, int height, std::span<const uint8_t> rgb);

// DataLoss for what is no PNG or a damaged one, ResourceExhausted above 64 megapixels. Alpha is
// dropped, grey and palette become RGB.
absl::StatusOr<Image> DecodePng(std::string_view png);

}  // namespace tiltshift::picture
