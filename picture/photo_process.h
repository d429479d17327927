// Photos decoded apart: each in a process of its own, which can do nothing but compute, forked from
// one that reads no photos (tiltshift-photo-decoder). What a photo makes of a decoder library ends
// there. No process writes a photo or its pixels to a file.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "picture/image.h"

namespace tiltshift::picture {

class PhotoProcess {
 public:
  // The decoder's path; empty: beside this program, or in PATH.
  explicit PhotoProcess(std::string program = "");
  ~PhotoProcess();

  // As DecodePhoto. InvalidArgument also where the photo kills its decoder or takes it more than
  // its time and memory. FailedPrecondition: there is no decoder, or nothing that locks it down.
  // Safe from any thread.
  absl::StatusOr<Image> Decode(std::string_view bytes) const;

 private:
  class Host;
  const std::unique_ptr<Host> host_;
};

}  // namespace tiltshift::picture
