#include "monitoring/text_server.h"

#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

namespace tiltshift::monitoring {
namespace {

constexpr size_t kLongestRequest = 8192;
constexpr int kPatienceMs = 1000;  // with one client, all in all

int64_t NowMs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

// True when `fd` is ready before `deadline_ms`.
bool Await(int fd, short what, int64_t deadline_ms) {
  pollfd wait{fd, what, 0};
  const int64_t left = deadline_ms - NowMs();
  return left > 0 && poll(&wait, 1, static_cast<int>(left)) == 1;
}

// Up to the empty line; what came so far where the client is slow, too long or gone.
std::string ReadRequest(int fd, int64_t deadline_ms) {
  std::string request;
  char block[1024];
  while (request.find("\r\n\r\n") == std::string::npos && request.size() < kLongestRequest &&
         Await(fd, POLLIN, deadline_ms)) {
    const ssize_t count = recv(fd, block, sizeof(block), MSG_DONTWAIT);
    if (count <= 0) break;
    request.append(block, static_cast<size_t>(count));
  }
  return request;
}

void Send(int fd, const std::string& bytes, int64_t deadline_ms) {
  size_t sent = 0;
  while (sent < bytes.size() && Await(fd, POLLOUT, deadline_ms)) {
    const ssize_t count =
        send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count <= 0) return;
    sent += static_cast<size_t>(count);
  }
}

bool AsksForMetrics(const std::string& request) {
  return request.rfind("GET /metrics ", 0) == 0 || request.rfind("GET /metrics?", 0) == 0;
}

// A listening socket at the first of the addresses that takes one.
absl::StatusOr<int> Listen(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return absl::InvalidArgumentError("it is no host:port");
  const std::string host = address.substr(0, colon);
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int wrong = getaddrinfo(host.empty() ? nullptr : host.c_str(),
                                address.substr(colon + 1).c_str(), &hints, &found);
  if (wrong != 0) return absl::InvalidArgumentError(gai_strerror(wrong));
  int listening = -1;
  int error = 0;
  for (const addrinfo* at = found; at != nullptr && listening < 0; at = at->ai_next) {
    const int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (fd >= 0 && bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, 16) == 0) {
      listening = fd;
    } else {
      error = errno;
      if (fd >= 0) close(fd);
    }
  }
  freeaddrinfo(found);
  if (listening < 0) return absl::UnavailableError(std::strerror(error));
  return listening;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TextServer>> TextServer::Start(const std::string& address,
                                                              std::function<std::string()> text) {
  TS_ASSIGN_OR_RETURN(const int listening, Listen(address));
  return std::unique_ptr<TextServer>(new TextServer(listening, std::move(text)));
}

TextServer::TextServer(int listening, std::function<std::string()> text)
    : listening_(listening), stop_(eventfd(0, EFD_CLOEXEC)), text_(std::move(text)) {
  thread_ = std::thread([this] { Run(); });
}

TextServer::~TextServer() {
  eventfd_write(stop_, 1);
  thread_.join();
  close(stop_);
  close(listening_);
}

void TextServer::Run() {
  for (;;) {
    pollfd waits[] = {{stop_, POLLIN, 0}, {listening_, POLLIN, 0}};
    if (poll(waits, 2, -1) < 0 && errno != EINTR) return;
    if (waits[0].revents != 0) return;
    if (waits[1].revents == 0) continue;
    const int connection = accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) {  // out of descriptors, or the client is gone again
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      continue;
    }
    Answer(connection);
    close(connection);
  }
}

void TextServer::Answer(int connection) {
  const int64_t deadline_ms = NowMs() + kPatienceMs;
  const bool known = AsksForMetrics(ReadRequest(connection, deadline_ms));
  const std::string body = known ? text_() : "the metrics are at /metrics\n";
  Send(connection,
       absl::StrCat(known ? "HTTP/1.1 200 OK" : "HTTP/1.1 404 Not Found",
                    "\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: ", body.size(),
                    "\r\nConnection: close\r\n\r\n", body),
       deadline_ms);
}

}  // namespace tiltshift::monitoring
