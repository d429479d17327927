// One connection to Redis, with pipelining. The only door to hiredis. Where sentinels say which
// server it is, they are asked before each connection, and a server that has become a replica is
// left.
//
// Not thread-safe: each thread has its own. A call connects where there is no connection. Where
// that fails, calls are Unavailable at once, without trying, until a time has passed that grows
// with every failure: a server that comes back is not run over by all who wait for it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/status.h"
#include "store/redis_address.h"

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

// Commands as the bytes that go to Redis (RESP).
class RedisPipeline {
 public:
  RedisPipeline() = default;
  explicit RedisPipeline(const std::vector<RedisCommand>& commands);

  // A command of so many words, which are to be added. `function`: of the farm's library, that it
  // calls; "" where it calls none.
  void Begin(size_t words, const std::string& function);
  void Add(std::string_view word);

  const std::string& text() const { return text_; }
  const std::vector<std::string>& functions() const { return functions_; }  // one a command

 private:
  std::string text_;
  std::vector<std::string> functions_;
};

class RedisClient {
 public:
  struct Options {
    int timeout_ms = 5'000;
    const Clock& clock = RealClock();
    uint64_t seed = RandomSeed();  // of the waits between tries
  };
  // Does not connect yet.
  explicit RedisClient(RedisAddress address) : RedisClient(std::move(address), Options{}) {}
  RedisClient(RedisAddress address, const Options& options);
  ~RedisClient();

  // The reply; an error that Redis itself reports is Internal with its text, except those that mean
  // "come back later" (LOADING, BUSY, MISCONF, OOM, READONLY, NOREPLICAS), which are Unavailable,
  // and those that refuse us (NOAUTH, WRONGPASS, NOPERM), which are PermissionDenied.
  absl::StatusOr<RedisReply> Run(const RedisCommand& command);

  // Sends all, then reads all: one round trip. Replies in order; kError replies stay in the list.
  // Unavailable where the connection broke: some, all or none of the commands were executed.
  absl::StatusOr<std::vector<RedisReply>> RunAll(const std::vector<RedisCommand>& commands) {
    return RunPipeline(RedisPipeline(commands));
  }
  absl::StatusOr<std::vector<RedisReply>> RunPipeline(const RedisPipeline& pipeline);

  // Called after each round trip that was answered, once for every function of the farm's library
  // that was in it, with how long it took; plain commands have the name "".
  using RoundTrip = std::function<void(const std::string& function, double seconds)>;
  void OnRoundTrip(RoundTrip round_trip) { round_trip_ = std::move(round_trip); }

  // For messages.
  const std::string& address() const { return shown_; }
  // How long calls will go on failing at once; 0 where the next one tries, or has a connection.
  int64_t RetryInMs() const;
  // Connections made so far: after a change, the server may be another one.
  uint64_t connections() const { return connections_; }

 private:
  absl::Status EnsureConnected();
  absl::Status Connect();
  absl::Status LogIn();
  absl::StatusOr<std::vector<RedisReply>> Exchange(const RedisPipeline& pipeline);
  void TellRoundTrip(const RedisPipeline& pipeline, double seconds) const;
  absl::StatusOr<RedisAddress> FindMaster();
  absl::Status CheckMaster();
  absl::Status Broken(const absl::Status& why);

  struct Connection;
  const RedisAddress address_;
  std::string shown_;
  const int timeout_ms_;
  const Clock& clock_;
  Backoff backoff_;
  int64_t retry_at_ms_ = 0;
  absl::Status refused_;  // what the last try to connect said
  std::unique_ptr<Connection> connection_;
  uint64_t connections_ = 0;
  RoundTrip round_trip_;
};

// The status an error reply stands for.
absl::Status ErrorOf(const RedisReply& reply);

}  // namespace tiltshift::store
