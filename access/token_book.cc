#include "access/token_book.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/hash.h"

namespace tiltshift::access {
namespace {

constexpr std::string_view kPrefix = "ts_";
constexpr size_t kIdBytes = 6;
constexpr size_t kSecretBytes = 32;
constexpr int64_t kLongestLifeMs = int64_t{1'000} * 3600 * 24 * 3660;
constexpr size_t kLongestTenant = 128;

std::string Date(int64_t unix_ms) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixMillis(unix_ms), absl::UTCTimeZone());
}

Roles RolesOf(const v1::Token& token) {
  Roles roles = 0;
  for (const int role : token.roles()) roles |= RoleBit(static_cast<v1::Role>(role));
  return roles;
}

struct Parts {
  std::string_view id, secret;
};

// What has another form has an id that is nobody's.
Parts Split(std::string_view presented) {
  if (presented.substr(0, kPrefix.size()) != kPrefix) return {};
  presented.remove_prefix(kPrefix.size());
  const size_t end = presented.find('_');
  if (end != 2 * kIdBytes) return {};
  return {presented.substr(0, end), presented.substr(end + 1)};
}

absl::Status Bad(const std::string& field, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", what));
}

bool IsTenantCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

absl::Status Check(const v1::CreateTokenRequest& request) {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  if (request.name().size() > TokenBook::kLongestName ||
      std::any_of(request.name().begin(), request.name().end(), is_control))
    return Bad("name", absl::StrCat("up to ", TokenBook::kLongestName, " printable characters"));
  const std::string& tenant = request.tenant();
  if (tenant.size() > kLongestTenant ||
      !std::all_of(tenant.begin(), tenant.end(), IsTenantCharacter))
    return Bad("tenant", absl::StrCat("\"", tenant,
                                      "\" is no tenant's name: letters, digits, '.', "
                                      "'_' and '-'"));
  if (request.roles().empty()) return Bad("roles", "name one of submit, read, operate, worker");
  for (const int role : request.roles()) {
    if (role < v1::ROLE_SUBMIT || role > v1::ROLE_WORKER)
      return Bad("roles", absl::StrCat(role, " is none of submit, read, operate, worker"));
  }
  if (request.lives_ms() < 0 || request.lives_ms() > kLongestLifeMs)
    return Bad("lives_ms", "is not from 0 (until revoked) to ten years");
  return absl::OkStatus();
}

}  // namespace

std::string RoleNames(Roles roles) {
  constexpr std::pair<Roles, const char*> kNames[] = {
      {kSubmit, "submit"}, {kRead, "read"}, {kOperate, "operate"}, {kWorker, "worker"}};
  std::vector<std::string> names;
  for (const auto& [role, name] : kNames) {
    if ((roles & role) != 0) names.emplace_back(name);
  }
  return absl::StrJoin(names, ", ");
}

Caller::Caller(const v1::Token& token)
    : id_(token.id()),
      tenant_(token.tenant()),
      roles_(RolesOf(token)),
      expires_ms_(token.expires_unix_ms()),
      revoked_(token.revoked_unix_ms() != 0) {}

absl::Status Caller::Valid(int64_t now_ms) const {
  if (revoked_)
    return absl::UnauthenticatedError(
        absl::StrCat("token ", id_, " was revoked; ask who operates the farm for another"));
  if (expires_ms_ != 0 && now_ms >= expires_ms_)
    return absl::UnauthenticatedError(absl::StrCat("token ", id_, " expired at ", Date(expires_ms_),
                                                   "; ask who operates the farm for another"));
  return absl::OkStatus();
}

