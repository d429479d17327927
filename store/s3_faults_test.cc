// The S3 store against a server that fails in every way a network or a server can, on command.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <thread>

#include "absl/strings/match.h"
#include "base/clock.h"
#include "base/hash.h"
#include "store/s3_blob_store.h"
#include "tests/support/process.h"
#include "tests/support/scripted_http.h"

namespace tiltshift::store {
namespace {

using ::testing::HasSubstr;
using tests::ScriptedHttp;
using Reply = ScriptedHttp::Reply;

// Objects in memory, and a fault that may stand in for an answer.
class S3FaultsTest : public ::testing::Test {
 protected:
  // What to send instead of `answer`, the right one: after the request was carried out.
  using Fault =
      std::function<std::optional<Reply>(const std::string& request, const Reply& answer)>;

  std::unique_ptr<BlobStore> Open(const S3Options& options = {.patience_ms = 60'000}) {
    auto store = OpenS3BlobStore({.bucket = "farm",
                                  .endpoint = server_.endpoint(),
                                  .region = "us-east-1",
                                  .access_key = "AKIATEST",
                                  .secret_key = "hush"},
                                 options);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? std::move(*store) : nullptr;
  }
  Reply Handle(const std::string& request) {
    const bool before = answers_before_ > 0 && answers_before_-- > 0;
    const Reply answer = before ? ScriptedHttp::Answer(503, kSlowDown) : CarryOut(request);
    if (fault_ != nullptr) {
      if (const auto reply = fault_(request, answer)) return *reply;
    }
    return answer;
  }
  Reply CarryOut(const std::string& request) {
    const size_t blank = request.find(' ');
    const std::string method = request.substr(0, blank);
    const std::string path = request.substr(blank + 1, request.find(' ', blank + 1) - blank - 1);
    if (method == "PUT") {
      const std::string body = request.substr(request.find("\r\n\r\n") + 4);
      if (objects_.count(path) > 0 && conditional_) return ScriptedHttp::Answer(412);
      objects_[path] = {
          body,
          absl::StrCat("x-amz-meta-sha256: ", ScriptedHttp::Header(request, "x-amz-meta-sha256"),
                       "\r\nx-amz-meta-tiltshift-put: ",
                       ScriptedHttp::Header(request, "x-amz-meta-tiltshift-put"), "\r\n")};
      return ScriptedHttp::Answer(200);
    }
    const auto object = objects_.find(path);
    if (object == objects_.end())
      return ScriptedHttp::Answer(404, method == "HEAD" ? "" : kNoSuchKey);
    Reply reply = ScriptedHttp::Answer(200, object->second.body, object->second.headers);
    if (method == "HEAD") reply.bytes.resize(reply.bytes.size() - object->second.body.size());
    return reply;
  }
  static bool Is(const std::string& request, const std::string& method, const std::string& key) {
    return absl::StrContains(request, method + " /farm/" + key + " HTTP");
  }

  static constexpr char kSlowDown[] =
      "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
  static constexpr char kNoSuchKey[] = "<Error><Code>NoSuchKey</Code></Error>";
  struct Object {
    std::string body, headers;
  };
  std::map<std::string, Object> objects_;
  int answers_before_ = 0;   // so many requests are refused before they are carried out
  bool conditional_ = true;  // the server knows If-None-Match
  Fault fault_;
  ScriptedHttp server_{[this](const std::string& request) { return Handle(request); }};
};

TEST_F(S3FaultsTest, ConnectionsAreKept) {
  const auto store = Open();
  for (int i = 0; i < 50; ++i) {
    EXPECT_TRUE(*store->PutIfAbsent(absl::StrCat("a", i), "x"));
    EXPECT_EQ(*store->Get(absl::StrCat("a", i)), "x");
  }
  EXPECT_EQ(server_.connections(), 1);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) EXPECT_TRUE(store->Get(absl::StrCat("a", i)).ok());
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(server_.connections(), 4);
}

TEST_F(S3FaultsTest, ABusyServerIsAskedAgain) {
  const auto store = Open();
  answers_before_ = 3;
  EXPECT_TRUE(*store->PutIfAbsent("a", "x"));
  answers_before_ = 3;
  EXPECT_EQ(*store->Get("a"), "x");
  const auto hasty = Open({.patience_ms = 1'000});
  answers_before_ = 1'000;
  const int64_t start_ms = RealClock().SteadyMs();
  const auto put = hasty->PutIfAbsent("b", "x");
  EXPECT_GT(RealClock().SteadyMs() - start_ms, 250);
  EXPECT_EQ(put.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(put.status().message()),
              HasSubstr("HTTP 503 SlowDown: Please reduce your request rate.; given up after"));
}

// The create was carried out, the answer lost: it is ours, not somebody else's.
TEST_F(S3FaultsTest, ACreateWhoseAnswerWasLostIsOurs) {
  for (const bool whole_connection : {true, false}) {
    objects_.clear();
    const auto store = Open();
    int lost = 0;
    fault_ = [&](const std::string& request, const Reply&) -> std::optional<Reply> {
      if (!Is(request, "PUT", "a") || lost++ > 0) return std::nullopt;
      if (whole_connection) return Reply{"", true};    // closed without a word
      return ScriptedHttp::Answer(500, "<html>oops");  // by a proxy, say
    };
    EXPECT_TRUE(*store->PutIfAbsent("a", "x"));
    EXPECT_GE(lost, 2);
    EXPECT_FALSE(*store->PutIfAbsent("a", "x"));  // this one is not
    fault_ = nullptr;
  }
}

// Somebody else was first, and then our answer is lost as well.
TEST_F(S3FaultsTest, ACreateThatWasSomebodyElsesStaysTheirs) {
  const auto store = Open(), other = Open();
  ASSERT_TRUE(*other->PutIfAbsent("a", "x"));
  int lost = 0;
  fault_ = [&](const std::string& request, const Reply&) -> std::optional<Reply> {
    if (!Is(request, "PUT", "a") || lost++ > 1) return std::nullopt;
    return Reply{"", true};
  };
  EXPECT_FALSE(*store->PutIfAbsent("a", "x"));
  EXPECT_EQ(*store->Get("a"), "x");
}

TEST_F(S3FaultsTest, CreatesThatMeetAreMadeAgain) {
  const auto store = Open();
  int times = 0;
  fault_ = [&](const std::string& request, const Reply&) -> std::optional<Reply> {
    if (!Is(request, "PUT", "a") || times++ > 0) return std::nullopt;
    objects_.erase("/farm/a");
    return ScriptedHttp::Answer(409, "<Error><Code>ConditionalRequestConflict</Code></Error>");
  };
  EXPECT_TRUE(*store->PutIfAbsent("a", "x"));
  EXPECT_EQ(times, 2);
}

TEST_F(S3FaultsTest, HalfABodyIsNoBody) {
  const auto store = Open();
  const std::string bytes(100'000, 'x');
  ASSERT_TRUE(*store->PutIfAbsent("a", bytes));
  int cut = 0;
  fault_ = [&](const std::string& request, const Reply& answer) -> std::optional<Reply> {
    if (!Is(request, "GET", "a") || cut++ >= 2) return std::nullopt;
    return Reply{answer.bytes.substr(0, 60'000), true};
  };
  EXPECT_EQ(*store->Get("a"), bytes);
  EXPECT_EQ(cut, 3);
  fault_ = nullptr;
  const auto hasty = Open({.patience_ms = 500});
  fault_ = [&](const std::string&, const Reply& answer) -> std::optional<Reply> {
    return Reply{answer.bytes.substr(0, 60'000), true};
  };
  EXPECT_EQ(hasty->Get("a").status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(S3FaultsTest, DamagedBytesAreNotHandedOn) {
  const auto store = Open();
  ASSERT_TRUE(*store->PutIfAbsent("a", "x"));
  objects_["/farm/a"].body = "y";
  const auto got = store->Get("a");
  EXPECT_EQ(got.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(
      std::string(got.status().message()),
      HasSubstr("its bytes have SHA-256 " + Sha256Hex("y") + ", not the " + Sha256Hex("x")));
}

// That answer never ends: what comes of it in the end comes of another.
TEST_F(S3FaultsTest, AnAnswerThatStallsIsGivenUp) {
  const auto store = Open({.stall_seconds = 1, .patience_ms = 60'000});
  ASSERT_TRUE(*store->PutIfAbsent("a", "x"));
  int stalled = 0;
  fault_ = [&](const std::string&, const Reply&) -> std::optional<Reply> {
    if (stalled++ > 0) return std::nullopt;
    return Reply{"HTTP/1.1 200", false, true};
  };
  EXPECT_EQ(*store->Get("a"), "x");
  EXPECT_GE(stalled, 2);
}

TEST_F(S3FaultsTest, AnInterruptEndsWhatWaits) {
  const auto store = Open({.stall_seconds = 600, .patience_ms = 600'000});
  std::atomic<bool> stalled{false};
  fault_ = [&](const std::string& request, const Reply&) -> std::optional<Reply> {
    if (!Is(request, "GET", "stalls")) return ScriptedHttp::Answer(503);
    stalled = true;
    return Reply{"", false, true};
  };
  absl::Status one, two;
  std::thread a([&] { one = store->Get("stalls").status(); });
  std::thread b([&] { two = store->Get("busy").status(); });
  EXPECT_TRUE(tests::WaitFor([&] { return stalled.load(); }, 10'000));
  store->Interrupt();
  a.join();  // long before they would have been given up
  b.join();
  EXPECT_EQ(one.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(two.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(store->Get("later").status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(S3FaultsTest, TooLargeAnAnswer) {
  const auto store = Open({.most_bytes = 1'000});
  ASSERT_TRUE(*store->PutIfAbsent("a", std::string(1'001, 'x')));
  const auto got = store->Get("a");
  EXPECT_EQ(got.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(got.status().message()), HasSubstr("get s3://farm/a at http://"));
}

TEST_F(S3FaultsTest, AServerThatWritesOverWhatIsThereIsRefused) {
  conditional_ = false;
  const auto store = OpenS3BlobStore({.bucket = "farm",
                                      .endpoint = server_.endpoint(),
                                      .region = "us-east-1",
                                      .access_key = "AKIATEST",
                                      .secret_key = "hush"});
  EXPECT_EQ(store.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("take one that has conditional"));
}

TEST_F(S3FaultsTest, WhatNoOtherTryMends) {
  const auto store = Open();
  struct Case {
    int status;
    const char* code;
    absl::StatusCode expected;
    const char* said;
  };
  using Code = absl::StatusCode;
  for (const Case& c :
       {Case{403, "AccessDenied", Code::kPermissionDenied, "these credentials need s3:GetObject"},
        Case{403, "RequestTimeTooSkewed", Code::kPermissionDenied, "set this machine's clock"},
        Case{400, "ExpiredToken", Code::kPermissionDenied, "to a pair that it knows"},
        Case{301, "PermanentRedirect", Code::kPermissionDenied, "in another region"},
        Case{400, "AuthorizationHeaderMalformed", Code::kPermissionDenied, "in another region"},
        Case{507, "XMinioStorageFull", Code::kResourceExhausted, "make room in it"},
        Case{404, "NoSuchBucket", Code::kPermissionDenied, "make the bucket"},
        Case{405, "MethodNotAllowed", Code::kInternal, "is the endpoint an S3 server?"}}) {
    fault_ = [&](const std::string&, const Reply&) {
      return ScriptedHttp::Answer(c.status,
                                  absl::StrCat("<Error><Code>", c.code, "</Code></Error>"));
    };
    const int before = server_.requests();
    const auto put = store->PutIfAbsent("a", "x");
    EXPECT_EQ(put.status().code(), c.expected) << put.status();
    EXPECT_THAT(std::string(put.status().message()), HasSubstr(c.said));
    EXPECT_THAT(std::string(put.status().message()),
                HasSubstr(absl::StrCat("put s3://farm/a at ", server_.endpoint(), ": HTTP ",
                                       c.status, " ", c.code)));
    EXPECT_EQ(server_.requests(), before + 1);
  }
}

TEST_F(S3FaultsTest, AListingThatIsNone) {
  const auto store = Open();
  std::string body = "<html>welcome</html>";
  fault_ = [&](const std::string&, const Reply&) { return ScriptedHttp::Answer(200, body); };
  EXPECT_EQ(store->List("jobs/").status().code(), absl::StatusCode::kDataLoss);
  body = "<ListBucketResult><Contents><Key>other/x</Key></Contents></ListBucketResult>";
  EXPECT_EQ(store->List("jobs/").status().code(), absl::StatusCode::kDataLoss);
  body =
      "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t"
      "</NextContinuationToken></ListBucketResult>";
  EXPECT_THAT(std::string(store->List("jobs/").status().message()), HasSubstr("in a circle"));
}

}  // namespace
}  // namespace tiltshift::store
