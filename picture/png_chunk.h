// Chunks put into a PNG that is there already: what a picture says of itself.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace tiltshift::picture {

// `xmp`, an XMP packet in UTF-8, as the iTXt chunk that the XMP specification (part 3) names,
// before the pixels. InvalidArgument: `png` is none.
absl::StatusOr<std::string> WithXmp(std::string_view png, std::string_view xmp);

// The packet of such a chunk; empty where there is none. DataLoss: chunks that do not fit their
// file or their checksum.
absl::StatusOr<std::string> XmpOf(std::string_view png);

}  // namespace tiltshift::picture
