// Serves one page of text on /metrics to whoever asks, one after the other.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/status.h"

namespace tiltshift::monitoring {

class TextServer {
 public:
  // `address` is host:port. `text` is called on the server's thread, once a request.
  static absl::StatusOr<std::unique_ptr<TextServer>> Start(const std::string& address,
                                                           std::function<std::string()> text);
  ~TextServer();  // returns when the last answer is out: a second at most

 private:
  TextServer(int listening, std::function<std::string()> text);
  void Run();
  void Answer(int connection);

  const int listening_;
  const int stop_;
  const std::function<std::string()> text_;
  std::thread thread_;
};

}  // namespace tiltshift::monitoring
