#include "worker/session.h"

#include <grpcpp/grpcpp.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/log.h"
#include "proto/channel.h"
#include "proto/leader.h"
#include "proto/status.h"

namespace tiltshift::worker {
namespace {

constexpr int kConnectPatienceMs = 2'000;
constexpr auto kOpenPhotoDeadline = std::chrono::seconds(10);
constexpr int kTurnWaitMs = 500;  // an idle turn asks for leases again so often

int64_t SteadyMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

void Session::Drain() {
  draining_ = true;
  queue_.Close();
  queue_.Wake();
}

void Session::Run() {
  LeaderSearch search(options_.schedulers, RandomSeed());
  heard_ms_ = SteadyMs();
  while (!(draining_ && queue_.HeldTokens().empty())) {
    welcomed_ = false;
    const grpc::Status ended = RunStream(search.address());
    queue_.Unsend();
    if (welcomed_) search.Found();
    if (draining_ && (queue_.HeldTokens().empty() || GivesUp())) break;
    const int64_t wait_ms = search.Failed(LeaderNamedBy(ended).value_or(""));
    std::this_thread::sleep_for(std::chrono::milliseconds(wait_ms));
  }
}

bool Session::GivesUp() {
  if (queue_.Renders() || SteadyMs() - heard_ms_ < options_.leave_patience_ms) return false;
  spdlog::warn("leaving with {} leases that no scheduler took back; they expire",
               queue_.HeldTokens().size());
  return true;
}

grpc::Status Session::RunStream(const std::string& address) {
  if (const absl::Status may = options_.identity.MayCall(address); !may.ok()) {
    if (Message(may) != said_) spdlog::warn("{}", said_ = Message(may));
    return {grpc::StatusCode::UNAVAILABLE, Message(may)};
  }
  const auto channel = options_.identity.Connect(address);
  WaitForFirstTry(*channel, kConnectPatienceMs);
  const std::shared_ptr<v1::Workers::Stub> stub = v1::Workers::NewStub(channel);
  grpc::ClientContext context;
  options_.identity.AddTo(context);
  auto stream = stub->Session(&context);

  v1::WorkerMessage first;
  *first.mutable_hello() = options_.hello;
  for (const uint64_t token : queue_.HeldTokens()) first.mutable_hello()->add_held_tokens(token);
  std::atomic<bool> over{false};
  std::thread turns, heartbeats;
  if (Send(*stream, first)) {
    v1::SchedulerMessage message;
    while (stream->Read(&message)) {
      Receive(message);
      if (message.has_welcome() && !turns.joinable()) {
        spdlog::info("connected to {}, epoch {}", address, message.welcome().epoch());
        connected_ = true;
        SetLogEpoch(message.welcome().epoch());
        said_.clear();
        std::lock_guard lock(stub_mutex_);
        stub_ = stub;
        turns = std::thread([&] { SendTurns(*stream, over, context); });
        heartbeats = std::thread([&] { SendHeartbeats(*stream, over, context); });
      }
    }
  }
  over = true;
  connected_ = false;
  {
    std::lock_guard lock(stub_mutex_);
    stub_.reset();
  }
  queue_.Wake();
  if (turns.joinable()) turns.join();
  if (heartbeats.joinable()) heartbeats.join();
  const grpc::Status status = stream->Finish();
  const std::string what = absl::StrCat("no session with ", address, ": ", status.error_message());
  if (!draining_ && what != said_) spdlog::warn("{}; trying again", said_ = what);
  return status;
}

absl::StatusOr<v1::OpenPhotoResponse> Session::OpenPhoto(const v1::OpenPhotoRequest& request) {
  std::shared_ptr<v1::Workers::Stub> stub;
  {
    std::lock_guard lock(stub_mutex_);
    stub = stub_;
  }
  if (stub == nullptr) return absl::UnavailableError("there is no scheduler to ask for a photo");
  grpc::ClientContext context;
  options_.identity.AddTo(context);
  context.set_deadline(std::chrono::system_clock::now() + kOpenPhotoDeadline);
  v1::OpenPhotoResponse response;
  const grpc::Status status = stub->OpenPhoto(&context, request, &response);
  if (status.ok()) return response;
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED)
    return absl::UnavailableError("the scheduler does not answer");
  return StatusOf(status);
}

bool Session::Send(Stream& stream, const v1::WorkerMessage& message) {
  std::lock_guard lock(write_mutex_);
  return stream.Write(message);
}

void Session::SendTurns(Stream& stream, const std::atomic<bool>& over,
                        grpc::ClientContext& context) {
  bool asked = false, said_draining = false;
  while (!over) {
    bool something = false;
    v1::WorkerMessage message;
    *message.mutable_turn() = queue_.NextTurn(++turn_, asked ? kTurnWaitMs : 0, something);
    if (over) return;
    asked = true;
    if (draining_ && !said_draining) {
      said_draining = true;
      v1::WorkerMessage draining;
      draining.mutable_draining();
      if (!Send(stream, draining)) return;
    }
    message.mutable_turn()->set_want_leases(draining_ ? 0 : options_.want_leases);
    if (!Send(stream, message)) return;
    if (draining_ && queue_.HeldTokens().empty()) context.TryCancel();
  }
}

void Session::SendHeartbeats(Stream& stream, const std::atomic<bool>& over,
                             grpc::ClientContext& context) {
  auto next = std::chrono::steady_clock::now();
  while (!over) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (std::chrono::steady_clock::now() < next) continue;
    if (SteadyMs() - heard_ms_ > 2 * int64_t{lease_ttl_ms_}) {
      spdlog::warn("the scheduler has been silent for {} ms; connecting again",
                   SteadyMs() - heard_ms_);
      context.TryCancel();
      return;
    }
    next = std::chrono::steady_clock::now() + std::chrono::milliseconds(heartbeat_ms_);
    v1::WorkerMessage message;
    message.mutable_heartbeat();
    for (const uint64_t token : queue_.HeldTokens())
      message.mutable_heartbeat()->add_held_tokens(token);
    if (options_.tell != nullptr) options_.tell(*message.mutable_heartbeat());
    if (!Send(stream, message)) return;
  }
}

