#include "gallery/http_message.h"

#include <gmock/gmock.h>

#include "gallery/api.h"

namespace tiltshift::gallery {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

HttpHead Get(const std::string& target, const std::string& fields = "Host: h\r\n") {
  return ParseHead("GET " + target + " HTTP/1.1\r\n" + fields + "\r\n");
}

TEST(HttpMessage, ReadsWhatABrowserSends) {
  const HttpHead head = ParseHead(
      "POST /api/jobs/j%201/x?axis.color=red+wine&axis.b=%C3%A4%26&flag HTTP/1.1\r\n"
      "Host: farm:7080\r\nContent-Length: 2\r\nX-Tiltshift:1\r\nCookie:  a=b \r\n\r\n");
  ASSERT_EQ(head.refused, 0) << head.why;
  EXPECT_THAT(head.request.path, ElementsAre("api", "jobs", "j 1", "x"));
  EXPECT_THAT(head.request.query, ElementsAre(Pair("axis.color", "red wine"),
                                              Pair("axis.b", "\xC3\xA4&"), Pair("flag", "")));
  EXPECT_EQ(head.request.Header("x-tiltshift"), "1");
  EXPECT_EQ(head.request.Header("cookie"), "a=b");
  EXPECT_EQ(head.body_bytes, 2u);
  EXPECT_TRUE(head.request.keep_alive);
  EXPECT_FALSE(Get("/", "Host: h\r\nConnection: Close\r\n").request.keep_alive);
  EXPECT_TRUE(Get("/").request.path.empty());
  EXPECT_THAT(Get("/api/").request.path, ElementsAre("api", ""));
}

// What two readers might understand in two ways, and what is none of it.
TEST(HttpMessage, RefusesTheRest) {
  const auto refused = [](const std::string& text) { return ParseHead(text).refused; };
  EXPECT_EQ(refused("GET / HTTP/1.1\r\n\r\n"), 400) << "no Host";
  EXPECT_EQ(refused("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), 505);
  EXPECT_EQ(refused("PUT / HTTP/1.1\r\nHost: h\r\n\r\n"), 405);
  EXPECT_EQ(refused("GET  HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
  EXPECT_EQ(refused("\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
  EXPECT_EQ(Get("/%00").refused, 400);
  EXPECT_EQ(Get("/%2").refused, 400);
  EXPECT_EQ(Get("/%zz").refused, 400);
  EXPECT_EQ(Get("/", "Host: a\r\nHost: b\r\n").refused, 400);
  EXPECT_EQ(Get("/", "Host: a\r\n folded\r\n").refused, 400);
  EXPECT_EQ(Get("/", "Host : a\r\n").refused, 400);
  EXPECT_EQ(Get("/", "Host: a\r\nContent-Length: 3\r\n").refused, 400) << "a body of a GET";
  const std::string post = "POST / HTTP/1.1\r\nHost: h\r\n";
  EXPECT_EQ(refused(post + "Transfer-Encoding: chunked\r\n\r\n"), 501);
  EXPECT_EQ(refused(post + "Content-Length: 1, 1\r\n\r\n"), 400);
  EXPECT_EQ(refused(post + "Content-Length: -1\r\n\r\n"), 400);
  EXPECT_EQ(refused(post + "Content-Length: 99999999999999999999\r\n\r\n"), 400);
  EXPECT_EQ(refused(post + "Content-Length: 2000000\r\n\r\n"), 413);
  EXPECT_EQ(refused(post + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"), 400);
  std::string many = post;
  for (int i = 0; i < 70; ++i) many += "X-" + std::to_string(i) + ": y\r\n";
  EXPECT_EQ(refused(many + "\r\n"), 431);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\nHost: h\r\nX: \x01\r\n\r\n"), 400);
}

TEST(HttpMessage, AHeadIsWhole) {
  HttpResponse response;
  response.headers = {{"Content-Type", "text/plain"}};
  response.body = "four";
  EXPECT_EQ(HeadOf(response, true),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n");
  response.status = 304;
  EXPECT_EQ(HeadOf(response, false),
            "HTTP/1.1 304 Not Modified\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n");
}

TEST(Indices, AreReadWithinBounds) {
  EXPECT_THAT(*ParseIndices("7", 10), ElementsAre(7));
  EXPECT_THAT(*ParseIndices("3-5,1,4-6", 10), ElementsAre(1, 3, 4, 5, 6));
  for (const char* bad : {"", "x", "1-", "-1", "5-3", "1,,2", "0-10", "1-2-3",
                          "0-18446744073709551615", "18446744073709551615-0"})
    EXPECT_FALSE(ParseIndices(bad, 10).ok()) << bad;
}

}  // namespace
}  // namespace tiltshift::gallery
