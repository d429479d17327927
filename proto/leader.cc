#include "proto/leader.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "proto/leader.pb.h"

namespace tiltshift {
namespace {

grpc::Status WithDetail(grpc::StatusCode code, const std::string& message,
                        const google::protobuf::Message& detail) {
  v1::StatusDetails details;
  details.set_code(code);
  details.set_message(message);
  details.add_details()->PackFrom(detail);
  return {code, message, details.SerializeAsString()};
}

// The first detail of this type.
template <typename Detail>
std::optional<Detail> DetailOf(const grpc::Status& status) {
  v1::StatusDetails details;
  if (status.ok() || !details.ParseFromString(status.error_details())) return std::nullopt;
  Detail detail;
  for (const auto& any : details.details()) {
    if (any.UnpackTo(&detail)) return detail;
  }
  return std::nullopt;
}

}  // namespace

grpc::Status NotLeadingStatus(const std::string& message, const std::string& leader) {
  v1::NotLeading not_leading;
  not_leading.set_leader(leader);
  return WithDetail(grpc::StatusCode::UNAVAILABLE, message, not_leading);
}

std::optional<std::string> LeaderNamedBy(const grpc::Status& status) {
  const auto not_leading = DetailOf<v1::NotLeading>(status);
  if (!not_leading.has_value()) return std::nullopt;
  return not_leading->leader();
}

grpc::Status RetryStatus(const grpc::Status& status, int64_t after_ms) {
  v1::RetryAfter retry;
  retry.set_ms(after_ms);
  return WithDetail(status.error_code(), status.error_message(), retry);
}

int64_t RetryAfterMs(const grpc::Status& status) {
  const auto retry = DetailOf<v1::RetryAfter>(status);
  return retry.has_value() ? retry->ms() : 0;
}

LeaderSearch::LeaderSearch(const std::vector<std::string>& addresses, uint64_t seed)
    : addresses_(addresses), backoff_({.first_ms = 100, .longest_ms = 1'000}, seed) {
  if (addresses_.empty()) addresses_.emplace_back();
  current_ = addresses_[0];
}

void LeaderSearch::Found() {
  tried_ = 0;
  followed_ = false;
  backoff_.Reset();
}

int64_t LeaderSearch::Failed(const std::string& leader) {
  if (!leader.empty() && leader != current_ && !followed_) {
    followed_ = true;
    current_ = leader;
    return 0;
  }
  next_ = (next_ + 1) % addresses_.size();
  current_ = addresses_[next_];
  if (++tried_ < addresses_.size()) return 0;
  tried_ = 0;
  followed_ = false;
  return backoff_.NextMs();
}

std::vector<std::string> SplitAddresses(const std::string& text) {
  std::vector<std::string> addresses;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const absl::string_view address = absl::StripAsciiWhitespace(part);
    if (!address.empty()) addresses.emplace_back(address);
  }
  return addresses;
}

}  // namespace tiltshift
