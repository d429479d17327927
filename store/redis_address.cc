#include "store/redis_address.h"

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "store/percent.h"

namespace tiltshift::store {
namespace {

constexpr char kUnix[] = "unix:";
constexpr char kRedis[] = "redis://";
constexpr char kRedisTls[] = "rediss://";
constexpr char kSentinel[] = "sentinel://";
constexpr int kRedisPort = 6379, kSentinelPort = 26379;
constexpr int kMostDatabases = 1 << 20;

absl::Status Bad(const std::string& what) {
  return absl::InvalidArgumentError(
      absl::StrCat("the address of Redis: ", what,
                   "; it is HOST:PORT, unix:PATH, redis://USER:PASSWORD@HOST:PORT/DATABASE, ",
                   "rediss://... for TLS, or sentinel://HOST:PORT,HOST:PORT/MASTER"));
}

// "host", "host:port", "[v6]", "[v6]:port".
absl::Status ParseHost(const std::string& text, RedisAddress& address,
                       int usual_port = kRedisPort) {
  std::string port = std::to_string(usual_port);
  if (!text.empty() && text[0] == '[') {
    const size_t end = text.find(']');
    if (end == std::string::npos) return Bad("a '[' without its ']'");
    address.host = text.substr(1, end - 1);
    if (end + 1 < text.size() && text[end + 1] != ':') return Bad("after ']' comes ':' and a port");
    if (end + 1 < text.size()) port = text.substr(end + 2);
  } else {
    const size_t colon = text.rfind(':');
    address.host = text.substr(0, colon);
    if (colon != std::string::npos) port = text.substr(colon + 1);
    if (absl::StrContains(address.host, ":")) return Bad("an IPv6 address stands in []");
  }
  if (address.host.empty()) return Bad("it names no host");
  if (!absl::SimpleAtoi(port, &address.port) || address.port < 1 || address.port > 65535)
    return Bad(absl::StrCat("\"", port, "\" is no port"));
  return absl::OkStatus();
}

absl::Status ParseUser(const std::string& text, RedisAddress& address) {
  const size_t colon = text.find(':');
  if (colon == std::string::npos) return Bad("before '@' stand USER:PASSWORD, or :PASSWORD");
  const auto user = PercentDecoded(text.substr(0, colon));
  const auto password = PercentDecoded(text.substr(colon + 1));
  if (!user.has_value() || !password.has_value())
    return Bad("in the user or the password, '%' is not followed by two hexadecimal digits");
  if (password->empty()) return Bad("the password is empty");
  address.user = *user;
  address.password = *password;
  return absl::OkStatus();
}

}  // namespace

std::string RedisAddress::Shown() const {
  if (!unix_path.empty()) return absl::StrCat(kUnix, unix_path);
  if (!sentinels.empty()) {
    std::string shown = kSentinel;
    for (const RedisAddress& sentinel : sentinels)
      absl::StrAppend(&shown, &sentinel == &sentinels[0] ? "" : ",", sentinel.Shown());
    return absl::StrCat(shown, "/", master);
  }
  const bool v6 = absl::StrContains(host, ":");
  return absl::StrCat(v6 ? "[" : "", host, v6 ? "]" : "", ":", port,
                      database == 0 ? "" : absl::StrCat("/", database));
}

absl::StatusOr<RedisAddress> ParseRedisAddress(const std::string& text) {
  RedisAddress address;
  if (absl::StartsWith(text, kUnix)) {
    address.unix_path = text.substr(sizeof(kUnix) - 1);
    return address.unix_path.empty() ? absl::StatusOr<RedisAddress>(Bad("unix: names no path"))
                                     : address;
  }
  address.tls = absl::StartsWith(text, kRedisTls);
  const bool by_sentinel = absl::StartsWith(text, kSentinel);
  if (!absl::StartsWith(text, kRedis) && !address.tls && !by_sentinel) {
    if (absl::StrContains(text, "://"))
      return Bad("only redis://, rediss:// and sentinel:// are known");
    TS_RETURN_IF_ERROR(ParseHost(text, address));
    return address;
  }
  std::string rest = text.substr(text.find("://") + 3);
  // The last '@', so that a password that should have written it as %40 is not shown as a host.
  if (const size_t at = rest.rfind('@'); at != std::string::npos) {
    TS_RETURN_IF_ERROR(ParseUser(rest.substr(0, at), address));
    rest = rest.substr(at + 1);
  }
  std::string sentinels;
  if (by_sentinel) {
    const size_t slash = rest.find('/');
    sentinels = rest.substr(0, slash);
    rest = slash == std::string::npos ? "" : rest.substr(slash + 1);
  }
  if (const size_t slash = rest.find('/'); slash != std::string::npos) {
    const std::string database = rest.substr(slash + 1);
    if (!database.empty() && (!absl::SimpleAtoi(database, &address.database) ||
                              address.database < 0 || address.database > kMostDatabases))
      return Bad(absl::StrCat("\"", database, "\" is no database's number"));
    rest = rest.substr(0, slash);
  }
  if (!by_sentinel) {
    TS_RETURN_IF_ERROR(ParseHost(rest, address));
    return address;
  }
  address.master = rest;
  if (address.master.empty()) return Bad("after the sentinels comes '/' and the master's name");
  for (const absl::string_view sentinel : absl::StrSplit(sentinels, ',')) {
    TS_RETURN_IF_ERROR(
        ParseHost(std::string(sentinel), address.sentinels.emplace_back(), kSentinelPort));
  }
  return address;
}

RedisAddress WithCredentialsOfEnvironment(RedisAddress address) {
  const char* password = std::getenv("TILTSHIFT_REDIS_PASSWORD");
  if (!address.password.empty() || password == nullptr || *password == '\0') return address;
  const char* user = std::getenv("TILTSHIFT_REDIS_USER");
  address.password = password;
  address.user = user == nullptr ? "" : user;
  return address;
}

}  // namespace tiltshift::store
