// One WatchJob call: the newest view of the job, sent when the last one is through; the client's
// slowness costs no memory, it only sees fewer of them.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "proto/farm.grpc.pb.h"
#include "scheduler/farm_loop.h"

namespace tiltshift::scheduler {

class WatchReactor : public grpc::ServerWriteReactor<v1::Job> {
 public:
  static WatchReactor* Start(FarmLoop& loop, const std::string& job_id,
                             monitoring::Histogram seconds);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  explicit WatchReactor(monitoring::Histogram seconds) : timer_(seconds) {}
  bool Offer(const v1::Job& job);
  void End(const grpc::Status& status);

  const monitoring::Timer timer_;
  std::mutex mutex_;
  v1::Job sending_;
  std::optional<v1::Job> next_;
  bool writing_ = false, finished_ = false;
  std::shared_ptr<WatchReactor*> self_;  // null inside once done; shared with the loop
  std::shared_ptr<std::mutex> self_mutex_ = std::make_shared<std::mutex>();
};

}  // namespace tiltshift::scheduler
