// What a job renders with, as one name: workers say by it what they have in memory, and the
// scheduler gives them what goes with it.
#pragma once

#include <string>

#include "proto/job.pb.h"

namespace tiltshift::plan {

// "diorama", or with LoRAs or ControlNets "diorama+" and 12 characters that are the same for the
// same set. `spec` is a plan's: with its defaults filled in.
std::string ModelVariant(const v1::JobSpec& spec);

}  // namespace tiltshift::plan
