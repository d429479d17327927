// Where a Redis is, and who we are there:
//
//   HOST:PORT                     no user, no password, database 0
//   unix:PATH                     likewise, over a unix socket
//   redis://USER:PASSWORD@HOST:PORT/DATABASE    everything but HOST may be left out; a password
//                                 alone is ":PASSWORD@". Reserved characters as %XX; an IPv6
//                                 address in [].
#pragma once

#include <string>

#include "base/status.h"

namespace tiltshift::store {

struct RedisAddress {
  std::string unix_path;  // empty: host and port
  std::string host;
  int port = 6379;
  std::string user, password;
  int database = 0;

  // For messages: without the password.
  std::string Shown() const;
};

// InvalidArgument says what is wrong, without showing a password. rediss:// is refused: hiredis
// here has no TLS, and a password must not go out in the clear where its owner asked for TLS.
absl::StatusOr<RedisAddress> ParseRedisAddress(const std::string& text);

// User and password from TILTSHIFT_REDIS_USER and TILTSHIFT_REDIS_PASSWORD where the address has
// no password: a command line is there for everyone to read.
RedisAddress WithCredentialsOfEnvironment(RedisAddress address);

}  // namespace tiltshift::store
