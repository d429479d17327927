// A blob store that tells how its calls went: for whoever times them.
#pragma once

#include <functional>
#include <memory>

#include "store/blob_store.h"

namespace tiltshift::store {

// `operation`: put, get, exists, list or delete. On the caller's thread, when the call has ended.
using BlobObserver =
    std::function<void(std::string_view operation, double seconds, const absl::Status& status)>;

std::unique_ptr<BlobStore> Observed(std::unique_ptr<BlobStore> blobs, BlobObserver observer);

}  // namespace tiltshift::store