void Session::Take(const v1::Lease& lease) {
  const absl::Status added = queue_.Add(lease);
  if (!added.ok()) spdlog::error("lease {}: {}", lease.token(), Message(added));
}

void Session::Receive(const v1::SchedulerMessage& message) {
  heard_ms_ = SteadyMs();
  switch (message.message_case()) {
    case v1::SchedulerMessage::kWelcome:
      welcomed_ = true;
      heartbeat_ms_ = std::max(10u, message.welcome().heartbeat_ms());
      lease_ttl_ms_ = std::max(100u, message.welcome().lease_ttl_ms());
      for (const uint64_t token : message.welcome().lost_tokens()) queue_.Drop(token);
      break;
    case v1::SchedulerMessage::kLease:
      Take(message.lease());
      break;
    case v1::SchedulerMessage::kTurnAck:
      queue_.Acknowledge(message.turn_ack());
      for (const v1::Lease& lease : message.turn_ack().leases()) Take(lease);
      if (draining_) queue_.Wake();
      break;
    case v1::SchedulerMessage::kTrim:
      queue_.Trim(message.trim().token(), message.trim().end());
      break;
    case v1::SchedulerMessage::kRevoke:
      spdlog::info("lease {} revoked: {}", message.revoke().token(), message.revoke().reason());
      queue_.Drop(message.revoke().token());
      break;
    case v1::SchedulerMessage::kDrain:
      spdlog::info("asked to drain: {}", message.drain().reason());
      Drain();
      break;
    default:
      break;
  }
}

}  // namespace tiltshift::worker
