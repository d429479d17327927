#include "store/http_client.h"

#include <curl/curl.h>

#include "absl/strings/ascii.h"
#include "base/check.h"
#include "base/hash.h"

namespace tiltshift::store {
namespace {

struct FreeHandle {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Headers = std::unique_ptr<curl_slist, FreeList>;

// What a transfer fills.
struct Transfer {
  HttpResponse response;
  size_t most_bytes;
  bool too_large = false;
  const std::atomic<bool>& interrupted;
};

size_t TakeBody(char* bytes, size_t, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (transfer.response.body.size() + count > transfer.most_bytes) {
    transfer.too_large = true;
    return 0;  // ends the transfer
  }
  transfer.response.body.append(bytes, count);
  return count;
}

size_t TakeHeader(char* bytes, size_t, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const absl::string_view line(bytes, count);
  if (line.substr(0, 5) == "HTTP/") transfer.response.headers.clear();  // those of a "100 Continue"
  const size_t colon = line.find(':');
  if (colon != absl::string_view::npos) {
    transfer.response.headers[absl::AsciiStrToLower(line.substr(0, colon))] =
        std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
  }
  return count;
}

int LookForInterrupt(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Transfer*>(user)->interrupted ? 1 : 0;
}

// In lower case and without a blank: libcurl 7.88 signs the lines as they stand here.
Headers Lines(const HttpRequest& request) {
  curl_slist* lines = nullptr;
  auto add = [&](const std::string& name, const std::string& value) {
    lines = curl_slist_append(lines, absl::StrCat(name, ":", value).c_str());
  };
  for (const auto& [name, value] : request.headers) add(name, value);
  add("x-amz-content-sha256", Sha256Hex(request.body));
  return Headers(lines);
}

bool IsAboutTrust(CURLcode code) {
  return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
         code == CURLE_SSL_ISSUER_ERROR;
}

}  // namespace

struct HttpClient::Connection {
  std::unique_ptr<CURL, FreeHandle> handle;
};

HttpClient::HttpClient(Options options) : options_(std::move(options)) {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  TS_CHECK(started == CURLE_OK);
}

HttpClient::~HttpClient() = default;

std::unique_ptr<HttpClient::Connection> HttpClient::Borrow() {
  {
    std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      auto connection = std::move(free_.back());
      free_.pop_back();
      return connection;
    }
  }
  auto connection = std::make_unique<Connection>();
  connection->handle.reset(curl_easy_init());
  TS_CHECK(connection->handle != nullptr);
  return connection;
}

void HttpClient::GiveBack(std::unique_ptr<Connection> connection) {
  curl_easy_reset(connection->handle.get());  // options; the connection stays open
  std::lock_guard lock(mutex_);
  free_.push_back(std::move(connection));
}

absl::StatusOr<HttpResponse> HttpClient::Send(const HttpRequest& request) {
  auto connection = Borrow();
  CURL* curl = connection->handle.get();
  Transfer transfer{.most_bytes = options_.most_bytes, .interrupted = interrupted_};
  char reason[CURL_ERROR_SIZE] = {0};
  const Headers lines = Lines(request);
  auto set = [curl](CURLoption option, auto value) {
    TS_CHECK(curl_easy_setopt(curl, option, value) == CURLE_OK);
  };
  set(CURLOPT_URL,
      absl::StrCat(options_.origin, request.path, request.query.empty() ? "" : "?", request.query)
          .c_str());
  set(CURLOPT_PATH_AS_IS, 1L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_ERRORBUFFER, reason);
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_timeout_ms));
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(options_.stall_seconds));
  set(CURLOPT_AWS_SIGV4, absl::StrCat("aws:amz:", options_.region, ":s3").c_str());
  set(CURLOPT_USERNAME, options_.access_key.c_str());
  set(CURLOPT_PASSWORD, options_.secret_key.c_str());
  if (!options_.ca_bundle.empty()) set(CURLOPT_CAINFO, options_.ca_bundle.c_str());
  set(CURLOPT_HTTPHEADER, lines.get());
  set(CURLOPT_WRITEFUNCTION, TakeBody);
  set(CURLOPT_WRITEDATA, &transfer);
  set(CURLOPT_HEADERFUNCTION, TakeHeader);
  set(CURLOPT_HEADERDATA, &transfer);
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, LookForInterrupt);
  set(CURLOPT_XFERINFODATA, &transfer);
  if (request.method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
  } else if (request.method == "PUT") {
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(CURLOPT_POSTFIELDS, request.body.empty() ? "" : request.body.data());
    set(CURLOPT_CUSTOMREQUEST, "PUT");
  } else if (request.method != "GET") {
    set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
  const CURLcode code = curl_easy_perform(curl);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  GiveBack(std::move(connection));

  if (transfer.too_large) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the answer is larger than ", options_.most_bytes, " bytes"));
  }
  if (interrupted_ && code != CURLE_OK) return absl::UnavailableError("stopped meanwhile");
  if (code != CURLE_OK) {
    const std::string what = *reason != '\0' ? reason : curl_easy_strerror(code);
    return IsAboutTrust(code) ? absl::PermissionDeniedError(what) : absl::UnavailableError(what);
  }
  transfer.response.status = static_cast<int>(status);
  return std::move(transfer.response);
}

std::string CurlTooOldForS3() {
  const curl_version_info_data& curl = *curl_version_info(CURLVERSION_NOW);
  return curl.version_num < 0x075800 ? curl.version : "";
}

}  // namespace tiltshift::store
