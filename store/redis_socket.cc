#include "store/redis_socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace tiltshift::store {
namespace {

absl::Status Trouble(int error) {
  return absl::UnavailableError(error == EAGAIN || error == EINPROGRESS ? "no answer in time"
                                                                        : std::strerror(error));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// OK where `fd` is connected; at the end it blocks, each read and write for `timeout_ms`.
absl::Status Connect(int fd, const sockaddr* to, socklen_t size, int timeout_ms) {
  const int flags = fcntl(fd, F_GETFL);
  fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  if (connect(fd, to, size) != 0) {
    if (errno != EINPROGRESS) return Trouble(errno);
    pollfd ready{fd, POLLOUT, 0};
    if (poll(&ready, 1, timeout_ms) <= 0) return Trouble(EAGAIN);
    int error = 0;
    socklen_t length = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return Trouble(error);
  }
  fcntl(fd, F_SETFL, flags);
  const timeval timeout{timeout_ms / 1000, (timeout_ms % 1000) * 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
  return absl::OkStatus();
}

absl::StatusOr<int> ConnectUnix(const std::string& path, int timeout_ms) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (path.size() >= sizeof(to.sun_path))
    return absl::InvalidArgumentError(absl::StrCat(path, ": too long for a unix socket"));
  path.copy(to.sun_path, path.size());
  Descriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return Trouble(errno);
  TS_RETURN_IF_ERROR(Connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to), timeout_ms));
  return fd.Release();
}

absl::StatusOr<int> ConnectTcp(const RedisAddress& address, int timeout_ms) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int looked =
      getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (looked != 0) return absl::UnavailableError(gai_strerror(looked));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> all(found, freeaddrinfo);
  absl::Status status = absl::UnavailableError("the name has no address");
  for (const addrinfo* to = found; to != nullptr; to = to->ai_next) {
    Descriptor fd(socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (fd.get() < 0) return Trouble(errno);
    status = Connect(fd.get(), to->ai_addr, to->ai_addrlen, timeout_ms);
    if (!status.ok()) continue;
    const int on = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    return fd.Release();
  }
  return status;
}

class ClearSocket : public RedisSocket {
 public:
  explicit ClearSocket(int fd) : fd_(fd) {}

  absl::Status Write(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t sent = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0) return Trouble(errno);
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<size_t> Read(char* to, size_t room) override {
    for (;;) {
      const ssize_t got = recv(fd_.get(), to, room, 0);
      if (got > 0) return static_cast<size_t>(got);
      if (got == 0) return absl::UnavailableError("the server closed the connection");
      if (errno != EINTR) return Trouble(errno);
    }
  }

 private:
  const Descriptor fd_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RedisSocket>> OpenRedisSocket(const RedisAddress& address,
                                                             int timeout_ms) {
  TS_ASSIGN_OR_RETURN(const int fd, address.unix_path.empty()
                                        ? ConnectTcp(address, timeout_ms)
                                        : ConnectUnix(address.unix_path, timeout_ms));
  if (address.tls) return StartRedisTls(fd, address);
  return std::make_unique<ClearSocket>(fd);
}

}  // namespace tiltshift::store
