// An HTTP server on the loopback that answers as a test says, well or badly: for what a real server
// can't be made to do.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace tiltshift::tests {

class ScriptedHttp {
 public:
  // The bytes to send for a request (head and body), as they go out; the connection is closed after
  // them where `close`. `stall`: nothing more is sent until the client goes.
  struct Reply {
    std::string bytes;
    bool close = false;
    bool stall = false;
  };
  // Called from one thread at a time.
  using Script = std::function<Reply(const std::string& request)>;

  explicit ScriptedHttp(Script script);
  ~ScriptedHttp();

  std::string endpoint() const;
  int connections() const { return connections_; }
  int requests() const { return requests_; }

  // "HTTP/1.1 200 OK" and so on, with a length.
  static Reply Answer(int status, const std::string& body = "", const std::string& headers = "");
  // The value of a request's header, named in lower case; empty where it has none.
  static std::string Header(const std::string& request, const std::string& name);

 private:
  void Accept();
  void Serve(int fd);

  const Script script_;
  int listener_ = -1, port_ = 0;
  std::atomic<int> connections_{0}, requests_{0};
  std::mutex mutex_;
  std::vector<int> open_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace tiltshift::tests
