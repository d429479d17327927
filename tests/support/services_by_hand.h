// For tests that speak to the services by hand: a spec, a worker's session, and what a refusal is.
#pragma once

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "proto/farm.grpc.pb.h"
#include "proto/worker.grpc.pb.h"

namespace tiltshift::tests {

inline constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
inline constexpr uint64_t kVariants = 100;

// A grpc::Status with this code, whose message is, or matches, `message`.
MATCHER_P2(Refused, code, message, "") {
  *result_listener << arg.error_code() << ": " << arg.error_message();
  return arg.error_code() == code &&
         ExplainMatchResult(message, arg.error_message(), result_listener);
}

// kVariants variants.
inline v1::JobSpec Spec(const std::string& prompt = "number {n}") {
  v1::JobSpec spec;
  spec.set_name("test");
  spec.set_model("diorama");
  spec.set_prompt(prompt);
  v1::Axis& axis = *spec.add_axes();
  axis.set_name("n");
  axis.set_range("1-" + std::to_string(kVariants));
  return spec;
}

// A worker's session, spoken by hand.
class Session {
 public:
  explicit Session(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(v1::Workers::NewStub(channel)), stream_(stub_->Session(&context_)) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  }
  // Greets, and asks for leases where `want` is not 0.
  Session(const std::shared_ptr<grpc::Channel>& channel, const std::string& id, uint32_t want)
      : Session(channel) {
    Send(Hello(id));
    v1::SchedulerMessage welcome;
    EXPECT_TRUE(stream_->Read(&welcome) && welcome.has_welcome());
    if (want == 0) return;
    Turn(1, want, {});
    while (lease.token() == 0 && ReadOne()) {
    }
  }
  ~Session() {
    context_.TryCancel();
    if (!finished_) stream_->Finish();
  }
  static v1::WorkerMessage Hello(const std::string& id) {
    v1::WorkerMessage message;
    message.mutable_hello()->set_worker_id(id);
    message.mutable_hello()->set_slots(1);
    message.mutable_hello()->set_protocol(1);
    return message;
  }
  void Send(const v1::WorkerMessage& message) { stream_->Write(message); }
  void Turn(uint64_t number, uint32_t want, const std::vector<v1::Outcome>& outcomes) {
    v1::WorkerMessage message;
    message.mutable_turn()->set_turn(number);
    message.mutable_turn()->set_want_leases(want);
    for (const auto& outcome : outcomes) *message.mutable_turn()->add_outcomes() = outcome;
    Send(message);
  }
  // The acknowledgement of that turn; one without a number where the session ended first.
  v1::TurnAck Acknowledged(uint64_t number) {
    ack_.Clear();
    while (ack_.turn() != number && ReadOne()) {
    }
    return ack_;
  }
  v1::Outcome Done() const {
    v1::Outcome outcome;
    outcome.set_token(lease.token());
    outcome.set_job_id(lease.job_id());
    *outcome.add_committed() = lease.range();
    outcome.set_render_seconds(0.01);
    return outcome;
  }
  // How the scheduler ended it.
  grpc::Status End() {
    while (ReadOne()) {
    }
    finished_ = true;
    return stream_->Finish();
  }

  v1::Lease lease;

 private:
  bool ReadOne() {
    v1::SchedulerMessage message;
    if (!stream_->Read(&message)) return false;
    if (message.has_lease()) lease = message.lease();
    for (const v1::Lease& granted : message.turn_ack().leases()) lease = granted;
    if (message.has_turn_ack()) ack_ = message.turn_ack();
    return true;
  }
  grpc::ClientContext context_;
  std::unique_ptr<v1::Workers::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::SchedulerMessage>> stream_;
  v1::TurnAck ack_;
  bool finished_ = false;
};

}  // namespace tiltshift::tests
