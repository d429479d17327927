// Puts a rendered variant into the blob store: the picture under its name, then its manifest line.
// Written twice (after a crash, by two workers), it is the same bytes (I4); other bytes under the
// name are an error that tells both hashes. Where only the credentials differ, because the farm's
// certificate was changed in between, what was stored first stays.
#pragma once

#include <string>

#include "plan/plan.h"
#include "store/blob_store.h"
#include "worker/lease_queue.h"
#include "worker/variant_renderer.h"

namespace tiltshift::worker {

// Tries a few seconds where the store is full, read-only or away; then its error.
absl::Status WriteOutput(store::BlobStore& blobs, const Work& work, const plan::Variant& variant,
                         const RenderedVariant& rendered, double seconds,
                         const std::string& worker_id);

}  // namespace tiltshift::worker
