// Calls of one bidirectional method, many to a connection, in gRPC's wire format over nghttp2, as a
// load generator needs them: what arrived together is read together, and what is said until then
// goes in one write. gRPC's own client took a third of all that a measured turn cost.
// Format: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
#pragma once

#include <google/protobuf/message_lite.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tiltshift::bench {

class WireClient {
 public:
  struct Events {
    std::function<void(int call, std::string_view message)> message;
    std::function<void(int call)> ended;  // whatever its status
  };

  // Connects to a unix socket, "unix:PATH", as often as `connections` says, and begins `calls`
  // calls of `method`, call i on connection i % connections. Waits for the server to listen, 20 s
  // at most; later is a programmer error.
  WireClient(const std::string& address, const std::string& method, int calls, int connections,
             Events events);
  ~WireClient();  // hangs up

  // Sent by the next Wait, in the order of the calls' Sends.
  void Send(int call, const google::protobuf::MessageLite& message);
  // Sends what was said, waits at most until then for something to arrive, and tells all that did.
  void Wait(std::chrono::steady_clock::time_point until);

 private:
  struct Connection;
  struct Call;
  friend struct WireCallbacks;

  void Read(Connection& connection);
  void Flush(Connection& connection);
  void Take(Call& call, std::string_view bytes);

  const Events events_;
  int epoll_ = -1;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<std::unique_ptr<Call>> calls_;
  std::vector<Connection*> dirty_;  // with something to send
  std::string received_;            // a buffer
};

}  // namespace tiltshift::bench