absl::StatusOr<TokenBook::Made> TokenBook::Make(const v1::CreateTokenRequest& request,
                                                int64_t now_ms) {
  TS_RETURN_IF_ERROR(Check(request));
  const std::string secret = RandomHex(kSecretBytes);
  Made made;
  v1::Token& token = *made.stored.mutable_token();
  token.set_id(RandomHex(kIdBytes));
  token.set_name(request.name());
  token.set_tenant(request.tenant().empty() ? "default" : request.tenant());
  for (const int role : std::set<int>(request.roles().begin(), request.roles().end()))
    token.add_roles(static_cast<v1::Role>(role));
  token.set_created_unix_ms(now_ms);
  if (request.lives_ms() != 0) token.set_expires_unix_ms(now_ms + request.lives_ms());
  made.stored.set_secret_sha256(Sha256Hex(secret));
  made.secret = absl::StrCat("ts_", token.id(), "_", secret);
  return made;
}

void TokenBook::PutLocked(const v1::StoredToken& token) {
  Entry& entry = entries_[token.token().id()];
  if (entry.caller == nullptr) {
    entry.caller = std::make_shared<Caller>(token.token());
  } else if (token.token().revoked_unix_ms() != 0) {
    entry.caller->Revoke();
  }
  const int64_t revoked_ms = entry.stored.token().revoked_unix_ms();
  entry.stored = token;
  if (revoked_ms != 0) entry.stored.mutable_token()->set_revoked_unix_ms(revoked_ms);
}

void TokenBook::Put(const v1::StoredToken& token) {
  std::lock_guard lock(mutex_);
  PutLocked(token);
}

void TokenBook::Replace(const std::vector<v1::StoredToken>& tokens) {
  std::set<std::string> ids;
  for (const v1::StoredToken& token : tokens) ids.insert(token.token().id());
  std::lock_guard lock(mutex_);
  known_ = true;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const bool stays = ids.count(entry->first) != 0;
    if (!stays) entry->second.caller->Revoke();
    entry = stays ? std::next(entry) : entries_.erase(entry);
  }
  for (const v1::StoredToken& token : tokens) PutLocked(token);
}

absl::StatusOr<v1::StoredToken> TokenBook::Revoke(const std::string& id, int64_t now_ms) {
  std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end())
    return absl::NotFoundError(
        absl::StrCat("there is no token \"", id, "\"; `tiltshift token list` shows the tokens"));
  v1::Token& token = *found->second.stored.mutable_token();
  if (token.revoked_unix_ms() == 0) token.set_revoked_unix_ms(now_ms);
  found->second.caller->Revoke();
  return found->second.stored;
}

absl::StatusOr<std::shared_ptr<const Caller>> TokenBook::Find(std::string_view presented,
                                                              int64_t now_ms) const {
  static const std::string kNobodys(64, '0');  // no secret hashes to it
  const Parts parts = Split(presented);
  const std::string hash = Sha256Hex(parts.secret);
  std::shared_ptr<const Caller> caller;
  {
    std::lock_guard lock(mutex_);
    if (!known_)
      return absl::UnavailableError(
          "this scheduler has not reached Redis yet and knows no tokens; try again");
    const auto found = entries_.find(parts.id);
    const bool known = found != entries_.end();
    const bool same = SameSecret(hash, known ? found->second.stored.secret_sha256() : kNobodys);
    if (known && same) caller = found->second.caller;
  }
  if (caller == nullptr)
    return absl::UnauthenticatedError(
        "the token is none of this farm's; `tiltshift token create` makes one (docs/security.md)");
  TS_RETURN_IF_ERROR(caller->Valid(now_ms));
  return caller;
}

std::vector<v1::StoredToken> TokenBook::All() const {
  std::lock_guard lock(mutex_);
  std::vector<v1::StoredToken> all;
  for (const auto& [id, entry] : entries_) all.push_back(entry.stored);
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.token().created_unix_ms() < b.token().created_unix_ms();
  });
  return all;
}

bool TokenBook::Has(Roles role, int64_t now_ms) const {
  std::lock_guard lock(mutex_);
  return std::any_of(entries_.begin(), entries_.end(), [&](const auto& entry) {
    const Caller& caller = *entry.second.caller;
    return (caller.roles() & role) != 0 && caller.Valid(now_ms).ok();
  });
}

size_t TokenBook::size() const {
  std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace tiltshift::access
