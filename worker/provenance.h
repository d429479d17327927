// What a picture says of itself, from its spec: written into it as XMP and, where there is a
// signer, signed as content credentials (docs/provenance.md). A function of spec, index, render
// class and signer alone (I4).
#pragma once

#include <string>
#include <string_view>

#include "plan/plan.h"
#include "provenance/signer.h"

namespace tiltshift::worker {

// `png` with that. Of prompts and names only what the spec's `output.tell` allows. `signer`: may be
// null.
absl::StatusOr<std::string> WithProvenance(std::string_view png, const v1::JobSpec& spec,
                                           const plan::Variant& variant,
                                           const std::string& render_class,
                                           const provenance::Signer* signer);

}  // namespace tiltshift::worker
