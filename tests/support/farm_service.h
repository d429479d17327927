// A real scheduler process over a real Redis, and what speaks to it in tests.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "proto/farm.grpc.pb.h"
#include "proto/worker.grpc.pb.h"
#include "tests/support/folder_test.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"

namespace tiltshift::tests {

inline v1::JobSpec Spec(const std::string& range) {
  v1::JobSpec spec;
  spec.set_name("test");
  spec.set_model("diorama");
  spec.set_prompt("number {n}");
  v1::Axis& axis = *spec.add_axes();
  axis.set_name("n");
  axis.set_range(range);
  return spec;
}

class FarmServiceTest : public FolderTest {
 protected:
  void SetUp() override {
    redis_ = std::make_unique<RedisServer>(folder_);
    StartScheduler();
  }
  void StartScheduler() {
    socket_ = "unix:/tmp/ts-scheduler-" + std::to_string(getpid());
    std::vector<std::string> command = {Program("tiltshift-scheduler"),
                                        "--listen",
                                        socket_,
                                        "--redis",
                                        redis_->address(),
                                        "--blobs",
                                        folder_ + "/blobs",
                                        "--lease-ttl-ms",
                                        lease_ttl_ms_,
                                        "--heartbeat-ms",
                                        "200",
                                        "--leader-ttl-ms",
                                        "600"};
    command.insert(command.end(), scheduler_options_.begin(), scheduler_options_.end());
    scheduler_ = std::make_unique<Process>(command, folder_);
    // Before anyone connects: gRPC's first attempt would fail, and the next comes a second later.
    ASSERT_TRUE(WaitFor(
        [&] { return scheduler_->Output().find("leading: epoch") != std::string::npos; }, 60'000))
        << scheduler_->Output();
    grpc::ChannelArguments
        arguments;  // a connection of its own, not the one that died with the last scheduler
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel_ = grpc::CreateCustomChannel(socket_, grpc::InsecureChannelCredentials(), arguments);
    ASSERT_TRUE(
        channel_->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20)))
        << scheduler_->Output();
    farm_ = v1::Farm::NewStub(channel_);
  }
  void KillScheduler() {
    scheduler_->Signal(SIGKILL);
    scheduler_->Wait(10'000);
  }
  grpc::Status Submit(const v1::JobSpec& spec, v1::SubmitResponse* response,
                      const std::string& request_id = "",
                      std::chrono::seconds patience = std::chrono::seconds(60)) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + patience);
    v1::SubmitRequest request;
    *request.mutable_spec() = spec;
    request.set_request_id(request_id);
    return farm_->Submit(&context, request, response);
  }
  // Submissions in the blob store: a call that has come so far waits for Redis.
  size_t Submissions() {
    std::error_code none_yet;
    size_t count = 0;
    for (std::filesystem::directory_iterator it(folder_ + "/blobs/jobs", none_yet), end; it != end;
         ++it)
      ++count;
    return count;
  }
  v1::Job Job(const std::string& id) {
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_job_id(id);
    v1::Job job;
    EXPECT_TRUE(farm_->GetJob(&context, request, &job).ok());
    return job;
  }

  std::string socket_;
  std::vector<std::string> scheduler_options_;  // beside the usual ones
  // A lease outlives the test, so that a busy machine ends none; who tests its end gives it less.
  std::string lease_ttl_ms_ = "60000";
  std::unique_ptr<RedisServer> redis_;
  std::unique_ptr<Process> scheduler_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Farm::Stub> farm_;
};

// A worker that speaks the protocol by hand.
class Worker {
 public:
  // `models`: those it says it has; none: it does not say.
  Worker(std::shared_ptr<grpc::Channel> channel, const std::string& id,
         const std::vector<uint64_t>& held = {}, const std::vector<v1::ModelInfo>& models = {})
      : stub_(v1::Workers::NewStub(channel)), stream_(stub_->Session(&context_)) {
    v1::WorkerMessage message;
    message.mutable_hello()->set_worker_id(id);
    message.mutable_hello()->set_slots(1);
    message.mutable_hello()->set_protocol(1);
    for (const uint64_t token : held) message.mutable_hello()->add_held_tokens(token);
    for (const auto& model : models) *message.mutable_hello()->add_models() = model;
    stream_->Write(message);
    stream_->Read(&welcome_);
  }
  ~Worker() {
    context_.TryCancel();
    stream_->Finish();
  }
  // Sends a turn and reads until its acknowledgement and, where leases are wanted, a lease.
  void Turn(uint32_t want, const std::vector<v1::Outcome>& outcomes = {}) {
    v1::WorkerMessage message;
    message.mutable_turn()->set_turn(++turn_);
    message.mutable_turn()->set_want_leases(want);
    for (const auto& outcome : outcomes) *message.mutable_turn()->add_outcomes() = outcome;
    stream_->Write(message);
    lease.Clear();
    for (bool acknowledged = false; !acknowledged || (want > 0 && lease.token() == 0);) {
      v1::SchedulerMessage read;
      if (!stream_->Read(&read)) return;
      if (read.has_lease()) lease = read.lease();
      for (const v1::Lease& granted : read.turn_ack().leases()) lease = granted;
      if (read.has_trim()) trims.push_back(read.trim());
      if (read.has_turn_ack() && read.turn_ack().turn() == turn_) {
        acknowledged = true;
        ack = read.turn_ack();
      }
    }
  }
  static v1::Outcome Done(const v1::Lease& lease) {
    v1::Outcome outcome;
    outcome.set_token(lease.token());
    outcome.set_job_id(lease.job_id());
    *outcome.add_committed() = lease.range();
    outcome.set_render_seconds(0.001 * lease.range().count());
    return outcome;
  }
  const v1::SchedulerMessage& welcome() const { return welcome_; }

  v1::Lease lease;
  v1::TurnAck ack;
  std::vector<v1::Trim> trims;

 private:
  grpc::ClientContext context_;
  std::unique_ptr<v1::Workers::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::SchedulerMessage>> stream_;
  v1::SchedulerMessage welcome_;
  uint64_t turn_ = 0;
};

// A submission that is on its way.
class PendingSubmit {
 public:
  PendingSubmit(v1::Farm::Stub& farm, const v1::JobSpec& spec) {
    *request_.mutable_spec() = spec;
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    thread_ = std::thread([&] {
      status_ = farm.Submit(&context_, request_, &response_);
      answered_ = true;
    });
  }
  ~PendingSubmit() {
    context_.TryCancel();
    if (thread_.joinable()) thread_.join();
  }
  bool answered() const { return answered_; }
  grpc::Status Status() {
    thread_.join();
    return status_;
  }

 private:
  grpc::ClientContext context_;
  v1::SubmitRequest request_;
  v1::SubmitResponse response_;
  grpc::Status status_;
  std::atomic<bool> answered_{false};
  std::thread thread_;
};

}  // namespace tiltshift::tests
