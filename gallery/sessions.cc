#include "gallery/sessions.h"

#include <algorithm>

#include "base/hash.h"

namespace tiltshift::gallery {
namespace {

constexpr size_t kIdBytes = 32;
constexpr int64_t kMinuteMs = 60'000;

}  // namespace

std::string Sessions::Open(const std::string& token) {
  const std::string id = RandomHex(kIdBytes);
  const int64_t now = clock_.SteadyMs();
  std::lock_guard lock(mutex_);
  std::erase_if(sessions_, [&](const auto& entry) {
    return now - entry.second.used_ms > kIdleMs || now - entry.second.opened_ms > kLivesMs;
  });
  if (sessions_.size() >= kMost) {
    sessions_.erase(std::min_element(
        sessions_.begin(), sessions_.end(),
        [](const auto& a, const auto& b) { return a.second.used_ms < b.second.used_ms; }));
  }
  sessions_[Sha256Hex(id)] = {token, now, now};
  return id;
}

std::optional<std::string> Sessions::TokenOf(const std::string& id) {
  if (id.size() != 2 * kIdBytes) return std::nullopt;
  const int64_t now = clock_.SteadyMs();
  std::lock_guard lock(mutex_);
  const auto found = sessions_.find(Sha256Hex(id));
  if (found == sessions_.end()) return std::nullopt;
  Session& session = found->second;
  if (now - session.used_ms > kIdleMs || now - session.opened_ms > kLivesMs) {
    sessions_.erase(found);
    return std::nullopt;
  }
  session.used_ms = now;
  return session.token;
}

void Sessions::Close(const std::string& id) {
  std::lock_guard lock(mutex_);
  sessions_.erase(Sha256Hex(id));
}

bool LoginLimits::Take(const std::string& peer) {
  const int64_t now = clock_.SteadyMs();
  std::lock_guard lock(mutex_);
  if (now - began_ms_ >= kMinuteMs || began_ms_ == 0) {
    began_ms_ = now;
    all_ = 0;
    from_.clear();
  }
  return ++all_ <= kFromAll && ++from_[peer] <= kFromOne;
}

}  // namespace tiltshift::gallery
