#include "tests/support/scripted_http.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace tiltshift::tests {
namespace {

bool SendAll(int fd, const std::string& bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n = send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += static_cast<size_t>(n);
  }
  return true;
}

// Head and body; empty where the client went.
std::string ReadRequest(int fd) {
  std::string request;
  size_t whole = std::string::npos;
  char block[16384];
  while (request.size() < whole) {
    const ssize_t n = read(fd, block, sizeof(block));
    if (n <= 0) return "";
    request.append(block, static_cast<size_t>(n));
    const size_t head = request.find("\r\n\r\n");
    if (whole != std::string::npos || head == std::string::npos) continue;
    whole = head + 4 +
            std::strtoul(ScriptedHttp::Header(request, "content-length").c_str(), nullptr, 10);
    if (!ScriptedHttp::Header(request, "expect").empty())
      SendAll(fd, "HTTP/1.1 100 Continue\r\n\r\n");
  }
  return request;
}

}  // namespace

ScriptedHttp::ScriptedHttp(Script script) : script_(std::move(script)) {
  listener_ = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  socklen_t size = sizeof(address);
  bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
  listen(listener_, 64);
  getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

ScriptedHttp::~ScriptedHttp() {
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  {
    std::lock_guard lock(mutex_);
    for (const int fd : open_) shutdown(fd, SHUT_RDWR);
  }
  for (std::thread& thread : threads_) thread.join();
  close(listener_);
}

std::string ScriptedHttp::endpoint() const { return "http://127.0.0.1:" + std::to_string(port_); }

void ScriptedHttp::Accept() {
  for (int fd; (fd = accept(listener_, nullptr, nullptr)) >= 0;) {
    ++connections_;
    std::lock_guard lock(mutex_);
    open_.push_back(fd);
    threads_.emplace_back([this, fd] { Serve(fd); });
  }
}

void ScriptedHttp::Serve(int fd) {
  for (std::string request; !(request = ReadRequest(fd)).empty();) {
    ++requests_;
    Reply reply;
    {
      std::lock_guard lock(mutex_);
      reply = script_(request);
    }
    if (!SendAll(fd, reply.bytes) || reply.close) break;
    char byte;
    if (reply.stall) {
      while (read(fd, &byte, 1) > 0) {
      }
      break;
    }
  }
  std::lock_guard lock(mutex_);
  open_.erase(std::find(open_.begin(), open_.end(), fd));
  close(fd);
}

ScriptedHttp::Reply ScriptedHttp::Answer(int status, const std::string& body,
                                         const std::string& headers) {
  return {"HTTP/1.1 " + std::to_string(status) + " Said\r\n" + headers +
          "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body};
}

std::string ScriptedHttp::Header(const std::string& request, const std::string& name) {
  std::string head = request.substr(0, request.find("\r\n\r\n"));
  std::transform(head.begin(), head.end(), head.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const size_t at = head.find("\r\n" + name + ":");
  if (at == std::string::npos) return "";
  const size_t begin = head.find_first_not_of(' ', at + name.size() + 3);
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

}  // namespace tiltshift::tests
