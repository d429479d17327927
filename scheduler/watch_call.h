// One WatchJob call: the newest view of the job, sent when the last one is through; the client's
// slowness costs no memory, it only sees fewer of them.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "monitoring/metrics.h"
#include "proto/farm.pb.h"
#include "scheduler/call.h"
#include "scheduler/farm_loop.h"

namespace tiltshift::scheduler {

class WatchCall : public CallHandler, public std::enable_shared_from_this<WatchCall> {
 public:
  WatchCall(std::shared_ptr<Call> call, FarmLoop& loop, monitoring::Histogram seconds)
      : timer_(seconds), call_(std::move(call)), loop_(loop) {}

  absl::Status OnMessage(grpc::ByteBuffer& message) override;
  void OnWritten() override;
  void OnOver() override;

 private:
  bool Offer(const v1::Job& job);
  void Send(const v1::Job& whole);  // with the lock held

  const monitoring::Timer timer_;
  const std::shared_ptr<Call> call_;
  FarmLoop& loop_;
  std::mutex mutex_;
  std::optional<v1::Job> next_;
  bool writing_ = false, over_ = false;
};

}  // namespace tiltshift::scheduler
