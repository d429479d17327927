// Leases for the tests of this room.
#pragma once

#include "proto/worker.pb.h"

namespace tiltshift::worker {

// Of job j, which has 100 variants.
inline v1::Lease TestLease(uint64_t token, uint64_t first, uint64_t count, bool with_spec = true) {
  v1::Lease lease;
  lease.set_token(token);
  lease.set_job_id("j");
  lease.mutable_range()->set_first(first);
  lease.mutable_range()->set_count(count);
  if (with_spec) {
    v1::JobSpec& spec = *lease.mutable_spec();
    spec.set_name("n");
    spec.set_model("m");
    spec.set_prompt("{i}");
    spec.add_axes()->set_name("i");
    spec.mutable_axes(0)->set_range("1-100");
  }
  return lease;
}

}  // namespace tiltshift::worker
