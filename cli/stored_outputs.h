// The pictures of a farm on this machine, taken into a folder while it renders: a file appears
// under its name when it is stored, whole, as a hard link to the blob.
#pragma once

#include <chrono>
#include <set>
#include <string>

#include "base/status.h"
#include "proto/farm.pb.h"

namespace tiltshift::cli {

// Whether `folder` holds the picture with the right bytes.
bool IsThere(const std::string& folder, const v1::OutputInfo& info);

// A scheduler is trusted with pictures, not with this machine's paths.
absl::Status CheckOutputName(const std::string& name);

// Puts the blob of `info` into `folder`, in place of what has its name.
absl::Status TakeBlob(const std::string& blobs, const std::string& job_id,
                      const v1::OutputInfo& info, const std::string& folder);

class StoredOutputs {
 public:
  // Job `job_id` in the farm's blob folder `blobs`; its pictures go to `folder`, which exists.
  StoredOutputs(const std::string& blobs, const std::string& job_id, const std::string& folder);

  // Brings what was stored since the last call. To be called often: it does nothing where the last
  // call was too short a time ago for what it cost, so that looking stays below a twentieth of the
  // time. What can't be brought now is tried again at the next call.
  void Bring();

 private:
  void BringPart(const std::string& part);

  const std::string blobs_, job_id_, folder_;
  std::set<std::string> brought_;  // manifest parts
  std::chrono::steady_clock::time_point next_;
};

}  // namespace tiltshift::cli
