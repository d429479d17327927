#include "plan/png_header.h"

namespace tiltshift::plan {

// The signature, then a chunk's length and name, then width and height, most significant byte first
// (PNG 1.2, sections 3.1 and 4.1.1).
absl::StatusOr<PngSize> ReadPngSize(std::string_view png) {
  constexpr std::string_view kSignature = "\x89PNG\r\n\x1a\n";
  constexpr size_t kSizesAt = 16;
  if (!png.starts_with(kSignature)) return absl::InvalidArgumentError("is no PNG");
  if (png.size() < kSizesAt + 8 || png.substr(12, 4) != "IHDR")
    return absl::InvalidArgumentError("is a PNG that is damaged or cut off");
  const auto number = [&](size_t at) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(png[at + i]);
    return value;
  };
  return PngSize{number(kSizesAt), number(kSizesAt + 4)};
}

}  // namespace tiltshift::plan
