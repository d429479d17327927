#include "gallery/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "absl/strings/str_format.h"

namespace tiltshift::gallery {
namespace {

constexpr size_t kMostHead = 16 << 10;
constexpr int kReapMs = 1'000;

struct AddressInfo {
  addrinfo* first = nullptr;
  ~AddressInfo() {
    if (first != nullptr) freeaddrinfo(first);
  }
};

// "[::1]:80" -> "::1", "80".
bool SplitAddress(const std::string& address, std::string& host, std::string& port) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon + 1 == address.size()) return false;
  host = address.substr(0, colon);
  port = address.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  return !host.empty() && port.find_first_not_of("0123456789") == std::string::npos;
}

std::string NumericHost(const sockaddr_storage& address, socklen_t length) {
  char host[NI_MAXHOST] = "";
  getnameinfo(reinterpret_cast<const sockaddr*>(&address), length, host, sizeof(host), nullptr, 0,
              NI_NUMERICHOST);
  return host;
}

bool IsOwn(const std::string& peer) {
  return peer == "::1" || peer.compare(0, 4, "127.") == 0 ||
         peer.compare(0, 11, "::ffff:127.") == 0;
}

// An answer whose length is not known when it begins.
class ChunkWriter : public HttpWriter {
 public:
  ChunkWriter(HttpSocket& socket, int write_ms) : socket_(socket), write_ms_(write_ms) {}

  bool Write(std::string_view bytes) override {
    if (bytes.empty()) return whole_;
    const std::string size = absl::StrFormat("%x\r\n", bytes.size());
    const int64_t deadline = SteadyNowMs() + write_ms_;
    whole_ = whole_ && socket_.Write(size, deadline) && socket_.Write(bytes, deadline) &&
             socket_.Write("\r\n", deadline);
    return whole_;
  }
  bool Pause(int ms) override { return whole_ && socket_.Pause(ms); }
  bool End() { return whole_ && socket_.Write("0\r\n\r\n", SteadyNowMs() + write_ms_); }

 private:
  HttpSocket& socket_;
  const int write_ms_;
  bool whole_ = true;
};

}  // namespace

HttpServer::HttpServer(HttpOptions options, Handler handler)
    : options_(std::move(options)), handler_(std::move(handler)) {}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(HttpOptions options,
                                                              Handler handler) {
  std::unique_ptr<HttpServer> server(new HttpServer(std::move(options), std::move(handler)));
  if (!server->options_.tls_cert.empty()) {
    TS_ASSIGN_OR_RETURN(server->tls_,
                        TlsContext::Load(server->options_.tls_cert, server->options_.tls_key));
  }
  TS_RETURN_IF_ERROR(server->Listen());
  server->acceptor_ = std::thread([raw = server.get()] { raw->Accept(); });
  return server;
}

absl::Status HttpServer::Listen() {
  std::string host, port;
  if (!SplitAddress(options_.address, host, port)) {
    return absl::InvalidArgumentError(
        absl::StrCat(options_.address, " is no address to serve on; write HOST:PORT"));
  }
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_PASSIVE;
  AddressInfo found;
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &wanted, &found.first); error != 0)
    return absl::InvalidArgumentError(absl::StrCat(options_.address, ": ", gai_strerror(error)));
  listener_ = socket(found.first->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (listener_ < 0 || bind(listener_, found.first->ai_addr, found.first->ai_addrlen) != 0 ||
      listen(listener_, 128) != 0 || pipe2(wake_, O_CLOEXEC) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot serve on ", options_.address, ": ",
                                               std::strerror(errno),
                                               "; choose another port, or end who has it"));
  }
  sockaddr_storage bound{};
  socklen_t length = sizeof(bound);
  getsockname(listener_, reinterpret_cast<sockaddr*>(&bound), &length);
  const in_port_t chosen = bound.ss_family == AF_INET6
                               ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                               : reinterpret_cast<sockaddr_in&>(bound).sin_port;
  address_ =
      absl::StrCat(options_.address.substr(0, options_.address.rfind(':') + 1), ntohs(chosen));
  return absl::OkStatus();
}

HttpServer::~HttpServer() {
  if (acceptor_.joinable()) {
    [[maybe_unused]] const ssize_t told = write(wake_[1], "x", 1);
    acceptor_.join();
  }
  {
    std::lock_guard lock(mutex_);
    for (Connection& connection : connections_) connection.socket.Interrupt();
  }
  Reap(/*all=*/true);
  for (const int fd : {listener_, wake_[0], wake_[1]})
    if (fd >= 0) close(fd);
}

