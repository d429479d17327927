// gRPC's status as ours: the codes are the same.
#pragma once

#include <grpcpp/support/status.h>

#include "base/status.h"

namespace tiltshift {

inline absl::Status StatusOf(const grpc::Status& status) {
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}

}  // namespace tiltshift
