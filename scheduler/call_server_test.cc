// Calls over a real connection, with methods of the tests' own under the names of the health
// service.
#include "scheduler/call_server.h"

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>

#include "proto/health.grpc.pb.h"

namespace tiltshift::scheduler {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using ::testing::HasSubstr;

constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kWatch[] = "/grpc.health.v1.Health/Watch";

struct Counts {
  std::atomic<int> open{0}, over{0};
};

// A watch that somebody else writes to.
class Watch : public CallHandler {
 public:
  Watch(std::shared_ptr<Call> call, Counts& counts, std::shared_ptr<Call>& shared)
      : call_(std::move(call)), counts_(counts), shared_(shared) {}
  absl::Status OnMessage(grpc::ByteBuffer&) override {
    shared_ = call_;
    ++counts_.open;
    return absl::OkStatus();
  }
  void OnOver() override { ++counts_.over; }

 private:
  const std::shared_ptr<Call> call_;
  Counts& counts_;
  std::shared_ptr<Call>& shared_;
};

class CallServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    server_.Unary<HealthCheckRequest, HealthCheckResponse>(
        kCheck, {},
        [this](const HealthCheckRequest& request, const Reply<HealthCheckResponse>& reply) {
          if (request.service() == "fail") return reply(absl::NotFoundError("no such thing"));
          if (request.service() == "later") {
            later_.emplace_back([reply] { reply(HealthCheckResponse()); });
            return;
          }
          HealthCheckResponse response;
          response.set_status(HealthCheckResponse::SERVING);
          reply(response);
          reply(absl::InternalError("a second answer, which nobody hears"));
        });
    server_.ServerStream(kWatch, [this](std::shared_ptr<Call> call) {
      return std::make_shared<Watch>(std::move(call), counts_, watch_);
    });
    ASSERT_TRUE(server_.Start(address_).ok());
    channel_ = grpc::CreateChannel(address_, grpc::InsecureChannelCredentials());
    stub_ = Health::NewStub(channel_);
  }
  void TearDown() override {
    for (std::thread& thread : later_) thread.join();
    server_.Stop();
    unlink(address_.c_str() + 5);
  }

  grpc::Status Check(const std::string& service, HealthCheckResponse& response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    HealthCheckRequest request;
    request.set_service(service);
    return stub_->Check(&context, request, &response);
  }
  grpc::Status CheckBytes(const std::string& method, const grpc::ByteBuffer* bytes) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    void* tag = nullptr;
    bool ok = false;
    auto stream = stub.PrepareCall(&context, method, &queue);
    stream->StartCall(nullptr);
    queue.Next(&tag, &ok);
    if (bytes != nullptr) {
      stream->Write(*bytes, nullptr);
      queue.Next(&tag, &ok);
    }
    stream->WritesDone(nullptr);
    queue.Next(&tag, &ok);
    grpc::Status status;
    stream->Finish(&status, nullptr);
    queue.Next(&tag, &ok);
    return status;
  }
  bool Soon(const std::function<bool()>& what) {
    for (int i = 0; i < 2'000 && !what(); ++i) usleep(10'000);
    return what();
  }

  const std::string address_ = absl::StrCat("unix:/tmp/call-server-test-", getpid());
  Counts counts_;
  std::shared_ptr<Call> watch_;
  std::vector<std::thread> later_;
  CallServer server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<Health::Stub> stub_;
};