void HttpServer::Accept() {
  for (;;) {
    std::array<pollfd, 2> ready{pollfd{listener_, POLLIN, 0}, pollfd{wake_[0], POLLIN, 0}};
    poll(ready.data(), ready.size(), kReapMs);
    if (ready[1].revents != 0) return;
    Reap(/*all=*/false);
    if (ready[0].revents == 0) continue;
    sockaddr_storage from{};
    socklen_t length = sizeof(from);
    const int fd = accept4(listener_, reinterpret_cast<sockaddr*>(&from), &length, SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE) poll(nullptr, 0, 100);
      continue;
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    const std::string peer = NumericHost(from, length);
    std::lock_guard lock(mutex_);
    if (connections_.size() >= options_.most_connections ||
        (!IsOwn(peer) && from_[peer] >= options_.most_from_one)) {
      close(fd);
      continue;
    }
    ++from_[peer];
    Connection& connection = connections_.emplace_back(fd, tls_.get(), peer);
    connection.thread = std::thread([this, &connection] {
      Serve(connection);
      std::lock_guard lock(mutex_);
      connection.over = true;
    });
  }
}

// With `all`, waits for those that are not over yet.
void HttpServer::Reap(bool all) {
  std::list<Connection> over;
  {
    std::lock_guard lock(mutex_);
    for (auto at = connections_.begin(); at != connections_.end();) {
      const auto next = std::next(at);
      if (all || at->over) {
        if (--from_[at->peer] == 0) from_.erase(at->peer);
        over.splice(over.end(), connections_, at);
      }
      at = next;
    }
  }
  for (Connection& connection : over) connection.thread.join();
}

void HttpServer::Refuse(Connection& connection, int status, const std::string& why) const {
  HttpResponse response;
  response.status = status;
  response.headers = options_.headers;
  response.headers.emplace_back("Content-Type", "text/plain; charset=utf-8");
  if (status == 405) response.headers.emplace_back("Allow", "GET, HEAD, POST");
  response.body = why + "\n";
  connection.socket.Write(HeadOf(response, false) + response.body,
                          SteadyNowMs() + options_.write_ms);
  connection.socket.Linger();
}

bool HttpServer::Answer(Connection& connection, const HttpRequest& request,
                        HttpResponse response) const {
  response.headers.insert(response.headers.end(), options_.headers.begin(), options_.headers.end());
  const bool keep = request.keep_alive;
  const bool only_head = request.method == "HEAD";
  std::string first = HeadOf(response, keep);
  if (!only_head && response.stream == nullptr) first += response.body;
  if (!connection.socket.Write(first, SteadyNowMs() + options_.write_ms)) return false;
  if (response.stream != nullptr && !only_head) {
    ChunkWriter writer(connection.socket, options_.write_ms);
    if (!response.stream(writer) || !writer.End()) return false;
  }
  return keep;
}

void HttpServer::Serve(Connection& connection) const {
  HttpSocket& socket = connection.socket;
  if (!socket.Open(SteadyNowMs() + options_.head_ms)) return;
  std::string bytes;
  std::array<char, 8192> piece;
  for (;;) {
    int64_t deadline = SteadyNowMs() + (bytes.empty() ? options_.idle_ms : options_.head_ms);
    size_t end;
    while ((end = bytes.find("\r\n\r\n")) == std::string::npos) {
      if (bytes.size() > kMostHead) return Refuse(connection, 431, "the head is too long");
      const size_t count = socket.Read(piece.data(), piece.size(), deadline);
      if (count == 0) return;
      if (bytes.empty()) deadline = SteadyNowMs() + options_.head_ms;
      bytes.append(piece.data(), count);
    }
    if (end > kMostHead) return Refuse(connection, 431, "the head is too long");
    HttpHead head = ParseHead(std::string_view(bytes).substr(0, end + 4));
    if (head.refused != 0) return Refuse(connection, head.refused, head.why);
    bytes.erase(0, end + 4);
    deadline = SteadyNowMs() + options_.body_ms;
    while (bytes.size() < head.body_bytes) {
      const size_t count = socket.Read(piece.data(), piece.size(), deadline);
      if (count == 0) return;
      bytes.append(piece.data(), count);
    }
    head.request.body = bytes.substr(0, head.body_bytes);
    head.request.peer = connection.peer;
    bytes.erase(0, head.body_bytes);
    if (!Answer(connection, head.request, handler_(head.request))) return socket.Linger();
  }
}

}  // namespace tiltshift::gallery
