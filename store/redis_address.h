// Where a Redis is, and who we are there:
//
//   HOST:PORT                     no user, no password, database 0
//   unix:PATH                     likewise, over a unix socket
//   redis://USER:PASSWORD@HOST:PORT/DATABASE    everything but HOST may be left out; a password
//                                 alone is ":PASSWORD@". Reserved characters as %XX; an IPv6
//                                 address in [].
//   rediss://...                  the same in TLS
//   sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/MASTER/DATABASE    the Redis that these sentinels
//                                 name as the master called MASTER; user, password and database
//                                 are the master's. A sentinel's usual port is 26379.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace tiltshift::store {

// Files in PEM form. No CA: those of the system. No certificate of our own: none is shown.
struct RedisTls {
  std::string ca_file, cert_file, key_file;
};

struct RedisAddress {
  std::string unix_path;  // empty: host and port
  std::string host;
  int port = 6379;
  std::string user, password;
  int database = 0;
  bool tls = false;
  RedisTls tls_files;
  // By sentinels: they say what `host` and `port` are.
  std::vector<RedisAddress> sentinels;
  std::string master;

  // For messages: without the password.
  std::string Shown() const;
};

// InvalidArgument says what is wrong, without showing a password.
absl::StatusOr<RedisAddress> ParseRedisAddress(const std::string& text);

// User and password from TILTSHIFT_REDIS_USER and TILTSHIFT_REDIS_PASSWORD where the address has
// no password: a command line is there for everyone to read.
RedisAddress WithCredentialsOfEnvironment(RedisAddress address);

}  // namespace tiltshift::store
