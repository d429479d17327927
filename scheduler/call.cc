#include "scheduler/call.h"

#include <utility>

#include "base/check.h"
#include "proto/leader.h"
#include "scheduler/farm_loop.h"
#include "scheduler/message_checks.h"

namespace tiltshift::scheduler {
namespace {

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message = Shortened(Message(status), kLongestMessage);
  if (const auto leader = LeaderOf(status); leader.has_value())
    return NotLeadingStatus(message, *leader);
  return {static_cast<grpc::StatusCode>(status.code()), message};
}

grpc::ByteBuffer ToBytes(const google::protobuf::Message& message) {
  grpc::ByteBuffer bytes;
  bool own = false;
  using Traits = grpc::SerializationTraits<google::protobuf::Message>;
  TS_CHECK(Traits::Serialize(message, &bytes, &own).ok());
  return bytes;
}

}  // namespace

Call::Call()
    : take_{this, &Call::OnTaken},
      read_{this, &Call::OnRead},
      write_{this, &Call::OnWrite},
      finish_{this, &Call::OnFinish},
      done_{this, &Call::OnDone} {}

void Call::Take(grpc::AsyncGenericService& service, grpc::ServerCompletionQueue& queue, Taken taken,
                void* server) {
  std::shared_ptr<Call> call(new Call());
  call->taken_ = taken;
  call->server_ = server;
  call->self_ = call;
  call->context_->AsyncNotifyWhenDone(&call->done_);
  service.RequestCall(call->context_.get(), call->stream_.get(), &queue, &queue, &call->take_);
}

void Call::Proceed(void* tag, bool ok) {
  const Tag& done = *static_cast<Tag*>(tag);
  (done.call->*done.done)(ok);
}

// gRPC gives the "done" tag of a call that was taken, and of no other.
void Call::OnTaken(bool ok) {
  std::shared_ptr<Call> self = self_;
  if (!ok) {
    self_.reset();
    taken_(server_, nullptr, false);
    return;
  }
  under_way_ = 1;
  taken_(server_, std::move(self), true);
}

void Call::Start(std::shared_ptr<CallHandler> handler, size_t most) {
  handler_ = std::move(handler);
  to_read_ = most;
  Read();
}

void Call::Read() {
  std::lock_guard lock(mutex_);
  if (to_read_ == 0 || finishing_ || gone_) return;
  --to_read_;
  ++under_way_;
  stream_->Read(&incoming_, &read_);
}

void Call::OnRead(bool ok) {
  if (ok) {
    const absl::Status status = handler_->OnMessage(incoming_);
    incoming_.Clear();
    if (status.ok()) {
      Read();
    } else {
      Finish(status);
    }
  } else {
    handler_->OnLastMessage();
  }
  std::unique_lock lock(mutex_);
  --under_way_;
  End(std::move(lock));
}

void Call::Write(const google::protobuf::Message& message) {
  grpc::ByteBuffer bytes = ToBytes(message);
  std::lock_guard lock(mutex_);
  if (gone_ || status_.has_value()) return;
  outgoing_.push_back(std::move(bytes));
  WriteNext();
}

void Call::Finish(const absl::Status& status) {
  std::lock_guard lock(mutex_);
  if (gone_ || status_.has_value()) return;
  status_ = status;
  WriteNext();
}

void Call::FinishWith(const google::protobuf::Message& message) {
  grpc::ByteBuffer bytes = ToBytes(message);
  std::lock_guard lock(mutex_);
  if (gone_ || status_.has_value()) return;
  outgoing_.push_back(std::move(bytes));
  status_ = absl::OkStatus();
  WriteNext();
}

void Call::Cancel() {
  std::lock_guard lock(mutex_);
  if (gone_ || context_ == nullptr) return;
  gone_ = true;
  context_->TryCancel();
}

void Call::WriteNext() {
  if (writing_ || finishing_ || gone_) return;
  if (status_.has_value() && outgoing_.size() <= 1) {
    finishing_ = true;
    ++under_way_;
    if (outgoing_.empty()) {
      stream_->Finish(ToGrpc(*status_), &finish_);
    } else {
      stream_->WriteAndFinish(outgoing_.front(), grpc::WriteOptions(), ToGrpc(*status_), &finish_);
    }
  } else if (!outgoing_.empty()) {
    writing_ = true;
    ++under_way_;
    stream_->Write(outgoing_.front(), &write_);
  }
}

void Call::OnWrite(bool ok) {
  std::unique_lock lock(mutex_);
  writing_ = false;
  if (!outgoing_.empty()) outgoing_.pop_front();
  if (!ok) gone_ = true;
  WriteNext();
  if (!writing_ && !finishing_ && !gone_) {
    lock.unlock();
    handler_->OnWritten();
    lock.lock();
  }
  --under_way_;
  End(std::move(lock));
}

void Call::OnFinish(bool) {
  std::unique_lock lock(mutex_);
  --under_way_;
  End(std::move(lock));
}

void Call::OnDone(bool) {
  std::unique_lock lock(mutex_);
  gone_ = true;
  --under_way_;
  End(std::move(lock));
}

// Lets go of gRPC's call, which keeps the server from stopping, once no tag of it is under way.
void Call::End(std::unique_lock<std::mutex> lock) {
  if (under_way_ > 0) return;
  outgoing_.clear();
  stream_.reset();
  context_.reset();
  const std::shared_ptr<Call> self = std::move(self_);
  const std::shared_ptr<CallHandler> handler = std::move(handler_);
  lock.unlock();
  if (handler != nullptr) handler->OnOver();
}

size_t Call::waiting() const {
  std::lock_guard lock(mutex_);
  return outgoing_.size();
}

}  // namespace tiltshift::scheduler
