// Both kinds of moderator as they are: commands run by a shell, a gRPC service that listens.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "moderation/moderator.h"
#include "proto/moderation.grpc.pb.h"

namespace tiltshift::moderation {
namespace {

using ::testing::HasSubstr;

constexpr int kLongMs = 60'000, kShortMs = 200;

v1::ReviewRequest Prompt(const std::string& text) {
  v1::ReviewRequest request;
  request.set_kind(v1::REVIEW_KIND_PROMPT);
  request.set_job("summer");
  request.set_tenant("brand");
  request.set_entry("e-17");
  request.set_text(text);
  return request;
}

absl::Status Ask(const std::string& who, const v1::ReviewRequest& request, int timeout_ms = kLongMs,
                 bool fail_open = false) {
  return (*OpenModerator({.who = who, .timeout_ms = timeout_ms, .fail_open = fail_open}))
      ->Review(request);
}

// Vetoes texts with "rude"; to "wait" it answers only when it ends.
class Service : public v1::Moderation::Service {
 public:
  Service() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~Service() override {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
    }
    ends_.notify_all();
    server_->Shutdown();
  }
  grpc::Status Review(grpc::ServerContext*, const v1::ReviewRequest* request,
                      v1::ReviewResponse* response) override {
    std::unique_lock lock(mutex_);
    if (request->text() == "wait") ends_.wait(lock, [&] { return ending_; });
    response->set_veto(request->text().find("rude") != std::string::npos);
    response->set_reason("mind your words");
    return grpc::Status::OK;
  }
  std::string who() const { return "grpc:127.0.0.1:" + std::to_string(port_); }

 private:
  int port_ = 0;
  std::mutex mutex_;
  std::condition_variable ends_;
  bool ending_ = false;
  std::unique_ptr<grpc::Server> server_;
};

TEST(Moderator, NobodyAndNonsense) {
  EXPECT_EQ(*OpenModerator({}), nullptr);
  for (const char* who : {"grpc:", "command:", "sometimes", "http://x", "grpc:10.0.0.7:7090"})
    EXPECT_THAT(Message(OpenModerator({who}).status()), HasSubstr("--moderate"));
}

TEST(Moderator, ACommandAllowsOrVetoesWithAReason) {
  const std::string who =
      "command:grep -q rude && { echo 'mind your words'; echo more; exit 1; } || exit 0";
  EXPECT_TRUE(Ask(who, Prompt("a kind robot")).ok()) << Ask(who, Prompt("a kind robot"));
  const absl::Status vetoed = Ask(who, Prompt("a rude robot"));
  EXPECT_EQ(vetoed.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(Message(vetoed), "refused by moderation: mind your words");
  EXPECT_EQ(Message(Ask("command:exit 1", Prompt("x"))), "refused by moderation: no reason given");
}

TEST(Moderator, ACommandKnowsWhatItReviews) {
  EXPECT_EQ(Message(Ask("command:echo $TILTSHIFT_REVIEW $TILTSHIFT_JOB $TILTSHIFT_TENANT "
                        "$TILTSHIFT_ENTRY; exit 1",
                        Prompt("x"))),
            "refused by moderation: prompt summer brand e-17");
  v1::ReviewRequest output;
  output.set_kind(v1::REVIEW_KIND_OUTPUT);
  output.set_picture(std::string(1'000'000, '\0'));  // far more than a pipe holds
  EXPECT_EQ(Message(Ask("command:echo $TILTSHIFT_REVIEW $(wc -c); exit 1", output)),
            "refused by moderation: output 1000000");
  EXPECT_TRUE(Ask("command:exit 0", output).ok());  // one that does not read
}

TEST(Moderator, RemembersWhatItAllowedAndNothingElse) {
  const auto moderator = *OpenModerator({"command:cat >/dev/null; exit 0"});
  v1::ReviewRequest photo;
  photo.set_kind(v1::REVIEW_KIND_PHOTO);
  photo.set_text("p1");
  photo.set_picture("png");
  EXPECT_FALSE(moderator->HasAllowed(photo));
  EXPECT_TRUE(moderator->Review(photo).ok());
  EXPECT_TRUE(moderator->HasAllowed(photo));
  photo.set_job("another");
  EXPECT_FALSE(moderator->HasAllowed(photo));
  v1::ReviewRequest output;
  output.set_kind(v1::REVIEW_KIND_OUTPUT);
  EXPECT_TRUE(moderator->Review(output).ok());
  EXPECT_FALSE(moderator->HasAllowed(output));
  const auto strict = *OpenModerator({"command:exit 1"});
  const auto silent = *OpenModerator({.who = "command:exit 3", .fail_open = true});
  for (const auto* who : {&strict, &silent}) {
    (*who)->Review(Prompt("x")).IgnoreError();
    EXPECT_FALSE((*who)->HasAllowed(Prompt("x")));
  }
}

TEST(Moderator, WithoutAnAnswerItFailsClosedOrOpen) {
  Service service;
  for (const std::string& who : {std::string("command:sleep 60"), std::string("command:exit 3"),
                                 std::string("command:kill -9 $$"), std::string("command:/no/such"),
                                 std::string("grpc:127.0.0.1:1"), service.who()}) {
    const absl::Status closed = Ask(who, Prompt("wait"), kShortMs);
    EXPECT_EQ(closed.code(), absl::StatusCode::kUnavailable) << who << closed;
    EXPECT_THAT(Message(closed), HasSubstr("gave no answer")) << who;
    EXPECT_TRUE(Ask(who, Prompt("wait"), kShortMs, true).ok()) << who;
  }
}

TEST(Moderator, AServiceAllowsOrVetoesWithAReason) {
  Service service;
  EXPECT_TRUE(Ask(service.who(), Prompt("a kind robot")).ok());
  EXPECT_EQ(Message(Ask(service.who(), Prompt("a rude robot"))),
            "refused by moderation: mind your words");
  // A veto is one, also where silence allows.
  EXPECT_FALSE(Ask(service.who(), Prompt("a rude robot"), kLongMs, true).ok());
}

}  // namespace
}  // namespace tiltshift::moderation
