#include "scheduler/watch_call.h"

#include <optional>

#include "scheduler/call_server.h"

namespace tiltshift::scheduler {

absl::Status WatchCall::OnMessage(grpc::ByteBuffer& message) {
  TS_ASSIGN_OR_RETURN(const auto request, Parse<v1::GetJobRequest>(message));
  loop_.Watch(
      request.job_id(),
      [self = shared_from_this()](const v1::Job& job) { return self->Offer(job); },
      [call = call_](const absl::Status& status) { call->Finish(status); });
  return absl::OkStatus();
}

bool WatchCall::Offer(const v1::Job& job) {
  std::lock_guard lock(mutex_);
  if (over_) return false;
  if (writing_) {
    next_ = job;
  } else {
    Send(job);
  }
  return true;
}

void WatchCall::OnWritten() {
  std::lock_guard lock(mutex_);
  writing_ = false;
  if (!next_.has_value()) return;
  Send(*next_);
  next_.reset();
}

void WatchCall::Send(const v1::Job& whole) {
  writing_ = true;
  std::optional<v1::Job> without;  // whoever submitted the pictures has them: not ten times a second
  for (int i = 0; i < whole.spec().controls_size(); ++i) {
    if (!without) without = whole;
    without->mutable_spec()->mutable_controls(i)->clear_picture();
  }
  const v1::Job& job = without ? *without : whole;
  if (job.ended_unix_ms() != 0) {
    call_->FinishWith(job);
  } else {
    call_->Write(job);
  }
}

void WatchCall::OnOver() {
  std::lock_guard lock(mutex_);
  over_ = true;
}

}  // namespace tiltshift::scheduler
