// Photos decoded apart: each in a process of its own (tiltshift-photo-decoder), which can do
// nothing but compute. What a photo makes of a decoder library ends there. Neither process writes a
// photo or its pixels to a file.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "picture/image.h"

namespace tiltshift::picture {

class PhotoProcess {
 public:
  // The decoder's path; empty: beside this program, or in PATH.
  explicit PhotoProcess(std::string program = "");

  // As DecodePhoto. InvalidArgument also where the photo kills its decoder or takes it more than
  // its time and memory. FailedPrecondition: there is no decoder, or nothing that locks it down.
  // Safe from any thread.
  absl::StatusOr<Image> Decode(std::string_view bytes) const;

 private:
  const std::string program_;
};

}  // namespace tiltshift::picture
