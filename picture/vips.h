// libvips started once, quiet and single-threaded, and its images owned.
#pragma once

#include <vips/vips.h>

#include <memory>

#include "base/status.h"
#include "picture/image.h"

namespace tiltshift::picture {

// Before any vips call; safe to call from any thread, any number of times.
void StartVips();

struct VipsUnref {
  void operator()(VipsImage* image) const { g_object_unref(image); }
};
using OwnedImage = std::unique_ptr<VipsImage, VipsUnref>;

// What vips' error buffer says, as DataLoss with `what` before it; the buffer is emptied.
absl::Status VipsStatus(const char* what);

// One step from image to image: `operation` is libvips' call, without the end of its arguments.
template <typename Operation, typename... Arguments>
absl::Status Apply(OwnedImage& image, const char* what, Operation operation,
                   Arguments... arguments) {
  VipsImage* out = nullptr;
  if (operation(image.get(), &out, arguments..., nullptr) != 0) return VipsStatus(what);
  image.reset(out);
  return absl::OkStatus();
}

// Computed, as its first three bands in 8 bits; sRGB with or without more of them comes in.
absl::StatusOr<Image> PixelsOf(OwnedImage image);

}  // namespace tiltshift::picture
