// KEDA's external scaler, asked as KEDA asks it: a real client, schedulers that lead and stand by.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "proto/externalscaler.grpc.pb.h"
#include "proto/farm.grpc.pb.h"
#include "tests/support/folder_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/scheduler_process.h"

namespace tiltshift::tests {
namespace {

using externalscaler::ExternalScaler;
using ::testing::HasSubstr;

constexpr int kPatienceMs = 20'000;

externalscaler::ScaledObjectRef Ref(const std::map<std::string, std::string>& metadata) {
  externalscaler::ScaledObjectRef ref;
  ref.set_name("tiltshift-worker");
  ref.set_namespace_("tiltshift");
  for (const auto& [name, value] : metadata) (*ref.mutable_scalermetadata())[name] = value;
  return ref;
}

class KedaTest : public FolderTest {
 protected:
  void SetUp() override { ASSERT_TRUE(leader_.Leads()) << leader_.process().Output(); }
  static std::shared_ptr<grpc::Channel> ChannelTo(const SchedulerProcess& scheduler) {
    const auto channel =
        grpc::CreateChannel(scheduler.address(), grpc::InsecureChannelCredentials());
    EXPECT_TRUE(channel->WaitForConnected(std::chrono::system_clock::now() +
                                          std::chrono::milliseconds(kPatienceMs)));
    return channel;
  }
  // A job of so many variants, which nobody is there to render.
  std::string Submit(const std::string& model, const std::string& device, int variants) {
    v1::SubmitRequest request;
    request.mutable_spec()->set_name("waits");
    request.mutable_spec()->set_model(model);
    request.mutable_spec()->set_prompt("{n}");
    request.mutable_spec()->mutable_requirements()->set_device(device);
    v1::Axis& axis = *request.mutable_spec()->add_axes();
    axis.set_name("n");
    axis.set_range("1-" + std::to_string(variants));
    grpc::ClientContext context;
    v1::SubmitResponse response;
    const grpc::Status status =
        v1::Farm::NewStub(ChannelTo(leader_))->Submit(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.job_id();
  }
  void Cancel(const std::string& job) {
    v1::CancelJobRequest request;
    request.set_job_id(job);
    grpc::ClientContext context;
    v1::Job response;
    EXPECT_TRUE(
        v1::Farm::NewStub(ChannelTo(leader_))->CancelJob(&context, request, &response).ok());
  }
  // -1: it does not say.
  static double Metric(ExternalScaler::Stub& scaler,
                       const std::map<std::string, std::string>& metadata) {
    externalscaler::GetMetricsRequest request;
    *request.mutable_scaledobjectref() = Ref(metadata);
    grpc::ClientContext context;
    externalscaler::GetMetricsResponse response;
    if (!scaler.GetMetrics(&context, request, &response).ok() || response.metricvalues_size() != 1)
      return -1;
    EXPECT_EQ(response.metricvalues(0).metricname(), "tiltshift-remaining-seconds");
    EXPECT_EQ(response.metricvalues(0).metricvalue(), response.metricvalues(0).metricvaluefloat());
    return response.metricvalues(0).metricvaluefloat();
  }
  static bool IsActive(ExternalScaler::Stub& scaler,
                       const std::map<std::string, std::string>& metadata) {
    grpc::ClientContext context;
    externalscaler::IsActiveResponse response;
    EXPECT_TRUE(scaler.IsActive(&context, Ref(metadata), &response).ok());
    return response.result();
  }

  RedisServer redis_{folder_};
  SchedulerProcess leader_{folder_, redis_.address()};
};

TEST_F(KedaTest, TheMetricIsWhatIsLeftToRender) {
  const auto scaler = ExternalScaler::NewStub(ChannelTo(leader_));
  ASSERT_TRUE(WaitFor([&] { return Metric(*scaler, {}) == 0; }, kPatienceMs));
  EXPECT_FALSE(IsActive(*scaler, {}));
  Submit("diorama", "cuda", 300);
  Submit("photo", "", 50);
  // Nothing was rendered yet: a second each.
  ASSERT_TRUE(WaitFor([&] { return Metric(*scaler, {}) == 350; }, kPatienceMs));
  EXPECT_EQ(Metric(*scaler, {{"model", "diorama"}, {"scalerAddress", "x:1"}}), 300);
  EXPECT_EQ(Metric(*scaler, {{"device", "cpu"}}), 50) << "what says no device is everybody's";
  EXPECT_EQ(Metric(*scaler, {{"device", "cuda"}}), 350);
  EXPECT_EQ(Metric(*scaler, {{"device", "cpu"}, {"model", "diorama"}}), 0);
  EXPECT_TRUE(IsActive(*scaler, {{"device", "cuda"}}));
  EXPECT_FALSE(IsActive(*scaler, {{"model", "another"}}));
}

TEST_F(KedaTest, TheTargetIsTheSecondsOfAWorker) {
  const auto scaler = ExternalScaler::NewStub(ChannelTo(leader_));
  const auto target = [&](const std::string& said) {
    grpc::ClientContext context;
    externalscaler::GetMetricSpecResponse response;
    const auto ref = said.empty() ? Ref({}) : Ref({{"secondsPerWorker", said}});
    const grpc::Status status = scaler->GetMetricSpec(&context, ref, &response);
    if (status.ok()) return response.metricspecs(0).targetsizefloat();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr("secondsPerWorker"));
    return -1.0;
  };
  EXPECT_EQ(target(""), 120);
  EXPECT_EQ(target("37.5"), 37.5);
  for (const char* wrong : {"0", "-3", "many", "nan", "inf"}) EXPECT_EQ(target(wrong), -1) << wrong;
}

TEST_F(KedaTest, AnOpenStreamIsToldWhenWorkComesAndGoes) {
  const auto scaler = ExternalScaler::NewStub(ChannelTo(leader_));
  ASSERT_TRUE(WaitFor([&] { return Metric(*scaler, {}) == 0; }, kPatienceMs));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(kPatienceMs));
  const auto stream = scaler->StreamIsActive(&context, Ref({{"model", "diorama"}}));
  externalscaler::IsActiveResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_FALSE(response.result());
  Submit("another", "", 5);
  const std::string job = Submit("diorama", "", 5);
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(response.result());
  Cancel(job);
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_FALSE(response.result());
}

TEST_F(KedaTest, WhoStandsByAnswersForTheLeader) {
  SchedulerProcess standby(folder_, redis_.address());
  const auto scaler = ExternalScaler::NewStub(ChannelTo(standby));
  Submit("diorama", "", 70);
  EXPECT_TRUE(WaitFor([&] { return Metric(*scaler, {}) == 70; }, kPatienceMs))
      << standby.process().Output();
  EXPECT_TRUE(IsActive(*scaler, {{"model", "diorama"}}));
  EXPECT_THAT(standby.process().Output(), HasSubstr("another scheduler leads"));
}

}  // namespace
}  // namespace tiltshift::tests
