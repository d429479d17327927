#include "access/rate_limits.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

namespace tiltshift::access {
namespace {

constexpr char kRetryPayload[] = "tiltshift/retry-ms";

double Full(double rate) { return std::max(1.0, rate * RateLimits::kBurstSeconds); }

template <typename Bucket>
void Fill(double rate, int64_t now_ms, Bucket& bucket) {
  const double since = static_cast<double>(now_ms - bucket.filled_ms) / 1000.0;
  const bool first = bucket.filled_ms < 0;
  bucket.left =
      first ? Full(rate) : std::min(Full(rate), bucket.left + std::max(0.0, since) * rate);
  bucket.filled_ms = now_ms;
}

absl::Status TooMuch(const std::string& tenant, const std::string& what, double missing,
                     double rate) {
  const auto wait_ms = static_cast<int64_t>(std::ceil(1000.0 * missing / rate));
  absl::Status status = absl::ResourceExhaustedError(
      absl::StrFormat("tenant %s asks for more than %s a second; try again in %.1f s", tenant, what,
                      static_cast<double>(wait_ms) / 1000.0));
  status.SetPayload(kRetryPayload, absl::Cord(std::to_string(wait_ms)));
  return status;
}

}  // namespace

int64_t RetryInMs(const absl::Status& status) {
  const auto payload = status.GetPayload(kRetryPayload);
  int64_t wait_ms = 0;
  if (payload.has_value() && !absl::SimpleAtoi(std::string(*payload), &wait_ms)) return 0;
  return wait_ms;
}

const RateRule* RateLimits::RuleOf(const std::string& tenant) const {
  auto rule = rules_.find(tenant);
  if (rule == rules_.end()) rule = rules_.find("*");
  return rule == rules_.end() ? nullptr : &rule->second;
}

absl::Status RateLimits::TakeCall(const std::string& tenant, Call call, int64_t now_ms) {
  const RateRule* rule = RuleOf(tenant);
  if (rule == nullptr) return absl::OkStatus();
  std::lock_guard lock(mutex_);
  Buckets& has = tenants_[tenant];
  Fill(rule->calls, now_ms, has.calls);
  Fill(rule->submissions, now_ms, has.submissions);
  Fill(rule->uploaded_bytes, now_ms, has.bytes);
  if (rule->calls > 0 && has.calls.left < 1)
    return TooMuch(tenant, absl::StrFormat("%g calls", rule->calls), 1 - has.calls.left,
                   rule->calls);
  if (call.submits && rule->submissions > 0 && has.submissions.left < 1)
    return TooMuch(tenant, absl::StrFormat("%g submissions", rule->submissions),
                   1 - has.submissions.left, rule->submissions);
  if (call.uploads && rule->uploaded_bytes > 0 && has.bytes.left < 0)
    return TooMuch(tenant, absl::StrFormat("%g MB of uploads", rule->uploaded_bytes / 1e6),
                   -has.bytes.left, rule->uploaded_bytes);
  --has.calls.left;
  if (call.submits) --has.submissions.left;
  return absl::OkStatus();
}

void RateLimits::TakeBytes(const std::string& tenant, size_t bytes, int64_t now_ms) {
  const RateRule* rule = RuleOf(tenant);
  if (rule == nullptr || rule->uploaded_bytes <= 0) return;
  std::lock_guard lock(mutex_);
  Bucket& bucket = tenants_[tenant].bytes;
  Fill(rule->uploaded_bytes, now_ms, bucket);
  bucket.left -= static_cast<double>(bytes);
}

}  // namespace tiltshift::access