TEST_F(CallServerTest, AnswersAtOnceLaterAndWithErrors) {
  HealthCheckResponse response;
  EXPECT_TRUE(Check("", response).ok());
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  EXPECT_TRUE(Check("later", response).ok());
  const grpc::Status failed = Check("fail", response);
  EXPECT_EQ(failed.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(failed.error_message(), "no such thing");
}

TEST_F(CallServerTest, CallsThatAreNoneOfItsMethods) {
  const grpc::ByteBuffer empty;
  const grpc::Status unknown = CheckBytes("/grpc.health.v1.Health/Nothing", &empty);
  EXPECT_EQ(unknown.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_THAT(unknown.error_message(), HasSubstr("/grpc.health.v1.Health/Nothing"));
  EXPECT_EQ(CheckBytes(kCheck, nullptr).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const grpc::Slice slice(std::string("\xff\xff\xff"));
  const grpc::ByteBuffer garbage(&slice, 1);
  EXPECT_THAT(CheckBytes(kCheck, &garbage).error_message(), HasSubstr("HealthCheckRequest"));
}

TEST_F(CallServerTest, WritesOfAnotherThreadKeepTheirOrder) {
  grpc::ClientContext context;
  auto stream = stub_->Watch(&context, HealthCheckRequest());
  ASSERT_TRUE(Soon([&] { return counts_.open == 1; }));
  constexpr int kMessages = 2'000;
  std::thread writer([call = watch_] {
    for (int i = 0; i < kMessages; ++i) {
      HealthCheckResponse response;
      response.set_status(static_cast<HealthCheckResponse::ServingStatus>(i % 4));
      call->Write(response);
    }
    call->Finish(absl::OkStatus());
    call->Write(HealthCheckResponse());  // after the end: nobody gets it
  });
  HealthCheckResponse response;
  int got = 0;
  for (; stream->Read(&response); ++got) EXPECT_EQ(response.status(), got % 4);
  EXPECT_EQ(got, kMessages);
  EXPECT_TRUE(stream->Finish().ok());
  writer.join();
  EXPECT_TRUE(Soon([&] { return counts_.over == 1; }));
}

TEST_F(CallServerTest, AClientThatLeavesEndsItsCall) {
  {
    grpc::ClientContext context;
    auto stream = stub_->Watch(&context, HealthCheckRequest());
    ASSERT_TRUE(Soon([&] { return counts_.open == 1; }));
    EXPECT_EQ(counts_.over, 0);
    context.TryCancel();
    stream->Finish();
  }
  EXPECT_TRUE(Soon([&] { return counts_.over == 1; }));
  watch_->Write(HealthCheckResponse());
  EXPECT_EQ(watch_->waiting(), 0u);
}

// What it does not read waits, without a write for each; cut off, nothing of it is left.
TEST_F(CallServerTest, AClientThatDoesNotReadIsCutOff) {
  grpc::ClientContext context;
  auto stream = stub_->Watch(&context, HealthCheckRequest());
  ASSERT_TRUE(Soon([&] { return counts_.open == 1; }));
  for (int i = 0; i < 10'000'000 && watch_->waiting() < 100'000; ++i)  // gRPC takes some as well
    watch_->Write(HealthCheckResponse());
  ASSERT_EQ(watch_->waiting(), 100'000u);
  watch_->Cancel();
  EXPECT_TRUE(Soon([&] { return counts_.over == 1 && watch_->waiting() == 0; }));
  HealthCheckResponse response;
  while (stream->Read(&response)) continue;
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(CallServerTest, StopsInTheMiddleOfEverything) {
  std::atomic<bool> go_on{true};
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      while (go_on) {
        HealthCheckResponse response;
        Check("", response);
      }
    });
  }
  grpc::ClientContext context;
  auto stream = stub_->Watch(&context, HealthCheckRequest());
  ASSERT_TRUE(Soon([&] { return counts_.open == 1; }));
  std::thread writer([&] {
    while (go_on) watch_->Write(HealthCheckResponse());
  });
  usleep(100'000);
  server_.Stop();
  EXPECT_EQ(counts_.over, 1);
  go_on = false;
  for (std::thread& client : clients) client.join();
  writer.join();
}

TEST_F(CallServerTest, AnAddressThatIsNone) {
  CallServer other;
  other.Unary<HealthCheckRequest, HealthCheckResponse>(
      kCheck, {}, [](const auto&, const auto& reply) { reply(HealthCheckResponse()); });
  other.ServerStream(kWatch, [](const auto&) { return nullptr; });
  const absl::Status status = other.Start("256.0.0.1:1");
  EXPECT_THAT(Message(status), HasSubstr("cannot listen on 256.0.0.1:1"));
}

}  // namespace
}  // namespace tiltshift::scheduler
