// The farm's functions (farm_functions.lua) in whichever form the server can hold: as Redis
// Functions, or, where it knows no FUNCTION (Redis 6), as one script of the same text.
// docs/redis.md lists them.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "store/redis_client.h"

namespace tiltshift::store {

struct FunctionCall {
  std::string function;
  std::vector<std::string> keys;
  std::vector<std::string> arguments;
};

class FarmFunctions {
 public:
  // The client must outlive it.
  explicit FarmFunctions(RedisClient& client) : client_(client) {}

  // Gives the server the functions, in place of those it has.
  absl::Status Load();

  // One round trip. The replies in order; kError replies stay in the list. A server that has lost
  // the functions (an empty one in the old one's place, or any restart of Redis 6) gets them again,
  // and then the calls: they must be idempotent.
  absl::StatusOr<std::vector<RedisReply>> RunAll(const std::vector<const FunctionCall*>& calls);

  // The reply; an error that Redis itself reports is its status.
  absl::StatusOr<RedisReply> Run(const FunctionCall& call);

 private:
  void Append(const FunctionCall& call, RedisPipeline& pipeline) const;

  RedisClient& client_;
  std::string script_;  // its SHA-1; empty: the server has functions
};

}  // namespace tiltshift::store
