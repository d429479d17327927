// How much a tenant may ask in a second: token buckets, filled all the time, each holding what ten
// seconds bring, so that a burst passes and a flood does not.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "base/status.h"

namespace tiltshift::access {

// Of a second; 0: as much as it likes.
struct RateRule {
  double calls = 0;
  double submissions = 0;     // those calls that bring jobs or entries
  double uploaded_bytes = 0;  // of submissions, entries and photos
};

// A status' delay: when the same may be asked again. 0 where it has none.
int64_t RetryInMs(const absl::Status& status);

// Any thread.
class RateLimits {
 public:
  static constexpr double kBurstSeconds = 10;
  struct Call {
    bool submits = false;
    bool uploads = false;
  };

  // By tenant; "*": every other.
  explicit RateLimits(std::map<std::string, RateRule> rules) : rules_(std::move(rules)) {}

  // ResourceExhausted, with which bound and when to try again, where the call is one too many.
  // Then it is not counted.
  absl::Status TakeCall(const std::string& tenant, Call call, int64_t now_ms);
  // What was uploaded is there: it is counted, and the tenant's next uploads wait for it.
  void TakeBytes(const std::string& tenant, size_t bytes, int64_t now_ms);

 private:
  struct Bucket {
    double left = 0;
    int64_t filled_ms = -1;  // never
  };
  struct Buckets {
    Bucket calls, submissions, bytes;
  };
  const RateRule* RuleOf(const std::string& tenant) const;

  const std::map<std::string, RateRule> rules_;
  std::mutex mutex_;
  std::map<std::string, Buckets> tenants_;
};

}  // namespace tiltshift::access
