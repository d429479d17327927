// A stream to a Redis or a sentinel: TCP or a unix socket, in the clear or in TLS. Blocks, at most
// as long as its time-out for each step.
//
// Errors: Unavailable where another try can help (nobody there, too slow, gone); PermissionDenied
// where the other side's certificate, or ours, is refused; InvalidArgument where a file of ours
// can't be read.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "store/redis_address.h"

namespace tiltshift::store {

class RedisSocket {
 public:
  virtual ~RedisSocket() = default;
  // Writes all of it.
  virtual absl::Status Write(std::string_view bytes) = 0;
  // At least one byte, at most `room`.
  virtual absl::StatusOr<size_t> Read(char* to, size_t room) = 0;
};

// To `address`: its path, or its host and port; the rest of it only says whether by TLS.
absl::StatusOr<std::unique_ptr<RedisSocket>> OpenRedisSocket(const RedisAddress& address,
                                                             int timeout_ms);

// Speaks TLS over the connected socket `fd`, which is the new object's from then on, and holds the
// server's certificate against `address`' host and CA (redis_tls.cc).
absl::StatusOr<std::unique_ptr<RedisSocket>> StartRedisTls(int fd, const RedisAddress& address);

}  // namespace tiltshift::store
