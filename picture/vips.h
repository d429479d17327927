// libvips started once, quiet and single-threaded, and its images owned.
#pragma once

#include <vips/vips.h>

#include <memory>

#include "base/status.h"

namespace tiltshift::picture {

// Before any vips call; safe to call from any thread, any number of times.
void StartVips();

struct VipsUnref {
  void operator()(VipsImage* image) const { g_object_unref(image); }
};
using OwnedImage = std::unique_ptr<VipsImage, VipsUnref>;

// What vips' error buffer says, as DataLoss with `what` before it; the buffer is emptied.
absl::Status VipsStatus(const char* what);

}  // namespace tiltshift::picture
