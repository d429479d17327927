// The worker's side of the session: keeps a stream to whichever scheduler leads, brings leases
// in, outcomes out, and the heartbeat from a thread of its own, so that no render delays it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/status.h"
#include "proto/identity.h"
#include "proto/worker.grpc.pb.h"
#include "worker/lease_queue.h"

namespace tiltshift::worker {

struct SessionOptions {
  std::vector<std::string> schedulers;  // tried in turn; they tell who leads
  Identity identity;                    // shown to each
  v1::Hello hello;                      // held_tokens is filled in
  uint32_t want_leases = 2;
  std::function<void(v1::Heartbeat&)> tell;  // adds to each heartbeat how we are; may be null
  // Drained, with outcomes no scheduler takes: how long to go on asking. Another worker then
  // renders those variants again, to the same bytes.
  int leave_patience_ms = 10'000;
};

class Session {
 public:
  Session(SessionOptions options, LeaseQueue& queue)
      : options_(std::move(options)), queue_(queue) {}

  // Runs until Drain was asked for and every lease is finished or released, or no scheduler has
  // answered for `leave_patience_ms` since. A scheduler that is silent for two lease times is left
  // for the next address: its machine may be gone without a word.
  void Run();
  // Stop what the slots render between two steps, give all back, leave. From any thread (not from a
  // signal handler).
  void Drain();
  // A scheduler has welcomed us, and the stream is open. Any thread.
  bool connected() const { return connected_; }

  // Asks the scheduler that the stream is with; Unavailable where there is none now. Any thread.
  absl::StatusOr<v1::OpenPhotoResponse> OpenPhoto(const v1::OpenPhotoRequest& request);

 private:
  using Stream = grpc::ClientReaderWriter<v1::WorkerMessage, v1::SchedulerMessage>;
  grpc::Status RunStream(const std::string& address);
  bool Send(Stream& stream, const v1::WorkerMessage& message);
  void SendTurns(Stream& stream, const std::atomic<bool>& over, grpc::ClientContext& context);
  void SendHeartbeats(Stream& stream, const std::atomic<bool>& over, grpc::ClientContext& context);
  bool GivesUp();
  void Take(const v1::Lease& lease);
  void Receive(const v1::SchedulerMessage& message);

  const SessionOptions options_;
  LeaseQueue& queue_;
  std::mutex write_mutex_, stub_mutex_;
  std::shared_ptr<v1::Workers::Stub> stub_;  // of the open stream
  std::atomic<uint32_t> heartbeat_ms_{1000}, lease_ttl_ms_{15'000};
  std::atomic<int64_t> heard_ms_{0};  // when the scheduler last said something, steady clock
  std::atomic<bool> draining_{false};
  std::atomic<bool> welcomed_{false}, connected_{false};
  uint64_t turn_ = 0;
  std::string said_;
};

}  // namespace tiltshift::worker
