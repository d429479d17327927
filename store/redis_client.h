// One connection to Redis, with pipelining. The only door to hiredis.
//
// Not thread-safe: each thread has its own. After a broken connection every call is Unavailable
// until a call finds the server again: each call tries once to connect.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace tiltshift::store {

// What Redis answered: one of its types.
struct RedisReply {
  enum class Kind { kNil, kInteger, kString, kError, kArray };
  Kind kind = Kind::kNil;
  int64_t integer = 0;
  std::string text;  // of kString and kError
  std::vector<RedisReply> items;

  bool is_nil() const { return kind == Kind::kNil; }
};

using RedisCommand = std::vector<std::string>;

class RedisClient {
 public:
  // "unix:/path/to/socket" or "host:port". Does not connect yet.
  explicit RedisClient(std::string address, int timeout_ms = 5000);
  ~RedisClient();

  // The reply; an error that Redis itself reports is Internal with its text, except those that mean
  // "come back later" (LOADING, BUSY, MISCONF, OOM, READONLY), which are Unavailable.
  absl::StatusOr<RedisReply> Run(const RedisCommand& command);

  // Sends all, then reads all: one round trip. Replies in order; kError replies stay in the list.
  // Unavailable where the connection broke: some, all or none of the commands were executed.
  absl::StatusOr<std::vector<RedisReply>> RunAll(const std::vector<RedisCommand>& commands);

  // Called after each round trip that was answered, once for every function of the farm's library
  // that was in it, with how long it took; plain commands have the name "".
  using RoundTrip = std::function<void(const std::string& function, double seconds)>;
  void OnRoundTrip(RoundTrip round_trip) { round_trip_ = std::move(round_trip); }

  const std::string& address() const { return address_; }
  // Connections made so far: after a change, the server may be another one.
  uint64_t connections() const { return connections_; }

 private:
  absl::Status EnsureConnected();
  void TellRoundTrip(const std::vector<RedisCommand>& commands, double seconds) const;
  absl::Status Broken(const std::string& what);

  struct Connection;
  const std::string address_;
  const int timeout_ms_;
  std::unique_ptr<Connection> connection_;
  uint64_t connections_ = 0;
  RoundTrip round_trip_;
};

// The status an error reply stands for.
absl::Status ErrorOf(const RedisReply& reply);

}  // namespace tiltshift::store
