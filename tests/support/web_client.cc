#include "tests/support/web_client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <sstream>

namespace tiltshift::tests {
namespace {

constexpr int kPatienceS = 20;

struct Freed {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

std::string Joined(const std::string& chunked) {
  std::string whole;
  for (size_t at = 0; at < chunked.size();) {
    const size_t end = chunked.find("\r\n", at);
    if (end == std::string::npos) break;
    const size_t size = std::stoul(chunked.substr(at, end - at), nullptr, 16);
    whole += chunked.substr(end + 2, size);
    at = end + 2 + size + 2;
  }
  return whole;
}

}  // namespace

std::string WebClient::Send(const std::string& bytes, const std::string& until) const {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port_));
  inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
  const timeval patience{kPatienceS, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0) << "port " << port_;
  std::unique_ptr<SSL_CTX, Freed> context;
  std::unique_ptr<SSL, Freed> ssl;
  if (!ca_.empty()) {
    context.reset(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_load_verify_locations(context.get(), ca_.c_str(), nullptr);
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    ssl.reset(SSL_new(context.get()));
    SSL_set1_host(ssl.get(), "localhost");
    SSL_set_fd(ssl.get(), fd);
    EXPECT_EQ(SSL_connect(ssl.get()), 1);
  }
  const int length = static_cast<int>(bytes.size());
  if (ssl != nullptr) {
    SSL_write(ssl.get(), bytes.data(), length);
  } else {
    send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  std::string all;
  char piece[16384];
  for (;;) {
    const auto count = ssl != nullptr ? SSL_read(ssl.get(), piece, sizeof(piece))
                                      : static_cast<int>(recv(fd, piece, sizeof(piece), 0));
    if (count <= 0) break;
    all.append(piece, static_cast<size_t>(count));
    if (!until.empty() && all.find(until) != std::string::npos) break;
  }
  close(fd);
  return all;
}

WebAnswer WebClient::Ask(const std::string& method, const std::string& target,
                         const Fields& headers, const std::string& body,
                         const std::string& until) const {
  std::string request = method + " " + target + " HTTP/1.1\r\nConnection: close\r\n";
  if (!headers.contains("Host")) request += "Host: localhost:" + std::to_string(port_) + "\r\n";
  for (const auto& [name, value] : headers) request += name + ": " + value + "\r\n";
  if (method == "POST") request += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  const std::string all = Send(request + "\r\n" + body, until);
  WebAnswer answer;
  const size_t end = all.find("\r\n\r\n");
  if (end == std::string::npos) return answer;
  answer.head = all.substr(0, end);
  answer.body = all.substr(end + 4);
  std::istringstream lines(answer.head);
  std::string line;
  std::getline(lines, line);
  answer.status = std::stoi(line.substr(9, 3));
  while (std::getline(lines, line)) {
    const size_t colon = line.find(':');
    std::string name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    answer.headers[name] = line.substr(colon + 2, line.find('\r') - colon - 2);
  }
  if (answer.headers.contains("transfer-encoding") && until.empty())
    answer.body = Joined(answer.body);
  return answer;
}

}  // namespace tiltshift::tests
