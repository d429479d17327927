// What gRPC's own tools ask a scheduler: is it well, and what does it offer.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "proto/health.grpc.pb.h"
#include "proto/reflection.grpc.pb.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"

namespace tiltshift::tests {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using grpc::reflection::v1alpha::ServerReflection;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;
using ::testing::IsSupersetOf;

constexpr int kPatienceMs = 20'000;

class StandardServicesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string folder = FreshFolder();
    redis_ = std::make_unique<RedisServer>(folder);
    scheduler_ = std::make_unique<SchedulerProcess>(folder, redis_->address());
    channel_ = grpc::CreateChannel(scheduler_->address(), grpc::InsecureChannelCredentials());
    ASSERT_TRUE(scheduler_->Leads() && channel_->WaitForConnected(std::chrono::system_clock::now() +
                                                                  std::chrono::seconds(20)))
        << scheduler_->process().Output();
  }

  // What a health check of `service` says; UNKNOWN where it fails.
  HealthCheckResponse::ServingStatus Health(const std::string& service,
                                            grpc::StatusCode* code = nullptr) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    HealthCheckRequest request;
    HealthCheckResponse response;
    request.set_service(service);
    const grpc::Status status =
        grpc::health::v1::Health::NewStub(channel_)->Check(&context, request, &response);
    if (code != nullptr) *code = status.error_code();
    return response.status();
  }
  ServerReflectionResponse Reflect(const ServerReflectionRequest& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    auto stub = ServerReflection::NewStub(channel_);
    auto stream = stub->ServerReflectionInfo(&context);
    ServerReflectionResponse response;
    EXPECT_TRUE(stream->Write(request) && stream->Read(&response));
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok());
    return response;
  }

  const std::vector<std::string> services_ = {"", "tiltshift.v1.Farm", "tiltshift.v1.Workers"};
  std::unique_ptr<RedisServer> redis_;
  std::unique_ptr<SchedulerProcess> scheduler_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(StandardServicesTest, HealthOfTheServerAndOfEachService) {
  for (const std::string& service : services_) {
    EXPECT_TRUE(
        WaitFor([&] { return Health(service) == HealthCheckResponse::SERVING; }, kPatienceMs))
        << "\"" << service << "\"";
  }
  grpc::StatusCode code = grpc::StatusCode::OK;
  Health("tiltshift.v1.Nothing", &code);
  EXPECT_EQ(code, grpc::StatusCode::NOT_FOUND);
}

// A scheduler that can accept nothing must not be sent anything.
TEST_F(StandardServicesTest, HealthFollowsRedis) {
  const auto all_are = [&](HealthCheckResponse::ServingStatus status) {
    return WaitFor(
        [&] {
          return std::all_of(services_.begin(), services_.end(),
                             [&](const std::string& name) { return Health(name) == status; });
        },
        kPatienceMs);
  };
  ASSERT_TRUE(all_are(HealthCheckResponse::SERVING));
  redis_->KillMinus9();
  EXPECT_TRUE(all_are(HealthCheckResponse::NOT_SERVING));
  redis_->Start();
  EXPECT_TRUE(all_are(HealthCheckResponse::SERVING));
}

TEST_F(StandardServicesTest, ReflectionListsTheServices) {
  ServerReflectionRequest request;
  request.set_list_services("*");
  std::set<std::string> names;
  const ServerReflectionResponse response = Reflect(request);
  for (const auto& service : response.list_services_response().service())
    names.insert(service.name());
  EXPECT_THAT(names, IsSupersetOf({"tiltshift.v1.Farm", "tiltshift.v1.Workers"}));
}

// Enough to call a method with nothing but its name.
TEST_F(StandardServicesTest, ReflectionDescribesTheMethods) {
  ServerReflectionRequest request;
  request.set_file_containing_symbol("tiltshift.v1.Farm");
  const ServerReflectionResponse response = Reflect(request);
  std::set<std::string> methods;
  for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
    google::protobuf::FileDescriptorProto file;
    ASSERT_TRUE(file.ParseFromString(bytes));
    for (const auto& service : file.service()) {
      for (const auto& method : service.method()) methods.insert(method.name());
    }
  }
  EXPECT_THAT(methods, IsSupersetOf({"Submit", "GetJob", "ListJobs", "WatchJob", "CancelJob",
                                     "ReadOutputs", "ListWorkers"}));
}

}  // namespace
}  // namespace tiltshift::tests
