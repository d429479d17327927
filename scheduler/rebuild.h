// `tiltshift-scheduler --rebuild`: a lost Redis from the blob store (I2).
//
// What comes back: every job that was accepted, in its order, with the variants whose outputs and
// manifest lines are stored as committed, and what was cancelled as cancelled. What does not: which
// variants had failed (they are tried again), a pause and a changed priority, and the times of
// beginning and end. A submission that was stored and never acknowledged comes back too.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "store/blob_store.h"
#include "store/farm_store.h"

namespace tiltshift::scheduler {

struct Rebuilt {
  uint64_t jobs = 0, cancelled = 0, variants = 0, committed = 0;
  std::vector<std::string> ignored;  // sentences
};

// FailedPrecondition where Redis holds anything but an epoch, or where a scheduler leads: `name`
// takes the lead for as long as it takes.
absl::StatusOr<Rebuilt> Rebuild(store::FarmStore& store, store::BlobStore& blobs,
                                const std::string& name, const Clock& clock);

}  // namespace tiltshift::scheduler
