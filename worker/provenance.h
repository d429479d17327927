// What a picture says of itself: that a machine made it, with what, for which job, and whose it is.
// XMP, with the properties of the IPTC Photo Metadata Standard 2025.1. A function of spec, index
// and render class alone (I4).
#pragma once

#include <string>

#include "plan/plan.h"

namespace tiltshift::worker {

// The packet. Of prompts and names only what the spec's `output.tell` allows.
std::string ProvenanceXmp(const v1::JobSpec& spec, const plan::Variant& variant,
                          const std::string& render_class);

}  // namespace tiltshift::worker
