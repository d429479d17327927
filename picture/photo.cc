#include "picture/photo.h"

#include <utility>

#include "picture/vips.h"

namespace tiltshift::picture {
namespace {

absl::Status Bad(const std::string& what) { return absl::InvalidArgumentError(what); }

const char* NameOf(PhotoFormat format) {
  switch (format) {
    case PhotoFormat::kJpeg:
      return "JPEG";
    case PhotoFormat::kPng:
      return "PNG";
    case PhotoFormat::kWebp:
      return "WebP";
    case PhotoFormat::kHeic:
      return "HEIC";
  }
  return "";
}

// Opened: the header is read, no pixel is.
absl::StatusOr<OwnedImage> Open(std::string_view bytes, PhotoFormat format) {
  void* data = const_cast<char*>(bytes.data());
  VipsImage* image = nullptr;
  int result = -1;
  switch (format) {
    case PhotoFormat::kJpeg:
      result = vips_jpegload_buffer(data, bytes.size(), &image, "fail_on", VIPS_FAIL_ON_TRUNCATED,
                                    nullptr);
      break;
    case PhotoFormat::kPng:
      result = vips_pngload_buffer(data, bytes.size(), &image, "fail_on", VIPS_FAIL_ON_TRUNCATED,
                                   nullptr);
      break;
    case PhotoFormat::kWebp:
      result = vips_webpload_buffer(data, bytes.size(), &image, "fail_on", VIPS_FAIL_ON_TRUNCATED,
                                    nullptr);
      break;
    case PhotoFormat::kHeic:
      if (vips_type_find("VipsOperation", "heifload_buffer") == 0)
        return absl::UnimplementedError("HEIC can't be read here; send the photo as JPEG");
      result = vips_heifload_buffer(data, bytes.size(), &image, "fail_on", VIPS_FAIL_ON_TRUNCATED,
                                    nullptr);
      break;
  }
  if (result != 0) {
    vips_error_clear();
    return Bad(absl::StrCat("the ", NameOf(format), " is damaged or cut off; send it again"));
  }
  return OwnedImage(image);
}

absl::Status CheckHeader(VipsImage* image, PhotoFormat format) {
  const int width = vips_image_get_width(image), height = vips_image_get_height(image);
  if (width > kLongestPhotoSide || height > kLongestPhotoSide ||
      int64_t{width} * height > kMostPhotoPixels) {
    return Bad(absl::StrCat("the photo is ", width, "x", height, " pixels; at most ",
                            kLongestPhotoSide, " a side and ", kMostPhotoPixels / 1'000'000,
                            " megapixels are taken: make it smaller"));
  }
  int frames = 1;
  const bool counted = vips_image_get_typeof(image, "n-pages") != 0 &&
                       vips_image_get_int(image, "n-pages", &frames) == 0;
  if (counted && frames > 1 && format != PhotoFormat::kHeic)
    return Bad(absl::StrCat("the photo is animated, with ", frames, " frames; send a still one"));
  return absl::OkStatus();
}

// Colours as the profile means them; without one, as the format does.
absl::Status ToSrgb(OwnedImage& image) {
  const bool has_profile = vips_image_get_typeof(image.get(), VIPS_META_ICC_NAME) != 0;
  const bool is_cmyk = vips_image_get_interpretation(image.get()) == VIPS_INTERPRETATION_CMYK;
  if (has_profile || is_cmyk) {
    const char* otherwise = is_cmyk ? "cmyk" : "srgb";
    const absl::Status by_profile =
        Apply(image, "cannot convert the colours", vips_icc_transform, "srgb", "embedded", TRUE,
              "input_profile", otherwise, "intent", VIPS_INTENT_RELATIVE, "depth", 8);
    if (by_profile.ok()) return by_profile;
  }
  return Apply(image, "cannot convert the colours", vips_colourspace, VIPS_INTERPRETATION_sRGB);
}

absl::Status OntoWhite(OwnedImage& image) {
  if (vips_image_hasalpha(image.get()) == 0) return absl::OkStatus();
  const bool wide = vips_image_get_format(image.get()) == VIPS_FORMAT_USHORT;
  VipsArrayDouble* white = vips_array_double_newv(1, wide ? 65535.0 : 255.0);
  const absl::Status flat = Apply(image, "cannot flatten", vips_flatten, "background", white);
  vips_area_unref(VIPS_AREA(white));
  return flat;
}

absl::StatusOr<Image> ToPixels(OwnedImage image) {
  TS_RETURN_IF_ERROR(Apply(image, "cannot turn", vips_autorot));
  TS_RETURN_IF_ERROR(OntoWhite(image));
  TS_RETURN_IF_ERROR(ToSrgb(image));
  return PixelsOf(std::move(image));
}

}  // namespace

std::optional<PhotoFormat> FormatOf(std::string_view bytes) {
  if (bytes.starts_with("\xff\xd8\xff")) return PhotoFormat::kJpeg;
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return PhotoFormat::kPng;
  if (bytes.starts_with("RIFF") &&
      bytes.substr(std::min<size_t>(8, bytes.size())).starts_with("WEBP"))
    return PhotoFormat::kWebp;
  const std::string_view brand = bytes.substr(std::min<size_t>(4, bytes.size()), 8);
  for (const char* known :
       {"ftypheic", "ftypheix", "ftypmif1", "ftyphevc", "ftypheim", "ftypheis"}) {
    if (brand == known) return PhotoFormat::kHeic;
  }
  return std::nullopt;
}

absl::Status CheckPhotoBytes(size_t bytes) {
  if (bytes <= kLargestPhotoBytes) return absl::OkStatus();
  return Bad(absl::StrCat("the photo has ", bytes, " bytes; at most ",
                          kLargestPhotoBytes / 1'000'000, " MB are taken: make it smaller"));
}

absl::StatusOr<Image> DecodePhoto(std::string_view bytes) {
  StartVips();
  if (bytes.empty()) return Bad("the photo is empty");
  TS_RETURN_IF_ERROR(CheckPhotoBytes(bytes.size()));
  const auto format = FormatOf(bytes);
  if (!format) return Bad("this is no JPEG, PNG, WebP or HEIC photo");
  TS_ASSIGN_OR_RETURN(OwnedImage opened, Open(bytes, *format));
  TS_RETURN_IF_ERROR(CheckHeader(opened.get(), *format));
  auto image = ToPixels(std::move(opened));
  if (image.ok()) return image;
  return Bad(absl::StrCat("the ", NameOf(*format), " is damaged or cut off; send it again"));
}

}  // namespace tiltshift::picture
