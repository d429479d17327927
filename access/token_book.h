// The tokens of a farm: what a caller presents, "ts_ID_SECRET", and what is kept of it, the
// secret's SHA-256. The secret has 256 random bits, so nothing slower than SHA-256 is needed to
// keep it.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "proto/tokens.pb.h"

namespace tiltshift::access {

// A set of v1::Role.
using Roles = uint32_t;
constexpr Roles RoleBit(v1::Role role) { return Roles{1} << role; }
inline constexpr Roles kSubmit = RoleBit(v1::ROLE_SUBMIT);
inline constexpr Roles kRead = RoleBit(v1::ROLE_READ);
inline constexpr Roles kOperate = RoleBit(v1::ROLE_OPERATE);
inline constexpr Roles kWorker = RoleBit(v1::ROLE_WORKER);

// "submit, read".
std::string RoleNames(Roles roles);

// Who calls: the holder of a token, as long as it is one. Calls that stay open keep it and ask
// again.
class Caller {
 public:
  explicit Caller(const v1::Token& token);
  const std::string& id() const { return id_; }
  const std::string& tenant() const { return tenant_; }
  Roles roles() const { return roles_; }
  bool operates() const { return (roles_ & kOperate) != 0; }
  // Unauthenticated, with the reason, where the token was revoked or has expired. Any thread.
  absl::Status Valid(int64_t now_ms) const;
  // Never undone.
  void Revoke() const { revoked_ = true; }

 private:
  const std::string id_, tenant_;
  const Roles roles_;
  const int64_t expires_ms_;
  mutable std::atomic<bool> revoked_;
};

// Any thread.
class TokenBook {
 public:
  static constexpr size_t kMostTokens = 10'000;
  static constexpr size_t kLongestName = 100;

  struct Made {
    v1::StoredToken stored;
    std::string secret;  // "ts_ID_SECRET"
  };
  // A token as asked for; it is none before it is Put. InvalidArgument names the field.
  static absl::StatusOr<Made> Make(const v1::CreateTokenRequest& request, int64_t now_ms);

  // A new token, or a known one that was revoked.
  void Put(const v1::StoredToken& token);
  // What there is now: others are none any more.
  void Replace(const std::vector<v1::StoredToken>& tokens);
  // The caller's at once, before it is durable. NotFound where there is no such token.
  absl::StatusOr<v1::StoredToken> Revoke(const std::string& id, int64_t now_ms);

  // Whose token `presented` is. Unauthenticated: nobody's, in the same words and time whether there
  // is no such id or another secret; or one that is none any more, which only its holder is told.
  // Unavailable before the first Replace.
  absl::StatusOr<std::shared_ptr<const Caller>> Find(std::string_view presented,
                                                     int64_t now_ms) const;
  std::vector<v1::StoredToken> All() const;
  // Whether a token with this role is valid.
  bool Has(Roles role, int64_t now_ms) const;
  size_t size() const;

 private:
  struct Entry {
    v1::StoredToken stored;
    std::shared_ptr<const Caller> caller;
  };
  void PutLocked(const v1::StoredToken& token);

  mutable std::mutex mutex_;
  bool known_ = false;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace tiltshift::access
