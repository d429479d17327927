// Who has logged in: a random id in the visitor's cookie, and here the token that it stands for.
// The token itself never goes back to a browser. In memory alone: whoever comes to another
// scheduler, or after a restart, logs in again.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"

namespace tiltshift::gallery {

// Any thread.
class Sessions {
 public:
  static constexpr size_t kMost = 10'000;
  static constexpr int64_t kIdleMs = int64_t{12} * 3'600'000, kLivesMs = int64_t{7} * 86'400'000;

  explicit Sessions(const Clock& clock) : clock_(clock) {}

  // A new id: 64 hex digits. Where there are too many, the one that was used longest ago ends.
  std::string Open(const std::string& token);
  std::optional<std::string> TokenOf(const std::string& id);
  void Close(const std::string& id);

 private:
  struct Session {
    std::string token;
    int64_t opened_ms, used_ms;
  };
  const Clock& clock_;
  std::mutex mutex_;
  std::map<std::string, Session>
      sessions_;  // by the id's SHA-256, so that no look-up tells of an id
};

// Log-ins that may be tried: so many a minute from an address, and ten times as many from all.
class LoginLimits {
 public:
  static constexpr int kFromOne = 10, kFromAll = 100;

  explicit LoginLimits(const Clock& clock) : clock_(clock) {}
  // Counts a try; false: it is one too many.
  bool Take(const std::string& peer);

 private:
  const Clock& clock_;
  std::mutex mutex_;
  int64_t began_ms_ = 0;  // the minute that is counted
  int all_ = 0;
  std::map<std::string, int> from_;
};

}  // namespace tiltshift::gallery
