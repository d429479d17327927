#include "store/s3_address.h"

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"

namespace tiltshift::store {
namespace {

constexpr char kScheme[] = "s3://";
constexpr size_t kLongestPrefix = 256;

absl::Status Bad(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("the blob store in S3: ", what));
}

// The first of `names` that is set and not empty, else `otherwise`.
std::string FromEnvironment(std::initializer_list<const char*> names,
                            const std::string& otherwise = "") {
  for (const char* name : names) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return otherwise;
}

absl::Status CheckBucket(const std::string& bucket) {
  bool good = bucket.size() >= 3 && bucket.size() <= 63;
  for (const char c : bucket)
    good = good && (absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-' || c == '.');
  if (good) return absl::OkStatus();
  return Bad(absl::StrCat("\"", bucket,
                          "\" is no bucket's name: 3 to 63 of a-z 0-9 - . in s3://BUCKET/PREFIX"));
}

absl::Status CheckPrefix(const std::string& prefix) {
  if (prefix.empty()) return absl::OkStatus();
  bool good = prefix.size() <= kLongestPrefix;
  for (const unsigned char c : prefix) good = good && c > 0x20 && c < 0x7f && c != '\\';
  for (const char* part : {"//", "/./", "/../"})
    good = good && !absl::StrContains(absl::StrCat("/", prefix, "/"), part);
  if (good) return absl::OkStatus();
  return Bad(absl::StrCat("\"", prefix, "\" is no prefix: at most ", kLongestPrefix,
                          " printable characters, no empty, \".\" or \"..\" part"));
}

// "http://host:port" without user, path or query.
absl::Status CheckEndpoint(const std::string& endpoint) {
  absl::string_view rest = endpoint;
  if (!absl::ConsumePrefix(&rest, "http://") && !absl::ConsumePrefix(&rest, "https://"))
    return Bad("the endpoint begins with http:// or https://, as in http://127.0.0.1:9000");
  if (absl::StrContains(rest, "@"))
    return Bad("the endpoint holds no user: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY do");
  for (const char c : rest) {
    if (!absl::ascii_isalnum(c) && !absl::StrContains("-._:[]", std::string(1, c)))
      return Bad(absl::StrCat(
          "\"", endpoint, "\" is no endpoint: it is http(s)://HOST:PORT and nothing behind it"));
  }
  const size_t colon = rest.rfind(':');
  const bool has_port = colon != absl::string_view::npos && !absl::EndsWith(rest, "]");
  int port = 1;
  if (has_port && (!absl::SimpleAtoi(rest.substr(colon + 1), &port) || port < 1 || port > 65535))
    return Bad(absl::StrCat("\"", endpoint, "\": its port is no port"));
  if (rest.empty() || colon == 0) return Bad(absl::StrCat("\"", endpoint, "\" names no host"));
  return absl::OkStatus();
}

absl::Status CheckRegion(const std::string& region) {
  bool good = !region.empty() && region.size() <= 60;  // libcurl takes 64
  for (const char c : region) good = good && (absl::ascii_isalnum(c) || c == '-' || c == '_');
  if (good) return absl::OkStatus();
  return Bad(absl::StrCat("\"", region, "\" is no region; one is eu-central-1"));
}

// Either would end a header line.
bool HoldsControls(const std::string& text) {
  for (const unsigned char c : text)
    if (c < 0x21 || c > 0x7e) return true;
  return false;
}

absl::Status TakeCredentials(S3Address& address) {
  address.access_key = FromEnvironment({"AWS_ACCESS_KEY_ID"});
  address.secret_key = FromEnvironment({"AWS_SECRET_ACCESS_KEY"});
  address.session_token = FromEnvironment({"AWS_SESSION_TOKEN"});
  for (const auto& [name, value] : {std::pair("AWS_ACCESS_KEY_ID", &address.access_key),
                                    std::pair("AWS_SECRET_ACCESS_KEY", &address.secret_key)}) {
    if (value->empty()) return Bad(absl::StrCat("the environment has no ", name, "; set it"));
  }
  for (const auto& [name, value] : {std::pair("AWS_ACCESS_KEY_ID", &address.access_key),
                                    std::pair("AWS_SECRET_ACCESS_KEY", &address.secret_key),
                                    std::pair("AWS_SESSION_TOKEN", &address.session_token)}) {
    if (HoldsControls(*value))
      return Bad(absl::StrCat(name, " holds a blank, a line's end or the like; set it anew"));
  }
  return absl::OkStatus();
}

}  // namespace

std::string S3Address::Shown() const {
  return absl::StrCat(kScheme, bucket, prefix.empty() ? "" : "/", prefix, " at ", endpoint);
}

bool IsS3(const std::string& blobs) { return absl::StartsWith(blobs, kScheme); }

absl::StatusOr<S3Address> ParseS3Address(const std::string& blobs, const std::string& endpoint,
                                         const std::string& region) {
  S3Address address;
  absl::string_view rest = blobs;
  if (!absl::ConsumePrefix(&rest, kScheme)) return Bad("it is named s3://BUCKET/PREFIX");
  const size_t slash = rest.find('/');
  address.bucket = std::string(rest.substr(0, slash));
  if (slash != absl::string_view::npos) rest.remove_prefix(slash + 1);
  if (rest.size() > 1) absl::ConsumeSuffix(&rest, "/");
  if (slash != absl::string_view::npos) address.prefix = std::string(rest);
  TS_RETURN_IF_ERROR(CheckBucket(address.bucket));
  TS_RETURN_IF_ERROR(CheckPrefix(address.prefix));
  address.region =
      !region.empty() ? region : FromEnvironment({"AWS_REGION", "AWS_DEFAULT_REGION"}, "us-east-1");
  TS_RETURN_IF_ERROR(CheckRegion(address.region));
  address.endpoint =
      !endpoint.empty()
          ? endpoint
          : FromEnvironment({"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"},
                            absl::StrCat("https://s3.", address.region, ".amazonaws.com"));
  if (absl::EndsWith(address.endpoint, "/") && !absl::EndsWith(address.endpoint, "//"))
    address.endpoint.pop_back();
  TS_RETURN_IF_ERROR(CheckEndpoint(address.endpoint));
  TS_RETURN_IF_ERROR(TakeCredentials(address));
  address.ca_bundle = FromEnvironment({"AWS_CA_BUNDLE"});
  return address;
}

}  // namespace tiltshift::store
