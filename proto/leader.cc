#include "proto/leader.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "proto/leader.pb.h"

namespace tiltshift {
grpc::Status NotLeadingStatus(const std::string& message, const std::string& leader) {
  v1::NotLeading not_leading;
  not_leading.set_leader(leader);
  v1::StatusDetails details;
  details.set_code(grpc::StatusCode::UNAVAILABLE);
  details.set_message(message);
  details.add_details()->PackFrom(not_leading);
  return {grpc::StatusCode::UNAVAILABLE, message, details.SerializeAsString()};
}

std::optional<std::string> LeaderNamedBy(const grpc::Status& status) {
  v1::StatusDetails details;
  if (status.ok() || !details.ParseFromString(status.error_details())) return std::nullopt;
  for (const auto& any : details.details()) {
    v1::NotLeading not_leading;
    if (any.UnpackTo(&not_leading)) return not_leading.leader();
  }
  return std::nullopt;
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
