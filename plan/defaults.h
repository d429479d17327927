// Fills what a spec left out and checks every single field; what fields say together is
// Plan::Create's.
#pragma once

#include "base/status.h"
#include "proto/job.pb.h"

namespace tiltshift::plan {

// In place. InvalidArgument with the field's path and its bound.
absl::Status FillAndCheck(v1::JobSpec& spec);

}  // namespace tiltshift::plan
