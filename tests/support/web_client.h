// A visitor of the gallery without a browser: sends what it is told to, in TLS or plain, and keeps
// no cookies.
#pragma once

#include <map>
#include <string>

namespace tiltshift::tests {

struct WebAnswer {
  int status = 0;                              // 0: none came
  std::map<std::string, std::string> headers;  // names in lower case
  std::string head, body;                      // chunks put together
};

class WebClient {
 public:
  // To 127.0.0.1; `ca` is a file that the server's certificate is checked against, for "localhost";
  // empty: no TLS.
  explicit WebClient(int port, std::string ca = "") : port_(port), ca_(std::move(ca)) {}

  using Fields = std::map<std::string, std::string>;
  // On a connection of its own. Of an answer that goes on, no more than up to `until` in its body.
  WebAnswer Ask(const std::string& method, const std::string& target, const Fields& headers = {},
                const std::string& body = "", const std::string& until = "") const;
  // Whatever comes back for these bytes.
  std::string Send(const std::string& bytes, const std::string& until = "") const;

 private:
  const int port_;
  const std::string ca_;
};

}  // namespace tiltshift::tests
