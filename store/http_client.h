// Requests to one HTTP or HTTPS server that wants Amazon's signature (SigV4). The only door to
// libcurl.
//
// Thread-safe: each request borrows a connection that is free, or makes one; connections are kept.
// A request is made once: who calls knows which may be made again.
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

namespace tiltshift::store {

struct HttpRequest {
  std::string method;  // GET, HEAD, PUT, DELETE
  std::string path;    // begins with '/', percent-encoded
  std::string query;   // without '?': percent-encoded, names rising, as the signature wants it
  std::map<std::string, std::string> headers;  // names in lower case; all are signed
  std::string_view body;
};

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // whole: what its length promised
};

class HttpClient {
 public:
  struct Options {
    std::string origin;  // "http://host:port" or "https://host"
    std::string region, access_key, secret_key;
    std::string ca_bundle;  // file of certificates to trust; empty: the system's
    int connect_timeout_ms = 5'000;
    int stall_seconds = 20;  // not a byte to or fro for so long: given up
    size_t most_bytes = size_t{1} << 30;
  };
  explicit HttpClient(Options options);
  ~HttpClient();

  // Any status the server answered with is a response. Unavailable: no answer, or not a whole one;
  // the server may have done what was asked. PermissionDenied: its certificate is not trusted.
  absl::StatusOr<HttpResponse> Send(const HttpRequest& request);

  // Requests under way, and later ones, end within about a second, Unavailable.
  void Interrupt() { interrupted_ = true; }
  bool interrupted() const { return interrupted_; }

 private:
  struct Connection;
  std::unique_ptr<Connection> Borrow();
  void GiveBack(std::unique_ptr<Connection> connection);

  const Options options_;
  std::atomic<bool> interrupted_{false};
  std::mutex mutex_;
  std::vector<std::unique_ptr<Connection>> free_;
};

// "" where this libcurl signs requests as S3 wants them (from 7.88 on); else its version.
std::string CurlTooOldForS3();

}  // namespace tiltshift::store
