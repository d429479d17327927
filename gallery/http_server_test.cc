// Over real sockets: what visitors send, and what they don't.
#include "gallery/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>

namespace tiltshift::gallery {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class Client {
 public:
  explicit Client(const std::string& address) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    const timeval patience{10, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  }
  ~Client() { close(fd_); }
  void Send(const std::string& text) { send(fd_, text.data(), text.size(), MSG_NOSIGNAL); }
  // Until `end` came, or the server closed.
  std::string Until(const std::string& end) {
    std::string text;
    char c;
    while (text.find(end) == std::string::npos && recv(fd_, &c, 1, 0) == 1) text.push_back(c);
    return text;
  }
  std::string All() { return Until("no text has this"); }

 private:
  const int fd_;
};

HttpOptions Short() {
  HttpOptions options;
  options.address = "127.0.0.1:0";
  options.headers = {{"X-Every", "answer"}};
  options.head_ms = options.body_ms = options.idle_ms = 300;
  return options;
}

HttpResponse Echo(const HttpRequest& request) {
  HttpResponse response;
  response.body = request.method + " " + std::to_string(request.path.size()) + " " + request.body;
  return response;
}

constexpr char kGet[] = "GET /a/b HTTP/1.1\r\nHost: h\r\n\r\n";

TEST(HttpServer, AnswersOneAfterTheOther) {
  const auto server = HttpServer::Start(Short(), Echo);
  ASSERT_TRUE(server.ok()) << server.status();
  Client client((*server)->address());
  client.Send(std::string(kGet) + "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody" +
              kGet);
  EXPECT_THAT(client.Until("GET 2 "), HasSubstr("X-Every: answer"));
  EXPECT_THAT(client.Until("POST 0 body"), StartsWith("HTTP/1.1 200 OK"));
  EXPECT_THAT(client.Until("GET 2 "), StartsWith("HTTP/1.1 200 OK"));
  client.Send("HEAD /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.All(), testing::EndsWith("\r\n\r\n"));
}

TEST(HttpServer, WhatIsNoRequestEndsTheConnectionWithAWord) {
  const auto server = HttpServer::Start(Short(), Echo);
  for (const auto& [bytes, status] :
       std::map<std::string, std::string>{{"\x16\x03\x01 a TLS hello\r\n\r\n", "400"},
                                          {"DELETE / HTTP/1.1\r\nHost: h\r\n\r\n", "405"},
                                          {"GET / HTTP/1.1\r\n" + std::string(40'000, 'x'), "431"},
                                          {std::string(40'000, 'G'), "431"}}) {
    Client client((*server)->address());
    client.Send(bytes);
    const std::string answer = client.All();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 " + status));
    EXPECT_THAT(answer, HasSubstr("X-Every: answer"));
  }
}

// A head that comes letter by letter is not waited for, nor a body; others are answered meanwhile.
TEST(HttpServer, TheSlowAreCutOff) {
  HttpOptions options = Short();
  options.idle_ms = 60'000;
  const auto server = HttpServer::Start(options, Echo);
  Client silent_body((*server)->address());
  silent_body.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo");
  Client slow((*server)->address());
  std::atomic<bool> ended{false};
  std::thread dribble([&] {
    while (!ended) {
      slow.Send("x");
      usleep(20'000);
    }
  });
  Client other((*server)->address());
  other.Send(kGet);
  EXPECT_THAT(other.Until("GET 2 "), HasSubstr("200 OK"));
  EXPECT_EQ(slow.All(), "");
  ended = true;
  dribble.join();
  EXPECT_EQ(silent_body.All(), "");
}

TEST(HttpServer, MoreThanItsConnectionsAreTurnedAway) {
  HttpOptions options = Short();
  options.most_connections = 2;
  options.idle_ms = 60'000;
  const auto server = HttpServer::Start(options, Echo);
  Client one((*server)->address()), two((*server)->address());
  one.Send(kGet);
  two.Send(kGet);
  one.Until("GET 2 ");
  two.Until("GET 2 ");
  Client three((*server)->address());
  EXPECT_EQ(three.All(), "");
}

TEST(HttpServer, AStreamComesInChunksAndEndsWithItsServer) {
  std::atomic<bool> begun{false};
  auto server = HttpServer::Start(Short(), [&](const HttpRequest& request) {
    HttpResponse response;
    response.stream = [&, whole = request.path.empty()](HttpWriter& out) {
      out.Write("some");
      begun = true;
      while (!whole && out.Pause(60'000)) {
      }
      return whole;
    };
    return response;
  });
  Client whole((*server)->address()), endless((*server)->address());
  whole.Send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(whole.All(), testing::EndsWith("\r\n\r\n4\r\nsome\r\n0\r\n\r\n"));
  begun = false;
  endless.Send("GET /endless HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(endless.Until("some\r\n"), HasSubstr("4\r\nsome\r\n"));
  server->reset();
  EXPECT_EQ(endless.All(), "") << "no last chunk: it is not whole";
}

TEST(HttpServer, SaysWhyItCanNotServe) {
  const auto first = HttpServer::Start(Short(), Echo);
  HttpOptions options = Short();
  options.address = (*first)->address();
  EXPECT_TRUE(absl::IsUnavailable(HttpServer::Start(options, Echo).status()));
  options.address = "nonsense";
  EXPECT_TRUE(absl::IsInvalidArgument(HttpServer::Start(options, Echo).status()));
  options = Short();
  options.tls_cert = options.tls_key = "/nowhere.pem";
  EXPECT_TRUE(absl::IsInvalidArgument(HttpServer::Start(options, Echo).status()));
}

}  // namespace
}  // namespace tiltshift::gallery
