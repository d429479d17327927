// A photo as people send it: JPEG, PNG, WebP or, where libvips can, HEIC, brought to upright 8-bit
// sRGB without alpha and without metadata. The bytes are a stranger's: programs decode them through
// photo_process.h, apart from themselves; only the decoder (and its tests) calls DecodePhoto.
#pragma once

#include <optional>
#include <string_view>

#include "base/status.h"
#include "picture/image.h"

namespace tiltshift::picture {

inline constexpr size_t kLargestPhotoBytes = 40'000'000;
inline constexpr int kLongestPhotoSide = 16'384;
inline constexpr int64_t kMostPhotoPixels = 64'000'000;

enum class PhotoFormat { kJpeg, kPng, kWebp, kHeic };

// By the first bytes; nullopt for anything else, whatever it is called.
std::optional<PhotoFormat> FormatOf(std::string_view bytes);

// InvalidArgument above kLargestPhotoBytes.
absl::Status CheckPhotoBytes(size_t bytes);

// InvalidArgument says what is wrong in words for whoever sent it: another format, cut off or
// damaged, animated, more than the bounds above. Sides and frames are read before anything is
// decoded. Unimplemented: HEIC that this machine can't read.
absl::StatusOr<Image> DecodePhoto(std::string_view bytes);

}  // namespace tiltshift::picture
