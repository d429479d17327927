#include "picture/vips.h"

#include <mutex>

namespace tiltshift::picture {

void StartVips() {
  static std::once_flag once;
  std::call_once(once, [] {
    // libvips logs warnings through glib to standard error; a damaged picture is an error here,
    // said once.
    g_log_set_handler(
        "VIPS", G_LOG_LEVEL_WARNING, [](const gchar*, GLogLevelFlags, const gchar*, gpointer) {},
        nullptr);
    vips_init("tiltshift");
    vips_concurrency_set(1);
    vips_cache_set_max(0);
#if VIPS_MAJOR_VERSION > 8 || VIPS_MINOR_VERSION >= 13  // before, libvips has no such switch
    vips_block_untrusted_set(TRUE);
#endif
  });
}

absl::Status VipsStatus(const char* what) {
  std::string message = absl::StrCat(what, ": ", vips_error_buffer());
  vips_error_clear();
  while (!message.empty() && message.back() == '\n') message.pop_back();
  return absl::DataLossError(message);
}

absl::StatusOr<Image> PixelsOf(OwnedImage image) {
  TS_RETURN_IF_ERROR(Apply(image, "cannot take three channels", vips_extract_band, 0, "n", 3));
  TS_RETURN_IF_ERROR(Apply(image, "cannot convert to 8 bits", vips_cast_uchar));
  size_t size = 0;
  void* pixels = vips_image_write_to_memory(image.get(), &size);
  if (pixels == nullptr) return VipsStatus("cannot decode");
  Image result{vips_image_get_width(image.get()), vips_image_get_height(image.get()), {}};
  result.rgb.assign(static_cast<uint8_t*>(pixels), static_cast<uint8_t*>(pixels) + size);
  g_free(pixels);
  return result;
}

}  // namespace tiltshift::picture
