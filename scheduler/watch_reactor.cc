#include "scheduler/watch_reactor.h"

#include "scheduler/farm_service.h"

namespace tiltshift::scheduler {

WatchReactor* WatchReactor::Start(FarmLoop& loop, const std::string& job_id,
                                  monitoring::Histogram seconds) {
  auto* reactor = new WatchReactor(seconds);
  reactor->self_ = std::make_shared<WatchReactor*>(reactor);
  auto self = reactor->self_;
  auto self_mutex = reactor->self_mutex_;
  loop.Watch(
      job_id,
      [self, self_mutex](const v1::Job& job) {
        std::lock_guard lock(*self_mutex);
        return *self != nullptr && (*self)->Offer(job);
      },
      [self, self_mutex](absl::Status status) {
        std::lock_guard lock(*self_mutex);
        if (*self != nullptr) (*self)->End(ToGrpc(status));
      });
  return reactor;
}

bool WatchReactor::Offer(const v1::Job& job) {
  std::lock_guard lock(mutex_);
  if (finished_) return false;
  if (writing_) {
    next_ = job;
  } else {
    writing_ = true;
    sending_ = job;
    StartWrite(&sending_);
  }
  return true;
}

void WatchReactor::OnWriteDone(bool ok) {
  std::lock_guard lock(mutex_);
  if (finished_) return;
  if (!ok || (!next_.has_value() && sending_.ended_unix_ms() != 0)) {
    finished_ = true;
    Finish(grpc::Status::OK);
  } else if (next_.has_value()) {
    sending_ = std::move(*next_);
    next_.reset();
    StartWrite(&sending_);
  } else {
    writing_ = false;
  }
}

void WatchReactor::End(const grpc::Status& status) {
  std::lock_guard lock(mutex_);
  if (finished_) return;
  finished_ = true;
  Finish(status);
}

void WatchReactor::OnCancel() { End(grpc::Status::CANCELLED); }

void WatchReactor::OnDone() {
  {
    std::lock_guard lock(*self_mutex_);
    *self_ = nullptr;
  }
  delete this;
}

}  // namespace tiltshift::scheduler
