// Finding the scheduler that leads, for everyone who talks to a farm: the addresses are tried in
// turn, a standby's word on who leads is followed, and a search that found nobody waits longer each
// time.
#pragma once

#include <grpcpp/support/status.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/backoff.h"

namespace tiltshift {

// The answer of a scheduler that does not lead: UNAVAILABLE, which tells any gRPC client to try
// elsewhere or later, with a NotLeading in its details. `leader` may be empty.
grpc::Status NotLeadingStatus(const std::string& message, const std::string& leader);

// The leader's address that such an answer names, perhaps empty; nullopt where `status` is no such
// answer.
std::optional<std::string> LeaderNamedBy(const grpc::Status& status);

// An answer that says when the same may be asked again: `status` with a RetryAfter in its details.
grpc::Status RetryStatus(const grpc::Status& status, int64_t after_ms);
// What such an answer says; 0 where `status` is none.
int64_t RetryAfterMs(const grpc::Status& status);

// Which address to try next. Not thread-safe.
class LeaderSearch {
 public:
  // No address at all is one that nobody answers at.
  LeaderSearch(const std::vector<std::string>& addresses, uint64_t seed);

  const std::string& address() const { return current_; }

  // The current address leads: a later failure begins a new search.
  void Found();

  // The current address does not lead or does not answer; `leader` is whom it named, or empty.
  // Returns how many milliseconds to wait before address() is tried: 0 until all have been tried.
  int64_t Failed(const std::string& leader);

 private:
  std::vector<std::string> addresses_;
  size_t next_ = 0, tried_ = 0;
  bool followed_ = false;  // a leader's name, since all were tried last: it may be out of date
  std::string current_;
  Backoff backoff_;
};

// "a:1, b:2" -> {"a:1", "b:2"}: white space and empty parts are dropped.
std::vector<std::string> SplitAddresses(const std::string& text);

}  // namespace tiltshift
