// A small HTTP/1.1 server, plain or in TLS: a thread a connection, and bounds on all that a visitor
// could make it hold: connections in all and from one address, the bytes and the time of a head and
// of a body, the time an answer waits to be read.
//
// Of our own, since what Debian has (cpp-httplib 0.11) bounds a single read but not a whole
// request, so that a few slow clients would hold every thread of it.
#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/status.h"
#include "gallery/http_message.h"
#include "gallery/http_socket.h"

namespace tiltshift::gallery {

struct HttpOptions {
  std::string address;            // "host:port"; port 0: any that is free
  std::string tls_cert, tls_key;  // files; empty: plain
  HttpFields headers;             // of every answer
  size_t most_connections = 256;
  size_t most_from_one = 64;  // other machine
  int head_ms = 10'000, body_ms = 20'000, write_ms = 30'000, idle_ms = 15'000;
};

class HttpServer {
 public:
  // On the connection's thread, many at once. Exceptions are none of it.
  using Handler = std::function<HttpResponse(const HttpRequest& request)>;

  // Serves when it returns. InvalidArgument: the address or a file; Unavailable: somebody else
  // listens there.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(HttpOptions options, Handler handler);
  // Cuts off what is under way, and waits for the handlers.
  ~HttpServer();

  // With the port that was chosen: "127.0.0.1:7080".
  const std::string& address() const { return address_; }

 private:
  struct Connection {
    Connection(int fd, const TlsContext* tls, std::string peer)
        : socket(fd, tls), peer(std::move(peer)) {}
    HttpSocket socket;
    const std::string peer;
    std::thread thread;
    bool over = false;
  };
  HttpServer(HttpOptions options, Handler handler);
  absl::Status Listen();
  void Accept();
  void Reap(bool all);
  void Serve(Connection& connection) const;
  bool Answer(Connection& connection, const HttpRequest& request, HttpResponse response) const;
  void Refuse(Connection& connection, int status, const std::string& why) const;

  const HttpOptions options_;
  const Handler handler_;
  std::unique_ptr<TlsContext> tls_;
  std::string address_;
  int listener_ = -1, wake_[2] = {-1, -1};
  mutable std::mutex mutex_;
  std::list<Connection> connections_;
  std::map<std::string, size_t> from_;  // connections of each peer
  std::thread acceptor_;
};

}  // namespace tiltshift::gallery
