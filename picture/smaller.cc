#include "picture/smaller.h"

#include <algorithm>

#include "picture/png.h"
#include "picture/vips.h"

namespace tiltshift::picture {
namespace {

constexpr int kQuality = 84;

}  // namespace

absl::StatusOr<std::string> SmallerJpeg(std::string_view png, int longest_side) {
  TS_ASSIGN_OR_RETURN(const Image pixels, DecodePng(png));
  OwnedImage image(vips_image_new_from_memory(pixels.rgb.data(), pixels.rgb.size(), pixels.width,
                                              pixels.height, 3, VIPS_FORMAT_UCHAR));
  if (image == nullptr) return VipsStatus("cannot wrap pixels");
  const int longest = std::max(pixels.width, pixels.height);
  if (longest > longest_side) {
    TS_RETURN_IF_ERROR(Apply(image, "cannot make the picture smaller", vips_resize,
                             static_cast<double>(longest_side) / longest));
  }
  void* bytes = nullptr;
  size_t size = 0;
  if (vips_jpegsave_buffer(image.get(), &bytes, &size, "Q", kQuality, "strip", TRUE, nullptr) != 0)
    return VipsStatus("cannot encode JPEG");
  std::string jpeg(static_cast<const char*>(bytes), size);
  g_free(bytes);
  return jpeg;
}

}  // namespace tiltshift::picture
