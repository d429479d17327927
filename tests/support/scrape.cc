#include "tests/support/scrape.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>

namespace tiltshift::tests {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  return address;
}

}  // namespace

int FreePort() {
  constexpr int kFirst = 16'000, kPorts = 16'000;  // from 32768 on Linux gives them to who connects
  static std::atomic<int> next{getpid() * 32};     // who runs beside us begins elsewhere
  for (int tried = 0; tried < kPorts; ++tried) {
    const int port = kFirst + static_cast<int>(static_cast<unsigned>(next++) % kPorts);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in address = Loopback(port);
    const bool free = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    close(fd);
    if (free) return port;
  }
  ADD_FAILURE() << "no port is free";
  return 0;
}

std::string Scrape(int port) { return Get(port, "/metrics"); }

std::string Get(int port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = Loopback(port);
  const std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
  std::string text;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
      write(fd, request.data(), request.size()) == static_cast<ssize_t>(request.size())) {
    char block[4096];
    for (ssize_t n; (n = read(fd, block, sizeof(block))) > 0;)
      text.append(block, static_cast<size_t>(n));
  }
  close(fd);
  return text;
}

double Sample(const std::string& metrics, const std::string& series) {
  const size_t at = metrics.find("\n" + series + " ");
  return at == std::string::npos ? -1 : std::atof(metrics.c_str() + at + series.size() + 2);
}

}  // namespace tiltshift::tests
