#include "picture/png.h"

#include <utility>

#include "base/check.h"
#include "picture/vips.h"

namespace tiltshift::picture {
namespace {

constexpr int kCompression = 6;
constexpr int64_t kMostPixels = 64'000'000;
constexpr std::string_view kSignature = "\x89PNG\r\n\x1a\n";

}  // namespace

absl::StatusOr<std::string> EncodePng(int width, int height, std::span<const uint8_t> rgb) {
  StartVips();
  TS_CHECK(width > 0 && height > 0 && rgb.size() == static_cast<size_t>(width) * height * 3);
  OwnedImage image(
      vips_image_new_from_memory(rgb.data(), rgb.size(), width, height, 3, VIPS_FORMAT_UCHAR));
  if (image == nullptr) return VipsStatus("cannot wrap pixels");
  void* bytes = nullptr;
  size_t size = 0;
  if (vips_pngsave_buffer(image.get(), &bytes, &size, "compression", kCompression, "filter",
                          VIPS_FOREIGN_PNG_FILTER_SUB, "strip", TRUE, nullptr) != 0) {
    return VipsStatus("cannot encode PNG");
  }
  std::string png(static_cast<const char*>(bytes), size);
  g_free(bytes);
  return png;
}

absl::StatusOr<Image> DecodePng(std::string_view png) {
  StartVips();
  if (png.substr(0, kSignature.size()) != kSignature) return absl::DataLossError("not a PNG");
  VipsImage* loaded = nullptr;
  if (vips_pngload_buffer(const_cast<char*>(png.data()), png.size(), &loaded, "fail_on",
                          VIPS_FAIL_ON_TRUNCATED, nullptr) != 0) {
    return VipsStatus("cannot read PNG");
  }
  OwnedImage image(loaded);
  if (int64_t{loaded->Xsize} * loaded->Ysize > kMostPixels) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the picture has more than ", kMostPixels, " pixels"));
  }
  TS_RETURN_IF_ERROR(
      Apply(image, "cannot convert to RGB", vips_colourspace, VIPS_INTERPRETATION_sRGB));
  return PixelsOf(std::move(image));
}

}  // namespace tiltshift::picture
