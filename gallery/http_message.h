// HTTP/1.1 as far as the gallery speaks it (RFC 9112): what a request's head says, strictly read,
// and what an answer is. Whatever two programs might read in two ways is refused.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tiltshift::gallery {

using HttpFields = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;             // GET, HEAD or POST
  std::vector<std::string> path;  // decoded: "/api/jobs/j1?x" is {"api", "jobs", "j1"}
  HttpFields query;               // decoded, in their order
  std::map<std::string, std::string, std::less<>> headers;  // by lower-case name
  std::string body;
  std::string peer;  // "10.0.0.7": where it comes from
  bool keep_alive = true;

  // Empty where there is none; the first of several.
  std::string Header(std::string_view name) const;
  std::string Query(std::string_view name) const;
};

struct HttpHead {
  HttpRequest request;  // without body and peer
  uint64_t body_bytes = 0;
  int refused = 0;  // the status to answer with, where it can't be taken; `why` says it in words
  std::string why;
};

// `head` is all before the body, its empty line included.
HttpHead ParseHead(std::string_view head);

// What an answer that is not known at once is written to. Of the connection's thread.
class HttpWriter {
 public:
  virtual ~HttpWriter() = default;
  // False: the client is gone, does not read, or the server ends.
  virtual bool Write(std::string_view bytes) = 0;
  // Waits so long; false as above, then at once.
  virtual bool Pause(int ms) = 0;
};

struct HttpResponse {
  int status = 200;
  HttpFields headers;
  std::string body;
  // In place of a body. False: it is not complete, and the client must be able to tell.
  std::function<bool(HttpWriter&)> stream;
};

// The status line and the headers, with the empty line; of a stream, for chunks.
std::string HeadOf(const HttpResponse& response, bool keep_alive);

// "a%20b" -> "a b"; false where it is no such text, or holds a NUL.
bool PercentDecode(std::string_view text, bool plus_is_space, std::string& decoded);

}  // namespace tiltshift::gallery
